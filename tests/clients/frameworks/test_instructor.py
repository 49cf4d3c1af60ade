"""instructor's ways to an object of a given type, each against a server."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, Literal

import pydantic
import pytest

from tests.clients.servers import Writer

instructor = pytest.importorskip("instructor", reason="needs `make test-clients`")
openai = pytest.importorskip("openai")

ASK: Any = [{"role": "user", "content": "What is a Bento?"}]
# Each forces the answer, so that even the demo gives what is asked.
FORCED = (
    "TOOLS",
    "TOOLS_STRICT",
    "FUNCTIONS",
    "JSON_SCHEMA",
    "JSON_O1",
    "RESPONSES_TOOLS",
    "RESPONSES_TOOLS_WITH_INBUILT_TOOLS",
)


class Mood(pydantic.BaseModel):
    """The mood."""

    mood: Literal["good", "bad"]


class City(pydantic.BaseModel):
    """A city."""

    name: Literal["Rome", "Oslo"]


def connected(url: str, mode: str) -> Any:
    client = openai.OpenAI(base_url=f"{url}/v1", api_key="none", max_retries=0, timeout=60)
    return instructor.from_openai(client, mode=instructor.Mode[mode])


@pytest.mark.filterwarnings("ignore::DeprecationWarning")
@pytest.mark.parametrize("mode", FORCED)
def test_a_forced_answer(demo: str, mode: str) -> None:
    answer = connected(demo, mode).chat.completions.create(
        model="demo",
        messages=ASK,
        response_model=Mood,
        max_tokens=100,
        temperature=0,
        max_retries=0,
    )
    assert answer.mood in ("good", "bad")


@pytest.mark.parametrize("mode", ["TOOLS", "JSON_SCHEMA"])
def test_an_object_that_grows(demo: str, mode: str) -> None:
    parts = list(
        connected(demo, mode).chat.completions.create_partial(
            model="demo", messages=ASK, response_model=Mood, max_tokens=100, temperature=0
        )
    )
    assert len(parts) > 1
    assert parts[-1].mood in ("good", "bad")


@pytest.mark.parametrize(
    ("mode", "script"),
    [("JSON", '{"mood": "good"}'), ("MD_JSON", '```json\n{"mood": "good"}\n```')],
)
def test_an_answer_that_the_model_is_asked_for(writer: Writer, mode: str, script: str) -> None:
    writer.write(script)
    answer = connected(writer.url, mode).chat.completions.create(
        model="scripted", messages=ASK, response_model=Mood, max_retries=0
    )
    assert answer.mood == "good"


def test_several_calls_at_once(writer: Writer) -> None:
    calls = (
        '{"name": "Mood", "arguments": {"mood": "bad"}}',
        ('{"name": "City", "arguments": {"name": "Oslo"}}'),
    )
    writer.write("".join(f"<tool_call>\n{call}\n</tool_call>" for call in calls))
    found = connected(writer.url, "PARALLEL_TOOLS").chat.completions.create(
        model="scripted", messages=ASK, response_model=Iterable[Mood | City], max_retries=0
    )
    assert list(found) == [Mood(mood="bad"), City(name="Oslo")]


def test_an_answer_that_does_not_fit_is_asked_again(writer: Writer) -> None:
    wrong, right = (
        f'<tool_call>\n{{"name": "Mood", "arguments": {{"mood": "{mood}"}}}}\n</tool_call>'
        for mood in ("sleepy", "good")
    )
    writer.write([wrong, right])
    answer = connected(writer.url, "TOOLS").chat.completions.create(
        model="scripted", messages=ASK, response_model=Mood, max_retries=1
    )
    assert answer.mood == "good"
