"""Structured output: what is drawn follows the structure, in any batch; what cannot be compiled is
a bad request.
"""

from __future__ import annotations

import asyncio
import json
import re
import threading
from pathlib import Path
from typing import Any

import pytest
from transformers import AutoTokenizer

from openllm.backends.pytorch.sampling import grammar
from openllm.backends.stream import deltas
from openllm.errors import InvalidRequest, Overloaded
from openllm.types import Structure, StructureKind
from tests.backends.pytorch.conftest import ask, prompt_of, request, started, until_idle

SCHEMA = {
    "type": "object",
    "properties": {
        "name": {"type": "string", "maxLength": 5},
        "size": {"type": "integer", "minimum": 0, "maximum": 9},
    },
    "required": ["name", "size"],
}


def structure(kind: str, value: Any = "") -> Structure:
    return Structure(StructureKind(kind), value if isinstance(value, str) else json.dumps(value))


async def test_every_kind_holds_in_one_batch(llama: Path) -> None:
    tokenizer = AutoTokenizer.from_pretrained(llama)
    asked = [
        structure("choice", ["yes", 'n"o\\', "tab\there"]),
        structure("regex", "[a-f]{2,4}-[0-9]+x"),
        structure("json_schema", SCHEMA),
        structure("grammar", 'root ::= item+\nitem ::= "<" [0-9] ">"'),
    ]
    params = {"temperature": 1.0, "seed": 3, "max_tokens": 200, "ignore_eos": False}
    async with started(llama) as backend:
        answers = await asyncio.gather(
            *(ask(backend, prompt_of(6), structure=item, **params) for item in asked),
            ask(backend, prompt_of(6)),
        )
    texts = [tokenizer.decode(answer.tokens, skip_special_tokens=True) for answer in answers[:4]]
    assert [answer.reason for answer in answers[:4]] == ["stop"] * 4
    assert texts[0] in {"yes", 'n"o\\', "tab\there"}
    assert re.fullmatch("[a-f]{2,4}-[0-9]+x", texts[1])
    assert set(json.loads(texts[2])) == {"name", "size"}
    assert re.fullmatch("(<[0-9]>)+", texts[3])
    assert answers[4].reason == "length"


async def test_a_json_object_is_an_object_without_idle_space(llama: Path) -> None:
    tokenizer = AutoTokenizer.from_pretrained(llama)
    async with started(llama) as backend:
        kind = structure("json_object")
        closing = {
            tokenizer.convert_tokens_to_ids("}"): 12.0,
            tokenizer.convert_tokens_to_ids('"'): 6.0,
        }
        asked = {
            "temperature": 1.0,
            "seed": 1,
            "max_tokens": 300,
            "ignore_eos": False,
            "logit_bias": closing,
        }
        answer = await ask(backend, prompt_of(6), structure=kind, **asked)
    assert answer.reason == "stop"
    assert isinstance(json.loads(tokenizer.decode(answer.tokens, skip_special_tokens=True)), dict)


async def test_ends_only_when_the_grammar_may(llama: Path) -> None:
    tokenizer = AutoTokenizer.from_pretrained(llama)
    async with started(llama) as backend:
        asked = {"structure": structure("regex", "[0-9]{6}"), "min_tokens": 20, "max_tokens": 40}
        answer = await ask(backend, prompt_of(6), ignore_eos=True, **asked)
    assert answer.reason == "stop"
    assert re.fullmatch("[0-9]{6}", tokenizer.decode(answer.tokens, skip_special_tokens=True))


@pytest.mark.parametrize(
    "bad",
    [
        structure("regex", "([a-z"),
        structure("json_schema", "{not json"),
        structure("json_schema", '{"type": 5}'),
        structure("json_schema", '{"$ref": "#"}'),
        structure("json_schema", '{"type":"array","items":' * 100 + "{}" + "}" * 100),
        structure("grammar", "root ::= unknown"),
        structure("grammar", "root ::= root"),
        structure("choice", []),
        structure("choice", ["", "b"]),
        structure("choice", "not a list"),
        structure("regex", "(" * 3000 + ")" * 3000),
        structure("regex", "a" * (grammar.MAX_SOURCE + 1)),
    ],
)
async def test_a_bad_structure_is_a_bad_request(llama: Path, bad: Structure) -> None:
    async with started(llama) as backend:
        good = asyncio.ensure_future(ask(backend, prompt_of(4)))
        with pytest.raises(InvalidRequest) as refused:
            await ask(backend, prompt_of(5), structure=bad)
        assert "/" not in str(refused.value).replace("JSON/", "")
        assert (await good).reason == "length"
        await until_idle(backend)


async def test_compiling_is_bounded_in_time(llama: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    async with started(llama) as backend:
        good = structure("choice", ["a", "b"])
        await ask(backend, prompt_of(4), structure=good)
        ends = threading.Event()
        monkeypatch.setattr(grammar, "COMPILE_SECONDS", 0.2)
        original = grammar.compile_structure
        monkeypatch.setattr(
            grammar, "compile_structure", lambda *given: ends.wait() and original(*given)
        )
        for at in range(grammar.COMPILERS):
            with pytest.raises(InvalidRequest, match="to compile"):
                await ask(backend, prompt_of(4), structure=structure("regex", f"a{at}"))
        with pytest.raises(Overloaded):  # the compilers are still at it
            await ask(backend, prompt_of(4), structure=structure("regex", "b"))
        ends.set()
        assert (
            await ask(backend, prompt_of(4), structure=good, max_tokens=9)
        ).reason == "stop"  # it is kept


async def test_the_store_of_grammars_is_bounded(
    llama: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    compiled: list[Structure] = []
    original = grammar.compile_structure

    def counting(compiler: Any, item: Structure) -> Any:
        compiled.append(item)
        return original(compiler, item)

    monkeypatch.setattr(grammar, "compile_structure", counting)
    monkeypatch.setattr(grammar, "CACHE_ENTRIES", 2)
    async with started(llama) as backend:
        items = [structure("choice", [f"c{at}"]) for at in range(3)]
        for item in (items[0], items[0], items[1], items[2], items[0]):
            await ask(backend, prompt_of(4), structure=item)
        same = [ask(backend, prompt_of(4), structure=structure("regex", "x+")) for _ in range(4)]
        await asyncio.gather(*same)
    assert compiled == [items[0], items[1], items[2], items[0], structure("regex", "x+")]


async def test_cancelled_while_it_compiles(llama: Path) -> None:
    async with started(llama) as backend:
        asked = request(prompt_of(4), structure=structure("json_schema", SCHEMA))
        generation = deltas(backend, asked)
        reading = asyncio.ensure_future(anext(generation))
        await asyncio.sleep(0)
        reading.cancel()
        with pytest.raises(asyncio.CancelledError):
            await reading
        await until_idle(backend)
        assert (await ask(backend, prompt_of(4), structure=structure("json_schema", SCHEMA))).tokens
