"""POST /v1/completions: OpenAI's text completions; several prompts in one request, echo, the legacy
logprobs.
"""

from __future__ import annotations

from collections.abc import Sequence

from starlette.routing import Route

from openllm.config.settings import Settings
from openllm.errors import UnsupportedFeature
from openllm.http.body.fields import Fields
from openllm.http.body.prompts import read_prompts
from openllm.http.catalog import Catalog, Target
from openllm.http.exchange import Exchange
from openllm.http.routes import Endpoint
from openllm.http.running import Work, respond
from openllm.prompt.infill import infilled
from openllm.protocols.openai.completion_wire import CompletionRequest, CompletionWire
from openllm.protocols.openai.dialect import OPENAI
from openllm.protocols.openai.models import meant
from openllm.protocols.openai.params import (
    StreamOptions,
    read_rest,
    read_sampling,
    read_stream,
)

PATH = "/v1/completions"
DEFAULT_MAX_TOKENS = 16  # OpenAI's


def routes(catalog: Catalog, settings: Settings) -> list[Route]:
    async def complete(exchange: Exchange) -> None:
        request = await exchange.read(read_completion, settings)
        target = catalog.running(meant(catalog, request.model), "generate")
        exchange.rename(request.asked.request_id)
        wire = CompletionWire(request, target, exchange)
        work = Work(
            target,
            await exchange.apart(_infilled, request, target),
            request.overrides,
            request.stream.stream,
            add_special_tokens=request.add_special_tokens,
            options=request.asked.options,
            admitted=wire.admit,
        )
        await respond(exchange, work, wire)

    return [Route(PATH, Endpoint(PATH, complete, OPENAI), methods=["POST"])]


def _infilled(request: CompletionRequest, target: Target) -> Sequence[str | list[int]]:
    """The prompts, with the suffix where there is one. Errors: UnsupportedFeature for a model that
    does not fill in the middle.
    """
    if request.suffix is None:
        return request.prompts
    tokens = target.llm.token_table.added_tokens
    found = [infilled(tokens, str(prompt), request.suffix) for prompt in request.prompts]
    if None in found:
        raise UnsupportedFeature(
            f"{target.llm.name} does not fill in the middle of a text.",
            hint="Put the context into the prompt, or take a code model that does.",
            param="suffix",
        )
    return [text for text in found if text is not None]


def read_completion(fields: Fields, settings: Settings) -> CompletionRequest:
    """The body of a completion request. Errors: InvalidRequest, UnsupportedFeature; each names its
    field.
    """
    model = fields.text("model")
    prompts = read_prompts(fields, "prompt", settings)
    overrides = read_sampling(fields, settings)
    stream = read_stream(fields)
    logprobs = fields.integer("logprobs", 0, settings.max_logprobs)
    echo = fields.flag("echo")
    add_special_tokens = fields.flag("add_special_tokens", default=True)
    n = overrides.get("n", 1)
    suffix = fields.text("suffix") or None
    if suffix is not None and echo:
        fields.bad("suffix", "cannot go together with echo")
    if suffix is not None and not all(isinstance(prompt, str) for prompt in prompts):
        fields.bad("suffix", "needs a prompt that is a text")
    best_of = _best_of(fields, n, settings, stream)
    if (best_of or n) * len(prompts) > max(settings.max_prompts, settings.max_n):
        fields.bad(
            "n" if best_of is None else "best_of",
            f"{len(prompts)} prompts with {best_of or n} choices each are too many",
        )
    asked = read_rest(fields)
    fields.close()
    request = CompletionRequest(
        model=model,
        prompts=prompts,
        overrides=overrides,
        stream=stream,
        logprobs=logprobs,
        echo=echo,
        scored=overrides.get("max_tokens") == 0,
        tabled="prompt_logprobs" in overrides,
        add_special_tokens=add_special_tokens,
        n=n,
        suffix=suffix,
        best_of=best_of,
        asked=asked,
    )
    _complete_overrides(request)
    return request


def _complete_overrides(request: CompletionRequest) -> None:
    """Fill in what follows from other fields, refusing what does not go together."""
    overrides, streamed = request.overrides, request.stream.stream
    if request.scored and (streamed or not (request.echo or request.tabled)):
        raise UnsupportedFeature(
            "max_tokens of 0 makes sense with echo or prompt_logprobs, and without stream only.",
            param="max_tokens",
        )
    overrides["max_tokens"] = overrides.get("max_tokens", DEFAULT_MAX_TOKENS) or 1
    if streamed and request.tabled:
        raise UnsupportedFeature(
            "Logprobs of the prompt can be streamed with echo and logprobs only.",
            hint="Set stream to false.",
            param="prompt_logprobs",
        )
    if request.best_of is not None:
        overrides |= {"n": request.best_of, "logprobs": 0}
    if request.logprobs is not None:
        overrides["logprobs"] = request.logprobs
        if request.echo:
            overrides["prompt_logprobs"] = max(
                request.logprobs, overrides.get("prompt_logprobs", 0)
            )


def _best_of(fields: Fields, n: int, settings: Settings, stream: StreamOptions) -> int | None:
    """How many choices the `n` best are of; None where that says nothing."""
    best_of = fields.integer("best_of", 1, settings.max_n)
    if best_of is None or best_of == n:
        return None
    if best_of < n:
        fields.bad("best_of", f"must not be less than n, which is {n}")
    if stream.stream:
        fields.bad("best_of", "cannot be streamed")
    return best_of
