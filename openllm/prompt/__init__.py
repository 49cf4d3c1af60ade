"""Messages in, token ids out."""
