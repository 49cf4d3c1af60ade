"""The sampling fields that the protocols share: OpenAI's and vLLM's names to the overrides of
`LLM.sampling_params`.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import attrs
import msgspec

from openllm.config.settings import Settings
from openllm.errors import InvalidRequest
from openllm.http.fields import Fields, required
from openllm.types import Structure, StructureKind

MAX_STOP_CHARACTERS = 1024
MAX_TOKEN_LIST = 1024  # entries of logit_bias and stop_token_ids
MAX_PROMPT_IDS = 2 * 1024**2  # of one prompt; longer than any context, short enough to be looked at
MAX_STRUCTURE_CHARACTERS = 256 * 1024
_MAX_INT = 2**31 - 1

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
# Known, and without any effect on the answer.
_HARMLESS = (
    "user",
    "metadata",
    "store",
    "service_tier",
    "prompt_cache_key",
    "prompt_cache_options",
    "prompt_cache_retention",
    "safety_identifier",
    "prediction",
)


@attrs.frozen
class StreamOptions:
    """Whether and how an answer is streamed."""

    stream: bool = False
    include_usage: bool = False


def read_sampling(fields: Fields, settings: Settings) -> dict[str, Any]:
    """Overrides by `SamplingParams`' names, only what was said. Errors: InvalidRequest,
    UnsupportedFeature.
    """
    said = fields.present(_PLAIN)
    said["include_stop"] = fields.flag("include_stop_str_in_output") or None
    said["n"] = fields.integer("n", 1, settings.max_n)
    said["stop"] = fields.texts("stop", most=settings.max_stop, longest=MAX_STOP_CHARACTERS)
    said["stop_token_ids"] = fields.items("stop_token_ids", most=MAX_TOKEN_LIST)
    said["logit_bias"] = fields.mapping("logit_bias", most=MAX_TOKEN_LIST)
    said["max_tokens"] = fields.integer("max_tokens", 0, _MAX_INT)
    said["prompt_logprobs"] = fields.integer("prompt_logprobs", 0, settings.max_logprobs)
    said["structure"] = read_structure(fields)
    return {name: value for name, value in said.items() if value is not None}


def read_stream(fields: Fields) -> StreamOptions:
    """`stream` and `stream_options`. Errors: InvalidRequest."""
    stream = fields.flag("stream")
    options = fields.object("stream_options")
    if options is None:
        return StreamOptions(stream)
    if not stream:
        fields.bad("stream_options", "needs stream to be true")
    usage = options.flag("include_usage")
    options.ignore("include_obfuscation")
    options.refuse(
        "continuous_usage_stats", "Usage comes with the last chunk; set include_usage.", False
    )
    options.close()
    return StreamOptions(stream, usage)


def ignore_harmless(fields: Fields) -> None:
    """Take out what does not change an answer."""
    fields.ignore(*_HARMLESS)


def read_structure(fields: Fields) -> Structure | None:
    """`response_format` (OpenAI) or `structured_outputs` (vLLM). Errors: InvalidRequest,
    UnsupportedFeature.
    """
    wanted = [_response_format(fields), _structured_outputs(fields)]
    found = [structure for structure in wanted if structure is not None]
    if len(found) > 1:
        fields.bad("structured_outputs", "cannot go together with response_format")
    return found[0] if found else None


def _response_format(fields: Fields) -> Structure | None:
    form = fields.object("response_format")
    if form is None:
        return None
    kind = required(form, "type", form.choice("type", "text", "json_object", "json_schema"))
    structure = None
    if kind == "json_object":
        structure = Structure(StructureKind.JSON_OBJECT)
    elif kind == "json_schema":
        structure = _named_schema(required(form, "json_schema", form.object("json_schema")))
    form.close()
    return structure


def _named_schema(fields: Fields) -> Structure:
    fields.text("name", longest=64)
    fields.text("description")
    fields.flag("strict")
    schema = required(fields, "schema", fields.mapping("schema"))
    fields.close()
    return Structure(
        StructureKind.JSON_SCHEMA, _bounded(fields, "schema", msgspec.json.encode(schema).decode())
    )


def _structured_outputs(fields: Fields) -> Structure | None:
    wanted = fields.object("structured_outputs")
    if wanted is None:
        return None
    found = [
        structure for read in _STRUCTURES for structure in [read(wanted)] if structure is not None
    ]
    wanted.refuse("structural_tag", "Use json, json_object, regex, choice or grammar.")
    for name in ("disable_any_whitespace", "disable_additional_properties", "disable_fallback"):
        wanted.refuse(name, "The engine decides this.", False)
    wanted.refuse("whitespace_pattern", "The engine decides this.")
    wanted.close()
    if len(found) != 1:
        fields.bad(
            "structured_outputs",
            "must have exactly one of json, json_object, regex, choice and grammar",
        )
    return found[0]


def _json(fields: Fields) -> Structure | None:
    value = fields.raw("json")
    if value is None:
        return None
    if isinstance(value, dict):
        return Structure(
            StructureKind.JSON_SCHEMA, _bounded(fields, "json", msgspec.json.encode(value).decode())
        )
    if not isinstance(value, str):
        fields.bad("json", "must be a JSON schema, as an object or as a string")
    try:
        schema = msgspec.json.decode(value)
    except (msgspec.MsgspecError, RecursionError):
        schema = None
    if not isinstance(schema, dict):
        fields.bad("json", "must be a JSON schema")
    return Structure(StructureKind.JSON_SCHEMA, _bounded(fields, "json", value))


def _json_object(fields: Fields) -> Structure | None:
    return Structure(StructureKind.JSON_OBJECT) if fields.flag("json_object") else None


def _regex(fields: Fields) -> Structure | None:
    value = fields.text("regex", longest=MAX_STRUCTURE_CHARACTERS)
    return None if value is None else Structure(StructureKind.REGEX, value)


def _grammar(fields: Fields) -> Structure | None:
    value = fields.text("grammar", longest=MAX_STRUCTURE_CHARACTERS)
    return None if value is None else Structure(StructureKind.GRAMMAR, value)


def _choice(fields: Fields) -> Structure | None:
    value = fields.texts("choice", most=MAX_TOKEN_LIST, longest=MAX_STRUCTURE_CHARACTERS)
    if value is None:
        return None
    if not value or "" in value:
        fields.bad("choice", "must be a list of at least one text, none of them empty")
    return Structure(
        StructureKind.CHOICE, _bounded(fields, "choice", msgspec.json.encode(value).decode())
    )


_STRUCTURES: tuple[Callable[[Fields], Structure | None], ...] = (
    _json,
    _json_object,
    _regex,
    _choice,
    _grammar,
)


def _bounded(fields: Fields, name: str, text: str) -> str:
    if len(text) > MAX_STRUCTURE_CHARACTERS:
        fields.bad(
            name, f"has {len(text)} characters; at most {MAX_STRUCTURE_CHARACTERS} are allowed"
        )
    return text


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
    if min(item) < 0 or max(item) > _MAX_INT:
        raise InvalidRequest(f"{name}: a token id is out of range.", param=fields.path(name))
