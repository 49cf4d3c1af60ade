"""The engines that a suite runs over: all that there are, those of other distributions too."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import pytest

from openllm.backends.echo.backend import EchoBackend
from openllm.llm.llm import LLM

# Those that not every environment has.
MARKS = {"vllm": pytest.mark.vllm, "flax": pytest.mark.keras, "tf": pytest.mark.keras}


def engine_params(names: Iterable[str]) -> list[Any]:
    """`names` as the params of a fixture."""
    return [pytest.param(name, id=name, marks=MARKS.get(name, ())) for name in names]


def repeats(llm: LLM) -> bool:
    """Whether its engine is the one that repeats the prompt, or made of it: it has no model."""
    return isinstance(llm.backend, EchoBackend)
