"""The chat page: static files, which `openllm.protocols.page` serves."""
