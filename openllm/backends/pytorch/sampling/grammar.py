"""Structured output by xgrammar: grammars compiled off the event loop, within bounds of time and
size.
"""

from __future__ import annotations

import asyncio
import contextlib
import importlib.util
import json
import re
import threading
from collections import OrderedDict
from collections.abc import Callable
from pathlib import Path
from typing import Any

from openllm.backends.json_grammar import json_grammar
from openllm.backends.pytorch.sampling.guide import Guide
from openllm.config.spec import LLMSpec
from openllm.errors import EngineError, InvalidRequest, OpenLLMError, Overloaded, UnsupportedFeature
from openllm.types import Structure, StructureKind

MAX_SOURCE = 256 * 1024  # characters
MAX_DEPTH = 64  # brackets within brackets: the compiler recurses
COMPILE_SECONDS = 20.0
COMPILERS = 2  # at once
CACHE_ENTRIES = 128
CACHE_BYTES = 256 * 2**20

_SOURCE_LOCATION = re.compile(r"^\[[\d:]+\]\s+\S+:\d+:\s*")


class GrammarShop:
    """Compiles structures for one model and keeps the last ones. Lives on the event loop."""

    def __init__(
        self, spec: LLMSpec, weights_dir: Path, width: int, eos_token_ids: tuple[int, ...]
    ) -> None:
        self._spec, self._weights_dir, self._width, self._eos = (
            spec,
            weights_dir,
            width,
            eos_token_ids,
        )
        self._compiler: Any = None
        self._lock = threading.Lock()
        self._slots = asyncio.Semaphore(COMPILERS)
        self._done: OrderedDict[Structure, Any] = OrderedDict()
        self._pending: dict[Structure, asyncio.Task[Any]] = {}

    async def compile(self, structure: Structure) -> Callable[[], Guide]:
        """What makes a fresh Guide per choice. Errors: InvalidRequest, Overloaded,
        UnsupportedFeature.
        """
        if importlib.util.find_spec("xgrammar") is None:
            raise UnsupportedFeature(
                "Structured output needs xgrammar.", hint="Run: pip install xgrammar"
            )
        if structure.kind is not StructureKind.CHOICE:
            check_size(structure.value)
        compiled = self._done.get(structure)
        if compiled is None:
            task = self._pending.get(structure)
            if task is None:
                task = self._pending[structure] = asyncio.create_task(self._compile(structure))
                task.add_done_callback(lambda done: self._note(structure, done))
            compiled = await asyncio.shield(task)
        else:
            self._done.move_to_end(structure)
        return lambda: Guide(compiled, has_end_token=bool(self._eos))

    def _note(self, structure: Structure, task: asyncio.Task[Any]) -> None:
        self._pending.pop(structure, None)
        if not task.cancelled() and task.exception() is None:
            self._done[structure] = task.result()
            total = sum(compiled.memory_size_bytes for compiled in self._done.values())
            while len(self._done) > CACHE_ENTRIES or (total > CACHE_BYTES and len(self._done) > 1):
                total -= self._done.popitem(last=False)[1].memory_size_bytes

    async def _compile(self, structure: Structure) -> Any:
        """Compile on a thread of its own, which a time limit can leave behind."""
        try:
            await asyncio.wait_for(self._slots.acquire(), COMPILE_SECONDS)
        except TimeoutError:
            raise Overloaded(
                "All grammar compilers are busy.", hint="Try again later.", retry_after=5
            ) from None
        loop, outcome = asyncio.get_running_loop(), asyncio.get_running_loop().create_future()

        def settle(result: Any, error: OpenLLMError | None) -> None:
            self._slots.release()
            if not outcome.done():
                outcome.set_result(result) if error is None else outcome.set_exception(error)

        def work() -> None:
            result: Any = None
            error: OpenLLMError | None = EngineError("The grammar compiler failed.")
            try:
                result, error = self._build(structure), None
            except OpenLLMError as problem:
                error = problem
            finally:
                with contextlib.suppress(RuntimeError):  # the loop is closed: nobody waits any more
                    loop.call_soon_threadsafe(settle, result, error)

        threading.Thread(target=work, name="openllm-grammar", daemon=True).start()
        try:
            return await asyncio.wait_for(outcome, COMPILE_SECONDS)
        except TimeoutError:
            what = f"The {structure.kind.value} takes more than {COMPILE_SECONDS:g} s to compile."
            raise InvalidRequest(what, hint="Make it simpler.", param="structure") from None

    def _build(self, structure: Structure) -> Any:
        """On a compiler thread. Errors: InvalidRequest, UnsupportedFeature."""
        with self._lock:
            if self._compiler is None:
                self._compiler = make_compiler(
                    self._spec, self._weights_dir, self._width, self._eos
                )
        try:
            compiled = compile_structure(self._compiler, structure)
        except (RuntimeError, ValueError, TypeError, KeyError, RecursionError) as error:
            reason = _SOURCE_LOCATION.sub("", str(error).strip()).partition("\n")[0][:300]
            raise InvalidRequest(
                f"The {structure.kind.value} cannot be compiled: {reason}",
                hint="Correct it.",
                param="structure",
            ) from error
        self._require_a_beginning(compiled, structure)
        return compiled

    def _require_a_beginning(self, compiled: Any, structure: Structure) -> None:
        import xgrammar

        bitmask = xgrammar.allocate_token_bitmask(1, self._width)
        Guide(compiled, has_end_token=bool(self._eos)).fill(bitmask, 0)
        if not bool(bitmask.any()):
            raise InvalidRequest(f"No text matches the {structure.kind.value}.", param="structure")


