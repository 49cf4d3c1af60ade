"""From what a caller asks to what an engine is given: a prompt as token ids, checked against the
model's context and vocabulary.
"""

from __future__ import annotations

import asyncio
from collections.abc import Collection

import attrs

from openllm.answer.assembler import ChoiceAssembler
from openllm.answer.formats import parsers_of
from openllm.answer.generation import Generation, Submit
from openllm.backends.base import Backend
from openllm.errors import (
    AdapterNotFound,
    ContextLengthExceeded,
    EngineDead,
    InvalidRequest,
    UnsupportedFeature,
    call,
    field,
)
from openllm.llm.budget import thought_limit
from openllm.llm.formats import in_own_formats, kept_to
from openllm.llm.host import Host
from openllm.llm.model import Model
from openllm.llm.tasks import require
from openllm.media.looking import look
from openllm.prompt.messages import images_of
from openllm.types import (
    Conversation,
    GenerationRequest,
    Image,
    Prompt,
    PromptImages,
    Reading,
    SamplingParams,
    TokenRequest,
)

PROMPT_END = 16  # tokens of the prompt that the parsers of an answer see


async def admit(model: Model, host: Host, request: GenerationRequest) -> Generation:
    """Render, tokenize and check a request; `host` has been started.

    Errors: InvalidRequest, ContextLengthExceeded, UnsupportedFeature, AdapterNotFound, EngineDead.
    """
    _check_host(model, host, request)
    backend = host.backend
    info = backend.info
    told = in_own_formats(model, backend, request)
    reading = told.reading or Reading()
    limit = info.max_model_len
    token_ids, images = await _prompt_ids(model, backend, told, limit)
    thought = thought_limit(model, request, reading)
    read = reading.reasoning or reading.tools or thought
    end = prompt_end(model, token_ids) if read else ""
    if thought is not None and thought.closes_prompt(end):
        token_ids, end = token_ids + thought.closing, end + thought.form.closing
    size = len(token_ids)
    cut = request.params.max_tokens if request.cut_to_room else model.default_max_tokens
    params = fit_length(request.params, size, limit, cut)
    check_ids(token_ids, params, info.vocab_size)
    structure = await kept_to(request, reading, backend, end)
    if structure is not params.structure or params.thinking_budget is not None:
        params = attrs.evolve(params, structure=structure, thinking_budget=None)
    engine_request = TokenRequest(
        request.request_id,
        token_ids,
        params,
        request.adapter,
        bad_token_ids=_spelled(model, params.bad_words),
        priority=request.options.priority,
        cache_salt=request.options.cache_salt,
        images=images,
    )
    backend.check(engine_request)
    one_call = isinstance(request.prompt, Conversation) and not request.prompt.tool_use.several
    choices = assemblers(
        model, engine_request, frozenset(info.eos_token_ids), reading, end, one_call=one_call
    )
    submit: Submit = host.residency.submit
    if thought is not None:
        after = await kept_to(request, reading, backend, end, thought_over=True)
        submit = thought.kept(model, token_ids, end, after, submit)
    return Generation(engine_request, choices, submit)


def _check_host(model: Model, host: Host, request: GenerationRequest) -> None:
    """Errors: UnsupportedFeature, AdapterNotFound, EngineDead."""
    if host.failure:
        raise EngineDead(f"The engine has stopped: {host.failure}.", hint="Restart the service.")
    require(model.spec, "generate")
    if request.adapter is not None and request.adapter not in host.adapters:
        raise AdapterNotFound(
            f"There is no adapter {request.adapter!r}.",
            hint=f"{call('LLM.adapters')} lists them.",
            param="adapter",
        )


async def prompt_ids(model: Model, host: Host, request: GenerationRequest) -> list[int]:
    """The token ids that `admit` would give the engine as the prompt, also where they do not fit
    its context. Errors: those of `encode`, InvalidRequest, UnsupportedFeature.
    """
    told = in_own_formats(model, host.backend, request)
    found, _ = await _prompt_ids(model, host.backend, told, host.backend.info.max_model_len)
    return found


