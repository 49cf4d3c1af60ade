"""The one arithmetic of GPUs and memory."""
