"""An engine for openllm that says everything backwards."""