async def _prompt_ids(
    model: Model, backend: Backend, request: GenerationRequest, limit: int
) -> tuple[list[int], PromptImages | None]:
    """The prompt of a request, cut to its last tokens where its options say so; and its images."""
    prompt, images = request.prompt, images_of(request.prompt)
    if images and isinstance(prompt, Conversation):
        found, seen = await _with_images(model, backend, prompt, images)
        most = request.options.truncate_prompt_tokens
        if most is not None and -1 < most < len(found):
            raise InvalidRequest(
                f"A prompt with images is not cut; this one has {len(found)} tokens.",
                param="prompt",
            )
        return found, seen
    return await _text_ids(model, request, limit), None


async def _with_images(
    model: Model, backend: Backend, conversation: Conversation, images: list[Image]
) -> tuple[list[int], PromptImages]:
    """Errors: UnsupportedFeature for a model that does not look at images, or cannot here;
    InvalidRequest.
    """
    processor, first = model.sight(backend.info), images[0]
    if isinstance(processor, str):
        raise UnsupportedFeature(
            f"{first.name} the model {model.spec.served_name} cannot look at images here:"
            f" {processor}",
            hint="Leave it out, or ask a model that sees.",
            param=first.param,
        )
    text = await asyncio.to_thread(model.renderer.render, conversation)
    marked_ids = await asyncio.to_thread(model.renderer.encode, text, False)
    return await look(processor, text, marked_ids, images, model.settings)


async def _text_ids(model: Model, request: GenerationRequest, limit: int) -> list[int]:
    prompt, most = request.prompt, request.options.truncate_prompt_tokens
    if most is None:
        return await _encode(model, prompt, request.add_special_tokens, limit)
    room = limit - min(request.params.max_tokens or 1, limit - 1)
    most = room if most == -1 else most
    if isinstance(prompt, str):
        prompt = model.renderer.ending(prompt, most)
    token_ids = await _encode(model, prompt, request.add_special_tokens, max(limit, most))
    return token_ids[-most:]


def _spelled(model: Model, words: Collection[str]) -> tuple[tuple[int, ...], ...]:
    """The token ids of words, each at the beginning of a text and within one. Errors:
    InvalidRequest for a word that has none.
    """
    found: dict[tuple[int, ...], None] = {}
    for word in words:
        for text in (word.lstrip(), " " + word.lstrip()):
            token_ids = tuple(model.renderer.encode(text, add_special_tokens=False))
            if not token_ids:
                raise InvalidRequest(
                    f"{field('bad_words')}: {word[:64]!r} has no tokens.", param="bad_words"
                )
            found[token_ids] = None
    return tuple(found)


async def encode(
    model: Model, prompt: Prompt, add_special_tokens: bool, max_model_len: int
) -> list[int]:
    """The token ids of a text, a conversation, or ids as they are. Errors: InvalidRequest,
    ContextLengthExceeded for a text that is too long to be worth tokenizing; UnsupportedFeature for
    images.
    """
    if images := images_of(prompt):
        raise UnsupportedFeature(
            f"{images[0].name} images are not looked at here.", param=images[0].param
        )
    return await _encode(model, prompt, add_special_tokens, max_model_len)


async def _encode(
    model: Model, prompt: Prompt, add_special_tokens: bool, max_model_len: int
) -> list[int]:
    """As `encode`, of a prompt without images."""
    if isinstance(prompt, str) and model.renderer.too_long(prompt, max_model_len):
        raise ContextLengthExceeded(
            f"{_context(max_model_len)}, and the prompt is too long: the prompt has {len(prompt)}"
            " characters.",
            hint="Shorten the prompt.",
            param="prompt",
        )
    if model.renderer.is_quick(prompt):
        return model.renderer.encode(prompt, add_special_tokens)
    return await asyncio.to_thread(model.renderer.encode, prompt, add_special_tokens)


