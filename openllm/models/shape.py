"""The shape of a known model: what its config.json says of its sizes, so that a plan needs no
download.
"""

from __future__ import annotations

from typing import Any, NamedTuple


class KnownShape(NamedTuple):
    """Sizes of a decoder, or an encoder, as its config.json on the Hub has them."""

    layers: int
    hidden: int
    heads: int
    kv_heads: int
    intermediate: int
    vocab: int
    head_dim: int = 0  # 0: the hidden size divided by the heads
    tied: bool = False  # the head that gives logits is the table of tokens
    experts: int = 0  # of a layer; 0: none
    taken: int = 0  # experts that a token passes
    expert_width: int = 0  # intermediate numbers of one expert
    window: int = 0  # tokens that a layer attends to; 0: all
    every: int = 0  # every so many layers one attends to all tokens, others to the window
    dtype: str = "bfloat16"  # of the weights as they are stored
    size: int = 0  # bytes of weights that are stored quantized; 0: they are not

    def config(self, context: int) -> dict[str, Any]:
        """The same in config.json's words; `context` is the longest sequence, in tokens."""
        found: dict[str, Any] = {
            "num_hidden_layers": self.layers,
            "hidden_size": self.hidden,
            "num_attention_heads": self.heads,
            "num_key_value_heads": self.kv_heads,
            "intermediate_size": self.intermediate,
            "vocab_size": self.vocab,
            "head_dim": self.head_dim or self.hidden // self.heads,
            "max_position_embeddings": context,
            "tie_word_embeddings": self.tied,
            "dtype": self.dtype,
        }
        if self.experts:
            found["num_experts"] = self.experts
            found["num_experts_per_tok"] = self.taken
            found["moe_intermediate_size"] = self.expert_width
        if self.window:
            found["sliding_window"] = self.window
            found["sliding_window_pattern"] = self.every
        if self.size:
            found["quantization_config"] = {}
        return found
