"""From our SamplingParams to vLLM's: a pure mapping, token ids only, deltas only; stop strings stay
with us.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any

from openllm.errors import InvalidRequest
from openllm.media.looking import decode_again
from openllm.types import PromptImages, SamplingParams, Structure, StructureKind, TokenRequest

_FIELDS = {
    StructureKind.JSON_SCHEMA: "json",
    StructureKind.JSON_OBJECT: "json_object",
    StructureKind.REGEX: "regex",
    StructureKind.CHOICE: "choice",
    StructureKind.GRAMMAR: "grammar",
}


def choices_asked(params: SamplingParams) -> int:
    """How many choices vLLM has to compute: it refuses several greedy ones, and they would all be
    the same.
    """
    return 1 if params.temperature == 0 else params.n


def sampling_arguments(params: SamplingParams) -> dict[str, Any]:
    """Keyword arguments of vllm.SamplingParams but for `output_kind` and `structured_outputs`."""
    return {
        "n": choices_asked(params),
        "temperature": params.temperature,
        "top_p": params.top_p,
        "top_k": max(params.top_k, 0),
        "min_p": params.min_p,
        "repetition_penalty": params.repetition_penalty,
        "presence_penalty": params.presence_penalty,
        "frequency_penalty": params.frequency_penalty,
        "logit_bias": dict(params.logit_bias) or None,
        "allowed_token_ids": list(params.allowed_token_ids) or None,
        "seed": params.seed,
        "max_tokens": params.max_tokens,
        "min_tokens": params.min_tokens,
        "stop_token_ids": list(params.stop_token_ids),
        "ignore_eos": params.ignore_eos,
        "logprobs": params.logprobs,
        "prompt_logprobs": params.prompt_logprobs,
        "detokenize": False,
        "skip_clone": True,  # made for one request, so the engine need not copy it
    }


def structure_arguments(structure: Structure) -> dict[str, Any]:
    """Keyword arguments of vllm's StructuredOutputsParams. Errors: InvalidRequest for a value that
    is not JSON.

    White space between JSON tokens is left out: a weak model fills an answer with it.
    """
    value: Any = structure.value
    if structure.kind is StructureKind.JSON_OBJECT:
        value = True
    elif structure.kind is StructureKind.CHOICE:
        value = _choices(structure.value)
    return {_FIELDS[structure.kind]: value, "disable_any_whitespace": True}


def _choices(text: str) -> list[str]:
    try:
        choices = json.loads(text)
    except ValueError as error:
        raise InvalidRequest(f"The choices are not JSON: {error}.", param="structure") from None
    if (
        not isinstance(choices, list)
        or not choices
        or not all(isinstance(item, str) and item for item in choices)
    ):
        raise InvalidRequest(
            "The choices must be a list of texts that are not empty.", param="structure"
        )
    return choices


def prompt_input(request: TokenRequest) -> Any:
    """The prompt as vLLM takes it."""
    prompt: dict[str, Any] = {"type": "token", "prompt_token_ids": request.prompt_token_ids}
    if request.cache_salt is not None:
        prompt["cache_salt"] = request.cache_salt
    return prompt


def images_input(request: TokenRequest, images: PromptImages) -> Any:
    """A prompt with images as vLLM takes it: each image one mark, and the pixels, of which vLLM's
    own processor makes as many tokens as the request has for it. Decodes the files: for a thread.
    """
    behind = request.prompt_token_ids[images.tokens :]  # what was written since
    prompt: dict[str, Any] = {
        "prompt_token_ids": images.marked_ids + behind,
        "multi_modal_data": {"image": decode_again(images)},
    }
    if request.cache_salt is not None:
        prompt["cache_salt"] = request.cache_salt
    return prompt


def sampling_params(
    params: SamplingParams,
    bad_token_ids: Sequence[Sequence[int]] = (),
    ends: Sequence[int] = (),
) -> Any:
    """`params` as a vllm.SamplingParams. `ends` are the tokens that end a turn: vLLM by itself
    knows those of the tokenizer and of generation_config.json alone. Errors: InvalidRequest; those
    of vLLM for values it does not take.
    """
    from vllm.sampling_params import RequestOutputKind, StructuredOutputsParams
    from vllm.sampling_params import SamplingParams as VllmSamplingParams

    structure = params.structure and StructuredOutputsParams(
        **structure_arguments(params.structure)
    )
    arguments = sampling_arguments(params)
    if ends and not params.ignore_eos:
        arguments["stop_token_ids"] += [end for end in ends if end not in params.stop_token_ids]
    found = VllmSamplingParams(
        **arguments, output_kind=RequestOutputKind.DELTA, structured_outputs=structure
    )
    if bad_token_ids:  # what vLLM makes of `bad_words`, for which it would need the tokenizer
        found._bad_words_token_ids = [list(ids) for ids in bad_token_ids]
    return found
