"""The one arithmetic of GPUs and memory, which every choice that depends on the machine asks."""
