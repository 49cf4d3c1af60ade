"""Messages, chat template and tokenizer in; prompt text and token ids out."""

from __future__ import annotations

import functools
import math
import secrets
import time
from collections.abc import Mapping, Sequence
from typing import Any

import attrs
from jinja2 import Template

from openllm.config.spec import TEMPLATE_RESERVED
from openllm.errors import InvalidRequest, call, option
from openllm.prompt.expectations import Expectations, expectations
from openllm.prompt.limits import Limits
from openllm.prompt.messages import require_items, template_message
from openllm.prompt.sandbox import TEMPLATE_ERRORS, BoundedEnvironment
from openllm.prompt.tokenizer import TextEncoder, longest_token
from openllm.types import Conversation, Message, Prompt

_LONGEST_TEMPLATE = 2**20  # characters
_LONGEST_REASON = 300  # characters of a template's own complaint
_LONG_PROMPT = 2_000  # characters or tokens from which a prompt is read off the event loop
_MANY_MESSAGES = 16  # from which a conversation is rendered off it
_QUICK = 0.001  # seconds of CPU time for which an event loop can wait
_NFC_SHRINKS = 4  # times fewer bytes after Unicode normalisation, at most


class ChatRenderer:
    """Turns prompts into token ids with one tokenizer and its chat template (or `template`, Jinja
    text), which is given `kwargs` where a conversation does not say otherwise. `image_mark`
    stands for an image in a prompt.

    Safe to use from several threads. `render` and `encode` are synchronous; long texts are
    tokenized without holding the interpreter lock, so a caller on an event loop hands them to a
    thread. As with every Hugging Face tokenizer, a special token written out in a user's text
    ("<|eot_id|>") becomes that token; who must prevent it strips it before.
    """

    def __init__(
        self,
        tokenizer: Any,
        template: str | None = None,
        *,
        kwargs: Mapping[str, Any] | None = None,
        limits: Limits | None = None,
        image_mark: str | None = None,
    ) -> None:
        self.tokenizer = tokenizer
        self._image_mark = image_mark
        self._texts = TextEncoder(tokenizer)
        self._kwargs = kwargs or {}
        self._environment = BoundedEnvironment(limits or Limits())
        self._source: str | Mapping[str, str] | None = template or getattr(
            tokenizer, "chat_template", None
        )
        self._special_tokens = dict(tokenizer.special_tokens_map)
        self._compiled: dict[str, _Compiled] = {}

    @property
    def has_template(self) -> bool:
        return bool(self._source)

    def source(self, *, tools: bool) -> str:
        """The chat template's text, that for conversations with tools where there are two; "" for
        none.
        """
        found = self._source
        if isinstance(found, Mapping):
            found = (found.get("tool_use") if tools else None) or found.get("default")
        return found or ""

    def expects(self, *, tools: bool) -> Expectations:
        """What the template expects of a conversation, without tools or with. Errors:
        InvalidRequest where there is no template.
        """
        return self._template(tools).expects

    def render(self, conversation: Conversation) -> str:
        """The prompt as text. Errors: InvalidRequest (no template, or the template refuses),
        UnsupportedFeature.
        """
        _check(conversation)
        compiled = self._template(bool(conversation.tools))
        messages = [
            template_message(message, compiled.expects, self._image_mark)
            for message in conversation.messages
        ]
        mark = _mark_end(messages[-1]) if conversation.continue_final_message else None
        variables = {
            "documents": [dict(document) for document in conversation.documents] or None,
            **self._special_tokens,
            **self._kwargs,
            **conversation.template_kwargs,
            "messages": messages,
            "tools": [dict(tool) for tool in conversation.tools] or None,
            "add_generation_prompt": conversation.add_generation_prompt,
        }
        begun = time.thread_time()
        try:
            text = self._environment.render_bounded(compiled.template, variables)
        except TEMPLATE_ERRORS as error:
            raise InvalidRequest(
                f"The chat template cannot render this conversation: {_reason(error)}.",
                param="prompt",
                code="chat_template_error",
            ) from error
        if _is_small(conversation):
            compiled.seconds = time.thread_time() - begun
        return _cut(text, mark) if mark else text

    def is_quick(self, prompt: Prompt) -> bool:
        """Whether an event loop can wait for `encode`: of a conversation, whether it is small and
        the last small one was quickly rendered.
        """
        if isinstance(prompt, Conversation):
            return _is_small(prompt) and self._template(tools=False).seconds <= _QUICK
        return not isinstance(prompt, Sequence) or len(prompt) <= _LONG_PROMPT

    def encode(self, prompt: Prompt, add_special_tokens: bool = True) -> list[int]:
        """Token ids of a text, of token ids (checked only for type and sign), or of a conversation.

        A rendered conversation never gets special tokens added: its template wrote them. Errors:
        InvalidRequest.
        """
        if isinstance(prompt, Conversation):
            return self._texts.ids(self.render(prompt), False)
        if isinstance(prompt, str):
            return self._texts.ids(prompt, add_special_tokens)
        require_items(prompt, "A prompt", "Pass a text, token ids or a Conversation.")
        for token in prompt:
            if type(token) is not int or token < 0:
                hint = (
                    "Messages are for chat."
                    if isinstance(token, Mapping | Message)
                    else "Ids are whole numbers."
                )
                raise InvalidRequest(f"{token!r} is not a token id.", hint=hint, param="prompt")
        return list(prompt)

    def too_long(self, text: str, limit: int) -> bool:
        """Whether `text` has more than `limit` tokens for certain, told from its length alone.
        False: count them.
        """
        return self._longest_token > 0 and len(text) > limit * self._longest_token * _NFC_SHRINKS

    def ending(self, text: str, most: int) -> str:
        """The end of `text`, with at least `most` tokens if it has them: what is before need not
        be looked at to find them.
        """
        if not self.too_long(text, most):
            return text
        return text[-(most + 1) * self._longest_token * _NFC_SHRINKS :]

    @functools.cached_property
    def _longest_token(self) -> int:
        return longest_token(self.tokenizer)

    def _template(self, tools: bool) -> _Compiled:
        source = self.source(tools=tools)
        if not source:
            raise InvalidRequest(
                "This model has no chat template.",
                hint=f"Use {call('LLM.generate')}, or start the server with"
                f" {option('chat_template')}.",
                code="no_chat_template",
            )
        if source not in self._compiled:
            self._compiled[source] = _compile(self._environment, source)
        return self._compiled[source]


