"""Messages, chat template and tokenizer in; prompt text and token ids out."""

from __future__ import annotations

import functools
import json
import secrets
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import attrs
from jinja2 import Template

from openllm.errors import InvalidRequest, WeightsError, call, option
from openllm.prompt.content import ContentFormat, content_format, template_message
from openllm.prompt.limits import Limits
from openllm.prompt.messages import require_items
from openllm.prompt.sandbox import TEMPLATE_ERRORS, BoundedEnvironment
from openllm.types import Conversation, Message, Prompt
from openllm.weights.hub import config_errors

_TOKENIZER_FILES = (
    "tokenizer.json",
    "tokenizer.model",
    "vocab.json",
    "vocab.txt",
    "spiece.model",
    "tekken.json",
)
_RESERVED = frozenset({"messages", "tools", "add_generation_prompt"})
_LONGEST_TEMPLATE = 2**20  # characters
_LONGEST_REASON = 300  # characters of a template's own complaint
_NFC_SHRINKS = 4  # times fewer bytes after Unicode normalisation, at most


def load_tokenizer(weights_dir: Path, *, trust_remote_code: bool = False) -> Any:
    """The transformers tokenizer of a local directory; the network is never asked. Errors:
    WeightsError.
    """
    if not weights_dir.is_dir():
        raise WeightsError(f"There is no directory {weights_dir}.", hint="Check the path.")
    if not trust_remote_code and not any(
        (weights_dir / name).is_file() for name in _TOKENIZER_FILES
    ):
        raise WeightsError(
            f"{weights_dir} has no tokenizer: tokenizer.json is missing.",
            hint="Save it there with tokenizer.save_pretrained().",
        )
    for name in ("tokenizer.json", "tokenizer_config.json"):
        _check_json(weights_dir / name)
    from transformers import AutoTokenizer

    try:
        return AutoTokenizer.from_pretrained(
            str(weights_dir), local_files_only=True, trust_remote_code=trust_remote_code
        )
    except config_errors() as error:
        reason = " ".join(str(error).split())[:_LONGEST_REASON]
        raise WeightsError(
            f"{weights_dir / 'config.json'} cannot be used: {reason}.", hint="Fetch it again."
        ) from error
    except Exception as error:
        # The tokenizers library raises bare Exceptions for a tokenizer.json that it cannot read.
        if not isinstance(
            error, OSError | ValueError | LookupError | TypeError | AttributeError | ImportError
        ) and (type(error) is not Exception):
            raise
        reason = " ".join(str(error).split())[:_LONGEST_REASON]
        raise WeightsError(
            f"The tokenizer in {weights_dir} does not load: {reason}", hint="Fetch its files again."
        ) from error


def _check_json(path: Path) -> None:
    if not path.is_file():
        return
    try:
        json.loads(path.read_bytes())
    except (ValueError, OSError) as error:
        raise WeightsError(
            f"{path} is not readable JSON: {error}.", hint="Fetch it again."
        ) from error


class ChatRenderer:
    """Turns prompts into token ids with one tokenizer and its chat template (or `template`, Jinja
    text).

    Safe to use from several threads. `render` and `encode` are synchronous; long texts are
    tokenized without holding the interpreter lock, so a caller on an event loop hands them to a
    thread. As with every Hugging Face tokenizer, a special token written out in a user's text
    ("<|eot_id|>") becomes that token; who must prevent it strips it before.
    """

    def __init__(
        self, tokenizer: Any, template: str | None = None, *, limits: Limits | None = None
    ) -> None:
        self.tokenizer = tokenizer
        self._environment = BoundedEnvironment(limits or Limits())
        self._source: str | Mapping[str, str] | None = template or getattr(
            tokenizer, "chat_template", None
        )
        self._special_tokens = dict(tokenizer.special_tokens_map)
        self._compiled: dict[str, _Compiled] = {}

    @property
    def has_template(self) -> bool:
        return bool(self._source)

    def render(self, conversation: Conversation) -> str:
        """The prompt as text. Errors: InvalidRequest (no template, or the template refuses),
        UnsupportedFeature.
        """
        _check(conversation)
        compiled = self._template(bool(conversation.tools))
        messages = [
            template_message(message, compiled.content) for message in conversation.messages
        ]
        mark = _mark_end(messages[-1]) if conversation.continue_final_message else None
        variables = {
            "documents": None,
            **self._special_tokens,
            **conversation.template_kwargs,
            "messages": messages,
            "tools": [dict(tool) for tool in conversation.tools] or None,
            "add_generation_prompt": conversation.add_generation_prompt,
        }
        try:
            text = self._environment.render_bounded(compiled.template, variables)
        except TEMPLATE_ERRORS as error:
            raise InvalidRequest(
                f"The chat template cannot render this conversation: {_reason(error)}.",
                param="prompt",
                code="chat_template_error",
            ) from error
        return _cut(text, mark) if mark else text

    def encode(self, prompt: Prompt, add_special_tokens: bool = True) -> list[int]:
        """Token ids of a text, of token ids (checked only for type and sign), or of a conversation.

        A rendered conversation never gets special tokens added: its template wrote them. Errors:
        InvalidRequest.
        """
        if isinstance(prompt, Conversation):
            return self._tokenize(self.render(prompt), False)
        if isinstance(prompt, str):
            return self._tokenize(prompt, add_special_tokens)
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

    @functools.cached_property
    def _longest_token(self) -> int:
        """Characters of the longest token; 0 where a token may stand for any length of text
        (unknown words).
        """
        model = getattr(getattr(self.tokenizer, "backend_tokenizer", None), "model", None)
        if type(model).__name__ != "BPE" or (
            getattr(model, "unk_token", None) and not getattr(model, "byte_fallback", 0)
        ):
            return 0
        return max(map(len, self.tokenizer.get_vocab()), default=0)

    def _tokenize(self, text: str, add_special_tokens: bool) -> list[int]:
        try:
            text.encode()
        except UnicodeEncodeError as error:
            raise InvalidRequest(
                "The prompt holds half of a surrogate pair, which is no text.", param="prompt"
            ) from error
        backend = getattr(self.tokenizer, "backend_tokenizer", None)
        if backend is None:
            return [
                int(token)
                for token in self.tokenizer.encode(text, add_special_tokens=add_special_tokens)
            ]
        if (
            backend.truncation is not None or backend.padding is not None
        ):  # left on by whoever used the tokenizer last
            backend.no_truncation()
            backend.no_padding()
        # `encode` holds the interpreter lock (8 s for 4 MB); a batch of one does not, and is faster
        # on long texts.
        return list(backend.encode_batch_fast([text], add_special_tokens=add_special_tokens)[0].ids)

    def _template(self, tools: bool) -> _Compiled:
        source = self._source
        if isinstance(source, Mapping):
            source = (source.get("tool_use") if tools else None) or source.get("default")
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


@attrs.frozen
class _Compiled:
    template: Template
    content: ContentFormat


def _compile(environment: BoundedEnvironment, source: str) -> _Compiled:
    try:
        if len(source) > _LONGEST_TEMPLATE:
            raise ValueError("it is longer than 1 MiB")
        return _Compiled(environment.from_string(source), content_format(environment.parse(source)))
    except TEMPLATE_ERRORS as error:
        raise InvalidRequest(
            f"The chat template is not valid Jinja: {_reason(error)}.",
            hint=f"Mend it, or give another with {option('chat_template')}.",
            code="chat_template_error",
        ) from error


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
    if taken := _RESERVED & conversation.template_kwargs.keys():
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
    elif content:
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
