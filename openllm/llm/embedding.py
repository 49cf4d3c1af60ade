"""Texts to vectors: what `LLM.embed` does around an engine's `embed`."""

from __future__ import annotations

import asyncio
import math
import threading
from collections.abc import Sequence
from typing import Literal

import attrs

from openllm.backends.base import Backend, Embeddings
from openllm.errors import ContextLengthExceeded, InvalidRequest, field
from openllm.llm.model import Model
from openllm.prompt.messages import as_prompts
from openllm.prompt.renderer import ChatRenderer
from openllm.types import Conversation, Message, Prompt, Usage
from openllm.weights.modules import ModuleChain, TextForm

Side = Literal["start", "end"]  # of a text
MANY_NUMBERS = 16 * 1024  # which take milliseconds to scale or to write
# The names of a model's prompts for what is looked for, and for what is looked through.
QUERY, DOCUMENT = ("query",), ("document", "passage", "corpus")


@attrs.frozen
class EmbeddingOutput:
    """One vector per input, in the inputs' order."""

    vectors: list[list[float]]
    usage: Usage


@attrs.frozen
class EmbedOptions:
    """How the texts of one request are embedded."""

    pooling: str | None = None  # None: as the model's files say
    truncate: Side | None = None  # of a text that is too long; None: it is refused
    prompt: str = ""  # before each text


async def embed(
    model: Model, backend: Backend, texts: Prompt | Sequence[Prompt], options: EmbedOptions
) -> Embeddings:
    """The engine's vectors of one text or several, or of token ids. Errors: InvalidRequest for an
    empty one, ContextLengthExceeded for a long one that is not to be cut, those of `Backend.embed`.
    """
    renderer, truncate = model.renderer, options.truncate
    if truncate not in (None, "start", "end"):
        raise InvalidRequest(
            f'truncate must be "start" or "end", got {truncate!r}.', param="truncate"
        )
    inputs = [_written(model.modules.form, text, options.prompt) for text in as_prompts(texts)]
    limit = backend.info.max_model_len
    left = threading.Event()
    try:
        prompts = await asyncio.to_thread(_token_prompts, renderer, inputs, limit, truncate, left)
    finally:
        left.set()
    counted = not options.prompt or model.modules.form.messages
    if not counted and not model.pools_prompt:
        skip = _prompt_length(renderer, options.prompt)
        return await backend.embed(prompts, options.pooling, skip)
    return await backend.embed(prompts, options.pooling)


def prompt_of(modules: ModuleChain, names: str | Sequence[str] | None) -> str:
    """The prompt of that name, of several names the first that the model has; its default one where
    none is named, or it has none of several. Errors: InvalidRequest for an unknown name.
    """
    if isinstance(names, str):
        if names in modules.prompts:
            return modules.prompts[names]
        has = ", ".join(sorted(modules.prompts))
        raise InvalidRequest(
            f"This model has no prompt {names!r}.",
            hint=f"It has {has}." if has else "It has none: write it into the texts.",
            param="prompt_name",
        )
    for name in names or ():
        if modules.prompts.get(name):
            return modules.prompts[name]
    return modules.prompts.get(modules.default_prompt or "", "")


def _written(form: TextForm, text: Prompt, prompt: str) -> Prompt:
    """A text with its prompt before it, as the model takes it; anything else as it is."""
    if not isinstance(text, str):
        return text
    if not form.messages:
        return prompt + text
    turns = [Message("user", text)]
    if prompt:
        turns.insert(0, Message("system", prompt))
    return rendered(form, turns)


def rendered(form: TextForm, turns: Sequence[Message]) -> Conversation:
    """Turns as the files say that the chat template is to render them."""
    arguments = dict(form.template_kwargs)
    begun = arguments.pop("add_generation_prompt", False) is True
    return Conversation(tuple(turns), add_generation_prompt=begun, template_kwargs=arguments)


def _prompt_length(renderer: ChatRenderer, prompt: str) -> int:
    """The tokens of a prompt, without a special one at its end."""
    ids = renderer.encode(prompt)
    special = getattr(renderer.tokenizer, "all_special_ids", ())
    return len(ids) - (1 if ids and ids[-1] in special else 0)


def _token_prompts(
    renderer: ChatRenderer,
    inputs: Sequence[Prompt],
    max_model_len: int,
    truncate: Side | None,
    left: threading.Event,
) -> list[list[int]]:
    """One after another, until somebody has `left`."""
    prompts: list[list[int]] = []
    for at, text in enumerate(inputs):
        if left.is_set():
            break
        prompt = renderer.encode(text)
        if not prompt:
            raise InvalidRequest(
                f"Input {at} is empty.", hint="Every input needs at least one token.", param="texts"
            )
        if len(prompt) > max_model_len and truncate is not None:
            prompt = shortened(renderer, text, max_model_len, truncate)
        elif len(prompt) > max_model_len:
            raise ContextLengthExceeded(
                f"Input {at} has {len(prompt)} tokens; this model takes {max_model_len}.",
                hint="Shorten it or split it.",
                param="texts",
            )
        prompts.append(prompt)
    return prompts


def shortened(renderer: ChatRenderer, text: Prompt, room: int, side: Side) -> list[int]:
    """The token ids of `text` without as many of one side as do not fit into `room`; the special
    tokens around a text stay. Errors: ContextLengthExceeded for a conversation.
    """
    whole = renderer.encode(text)
    if len(whole) <= room:
        return whole
    if isinstance(text, Conversation):
        raise ContextLengthExceeded(
            f"An input has {len(whole)} tokens as the chat template renders it; {room} fit, and a"
            " rendered text is not cut.",
            hint="Shorten it.",
            param="texts",
        )
    inner = renderer.encode(text, add_special_tokens=False)
    added = len(whole) - len(inner)
    # a text's tokens stand as they are between those that are added
    before = next((at for at in range(added + 1) if whole[at : at + len(inner)] == inner), 0)
    kept = max(room - added, 0)
    cut = inner[len(inner) - kept :] if side == "start" else inner[:kept]
    return [*whole[:before], *cut, *whole[before + len(inner) :]][:room]


async def finish(found: Embeddings, normalize: bool, dimensions: int | None) -> EmbeddingOutput:
    """As `finished`: off the event loop where there are many numbers."""
    if sum(map(len, found.vectors)) < MANY_NUMBERS:
        return finished(found, normalize, dimensions)
    return await asyncio.to_thread(finished, found, normalize, dimensions)


def finished(found: Embeddings, normalize: bool, dimensions: int | None) -> EmbeddingOutput:
    """Cut each vector to its first `dimensions` numbers, then scale it to length 1. Errors:
    InvalidRequest.
    """
    if not isinstance(normalize, bool):
        raise InvalidRequest(
            f"normalize must be true or false, got {normalize!r}.", param="normalize"
        )
    vectors = found.vectors
    if dimensions is not None:
        if type(dimensions) is not int:
            raise InvalidRequest(
                f"{field('dimensions')} must be a whole number, got {dimensions!r}.",
                param="dimensions",
            )
        if vectors and not 1 <= dimensions <= len(vectors[0]):
            raise InvalidRequest(
                f"{field('dimensions')} must be between 1 and {len(vectors[0])}, got {dimensions}.",
                param="dimensions",
            )
        vectors = [vector[:dimensions] for vector in vectors]
    if normalize:
        vectors = [_unit(vector) for vector in vectors]
    return EmbeddingOutput(vectors, Usage(found.prompt_tokens, 0))


def _unit(vector: list[float]) -> list[float]:
    length = math.sqrt(sum(value * value for value in vector))
    return [value / length for value in vector] if length else vector
