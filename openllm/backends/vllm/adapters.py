"""LoRA adapters of a vLLM engine: names to LoRARequests, each mount with an id of its own."""

from __future__ import annotations

import asyncio
import itertools
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from openllm.backends.vllm.failures import translate
from openllm.backends.vllm.plain_adapter import is_plain, stored_names, write_plain
from openllm.config.spec import AdapterSpec
from openllm.errors import (
    AdapterNotFound,
    Conflict,
    OpenLLMError,
    UnsupportedFeature,
    WeightsError,
    call,
    option,
)
from openllm.weights.adapters import check_adapter, read_adapter, resolve_adapter
from openllm.weights.finite import check_values
from openllm.weights.temporary import Temporary


class Adapters:
    """What is mounted. A remounted name gets a new id, so nothing cached for the old weights is
    used again.
    """

    def __init__(self, engine: Any, slots: int, base: Path) -> None:
        self._engine = engine
        self._base = base
        self._copies: dict[int, Temporary] = {}  # by id, while mounted
        self._slots = slots
        self._ids = itertools.count(1)
        self._mounted: dict[str, Any] = {}

    def find(self, name: str | None) -> Any:
        """The LoRARequest for `name`; None for the base model. Errors: AdapterNotFound."""
        if name is None:
            return None
        if name not in self._mounted:
            raise AdapterNotFound(
                f"There is no adapter {name!r}.",
                hint=f"{call('LLM.adapters')} lists them.",
                param="adapter",
            )
        return self._mounted[name]

    async def mount(self, name: str, path: Path) -> None:
        """Load the adapter in `path` into a slot. Errors: Conflict, UnsupportedFeature,
        WeightsError.
        """
        from vllm.lora.request import LoRARequest

        if self._slots < 1:
            raise UnsupportedFeature(
                "The engine was started without room for adapters.",
                hint=f"Start with {option('max_adapters', 'N')}.",
            )
        if name not in self._mounted and len(self._mounted) >= self._slots:
            raise Conflict(
                f"All {self._slots} adapter slots are taken.",
                hint=f"Remove one, or start with a higher {option('max_adapters')}.",
            )
        number = next(self._ids)
        try:
            place = await asyncio.to_thread(self._plain, path, number)
        except WeightsError as error:
            raise _load_error(name, path, error) from error
        request = LoRARequest(f"{name}#{number}", number, str(place))
        try:
            await self._load(name, request)
        except OpenLLMError:
            self._forget(number)
            raise
        old, self._mounted[name] = self._mounted.get(name), request
        if old is not None:
            await self._engine.remove_lora(old.lora_int_id)
            self._forget(old.lora_int_id)

    def _plain(self, path: Path, number: int) -> Path:
        """The adapter in the one form that vLLM reads, as a copy where it has another. Errors:
        WeightsError.
        """
        adapter = check_adapter(path, None)
        check_values(adapter)
        names = stored_names(adapter, self._base)
        if is_plain(adapter, names):
            return path
        self._copies[number] = Temporary()
        return write_plain(adapter, names, self._copies[number].path)

    def _forget(self, number: int) -> None:
        copy = self._copies.pop(number, None)
        if copy is not None:
            copy.close()

    async def _load(self, name: str, request: Any) -> None:
        # gathered, because the engine's process reports every failure as a bare Exception
        outcomes = await asyncio.gather(self._engine.add_lora(request), return_exceptions=True)
        outcome: Any = outcomes[0]
        if isinstance(outcome, BaseException):
            raise _load_error(name, request.lora_path, outcome) from outcome
        if not outcome:
            raise WeightsError(
                f"vLLM did not load the adapter {name!r}.", hint="See the server's log."
            )

    async def unmount(self, name: str) -> None:
        """Free the slot. Errors: AdapterNotFound."""
        request = self.find(name)
        del self._mounted[name]
        await self._engine.remove_lora(request.lora_int_id)
        self._forget(request.lora_int_id)


def _load_error(name: str, path: Path | str, error: BaseException) -> OpenLLMError:
    """What the engine said, without the names of its calls and without paths: it goes to callers
    too.
    """
    if type(error).__name__ == "EngineDeadError":
        return translate(error)
    text = " ".join(str(error).split())
    reason = (text.rpartition("failed: ")[2] or text).replace(str(path), "its directory")
    return WeightsError(
        f"vLLM cannot load the adapter {name!r}: {reason}", hint="Check it with peft."
    )


def adapter_ranks(adapters: Sequence[AdapterSpec], home: Path) -> list[int]:
    """The ranks of these adapters; the engine's buffers follow from them. What cannot be read is
    left out.
    """
    return [rank for adapter in adapters if (rank := _rank(adapter, home)) is not None]


def _rank(adapter: AdapterSpec, home: Path) -> int | None:
    try:
        return read_adapter(resolve_adapter(adapter, home)).rank
    except OpenLLMError:
        return None  # mounting it says what is wrong with it
