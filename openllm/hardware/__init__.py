"""The arithmetic of GPUs and memory: what this machine has, and whether a model fits it."""
