"""Messages in, token ids out: a model's own chat template, rendered within limits."""
