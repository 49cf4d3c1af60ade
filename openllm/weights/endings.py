"""Which tokens end a turn: what a model's directory says in its configuration, for generation, and
of its tokenizer, all together.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from openllm.weights.checkpoint import CONFIG, read_json

GENERATION = "generation_config.json"
TOKENIZER = "tokenizer_config.json"
_TEXTS = ("text_config", "llm_config", "language_config")  # within a model that sees or hears too


def end_token_ids(directory: Path) -> tuple[int, ...]:
    """The ids, each once, in the order of the files. Errors: WeightsError for a file that is no
    JSON object.
    """
    config = _read(directory / CONFIG)
    inner = [part for name in _TEXTS if isinstance(part := config.get(name), dict)]
    found: list[int] = []
    for said in (_read(directory / GENERATION), config, *inner):
        found += _ids(said.get("eos_token_id"))
    found += _of_tokenizer(directory)
    return tuple(dict.fromkeys(found))


def _read(path: Path) -> dict[str, Any]:
    return read_json(path) if path.is_file() else {}


def _ids(value: Any) -> list[int]:
    values = value if isinstance(value, list) else [value]
    return [
        item
        for item in values
        if isinstance(item, int) and not isinstance(item, bool) and item >= 0
    ]


def _of_tokenizer(directory: Path) -> Iterator[int]:
    said = _read(directory / TOKENIZER)
    text = _content(said.get("eos_token"))
    if text is None:
        text = _content(_read(directory / "special_tokens_map.json").get("eos_token"))
    if text is None and not (directory / "tokenizer.json").is_file():
        yield from _of_tekken(_read(directory / "tekken.json"))
    if text is None:
        return
    added = said.get("added_tokens_decoder")
    for number, token in (added if isinstance(added, dict) else {}).items():
        if _content(token) == text and str(number).isdigit():
            yield int(number)
            return
    known = _read(directory / "tokenizer.json")
    for token in known.get("added_tokens") or []:
        if _content(token) == text:
            yield from _ids(token.get("id"))
            return
    model = known.get("model")
    vocabulary = model.get("vocab") if isinstance(model, Mapping) else None
    if isinstance(vocabulary, Mapping):
        yield from _ids(vocabulary.get(text))


def _of_tekken(said: Mapping[str, Any]) -> Iterator[int]:
    """The end of a turn in Mistral's own vocabulary, whose special tokens have their ranks for
    ids.
    """
    for token in said.get("special_tokens") or []:
        if isinstance(token, Mapping) and token.get("token_str") == "</s>":
            yield from _ids(token.get("rank"))


def _content(token: Any) -> str | None:
    """A token's text, written as it is or as an object."""
    if isinstance(token, Mapping):
        token = token.get("content")
    return token if isinstance(token, str) else None
