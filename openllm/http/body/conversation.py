"""Messages and tools as chat templates know them, to the `Conversation` that one renders."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import msgspec

from openllm.config.settings import Settings
from openllm.errors import InvalidRequest, UnsupportedFeature
from openllm.http.body.fields import Fields, Written, kind_of, required
from openllm.http.body.tools import MAX_TOOLS, read_tools, tool_name
from openllm.prompt.messages import IMAGE, REASONING_NAMES, TEXT_PARTS, text_key
from openllm.types import Conversation, Image, Message

Content = str | list[dict[str, Any]]  # of a message: a text, or parts

MAX_MESSAGES = 8192
MAX_DOCUMENTS = 1024
# What clients write for a role, and what templates call it.
ROLES: Mapping[str, str] = {
    "system": "system",
    "developer": "system",  # a later name for it
    "user": "user",
    "assistant": "assistant",
    "tool": "tool",
    "function": "tool",  # an earlier name for it
}
_REASONING_PARTS: Mapping[str, str] = {"thinking": "thinking", "reasoning": "text"}
_JSON_PART = "input_json"  # told as its text
_MOST_JSON = 256 * 1024  # bytes of one, as its vendor has it
_IMAGE_PARTS = ("image_url", "input_image")  # chat's, and that of responses
_IMAGE_URL = "image_url"
_PARTS = (*TEXT_PARTS, *_REASONING_PARTS, _JSON_PART, *_IMAGE_PARTS)
_WITHOUT_TYPE = ("text", "thinking", "refusal")  # what a part says that does not say its type
_SCALARS = (str, int, float, bool)


def read_conversation(fields: Fields, settings: Settings) -> Conversation:
    """messages, tools and what steers the template. Errors: InvalidRequest, UnsupportedFeature."""
    entries = required(fields, "messages", fields.objects("messages", most=MAX_MESSAGES))
    if not entries:
        fields.bad("messages", "must not be empty")
    messages = tuple(_message(entry) for entry in entries)
    tools, tool_use = read_tools(fields)
    go_on = fields.flag("continue_final_message")
    prompt = fields.flag("add_generation_prompt", default=not go_on)
    if go_on and prompt:
        fields.bad("continue_final_message", "cannot go together with add_generation_prompt")
    if go_on and messages[-1].role != "assistant":
        fields.bad("continue_final_message", "needs an assistant message at the end")
    fields.refuse("chat_template", "The operator sets it when the model is started.")
    kwargs = read_template_kwargs(fields, settings)
    documents = _documents(fields)
    return Conversation(messages, tools, prompt, go_on, kwargs, tool_use, documents)


def _documents(fields: Fields) -> tuple[Mapping[str, Any], ...]:
    """Objects of texts and numbers, such as a title and a text; a text alone is one with that."""
    found = []
    for at, item in enumerate(fields.items("documents", most=MAX_DOCUMENTS) or ()):
        document = {"text": item} if isinstance(item, str) else item
        path = Written(f"{fields.path('documents')}[{at}]")
        if not isinstance(document, dict) or not document:
            raise InvalidRequest(f"{path} must be an object with a text.", param=path)
        if not all(value is None or isinstance(value, _SCALARS) for value in document.values()):
            raise InvalidRequest(f"{path} may hold texts and numbers.", param=path)
        found.append(document)
    return tuple(found)


def read_template_kwargs(fields: Fields, settings: Settings) -> dict[str, Any]:
    """Arguments of the template: scalars from anybody, others where the operator allows it. Errors:
    InvalidRequest, UnsupportedFeature.
    """
    kwargs = fields.mapping("chat_template_kwargs", most=64) or {}
    kwargs = {name: value for name, value in kwargs.items() if value is not None}
    plain = all(isinstance(value, _SCALARS) for value in kwargs.values())
    if not plain and not settings.trust_request_chat_template:
        path = fields.path("chat_template_kwargs")
        raise UnsupportedFeature(
            f"{path} may hold texts, numbers, true and false.",
            hint="The operator allows more with OPENLLM_TRUST_REQUEST_CHAT_TEMPLATE=true.",
            param=path,
        )
    return kwargs


def _message(fields: Fields) -> Message:
    """One message. What a model and its client once said is not judged where fields are read
    leniently: it is the template's to take or to leave.
    """
    said = required(fields, "role", fields.choice("role", *ROLES))
    role = ROLES[said]
    reasoning: list[str] = []
    content = read_content(
        fields, "content", reasoning, anything=role == "tool" and not fields.strict
    )
    name = fields.text("name", longest=256)
    calls = call_id = None
    if role == "assistant":  # what a client got from an answer, sent back as it is
        calls = _tool_calls(fields)
        fields.ignore("refusal", "annotations")
        fields.pass_over("audio", "Send text.")
        reasoning[:0] = _earlier_reasoning(fields)
    if said == "tool":
        call_id = fields.text("tool_call_id", longest=256)
    if content is None and not calls and fields.strict:
        fields.bad("content", "is required")
    fields.close()
    if content is None and not calls:
        content = ""
    return Message(role, content, name, calls, call_id, "\n".join(reasoning) or None)


def _earlier_reasoning(fields: Fields) -> list[str]:
    """The thought of an earlier turn, which clients send back under several names, some under all
    of them.
    """
    for name in REASONING_NAMES:
        value = fields.raw(name)
        if value and isinstance(value, str):
            fields.ignore(*REASONING_NAMES, "thinking_blocks")
            return [value]
    return []


def read_content(
    fields: Fields, name: str, reasoning: list[str], *, anything: bool = False
) -> Content | None:
    """A text, or text parts joined by line breaks; the parts themselves where there are images
    among them. Parts of a thought are added to `reasoning`.

    `anything`: other JSON is taken too, as its text. Errors: InvalidRequest, UnsupportedFeature.
    """
    value = fields.raw(name)
    if value is None:
        return None
    if isinstance(value, str):
        fields.check_text(name, value)
        return value
    if not isinstance(value, list):
        if anything:
            return msgspec.json.encode(value).decode()
        fields.bad(name, f"must be a string or an array of text parts, not {kind_of(value)}")
    path = fields.path(name)
    found: list[str | Image] = []
    for at, item in enumerate(value):
        if isinstance(item, str) and not fields.strict:
            found.append(item)
        elif anything and not _is_part(item):
            found.append(msgspec.json.encode(item).decode())
        else:
            _part(fields.entry(item, f"{path}[{at}]"), found, reasoning)
    return joined(found)


def read_text_content(fields: Fields, name: str) -> str | None:
    """As `read_content`, where only texts are taken. Errors: UnsupportedFeature for an image."""
    content = read_content(fields, name, [])
    if content is None or isinstance(content, str):
        return content
    image = next(part[IMAGE] for part in content if part["type"] == IMAGE)
    raise UnsupportedFeature(
        f"{image.name} only text is taken here.", hint="Leave the image out.", param=image.param
    )


def joined(found: Sequence[str | Image]) -> Content:
    """Texts and images of one message as its content: one text where there are no images."""
    if not any(isinstance(item, Image) for item in found):
        return "\n".join(item for item in found if isinstance(item, str))
    return [
        {"type": IMAGE, IMAGE: item} if isinstance(item, Image) else {"type": "text", "text": item}
        for item in found
    ]


def _is_part(item: Any) -> bool:
    return isinstance(item, dict) and ("type" in item or "text" in item)


def _image(fields: Fields) -> Image:
    """The image of a part: a URI, or an object that has it as its `url`. Errors: InvalidRequest,
    UnsupportedFeature for one that is named by a file's id.
    """
    fields.refuse("file_id", "Send the image itself, as a data: URI.")
    fields.ignore("detail")
    value = required(fields, _IMAGE_URL, fields.raw(_IMAGE_URL))
    path = fields.path(_IMAGE_URL)
    if isinstance(value, dict):
        inner = fields.entry(value, path)
        path, value = inner.path("url"), required(inner, "url", inner.raw("url"))
        inner.ignore("detail")
        inner.close()
    if not isinstance(value, str):
        fields.bad(_IMAGE_URL, f"must be a URI, not {kind_of(value)}")
    return read_image(value, path)


def read_image(url: str, path: str) -> Image:
    """An image by its URI, which may be of any length; `path` names it. Errors: InvalidRequest."""
    if not url.isascii() or "\0" in url:
        raise InvalidRequest(f"{path} must be a URI.", param=Written(path))
    return Image(url, Written(path))


def _part(fields: Fields, texts: list[str | Image], reasoning: list[str]) -> None:
    kind = fields.text("type", longest=64, known=_PARTS)
    if kind is None and not fields.strict:
        kind = next(
            (known for known in ("text", "thinking", "refusal") if fields.said(known)), None
        )
    kind = required(fields, "type", kind)
    if kind in _REASONING_PARTS and not fields.strict:
        thought = fields.text(_REASONING_PARTS[kind])
        reasoning += [thought] if thought else []
        fields.ignore("signature")
    elif kind == "redacted_thinking" and not fields.strict:
        fields.ignore("data")  # nobody but its vendor can read it
    elif kind == _JSON_PART:
        texts.append(_json_text(fields))
    elif kind in _IMAGE_PARTS:
        texts.append(_image(fields))
    else:
        key = text_key(kind, fields.path("type"))
        text = fields.text(key)
        texts.append(required(fields, key, text) if fields.strict else text or "")
    fields.ignore("cache_control", "prompt_cache_breakpoint", "annotations", "logprobs")
    fields.close()


def _json_text(fields: Fields) -> str:
    """The object, or the objects, in `data`, as compact JSON. Errors: InvalidRequest."""
    value = required(fields, "data", fields.raw("data"))
    entries = value if isinstance(value, list) else [value]
    if not all(isinstance(entry, dict) for entry in entries):
        fields.bad("data", "must be an object, or an array of objects")
    text = msgspec.json.encode(value)
    if len(text) > _MOST_JSON:
        fields.bad("data", f"has {len(text)} bytes as JSON; at most {_MOST_JSON} are allowed")
    return text.decode()


def _tool_calls(fields: Fields) -> list[Mapping[str, Any]] | None:
    entries = fields.objects("tool_calls", most=MAX_TOOLS)
    calls = [_tool_call(entry) for entry in entries or ()]
    earlier = fields.object("function_call")  # what tool_calls was called once
    if earlier is not None:
        calls.append({"type": "function", "function": read_called(earlier)})
        earlier.close()
    return calls or None


def _tool_call(fields: Fields) -> Mapping[str, Any]:
    fields.choice("type", "function")
    fields.ignore("index")
    call_id = fields.text("id", longest=256)
    if fields.strict:
        required(fields, "id", call_id)
    function = required(fields, "function", fields.object("function"))
    called = read_called(function)
    function.close()
    fields.close()
    call = {"type": "function", "function": called}
    return call if call_id is None else {"id": call_id, **call}


def read_called(function: Fields, key: str = "arguments") -> Mapping[str, Any]:
    """The `name` and (in the field `key`) the arguments of a call: as an object where they are one,
    else as the text that they are. Errors: InvalidRequest.
    """
    name = tool_name(function) if function.strict else function.text("name") or ""
    arguments = function.raw(key)
    if isinstance(arguments, str):
        try:
            parsed = msgspec.json.decode(arguments or "{}")
        except (msgspec.MsgspecError, RecursionError):
            if function.strict:
                function.bad(key, "must be JSON")
            parsed = None
        arguments = parsed if isinstance(parsed, dict) else arguments
    elif arguments is not None and not isinstance(arguments, dict):
        arguments = msgspec.json.encode(arguments).decode()
    return {"name": name, "arguments": {} if arguments is None else arguments}
