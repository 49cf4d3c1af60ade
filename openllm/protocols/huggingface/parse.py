"""The bodies of requests for text: `inputs`, and `parameters` of TGI's names."""

from __future__ import annotations

from typing import Any

import attrs

from openllm.config.settings import Settings
from openllm.http.body.fields import Fields, required
from openllm.http.body.sampling import MAX_INT, MAX_STOP_CHARACTERS
from openllm.http.body.structure import read_named_schema, read_regex, read_schema
from openllm.types import Structure

DEFAULT_MAX_TOKENS = 100  # TGI's
# Called as in `SamplingParams`.
_SAMPLING = (
    "temperature",
    "top_k",
    "top_p",
    "repetition_penalty",
    "frequency_penalty",
    "seed",
)
# With any of these and another value than here an answer is sampled, also where nobody said so.
_WARPERS: dict[str, Any] = {"temperature": 1, "top_k": 0, "top_p": 1}


@attrs.frozen
class TextRequest:
    """A parsed body."""

    model: str | None
    prompt: str
    overrides: dict[str, Any]
    stream: bool
    details: bool  # tokens and how it ended
    top: int  # alternatives of each token
    full: bool  # the prompt, then the answer
    truncate: int | None  # tokens of the prompt, its last ones


def read_text(fields: Fields, settings: Settings, *, stream: bool | None = None) -> TextRequest:
    """The body of a request for text; `stream`: what the path says. Errors: InvalidRequest,
    UnsupportedFeature; each names its field.
    """
    prompt = required(fields, "inputs", fields.text("inputs"))
    model, said = fields.text("model"), fields.flag("stream")
    stream = said if stream is None else stream
    given = fields.object("parameters") or Fields({}, fields.path("parameters"), [])
    overrides = _sampling(given, settings)
    structure = _grammar(given)
    if structure is not None:
        overrides["structure"] = structure
    details, top = given.flag("details"), given.integer("top_n_tokens", 0, settings.max_logprobs)
    if details or top:
        overrides["logprobs"] = top or 0
    if given.flag("decoder_input_details"):
        if stream:
            given.bad("decoder_input_details", "cannot be streamed")
        overrides["prompt_logprobs"] = 0
    adapter = given.text("adapter_id")
    full, truncate = given.flag("return_full_text"), given.integer("truncate", 1, MAX_INT)
    given.refuse("best_of", "Ask several times, with seeds of your own.", 1)
    given.pass_over("typical_p", "The engines here have top_p and top_k.", 1)
    given.pass_over("watermark", "The engines here write none.", False)
    given.close()
    fields.ignore("options")  # of the Hub's own service
    fields.close()
    return TextRequest(
        adapter or model, prompt, overrides, stream, details, top or 0, full, truncate
    )


def _sampling(fields: Fields, settings: Settings) -> dict[str, Any]:
    said = {name: fields.whole(value) for name, value in fields.present(_SAMPLING).items()}
    sampled = fields.flag("do_sample")
    if not sampled and all(said.get(name, value) == value for name, value in _WARPERS.items()):
        said["temperature"] = 0
    stop = fields.texts("stop", most=settings.max_stop, longest=MAX_STOP_CHARACTERS)
    if wanted := tuple(text for text in stop or () if text):
        said |= {"stop": wanted, "include_stop": True}  # as TGI does
    limit = fields.integer("max_new_tokens", 1, MAX_INT)
    return {**said, "max_tokens": limit or DEFAULT_MAX_TOKENS}


def _grammar(fields: Fields) -> Structure | None:
    """`grammar`: a JSON schema, one with a name, or a regular expression."""
    grammar = fields.object("grammar")
    if grammar is None:
        return None
    kind = required(grammar, "type", grammar.choice("type", "json", "json_schema", "regex"))
    if kind == "regex":
        structure = read_regex(grammar, "value")
    elif kind == "json":
        structure = read_schema(grammar, "value")
    else:
        structure = read_named_schema(required(grammar, "value", grammar.object("value")))
    grammar.close()
    found: Structure = required(grammar, "value", structure)
    return found
