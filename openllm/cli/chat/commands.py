"""What can be typed in a chat beside questions: /help and the others, each a line of a table."""

from __future__ import annotations

import json
import shlex
from collections.abc import Callable
from pathlib import Path

import attrs

from openllm.cli.chat.conversation import Talk
from openllm.cli.given.messages import image_url, read_schema
from openllm.discovery import did_you_mean
from openllm.errors import ConfigurationError, OpenLLMError
from openllm.types import SamplingParams

# SamplingParams' fields that are more than a number, a text or a switch on the wire.
_SAID_OTHERWISE = {"structure", "logit_bias", "logprobs", "prompt_logprobs", "n", "include_stop"}
SETTINGS = sorted(
    {field.name for field in attrs.fields(SamplingParams)} - _SAID_OTHERWISE | {"reasoning_effort"}
)


class Retry(Exception):
    """The last question is asked again."""


class Leave(Exception):
    """The chat is over."""


@attrs.frozen
class Command:
    """One command: what stands behind its name, what it does, and the function that does it. That
    gets the rest of the line, and gives what is printed.
    """

    argument: str
    about: str
    run: Callable[[Talk, str], str]


def run(talk: Talk, line: str) -> str:
    """Do what a line that begins with / says; what to print. Errors: OpenLLMError, Retry, Leave."""
    name, _, rest = line[1:].partition(" ")
    command = COMMANDS.get(name)
    if command is None:
        hint = did_you_mean(name, COMMANDS) or "/help lists what there is."
        raise ConfigurationError(f"There is no /{name}.", hint=hint)
    return command.run(talk, rest.strip())


def _help(talk: Talk, rest: str) -> str:
    heads = [f"/{name} {command.argument}".strip() for name, command in COMMANDS.items()]
    width = max(map(len, heads))
    lines = [
        f"{head:{width}}  {command.about}"
        for head, command in zip(heads, COMMANDS.values(), strict=True)
    ]
    return "\n".join(
        [
            *lines,
            'Several lines: end one with \\, or put """ before and after them.',
            "Ctrl+C stops an answer, Ctrl+D ends the chat.",
        ]
    )


def _system(talk: Talk, rest: str) -> str:
    talk.system = rest or None
    return "System message set." if rest else "No system message."


def _model(talk: Talk, rest: str) -> str:
    return _choose(talk, rest, adapters=False)


def _adapter(talk: Talk, rest: str) -> str:
    return _choose(talk, rest, adapters=True)


def _choose(talk: Talk, name: str, *, adapters: bool) -> str:
    """Take the model or adapter `name`; without a name, say which there are."""
    served = [each for each in talk.client.models() if adapters == (each.parent is not None)]
    names = [each.id for each in served]
    what = "adapter" if adapters else "model"
    if not names:
        return f"The server has no {what}s."
    if not name:
        return "\n".join(f"{'*' if each == talk.model else ' '} {each}" for each in names)
    if name not in names:
        hint = did_you_mean(name, names) or f"There are {', '.join(names)}."
        raise ConfigurationError(f"The server has no {what} {name!r}.", hint=hint)
    talk.model = name
    return f"Now asking {name}."


def _set(talk: Talk, rest: str) -> str:
    name, _, text = rest.replace("=", " ", 1).partition(" ")
    if not name:
        said = [f"{key} {json.dumps(value)}" for key, value in talk.fields.items()]
        return "\n".join(said) or f"Nothing is set. There are {', '.join(SETTINGS)}."
    name = name.replace("-", "_")
    if name not in SETTINGS:
        hint = did_you_mean(name, SETTINGS) or "/set lists what there is."
        raise ConfigurationError(f"There is no setting {name!r}.", hint=hint)
    if not text.strip():
        talk.fields.pop(name, None)
        return f"{name} is the server's default."
    try:
        talk.fields[name] = json.loads(text)
    except ValueError:
        talk.fields[name] = text.strip()
    return f"{name} is {json.dumps(talk.fields[name])}."


def _save(talk: Talk, rest: str) -> str:
    talk.save(_path(rest, "save"))
    return f"Saved {len(talk.messages)} messages."


def _load(talk: Talk, rest: str) -> str:
    talk.load(_path(rest, "load"))
    return f"Loaded {len(talk.messages)} messages."


def _retry(talk: Talk, rest: str) -> str:
    raise Retry


def _image(talk: Talk, rest: str) -> str:
    path = _path(rest, "image")
    if not path.is_file():
        raise OpenLLMError(f"There is no file {str(path)!r}.")
    talk.images.append(image_url(path))
    return "It goes with your next question."


def _json(talk: Talk, rest: str) -> str:
    if rest == "off":
        talk.structure = None
        return "Answers are text."
    talk.structure = read_schema(_path(rest, "json")) if rest else {"type": "json_object"}
    return "Answers are JSON; /json off ends that."


def _clear(talk: Talk, rest: str) -> str:
    talk.messages.clear()
    talk.images.clear()
    return "Forgotten."


def _bye(talk: Talk, rest: str) -> str:
    raise Leave


def _path(rest: str, name: str) -> Path:
    try:
        words = shlex.split(rest)
    except ValueError:
        words = [rest]
    if len(words) != 1:
        raise ConfigurationError(f"/{name} needs a file.", hint=f"Write /{name} FILE.")
    return Path(words[0]).expanduser()


COMMANDS = {
    "help": Command("", "this list", _help),
    "system": Command("[TEXT]", "the system message; without TEXT none", _system),
    "model": Command("[NAME]", "which model answers; without NAME: which there are", _model),
    "adapter": Command("[NAME]", "which adapter answers; without NAME: which there are", _adapter),
    "set": Command("[NAME VALUE]", "how answers are sampled, such as /set temperature 0", _set),
    "image": Command("FILE", "an image for the next question", _image),
    "json": Command("[FILE|off]", "answers as JSON, by the schema in FILE", _json),
    "retry": Command("", "another answer to the last question", _retry),
    "save": Command("FILE", "write the conversation down", _save),
    "load": Command("FILE", "go on with one that was saved", _load),
    "clear": Command("", "forget the conversation", _clear),
    "bye": Command("", "the end; Ctrl+D, too", _bye),
}
