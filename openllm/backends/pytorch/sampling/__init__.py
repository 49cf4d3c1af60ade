"""From logits to tokens: filters, grammars, the draw and its logprobs."""
