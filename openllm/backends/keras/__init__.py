"""The engine behind 'tf' and 'flax': KerasHub's models on TensorFlow or JAX, decoded row by row."""
