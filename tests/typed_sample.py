"""What a type checker must see of the public names: read by mypy and pyright, never run."""

from __future__ import annotations

from collections.abc import Iterator
from typing import assert_type

import openllm
from openllm.client import AsyncClient, ChatAnswer, ChatDelta, Client
from openllm.types import GenerationOutput


def blocking(llm: openllm.LLM) -> None:
    assert_type(llm("hi"), GenerationOutput)
    assert_type(llm([1, 2, 3]), GenerationOutput)
    assert_type(llm(["one", "two"]), list[GenerationOutput])
    assert_type(llm([[1, 2], [3]]), list[GenerationOutput])
    assert_type(llm.run(llm.generate("hi")), GenerationOutput)
    assert_type(llm.run([llm.generate("a"), llm.generate("b")]), list[GenerationOutput])
    assert_type(llm.run(llm.generate_iterator("hi")), Iterator[GenerationOutput])
    with llm as entered:
        assert_type(entered, openllm.LLM)
    assert_type(llm("hi").text, str)
    llm("hi", 3)  # type: ignore[call-overload]  # pyright: ignore[reportCallIssue]
    llm.generate_one  # type: ignore[attr-defined]  # noqa: B018  # pyright: ignore


async def awaiting(llm: openllm.LLM) -> None:
    assert_type(await llm.generate("hi"), GenerationOutput)
    async for output in llm.generate_iterator("hi"):
        assert_type(output, GenerationOutput)


def families() -> None:
    assert_type(openllm.Llama.from_pretrained("x"), openllm.Llama)
    assert_type(openllm.SamplingParams(temperature=0.5).top_p, float)


def client(found: Client) -> None:
    assert_type(found.chat("hi"), ChatAnswer)
    assert_type(found.chat_stream("hi"), Iterator[ChatDelta])
    assert_type(found.generate("hi"), GenerationOutput)
    found.chat("hi", system=3)  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]


async def client_awaiting(found: AsyncClient) -> None:
    assert_type(await found.chat("hi"), ChatAnswer)
