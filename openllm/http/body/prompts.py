"""A field that holds one prompt or several, each as text or as token ids."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from openllm.config.settings import Settings
from openllm.errors import InvalidRequest
from openllm.http.body.fields import Fields, required
from openllm.http.body.sampling import MAX_INT
from openllm.llm.llm import LLM

MAX_DIMENSIONS = 65_536  # of a vector
MAX_PROMPT_IDS = 2 * 1024**2  # of one prompt; longer than any context, short enough to be looked at


def read_prompts(fields: Fields, name: str, settings: Settings) -> list[str | list[int]]:
    """A text, texts, token ids or lists of token ids as a list of prompts. Errors:
    InvalidRequest.
    """
    value = required(fields, name, fields.raw(name))
    if isinstance(value, str):
        value = [value]
    elif not isinstance(value, list):
        fields.bad(
            name,
            "must be a string, an array of strings, an array of token ids, or an array of those",
        )
    elif value and type(value[0]) is int:
        value = [value]
    if not value:
        fields.bad(name, "must not be empty")
    if len(value) > settings.max_prompts:
        fields.bad(name, f"has {len(value)} entries; at most {settings.max_prompts} are allowed")
    prompts: list[str | list[int]] = value
    for item in prompts:
        _check_prompt(fields, name, item)
    return prompts


def _check_prompt(fields: Fields, name: str, item: Any) -> None:
    if not isinstance(item, str | list):
        fields.bad(name, "must hold strings, or token ids, and not both")
    if not item:
        fields.bad(name, "must not hold an empty prompt")
    if isinstance(item, str):
        fields.check_text(name, item)
        return
    if len(item) > MAX_PROMPT_IDS:
        fields.bad(name, f"has {len(item)} token ids; at most {MAX_PROMPT_IDS} are allowed")
    if set(map(type, item)) != {int}:
        fields.bad(name, "token ids must be whole numbers")
    if min(item) < 0 or max(item) > MAX_INT:
        raise InvalidRequest(f"{name}: a token id is out of range.", param=fields.path(name))


def text_of(llm: LLM, tokens: Sequence[Any], name: str) -> str:
    """The text of token ids, the field `name`, special ones shown. Errors: InvalidRequest for what
    is no id.
    """
    size = llm.info.vocab_size
    if not all(type(token) is int and 0 <= token < size for token in tokens):
        raise InvalidRequest(f"{name}: a token id is not in [0, {size}).", param=name)
    text: str = llm.decoding_tokenizer.decode(tokens, skip_special_tokens=False)
    return text
