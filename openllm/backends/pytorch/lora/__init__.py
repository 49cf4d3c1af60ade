"""LoRA adapters beside the weights: a bank of slots, and what is mounted in it."""