def make_compiler(
    spec: LLMSpec, weights_dir: Path, width: int, eos_token_ids: tuple[int, ...]
) -> Any:
    """xgrammar's compiler for the tokenizer in `weights_dir` and logits of `width`. Errors:
    UnsupportedFeature.
    """
    import xgrammar
    from transformers import AutoTokenizer

    try:
        tokenizer = AutoTokenizer.from_pretrained(
            weights_dir, trust_remote_code=spec.trust_remote_code, local_files_only=True
        )
        info = xgrammar.TokenizerInfo.from_huggingface(
            tokenizer, vocab_size=width, stop_token_ids=list(eos_token_ids) or None
        )
    except (OSError, ValueError, RuntimeError, TypeError, AttributeError, KeyError) as error:
        raise UnsupportedFeature(
            "The model's tokenizer does not suit structured output."
        ) from error
    return xgrammar.GrammarCompiler(info, max_threads=COMPILERS, cache_enabled=False)


def compile_structure(compiler: Any, structure: Structure) -> Any:
    """Errors: what xgrammar raises for a source that it cannot read."""
    kind, value = structure.kind, structure.value
    if kind is StructureKind.JSON_OBJECT:
        return compiler.compile_json_schema('{"type": "object"}', any_whitespace=False)
    if kind is StructureKind.JSON_SCHEMA:
        return compiler.compile_grammar(json_grammar(value))
    if kind is StructureKind.REGEX:
        return compiler.compile_regex(value)
    if kind is StructureKind.CHOICE:
        return compiler.compile_grammar(choice_grammar(json.loads(value)))
    return compiler.compile_grammar(value)


def choice_grammar(choices: list[str]) -> str:
    """A GBNF grammar of literal strings."""
    if (
        not isinstance(choices, list)
        or not choices
        or not all(isinstance(c, str) and c for c in choices)
    ):
        raise ValueError("choice must be a list of texts, none of them empty")
    named = {"\\": "\\\\", '"': '\\"', "\n": "\\n", "\r": "\\r", "\t": "\\t"}
    quoted = (
        '"' + "".join(named.get(character, character) for character in choice) + '"'
        for choice in choices
    )
    return "root ::= " + " | ".join(quoted)


def check_size(source: str) -> None:
    """Refuse what could exhaust the compiler's stack or time. Errors: InvalidRequest."""
    if len(source) > MAX_SOURCE:
        raise InvalidRequest(
            f"The structure has {len(source)} characters; {MAX_SOURCE} are allowed.",
            param="structure",
        )
    depth = 0
    for character in source:
        if character in "([{":
            depth += 1
            if depth > MAX_DEPTH:
                raise InvalidRequest(
                    f"The structure nests deeper than {MAX_DEPTH}.", param="structure"
                )
        elif character in ")]}":
            depth = max(0, depth - 1)
