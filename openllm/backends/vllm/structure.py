"""Structures before vLLM's engine has them: compiled and tried in a process of their own, so that
what its steps cannot afford is refused before it is admitted.

The engine compiles a grammar itself, and computes its masks within its steps, for all requests and
without a limit. JSON schemas reach it as grammars without white space between tokens: it has that
as a setting only, which would differ from what `vllm serve` resolves to.
"""

from __future__ import annotations

import asyncio
from typing import Any

from openllm.backends.grammar.frames import Vocabulary
from openllm.backends.grammar.limits import GrammarLimits
from openllm.backends.grammar.source import written
from openllm.backends.grammar.store import GrammarStore
from openllm.types import Structure, StructureKind

# A token's mask keeps the step of everybody waiting: it may take little, and more are tried.
WITHIN_STEPS = GrammarLimits(trial=256, trial_length=64, trial_seconds=0.05)


class Structures:
    """Those that one engine may be given. Lives on one event loop."""

    def __init__(self, engine: Any, config: Any, ends: tuple[int, ...]) -> None:
        """Of an AsyncLLM and its VllmConfig; `ends` are the tokens that end an answer."""
        from transformers import PreTrainedTokenizerBase

        model = config.model_config
        follower = config.structured_outputs_config.backend
        self._store: GrammarStore | None = None
        # mistral-common's and others of vLLM's own can be read by it alone
        if follower == "xgrammar" and isinstance(engine.tokenizer, PreTrainedTokenizerBase):
            vocabulary = Vocabulary(
                model.tokenizer, model.get_vocab_size(), ends, model.trust_remote_code
            )
            self._store = GrammarStore(vocabulary, WITHIN_STEPS)

    async def checked(self, structure: Structure) -> Structure:
        """The same as a grammar or a regular expression that the engine can follow.

        Errors: InvalidRequest for what it cannot, or what costs too much; those of
        `GrammarStore.use`.
        """
        if self._store is not None:
            return await self._store.check(structure)
        return await asyncio.to_thread(compacted, structure)

    def close(self) -> None:
        """End what is being compiled."""
        if self._store is not None:
            self._store.close()


def compacted(structure: Structure) -> Structure:
    """`structure` with a JSON schema written as a grammar; others as they are. Takes milliseconds:
    not for the loop.

    Errors: InvalidRequest for a schema that is no JSON, or that cannot be kept.
    """
    return structure if structure.kind is StructureKind.CHOICE else written(structure)


def follow_by_xgrammar(config: Any) -> None:
    """Have the engine follow all structures by xgrammar. Left to itself the first request decides
    for all: one that xgrammar cannot read would have others followed by what cannot read theirs.
    """
    if config.structured_outputs_config.backend == "auto":
        config.structured_outputs_config.backend = "xgrammar"
