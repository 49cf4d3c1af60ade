"""POST /api/chat and /api/generate: a conversation, or a prompt with or without the chat template;
streamed unless the request says otherwise.
"""

from __future__ import annotations

from typing import Any

import attrs
from starlette.routing import Route

from openllm.config.settings import Settings
from openllm.http.body.conversation import joined
from openllm.http.body.fields import Fields
from openllm.http.catalog import Catalog, Target
from openllm.http.exchange import Exchange
from openllm.http.routes import Endpoint
from openllm.http.running import Work, respond
from openllm.protocols.ollama import encode
from openllm.protocols.ollama.dialect import CHAT, PROMPT
from openllm.protocols.ollama.messages import read_conversation, read_images
from openllm.protocols.ollama.names import read_name, running
from openllm.protocols.ollama.params import (
    note_think,
    read_format,
    read_logprobs,
    read_options,
    read_think,
)
from openllm.types import Conversation, Image, Message, Prompt, Reading

CHAT_PATH, GENERATE_PATH = "/api/chat", "/api/generate"


@attrs.frozen
class Common:
    """What both bodies have."""

    model: str | None
    overrides: dict[str, Any]
    stream: bool
    template_kwargs: dict[str, Any]  # of `think`
    top_logprobs: int | None


@attrs.frozen
class GenerateRequest:
    """A parsed body of /api/generate. `raw`: the prompt is continued as it is."""

    common: Common
    prompt: str
    system: str
    raw: bool
    images: list[str | Image]

    def prompt_for(self, target: Target) -> Prompt:
        """What the model gets: one turn of a chat where it has a chat template."""
        if self.raw or not (self.images or target.llm.renderer.has_template):
            return f"{self.system}\n\n{self.prompt}" if self.system else self.prompt
        said = joined([*self.images, self.prompt])
        messages = (Message("system", self.system), Message("user", said))
        kwargs = self.common.template_kwargs
        return Conversation(messages if self.system else messages[1:], template_kwargs=kwargs)


def routes(catalog: Catalog, settings: Settings) -> list[Route]:
    async def chat(exchange: Exchange) -> None:
        fields = await exchange.fields()
        common, conversation = await exchange.apart(read_chat, fields, settings)
        target = running(catalog, common.model, "generate")
        note_think(fields, common.template_kwargs, target)
        await _answer(exchange, encode.CHAT, common, target, conversation)

    async def generate(exchange: Exchange) -> None:
        fields = await exchange.fields()
        request = await exchange.apart(read_generate, fields, settings)
        target = running(catalog, request.common.model, "generate")
        note_think(fields, request.common.template_kwargs, target)
        asked = request.prompt or request.images
        prompt = request.prompt_for(target) if asked else None
        await _answer(exchange, encode.GENERATE, request.common, target, prompt)

    return [
        Route(CHAT_PATH, Endpoint(CHAT_PATH, chat, CHAT), methods=["POST"]),
        Route(GENERATE_PATH, Endpoint(GENERATE_PATH, generate, PROMPT), methods=["POST"]),
    ]


async def _answer(
    exchange: Exchange, form: encode.Form, common: Common, target: Target, prompt: Prompt | None
) -> None:
    """Without a prompt the model is only to be loaded, which it is."""
    name = common.model or target.name
    if prompt is None:
        exchange.model = target.llm.name
        await exchange.answer_json(encode.loaded(form, name, exchange.created))
        return
    work = Work(
        target,
        [prompt],
        common.overrides,
        common.stream,
        add_special_tokens=not isinstance(prompt, Conversation),
        reading=None if isinstance(prompt, Conversation) else Reading(),
    )
    wire = encode.OllamaWire(form, name, exchange, target, common.top_logprobs)
    await respond(exchange, work, wire)


def read_chat(fields: Fields, settings: Settings) -> tuple[Common, Conversation | None]:
    """The body of a chat request. Errors: InvalidRequest, UnsupportedFeature; each names its
    field.
    """
    common = _common(fields, settings)
    conversation = read_conversation(fields, common.template_kwargs)
    fields.close()
    return common, conversation


def read_generate(fields: Fields, settings: Settings) -> GenerateRequest:
    """The body of a request for text. Errors: InvalidRequest, UnsupportedFeature; each names its
    field.
    """
    common = _common(fields, settings)
    prompt, system = fields.text("prompt") or "", fields.text("system") or ""
    raw = fields.flag("raw")
    fields.refuse("suffix", "Put what surrounds the gap into the prompt, with raw.", "")
    fields.refuse("template", "The operator sets it when the model is started.", "")
    fields.refuse("context", "Send the earlier turns as messages to /api/chat.", [])
    images = read_images(fields)
    if images and raw:
        fields.bad("images", "cannot go together with raw: nothing would say where they stand")
    for name in ("width", "height", "steps"):
        fields.refuse(name, "This server makes no images.", 0)
    fields.close()
    return GenerateRequest(common, prompt, "" if raw else system, raw, images)


def _common(fields: Fields, settings: Settings) -> Common:
    model = read_name(fields)
    overrides = read_options(fields, settings)
    structure = read_format(fields)
    if structure is not None:
        overrides["structure"] = structure
    top = read_logprobs(fields, settings)
    if top is not None:
        overrides["logprobs"] = top
    fields.ignore("keep_alive")  # a model stays loaded for as long as the server runs
    for name in ("truncate", "shift"):
        fields.pass_over(name, "A prompt that is too long is refused.")
    return Common(model, overrides, fields.flag("stream", default=True), read_think(fields), top)
