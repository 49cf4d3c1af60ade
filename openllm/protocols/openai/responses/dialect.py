"""The dialect of responses: OpenAI's errors, fields of other names, and streams that end with an
event instead of a mark.
"""

from __future__ import annotations

import copy
from collections.abc import Callable, Mapping
from typing import Self

from openllm.http.dialect import Failure
from openllm.protocols.openai.dialect import OPENAI, OpenAI


class Responses(OpenAI):
    """OpenAI's, for `/v1/responses`."""

    end = b""
    prefixes: tuple[str, ...] = ()
    fields: Mapping[str, str] = {
        **OPENAI.fields,
        "max_tokens": "max_output_tokens",
        "prompt": "input",
        "strict": "tools[].strict",
        "structure": "text.format",
    }
    _failing: Callable[[Failure], bytes] | None = None

    def ending(self, failing: Callable[[Failure], bytes]) -> Self:
        """The same dialect for one stream, which says itself how it fails."""
        other = copy.copy(self)
        other._failing = failing
        return other

    def last_words(self, failure: Failure) -> bytes:
        return super().last_words(failure) if self._failing is None else self._failing(failure)


RESPONSES = Responses()
