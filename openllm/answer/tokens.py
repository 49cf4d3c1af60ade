"""Single tokens as bytes and text, for logprobs: what each id stands for on its own."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from openllm.answer.text import PlainTokenizer

if TYPE_CHECKING:
    from tokenizers import Tokenizer

_BYTE_TOKEN = re.compile(r"<0x([0-9A-Fa-f]{2})>")
_CACHED = 65_536  # entries kept; a vocabulary is a few times that at most


def _byte_alphabet() -> dict[str, int]:
    """The printable characters that byte-level BPE writes bytes with (GPT-2's; Radford et al.
    2019).
    """
    printable = [*range(0x21, 0x7F), *range(0xA1, 0xAD), *range(0xAE, 0x100)]
    others = [byte for byte in range(256) if byte not in printable]
    letters = {chr(byte): byte for byte in printable}
    letters.update({chr(256 + at): byte for at, byte in enumerate(others)})
    return letters


class TokenTable:
    """Token id -> the bytes it adds to a text, and those as text (incomplete characters show as
    U+FFFD).
    """

    def __init__(self, tokenizer: Tokenizer | PlainTokenizer) -> None:
        self._tokenizer = tokenizer
        added = tokenizer.get_added_tokens_decoder().items()
        self._added = {number: token.content for number, token in added}
        self._special = {number for number, token in added if token.special}
        self.added_tokens = {content: number for number, content in self._added.items()}
        # what marks something, by its text -> its id
        self.special_tokens = {self._added[number]: number for number in sorted(self._special)}
        decoder = None if isinstance(tokenizer, PlainTokenizer) else tokenizer.decoder
        state: bytes = decoder.__getstate__() if decoder is not None else b""
        self._alphabet = _byte_alphabet() if b"ByteLevel" in state else {}
        self._pieces = b"WordPiece" in state
        self._known: dict[int, tuple[bytes, str]] = {}

    def data(self, token_id: int) -> bytes:
        """The token's bytes; empty for an id outside the vocabulary."""
        return self._entry(token_id)[0]

    def text(self, token_id: int) -> str:
        """The token's text."""
        return self._entry(token_id)[1]

    def special(self, token_id: int) -> bool:
        """Whether the token marks something, and is left out of texts by default."""
        return token_id in self._special

    def _entry(self, token_id: int) -> tuple[bytes, str]:
        entry = self._known.get(token_id)
        if entry is None:
            if len(self._known) >= _CACHED:
                self._known.clear()
            data = self._read(token_id)
            entry = self._known[token_id] = (data, data.decode("utf-8", "replace"))
        return entry

    def _read(self, token_id: int) -> bytes:
        added = self._added.get(token_id)
        if added is not None:
            return added.encode()
        if isinstance(self._tokenizer, PlainTokenizer):
            return self._tokenizer.token_bytes(token_id)
        token = self._tokenizer.id_to_token(token_id) or ""
        if self._alphabet:
            known = [self._alphabet.get(letter) for letter in token]
            return (
                token.encode()
                if None in known
                else bytes(byte for byte in known if byte is not None)
            )
        if match := _BYTE_TOKEN.fullmatch(token):
            return bytes([int(match[1], 16)])
        if self._pieces:
            return token.removeprefix("##").encode()
        return token.replace("\u2581", " ").encode()
