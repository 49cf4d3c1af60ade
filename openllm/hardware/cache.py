"""How an engine lays out the keys and values that it keeps: how many bytes hold how many tokens."""

from __future__ import annotations

import attrs


@attrs.frozen
class CacheLayout:
    """Keys and values in whole blocks, some of which stay spare."""

    token_bytes: float  # of one token, on one device
    block: int = 1  # tokens
    spare: int = 0  # blocks beyond those of the sequences

    def size(self, tokens: int) -> int:
        """Bytes of a cache that holds `tokens`."""
        return int((-(-tokens // self.block) + self.spare) * self.block * self.token_bytes)

    def tokens(self, size: int) -> int:
        """How many tokens a cache of `size` bytes holds."""
        return max(int(size // self.token_bytes) // self.block - self.spare, 0) * self.block
