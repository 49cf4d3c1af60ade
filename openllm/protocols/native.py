"""POST /v1/generate, /v1/generate_stream and GET /v1/metadata: openllm's own interface, with token
ids in and out.

A body has `prompt` (a text or token ids) or `messages`, optionally `adapter_name` and `model`, and
`SamplingParams`' fields, either beside them or in `llm_config` (where max_tokens may be called
max_new_tokens). Each event of a stream is an answer's shape with only what is new; the last one
before [DONE] has no outputs and the usage.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import attrs
import msgspec
from starlette.routing import Route

import openllm
from openllm.config.settings import Settings
from openllm.errors import AdapterNotFound
from openllm.http.catalog import Catalog, Target
from openllm.http.exchange import Endpoint, Exchange, sse
from openllm.http.fields import Fields
from openllm.http.running import Work, respond
from openllm.protocols.openai.logprobs import finite
from openllm.protocols.openai.messages import read_conversation
from openllm.protocols.openai.params import read_prompts, read_sampling
from openllm.protocols.openai.shapes import DONE
from openllm.types import CompletionOutput, GenerationOutput, Prompt, TextDelta, TokenLogprob, Usage


@attrs.frozen
class NativeRequest:
    """A parsed body."""

    model: str | None
    adapter: str | None
    prompt: Prompt
    overrides: dict[str, Any]
    add_special_tokens: bool


def routes(catalog: Catalog, settings: Settings) -> list[Route]:
    async def run(exchange: Exchange, stream: bool) -> None:
        request = read_native(await exchange.fields(), settings)
        target = _target(catalog, request)
        plain = request.add_special_tokens
        work = Work(target, [request.prompt], request.overrides, stream, plain)
        await respond(exchange, work, NativeWire(exchange.request_id, target))

    async def generate(exchange: Exchange) -> None:
        await run(exchange, stream=False)

    async def generate_stream(exchange: Exchange) -> None:
        await run(exchange, stream=True)

    async def metadata(exchange: Exchange) -> None:
        models = [describe(target) for target in catalog.targets() if target.adapter is None]
        await exchange.answer_json(
            {"openllm_version": openllm.__version__, **models[0], "models": models}
        )

    return [
        Route("/v1/generate", Endpoint("/v1/generate", generate), methods=["POST"]),
        Route(
            "/v1/generate_stream",
            Endpoint("/v1/generate_stream", generate_stream),
            methods=["POST"],
        ),
        Route("/v1/metadata", Endpoint("/v1/metadata", metadata), methods=["GET"]),
    ]


def read_native(fields: Fields, settings: Settings) -> NativeRequest:
    """The body of a native request. Errors: InvalidRequest, UnsupportedFeature; each names its
    field.
    """
    model, adapter = fields.text("model"), fields.text("adapter_name")
    if fields.said("messages"):
        prompt: Prompt = read_conversation(fields, settings)
        fields.refuse("prompt", "Send prompt or messages.")
    else:
        prompts = read_prompts(fields, "prompt", settings)
        if len(prompts) > 1:
            fields.bad("prompt", "must be one text or one list of token ids")
        prompt = prompts[0]
    overrides = _sampling(fields, settings)
    nested = fields.object("llm_config")
    if nested is not None:
        overrides = {**_sampling(nested, settings), **overrides}
        nested.close()
    add_special_tokens = fields.flag("add_special_tokens", default=True)
    fields.close()
    return NativeRequest(model, adapter, prompt, overrides, add_special_tokens)


def _sampling(fields: Fields, settings: Settings) -> dict[str, Any]:
    overrides = read_sampling(fields, settings)
    logprobs = fields.integer("logprobs", 0, settings.max_logprobs)
    longest = fields.integer("max_new_tokens", 1, 2**31 - 1)
    if logprobs is not None:
        overrides["logprobs"] = logprobs
    if longest is not None and overrides.setdefault("max_tokens", longest) != longest:
        fields.bad("max_new_tokens", "differs from max_tokens")
    return overrides


def _target(catalog: Catalog, request: NativeRequest) -> Target:
    target = catalog.running(request.model, "generate")
    if request.adapter is None:
        return target
    if request.adapter not in target.llm.adapters:
        raise AdapterNotFound(
            f"There is no adapter {request.adapter[:128]!r}.",
            hint="GET /v1/models lists them.",
            param="adapter_name",
        )
    return attrs.evolve(target, adapter=request.adapter)


def describe(target: Target) -> dict[str, Any]:
    """What /v1/metadata says of one model; nothing of the disk, and nothing that needs the engine's
    attention.
    """
    llm = target.llm
    info = llm.info if llm.started else None
    return {
        "model_id": llm.name,
        "model_name": llm.spec.family,
        "task": llm.spec.task,
        "backend": llm.backend.name if llm.started else llm.spec.backend,
        "dtype": info.dtype if info else None,
        "device": info.device if info else None,
        "max_model_len": info.max_model_len if info else None,
        "adapters": list(llm.adapters),
        "configuration": dict(llm.spec.sampling),
        "ready": llm.started and llm.failure is None,
    }


class NativeWire:
    """The answer to one native request, in the shape of `GenerationOutput`."""

    def __init__(self, request_id: str, target: Target) -> None:
        self._request_id = request_id
        self._model = target.name

    def opening(self) -> bytes:
        return b""

    def delta(self, delta: TextDelta) -> bytes:
        output = {
            "index": delta.index,
            "text": delta.text,
            "token_ids": delta.token_ids,
            **_rest(delta),
        }
        event: dict[str, Any] = {"request_id": self._request_id, "outputs": [output]}
        if delta.prompt_logprobs is not None:
            event["prompt_logprobs"] = _entries(delta.prompt_logprobs)
        return sse(event)

    def closing(self, usage: Usage) -> bytes:
        return sse({"request_id": self._request_id, "outputs": [], "usage": _usage(usage)}) + DONE

    def answer(self, outputs: Sequence[GenerationOutput]) -> bytes:
        output = outputs[0]
        value = {
            "request_id": self._request_id,
            "model": self._model,
            "prompt_token_ids": output.prompt_token_ids,
            "prompt_logprobs": _entries(output.prompt_logprobs),
            "outputs": [
                {"index": item.index, "text": item.text, "token_ids": item.token_ids, **_rest(item)}
                for item in output.outputs
            ],
            "usage": _usage(output.usage),
        }
        return msgspec.json.encode(value)


def _usage(usage: Usage) -> dict[str, int]:
    return {**attrs.asdict(usage), "total_tokens": usage.total_tokens}


def _rest(item: TextDelta | CompletionOutput) -> dict[str, Any]:
    return {
        "finish_reason": item.finish_reason,
        "stop_reason": item.stop_reason,
        "logprobs": _entries(item.logprobs),
    }


def _entries(logprobs: Sequence[TokenLogprob | None] | None) -> list[dict[str, Any] | None] | None:
    if logprobs is None:
        return None
    return [None if item is None else _entry(item) for item in logprobs]


def _entry(item: TokenLogprob) -> dict[str, Any]:
    top = [{"token_id": token, "logprob": finite(logprob)} for token, logprob in item.top]
    return {
        "token_id": item.token_id,
        "logprob": finite(item.logprob),
        "rank": item.rank,
        "top": top,
    }
