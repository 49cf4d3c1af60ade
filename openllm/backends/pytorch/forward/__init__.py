"""The forward pass: sequences in, logits out, with keys and values kept between steps."""
