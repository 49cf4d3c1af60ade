"""Formats for openllm of a model that shouts what it calls and mutters what it thinks."""
