"""A model family for openllm."""
