"""Structured output: what is drawn follows the structure, in any batch; what cannot be compiled is
a bad request.
"""

from __future__ import annotations

import asyncio
import json
import re
from pathlib import Path

import pytest
from transformers import AutoTokenizer

from openllm.backends.grammar.frames import Vocabulary
from openllm.backends.grammar.limits import GrammarLimits
from openllm.backends.grammar.store import GrammarStore
from openllm.backends.pytorch import started as started_models
from openllm.backends.pytorch import steps
from openllm.backends.stream import deltas
from openllm.errors import InvalidRequest
from tests.backends.hostile import BAD, overlapping, structure
from tests.backends.pytorch.conftest import ask, prompt_of, request, started, until_idle

SCHEMA = {
    "type": "object",
    "properties": {
        "name": {"type": "string", "maxLength": 5},
        "size": {"type": "integer", "minimum": 0, "maximum": 9},
    },
    "required": ["name", "size"],
}


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


async def test_a_bad_structure_is_a_bad_request(llama: Path) -> None:
    async with started(llama) as backend:
        good = asyncio.ensure_future(ask(backend, prompt_of(4)))
        for bad in BAD:
            with pytest.raises(InvalidRequest) as refused:
                await ask(backend, prompt_of(5), structure=bad)
            assert "\n" not in str(refused.value)
        assert (await good).reason == "length"
        await until_idle(backend)


async def test_others_go_on_beside_a_structure_that_takes_seconds(
    llama: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its rows wait for their masks, in as many steps of the others as that takes, until it is
    refused.
    """
    monkeypatch.setattr(started_models, "GrammarStore", untried)
    async with started(llama) as backend:
        hostile = asyncio.ensure_future(
            ask(backend, prompt_of(5), structure=overlapping(1500), max_tokens=8)
        )
        count = 0
        while not hostile.done():
            async for _ in deltas(backend, request(prompt_of(6), max_tokens=100)):
                count += 1
        with pytest.raises(InvalidRequest, match=r"0\.5 s of CPU for one token"):
            await hostile
        assert count > 20
        await until_idle(backend)


def untried(vocabulary: Vocabulary) -> GrammarStore:
    """A store that admits what it could have found out."""
    return GrammarStore(vocabulary, GrammarLimits(trial=0, mask_seconds=0.5))


async def test_a_late_row_draws_what_it_would_have_drawn(
    llama: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its last token is computed again, in whatever batch."""
    asked = {"structure": structure("regex", "[a-z ]{40}"), "max_tokens": 30, "ignore_eos": False}
    async with started(llama) as backend:
        expected = await ask(backend, prompt_of(6), **asked)
        monkeypatch.setattr(steps, "MASK_SECONDS", (0.0, 0.0))
        late, _ = await asyncio.gather(
            ask(backend, prompt_of(6), **asked), ask(backend, prompt_of(9), max_tokens=30)
        )
    assert late.tokens == expected.tokens


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
