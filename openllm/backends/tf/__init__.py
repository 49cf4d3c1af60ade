"""The backend 'tf': KerasHub on TensorFlow."""