@attrs.define
class _Compiled:
    template: Template
    expects: Expectations
    seconds: float = math.inf  # of CPU time that the last small conversation took


def _compile(environment: BoundedEnvironment, source: str) -> _Compiled:
    try:
        if len(source) > _LONGEST_TEMPLATE:
            raise ValueError("it is longer than 1 MiB")
        return _Compiled(environment.from_string(source), expectations(environment.parse(source)))
    except TEMPLATE_ERRORS as error:
        raise InvalidRequest(
            f"The chat template is not valid Jinja: {_reason(error)}.",
            hint=f"Mend it, or give another with {option('chat_template')}.",
            code="chat_template_error",
        ) from error


def _is_small(conversation: Conversation) -> bool:
    """Whether a template that is quick with small conversations will be with this one."""
    if conversation.tools or conversation.documents or conversation.template_kwargs:
        return False
    room = _LONG_PROMPT
    for message in conversation.messages[:_MANY_MESSAGES]:
        room -= len(message.content) if isinstance(message.content, str) else _LONG_PROMPT
    return room > 0 and len(conversation.messages) < _MANY_MESSAGES


def _check(conversation: Conversation) -> None:
    if not conversation.messages:
        raise InvalidRequest(
            "messages is empty.", hint="Send at least one message.", param="prompt"
        )
    if conversation.continue_final_message and conversation.add_generation_prompt:
        raise InvalidRequest(
            "continue_final_message and add_generation_prompt exclude each other.",
            hint="Set add_generation_prompt to false.",
            param="continue_final_message",
        )
    if taken := TEMPLATE_RESERVED & conversation.template_kwargs.keys():
        raise InvalidRequest(
            f"{min(taken)!r} cannot be a template argument.", param="template_kwargs"
        )


def _mark_end(message: dict[str, Any]) -> str:
    """Append a mark to the message's text, by which the end is found again in the rendered
    prompt.
    """
    mark = f"END-{secrets.token_hex(8)} "
    content = message["content"]
    if isinstance(content, str):
        message["content"] = content + mark
    elif content and "text" in content[-1]:
        content[-1] = {**content[-1], "text": content[-1]["text"] + mark}
    else:
        raise InvalidRequest(
            "The final message has no text to continue.", param="continue_final_message"
        )
    return mark


def _cut(text: str, mark: str) -> str:
    """`text` up to the mark; a template that strips the content also strips what stood before the
    mark.
    """
    before, found, after = text.rpartition(mark.rstrip())
    if not found:
        raise InvalidRequest(
            "The chat template drops the final message.", param="continue_final_message"
        )
    return before if after.startswith(" ") else before.rstrip()


def _reason(error: BaseException) -> str:
    text = " ".join(str(error).split()) or type(error).__name__
    return text[:_LONGEST_REASON].rstrip(".")
