"""Values drawn at random from a grammar, token by token, as an engine draws them."""

from __future__ import annotations

import random
from pathlib import Path
from typing import Any

import numpy as np

import openllm.demo

FREE = 40  # tokens until it is drawn towards an end
LONGEST = 400
_CLOSING = ('"', "}", "]", "0", "1", "a", "-", ":", ".", "Z")


class Sampler:
    """Draws texts with the demo's tokenizer."""

    def __init__(self) -> None:
        import xgrammar
        from transformers import AutoTokenizer

        tokenizer = AutoTokenizer.from_pretrained(Path(openllm.demo.__file__).parent)
        self._info = xgrammar.TokenizerInfo.from_huggingface(tokenizer)
        self._compiler = xgrammar.GrammarCompiler(self._info, max_threads=1, cache_enabled=False)
        self._bits = xgrammar.allocate_token_bitmask(1, self._info.vocab_size)
        self._ends = set(self._info.stop_token_ids)
        vocabulary = self._info.decoded_vocab
        self._text = vocabulary
        self._closing = [
            number
            for letter in _CLOSING
            for number, token in enumerate(vocabulary)
            if token == letter.encode()
        ]

    def compiled(self, grammar: str) -> Any:
        return self._compiler.compile_grammar(grammar)

    def text(self, compiled: Any, draw: random.Random) -> str | None:
        """A text that the grammar allows; None where it did not end in time."""
        import xgrammar

        matcher, taken = xgrammar.GrammarMatcher(compiled), []
        for at in range(LONGEST):
            matcher.fill_next_token_bitmask(self._bits, 0)
            bits = np.unpackbits(self._bits.numpy().view(np.uint8), bitorder="little")
            allowed = np.flatnonzero(bits)
            assert len(allowed), b"".join(taken)
            token = self._pick([int(number) for number in allowed], at, draw)
            assert matcher.accept_token(token)
            if token in self._ends:
                return b"".join(taken).decode()
            taken.append(self._text[token])
        return None

    def _pick(self, allowed: list[int], at: int, draw: random.Random) -> int:
        if at >= FREE:
            known = set(allowed)
            for token in (*self._ends, *self._closing):
                if token in known and draw.random() < 0.9:
                    return token
        return draw.choice(allowed)
