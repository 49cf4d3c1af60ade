"""The fields of a body that are called as in `SamplingParams`: overrides of an LLM's defaults."""

from __future__ import annotations

from typing import Any

from openllm.config.settings import Settings
from openllm.http.body.fields import Fields
from openllm.types import RequestOptions

MAX_STOP_CHARACTERS = 1024
MAX_TOKEN_LIST = 1024  # entries of logit_bias and stop_token_ids
MAX_ALLOWED = 2**20  # entries of allowed_token_ids; more than any vocabulary
MAX_BAD_WORDS = 256
MAX_SALT_CHARACTERS = 1024
MAX_INT = 2**31 - 1

# Ranges of these are checked where every caller of an LLM passes: `openllm.config.sampling`.
_PLAIN = (
    "temperature",
    "top_p",
    "top_k",
    "min_p",
    "repetition_penalty",
    "presence_penalty",
    "frequency_penalty",
    "seed",
    "min_tokens",
    "ignore_eos",
    "skip_special_tokens",
)


# The others, but for the length of the answer, which most requests limit.
_SELDOM = frozenset(
    (
        "n",
        "stop",
        "stop_token_ids",
        "allowed_token_ids",
        "bad_words",
        "logit_bias",
        "thinking_budget",
        "prompt_logprobs",
    )
)
# What `read_options` reads.
OPTIONS = ("truncate_prompt_tokens", "priority", "cache_salt")


def read_sampling(fields: Fields, settings: Settings) -> dict[str, Any]:
    """Overrides by `SamplingParams`' names, only what was said; without logprobs, include_stop and
    structure, which vendors say in their own ways. Errors: InvalidRequest.
    """
    said = read_plain(fields)
    said["max_tokens"] = _limit(fields, "max_tokens")
    if not fields.silent(_SELDOM):
        said |= _read_seldom(fields, settings)
    return {name: value for name, value in said.items() if value is not None}


def _read_seldom(fields: Fields, settings: Settings) -> dict[str, Any]:
    said: dict[str, Any] = {}
    said["n"] = fields.integer("n", 1, settings.max_n)
    said["stop"] = fields.texts("stop", most=settings.max_stop, longest=MAX_STOP_CHARACTERS)
    said["stop_token_ids"] = _token_ids(fields, "stop_token_ids", MAX_TOKEN_LIST)
    said["allowed_token_ids"] = _token_ids(fields, "allowed_token_ids", MAX_ALLOWED)
    said["bad_words"] = fields.texts("bad_words", most=MAX_BAD_WORDS, longest=MAX_STOP_CHARACTERS)
    said["logit_bias"] = fields.mapping("logit_bias", most=MAX_TOKEN_LIST)
    said["thinking_budget"] = _limit(fields, "thinking_budget")
    said["prompt_logprobs"] = fields.integer("prompt_logprobs", 0, settings.max_logprobs)
    if not fields.strict:
        _take_habits(said)
    return said


def _limit(fields: Fields, name: str) -> int | None:
    """The length of an answer or of a thought; where fields are read leniently, -1 is any."""
    limit = fields.integer(name, 0 if fields.strict else -1, MAX_INT)
    return None if limit == -1 else limit


def read_options(fields: Fields) -> RequestOptions:
    """How the request is to be handled. Errors: InvalidRequest."""
    most = fields.integer("truncate_prompt_tokens", -1, MAX_INT)
    if most == 0:
        fields.bad("truncate_prompt_tokens", "must be at least 1, or -1 for all that fit")
    priority = fields.integer("priority", -MAX_INT, MAX_INT) or 0
    salt = fields.text("cache_salt", longest=MAX_SALT_CHARACTERS)
    if salt == "":
        fields.bad("cache_salt", "must not be empty")
    return RequestOptions(most, priority, salt)


def _token_ids(fields: Fields, name: str, most: int) -> list[Any] | None:
    value = fields.items(name, most=most)
    return None if value is None else [fields.whole(item) for item in value]


def read_plain(fields: Fields) -> dict[str, Any]:
    """Those of them whose ranges every caller's values are checked for; where fields are read
    leniently, top_p 0 means the likeliest token alone.
    """
    said = {name: fields.whole(value) for name, value in fields.present(_PLAIN).items()}
    top_p = said.get("top_p")
    if top_p == 0 and not isinstance(top_p, bool) and not fields.strict:
        said |= {"top_p": None, "top_k": 1}
    return said


def _take_habits(said: dict[str, Any]) -> None:
    """What clients write for "nothing" becomes that, such as an empty stop string."""
    if said["stop"] is not None:
        said["stop"] = tuple(stop for stop in said["stop"] if stop) or None
    for name in ("bad_words", "allowed_token_ids", "logit_bias"):
        said[name] = said[name] or None
    if said["logit_bias"] is not None:
        bias = {key: value for key, value in said["logit_bias"].items() if value is not None}
        said["logit_bias"] = bias


def add_limit(
    fields: Fields,
    name: str,
    overrides: dict[str, Any],
    known_as: str = "max_tokens",
    least: int = 1,
) -> int | None:
    """Another field's word for a limit of `SamplingParams`, put into `overrides`. Errors:
    InvalidRequest where the two differ.
    """
    limit = fields.integer(name, least if fields.strict else -1, MAX_INT)
    if limit == -1:
        return None
    if limit is not None and limit < least:
        fields.bad(name, f"must be at least {least}")
    if limit is not None and overrides.setdefault(known_as, limit) != limit:
        fields.bad(name, f"differs from {known_as}")
    return limit
