"""The prompts of a benchmark: those of a file, or made up, with as long a shared beginning as
wanted.
"""

from __future__ import annotations

import json
import random
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import attrs

from openllm.cli.bench.load import LoadRequest
from openllm.errors import ConfigurationError

# Common words, each one token in the vocabularies of most models.
_COMMON = """
time year people way day man thing woman life child world school state family student group
country problem hand part place case week company system program question work government number
night point home water room mother area money story fact month lot right study book eye job word
business issue side kind head house service friend father power hour game line end member law car
city community name president team minute idea body information back parent face others level
office door health person art war history party result change morning reason research girl guy
moment air teacher force education
"""
WORDS = _COMMON.split()
_LENGTHS = ("max_tokens", "output_tokens")  # what files call the longest answer


@attrs.frozen
class PromptShape:
    """Made-up prompts of `prompt` tokens, of which the first `prefix` are the same in all that
    share one of the `prefixes` beginnings; answers of `answer` tokens.
    """

    prompt: int = 128
    answer: int = 128
    prefix: int = 0
    prefixes: int = 1

    def __attrs_post_init__(self) -> None:
        if self.prefix > self.prompt:
            raise ConfigurationError(
                f"A prompt of {self.prompt} tokens cannot begin with {self.prefix} shared ones.",
                hint=f"Give at most {self.prompt} of them.",
            )


def make_requests(
    count: int, shape: PromptShape, pool: Sequence[int] | None, seed: str
) -> list[LoadRequest]:
    """`count` prompts, the same for the same `seed`: of token ids out of `pool`, or where that is
    None, of words.
    """
    requests = []
    for at in range(count):
        beginning = random.Random(f"{seed.partition('/')[0]}-{at % shape.prefixes}")
        rest = random.Random(f"{seed}-{at}")
        pieces: list[Any] = []
        for chance, size in ((beginning, shape.prefix), (rest, shape.prompt - shape.prefix)):
            pieces += chance.choices(WORDS if pool is None else pool, k=size)
        requests.append(LoadRequest(" ".join(pieces) if pool is None else pieces, shape.answer))
    return requests


def read_requests(path: Path, answer: int, *, chat: bool) -> list[LoadRequest]:
    """The prompts of a file, one a line: a text, or a JSON object with `prompt` or `messages`, and
    `max_tokens` where it is not to be `answer`. Errors: ConfigurationError with the line.
    """
    try:
        lines = path.read_text(encoding="utf-8").splitlines()
    except UnicodeDecodeError:
        raise ConfigurationError(f"{path} is not UTF-8 text.") from None
    found = []
    for number, line in enumerate(lines, 1):
        if line.strip():
            try:
                found.append(_request(line, answer, chat))
            except ValueError as error:
                raise ConfigurationError(
                    f"{path}:{number}: {error}.",
                    hint='A line is a text, or {"prompt": "…", "max_tokens": 64}.',
                ) from None
    if not found:
        raise ConfigurationError(f"{path} has no prompts.", hint="Write one a line.")
    return found


def _request(line: str, answer: int, chat: bool) -> LoadRequest:
    """Errors: ValueError, whose text says what is wrong."""
    if not line.lstrip().startswith("{"):
        return LoadRequest(line, answer)
    try:
        said: Mapping[str, Any] = json.loads(line)
    except ValueError:
        raise ValueError("this is not JSON") from None
    longest = next((said[name] for name in _LENGTHS if said.get(name) is not None), answer)
    if not isinstance(longest, int) or longest < 1:
        raise ValueError(f"max_tokens must be a whole number above 0, not {longest!r}")
    messages, prompt = said.get("messages"), said.get("prompt")
    if isinstance(prompt, str):
        return LoadRequest(prompt, longest)
    if isinstance(prompt, list) and not chat and all(isinstance(each, int) for each in prompt):
        return LoadRequest(prompt, longest)
    if isinstance(messages, list) and chat:
        return LoadRequest(messages, longest)
    if isinstance(messages, list):
        raise ValueError("messages are asked with --chat only")
    raise ValueError("there is no prompt")
