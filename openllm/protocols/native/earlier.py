"""What clients of OpenLLM 0.4 and 0.5 (PyPI's openllm-client) send and read: the same routes, with
fields that are gone.

Such a client asks for the metadata first, makes a configuration of its own of them, and sends all
of that with every request, what it does not mean included.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import msgspec

from openllm.config.settings import Settings
from openllm.http.body.fields import Fields
from openllm.llm.llm import LLM
from openllm.protocols.native.dialect import NATIVE
from openllm.types import (
    AnswerDelta,
    CompletionOutput,
    FinishReason,
    GenerationOutput,
    Prompt,
    SamplingParams,
    TokenLogprob,
    Usage,
)

HEADER = b"x-openllm-client-package-version"
# The families that openllm-client 0.5.7 has a configuration for, and the one that it gets instead
# of any other: its values are all overridden by ours.
_NAMES = (
    "baichuan chatglm commandr dbrx dolly_v2 falcon gemma gpt_neox llama mistral mixtral mpt opt"
    " phi qwen stablelm starcoder yi"
)
_FAMILIES = frozenset(_NAMES.split())
_ANY_FAMILY = "llama"
_QUANTIZATIONS = frozenset(("aqlm", "fp8", "gptq", "awq", "squeezellm", "gptq_marlin", "marlin"))
_LONG = 3600  # seconds, where there is no limit
_HOTTEST = 1.0  # temperature that the client takes
_ENDS: frozenset[FinishReason] = frozenset(("length", "stop"))  # that it knows
# What its configuration says of transformers' and vLLM's options where nobody has set them: then
# there is nothing to be done, else it is refused or noted as any other field.
_UNSET: Mapping[str, Any] = {
    "min_length": 0,
    "num_beams": 1,
    "num_beam_groups": 1,
    "use_cache": True,
    "typical_p": 1.0,
    "epsilon_cutoff": 0.0,
    "eta_cutoff": 0.0,
    "diversity_penalty": 0.0,
    "encoder_repetition_penalty": 1.0,
    "no_repeat_ngram_size": 0,
    "renormalize_logits": False,
    "remove_invalid_values": False,
    "num_return_sequences": 1,
    "output_attentions": False,
    "output_hidden_states": False,
    "output_scores": False,
    "encoder_no_repeat_ngram_size": 0,
    "best_of": 1,
    "use_beam_search": False,
    "length_penalty": 1.0,
    "early_stopping": False,
    "detokenize": True,
    "spaces_between_special_tokens": True,
}


def drop_unset(fields: Fields) -> None:
    """Take out what only says that nothing was set."""
    for name, value in _UNSET.items():
        if fields.peek(name) == value:
            fields.raw(name)


def describe_earlier(llm: LLM, settings: Settings) -> dict[str, Any]:
    """What its metadata are, beside ours."""
    spec = llm.spec
    return {
        "model_name": spec.family if spec.family in _FAMILIES else _ANY_FAMILY,
        "timeout": int(settings.request_seconds) or _LONG,
        "trust_remote_code": bool(spec.trust_remote_code),
        "serialisation": "safetensors",
        "quantise": spec.quantization if spec.quantization in _QUANTIZATIONS else None,
        "configuration": _configuration(llm, settings),
    }


def _configuration(llm: LLM, settings: Settings) -> dict[str, Any]:
    """This server's defaults, all of them, since the client sends its own for what is missing. An
    answer without a limit has the longest, which is cut to the room that is left.
    """
    if not llm.started:
        return dict(llm.spec.sampling)
    params: SamplingParams = llm.sampling_params()
    longest = None if settings.strict_fields else llm.max_model_len
    limit = params.max_tokens or longest
    return {
        **({} if limit is None else {"max_tokens": limit}),
        "temperature": min(params.temperature, _HOTTEST),
        "top_p": params.top_p,
        "top_k": params.top_k,
        "min_p": params.min_p,
        "repetition_penalty": params.repetition_penalty,
        "presence_penalty": params.presence_penalty,
        "frequency_penalty": params.frequency_penalty,
        "min_tokens": params.min_tokens,
        "stop": list(params.stop) or None,
        "ignore_eos": params.ignore_eos,
        "n": params.n,
        "best_of": 1,
    }


class EarlierWire:
    """The answer as that client reads it: with the prompt, whether it is finished, and the sum of
    the log probabilities.

    Its stream takes the first token id of every event, so that an event without one waits for the
    one before it, which is why each choice's latest event is held back until the next.
    """

    def __init__(self, request_id: str, prompt: Prompt, logprobs: bool) -> None:
        """`logprobs`: whether they were asked for; they have to be known in any case."""
        self._request_id = request_id
        self._prompt = prompt if isinstance(prompt, str) else ""
        self._logprobs = logprobs
        self._held: dict[int, dict[str, Any]] = {}
        self._sums: dict[int, float] = {}

    def opening(self) -> bytes:
        return b""

    def delta(self, delta: AnswerDelta) -> bytes:
        total = self._sums.get(delta.index, 0.0) + _sum(delta.logprobs)
        self._sums[delta.index] = total
        new = self._output(delta, total)
        held = self._held.get(delta.index)
        if held is not None and not delta.token_ids:
            self._held[delta.index] = new | {
                "text": held["text"] + new["text"],
                "token_ids": held["token_ids"],
                "logprobs": held["logprobs"],
            }
            return b""
        self._held[delta.index] = new
        return self._event(held) if held is not None else b""

    def closing(self, usage: Usage) -> bytes:
        rest = [self._event(held) for held in self._held.values() if held["token_ids"]]
        return b"".join(rest) + NATIVE.end

    def answer(self, outputs: Sequence[GenerationOutput]) -> bytes:
        output = outputs[0]
        value = self._around([self._output(item, _sum(item.logprobs)) for item in output.outputs])
        value["prompt_token_ids"] = output.prompt_token_ids
        if output.prompt_logprobs is not None:
            value["prompt_logprobs"] = _tables(output.prompt_logprobs)
        return msgspec.json.encode(value)

    def _event(self, output: dict[str, Any]) -> bytes:
        return NATIVE.frame(self._around([output]))

    def _around(self, outputs: list[dict[str, Any]]) -> dict[str, Any]:
        return {
            "request_id": self._request_id,
            "prompt": self._prompt,
            "finished": all(output["finish_reason"] is not None for output in outputs),
            "outputs": outputs,
        }

    def _output(self, item: AnswerDelta | CompletionOutput, total: float) -> dict[str, Any]:
        return {
            "index": item.index,
            "text": item.text,
            "token_ids": item.token_ids,
            "cumulative_logprob": total,
            "logprobs": _tables(item.logprobs or []) if self._logprobs else None,
            "finish_reason": item.finish_reason if item.finish_reason in _ENDS else None,
        }


def _sum(logprobs: Sequence[TokenLogprob] | None) -> float:
    return sum(entry.logprob for entry in logprobs or ())


def _tables(entries: Sequence[TokenLogprob | None]) -> list[dict[int, float] | None]:
    """Log probabilities by token id, one table for each token."""
    return [
        None if entry is None else {**dict(entry.top), entry.token_id: entry.logprob}
        for entry in entries
    ]
