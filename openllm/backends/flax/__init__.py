"""The backend 'flax': KerasHub on JAX."""