def prompt_end(model: Model, token_ids: list[int]) -> str:
    """The end of the prompt as text: of some templates it is where the thought begins."""
    tokenizer = model.decoding_tokenizer
    end: str = tokenizer.decode(token_ids[-PROMPT_END:], skip_special_tokens=False)
    return end


def assemblers(
    model: Model,
    request: TokenRequest,
    end_token_ids: frozenset[int],
    reading: Reading,
    end: str,
    *,
    one_call: bool,
) -> list[ChoiceAssembler]:
    """What turns the tokens of each choice into text and parts. `end` is that of the prompt."""
    tokenizer, prompt, params = model.decoding_tokenizer, request.prompt_token_ids, request.params
    special = (
        model.token_table.special_tokens
        if params.stop or reading.reasoning or reading.tools
        else {}
    )
    stops = {special[stop]: stop for stop in params.stop if stop in special}
    if not reading.reasoning and not reading.tools:
        return [
            ChoiceAssembler(tokenizer, params, prompt, end_token_ids, stop_marks=stops)
            for _ in range(params.n)
        ]
    found = []
    for _ in range(params.n):
        reasoning, tools = parsers_of(reading, end)
        marks = {
            special[marker]: marker
            for parser in (reasoning, tools)
            if parser is not None
            for marker in parser.markers
            if marker in special
        }
        found.append(
            ChoiceAssembler(
                tokenizer,
                params,
                prompt,
                end_token_ids,
                reasoning,
                tools,
                marks,
                one_call,
                stop_marks=stops,
            )
        )
    return found


def _context(limit: int) -> str:
    """Clients (LiteLLM among them) look for these words, and for "prompt is too long", to tell a
    full context from other errors.
    """
    return f"This model's maximum context length is {limit} tokens"


def fit_length(params: SamplingParams, size: int, limit: int, cut: int | None) -> SamplingParams:
    """`params` with max_tokens set, prompt (of `size` tokens) plus answer inside a context of
    `limit`.

    A max_tokens of `cut`, which nobody insists on, is cut to the room there is; another that does
    not fit is refused. Errors: InvalidRequest, ContextLengthExceeded.
    """
    if size == 0:
        raise InvalidRequest(
            "The prompt is empty.", hint="Send at least one token.", param="prompt"
        )
    wanted, room = params.max_tokens, limit - size
    if wanted is not None and wanted == cut:
        wanted = min(wanted, max(room, 1))
    if room < 1 or (wanted is not None and wanted > room):
        asked = f" and {field('max_tokens')} is {wanted}" if wanted is not None else ""
        what = "the prompt is too long" if room < 1 else "the answer does not fit"
        raise ContextLengthExceeded(
            f"{_context(limit)}, and {what}: the prompt has {size}{asked}.",
            hint=f"Shorten the prompt or lower {field('max_tokens')}.",
            param="prompt" if room < 1 else "max_tokens",
        )
    most = wanted or room
    if params.max_tokens == most and params.min_tokens <= most:
        return params
    return attrs.evolve(params, max_tokens=most, min_tokens=min(params.min_tokens, most))


def check_ids(token_ids: Collection[int], params: SamplingParams, vocab_size: int) -> None:
    """Errors: InvalidRequest for a token id that the vocabulary does not have, saying where it
    stands.
    """
    named = {
        "prompt": token_ids,
        "logit_bias": params.logit_bias,
        "stop_token_ids": params.stop_token_ids,
        "allowed_token_ids": params.allowed_token_ids,
    }
    for name, ids in named.items():
        if ids and (min(ids) < 0 or max(ids) >= vocab_size):
            raise InvalidRequest(
                f"{field(name)}: a token id is not in [0, {vocab_size}).", param=name
            )
