"""Scores of the demo model: its answers to held-out questions, and what it does with tools."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
import yaml
from demo_model import answers
from demo_text.corpus import Corpus

TEXT = Path(__file__).parent / "demo_text"
Chat = list[dict[str, Any]]
OPEN, CLOSE = "<tool_call>\n", "\n</tool_call>"


def score_questions(model: Any, folder: Path, style: str) -> None:
    """Greedy answers to the held-out questions against the topic's exact answer."""
    corpus = Corpus()
    asked = [(topic, question) for topic, texts in read("heldout").items() for question in texts]
    chats = [user(question) for _, question in asked]
    said = answers(model, folder, chats)
    by_answer = {topic.answered(style): topic.id for topic in corpus.topics.values()}
    misses = [
        (topic, question, by_answer.get(text, text))
        for (topic, question), text in zip(asked, said, strict=True)
        if text != corpus.topics[topic].answered(style)
    ]
    for topic, question, text in misses:
        print(f"  {style}: {question!r} wanted {topic}, got {text}")
    print(f"{style}: {len(asked) - len(misses)} of {len(asked)} right", flush=True)


@dataclass(frozen=True)
class Step:
    """What the model wrote in one step of a held-out conversation with tools, and whether that is
    right. `kind`: "call", "result" (the answer to what a tool gave back) or "no call" (an answer
    where no tool is needed).
    """

    kind: str
    question: str
    text: str
    fits: bool


def score_tools(model: Any, folder: Path) -> None:
    steps = tool_steps(model, folder)
    for step in steps:
        if not step.fits:
            print(f"  tools: {step.question!r}, {step.kind}: {step.text!r}")
    right = Counter(step.kind for step in steps if step.fits)
    counts = Counter(step.kind for step in steps)
    shares = ", ".join(f"{kind} {right[kind]} of {count}" for kind, count in counts.items())
    print(f"tools: {shares} right", flush=True)


def tool_steps(model: Any, folder: Path) -> list[Step]:
    """All steps of heldout_tools.yaml, answered greedily."""
    return [step for case in read("heldout_tools") for step in steps_of(model, folder, case)]


def steps_of(model: Any, folder: Path, case: Mapping[str, Any]) -> list[Step]:
    """The answer to the results is asked for after the right calls, whatever the model called."""
    tools = [declared(name, *said) for name, said in case["tools"].items()]
    chat = user(case["asks"])
    wanted = [
        {"name": name, "arguments": arguments}
        for call in case.get("calls", ())
        for name, arguments in call.items()
    ]

    def step(kind: str) -> Step:
        [text] = answers(model, folder, [chat], tools)
        fits = calls_in(text) == wanted if kind == "call" else said_in(text, case["says"])
        return Step(kind, case["asks"], text, fits)

    if not wanted:
        return [step("no call")]
    called = step("call")
    chat.append(
        {
            "role": "assistant",
            "content": None,
            "tool_calls": [{"function": call} for call in wanted],
        }
    )
    chat += [{"role": "tool", "content": content} for content in case["results"]]
    return [called, step("result")]


def said_in(text: str, parts: Sequence[str]) -> bool:
    return all(part.lower() in text.lower() for part in parts)


def calls_in(text: str) -> list[Any] | None:
    """The calls that a text consists of; None for one that does not."""
    pieces = text.split("\n" + OPEN)
    if not all(piece.endswith(CLOSE) for piece in pieces) or not text.startswith(OPEN):
        return None
    try:
        return [json.loads(piece.removeprefix(OPEN).removesuffix(CLOSE)) for piece in pieces]
    except ValueError:
        return None


def declared(name: str, about: str, parameters: Mapping[str, Any]) -> dict[str, Any]:
    """A tool of heldout_tools.yaml as OpenAI's API declares it."""
    properties = {
        key.rstrip("*"): {"type": kind}
        if isinstance(kind, str)
        else {"type": "string", "enum": kind}
        for key, kind in parameters.items()
    }
    required = [key for key in parameters if not key.endswith("*")]
    schema = {"type": "object", "properties": properties, "required": required}
    return {
        "type": "function",
        "function": {"name": name, "description": about, "parameters": schema},
    }


def user(question: str) -> Chat:
    return [{"role": "user", "content": question}]


def read(name: str) -> Any:
    return yaml.safe_load((TEXT / f"{name}.yaml").read_text(encoding="utf-8"))


def device() -> str:
    return "cuda" if torch.cuda.is_available() else "cpu"
