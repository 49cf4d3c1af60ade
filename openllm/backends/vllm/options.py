"""The user's engine arguments by vLLM's own names: names checked, values converted by the types
vLLM declares.
"""

from __future__ import annotations

import dataclasses
import enum
import json
import re
import sys
import types
import typing
from collections.abc import Mapping
from typing import Any

from openllm.discovery import did_you_mean, near
from openllm.errors import ConfigurationError

_SWITCH = {
    "true": True,
    "1": True,
    "yes": True,
    "on": True,
    "false": False,
    "0": False,
    "no": False,
    "off": False,
}
_SHOWN = 12  # choices that an error lists
_SUFFIXES = {
    "k": 10**3,
    "m": 10**6,
    "g": 10**9,
    "t": 10**12,
    "K": 2**10,
    "M": 2**20,
    "G": 2**30,
    "T": 2**40,
}


def convert_options(options: Mapping[str, Any], arguments: type) -> dict[str, Any]:
    """`options` with each value in the type that the dataclass `arguments` (vLLM's AsyncEngineArgs)
    declares for it.

    Values are JSON values or the text of a command line: "true", "12", "8k", "a,b", '{"method":
    "ngram"}', "null". Errors: ConfigurationError for names that are not there (near ones are named)
    and values of another type.
    """
    fields = {
        field.name: field.type
        for field in dataclasses.fields(arguments)
        if not field.name.startswith("_")
    }
    module = vars(sys.modules[arguments.__module__])
    return {key: convert_option(key, value, fields, module) for key, value in options.items()}


def convert_option(
    key: str, value: Any, fields: Mapping[str, Any], names: Mapping[str, Any]
) -> Any:
    """One value; `names` resolves annotations that are written as text."""
    if key not in fields:
        hint = did_you_mean(key.strip("-").replace("-", "_").lower(), fields, 3)
        raise ConfigurationError(
            f"vLLM has no engine argument {key!r}.",
            hint=hint or "vLLM's documentation lists them as engine arguments.",
            param=key,
        )
    kind = _resolved(fields[key], names)
    if kind is Any:
        return value
    return _checked(
        key,
        _from_text(key, value, kind) if isinstance(value, str) else _from_json(value, kind),
        kind,
    )


def _resolved(kind: Any, names: Mapping[str, Any]) -> Any:
    while isinstance(kind, str):
        try:
            # vLLM's own annotation, as typing.get_type_hints does
            kind = eval(kind, dict(names))  # noqa: S307
        except NameError:  # a name that vLLM imports for type checkers only
            return Any
    return kind


def _kinds(kind: Any) -> set[Any]:
    """The alternatives of a type, without Annotated: {int, None} for `Annotated[int | None,
    ...]`.
    """
    origin = typing.get_origin(kind)
    if origin is typing.Annotated:
        return _kinds(typing.get_args(kind)[0])
    if origin in (typing.Union, types.UnionType):
        return set().union(*(_kinds(part) for part in typing.get_args(kind)))
    return {type(None) if kind is None else kind}


def _plain(kinds: set[Any]) -> set[Any]:
    return {typing.get_origin(kind) or kind for kind in kinds}


def _from_text(key: str, text: str, kind: Any) -> Any:
    kinds = _plain(_kinds(kind))
    if text in ("None", "null") and type(None) in kinds:
        return None
    if text.strip()[:1] in ("{", "[") and kinds - {str, type(None)}:
        try:
            return json.loads(text)
        except ValueError as error:
            raise ConfigurationError(
                f"The engine argument {key} is not JSON: {error}.", param=key
            ) from None
    if bool in kinds and text.lower() in _SWITCH:
        return _SWITCH[text.lower()]
    if int in kinds and (number := re.fullmatch(r"(\d+(?:\.\d+)?)([kKmMgGtT])", text)):
        return int(float(number[1]) * _SUFFIXES[number[2]])
    if kinds & {list, set, tuple} and str not in kinds:
        return [part.strip() for part in text.split(",")]
    return next((choice for choice in _choices(kind) if text == _name(choice)), text)


def _from_json(value: Any, kind: Any) -> Any:
    """A number where only text is wanted was text before somebody's parser read it."""
    kinds = _plain(_kinds(kind))
    number = isinstance(value, int | float) and not isinstance(value, bool)
    return str(value) if number and not kinds & {int, float, bool} and str in kinds else value


def _checked(key: str, value: Any, kind: Any) -> Any:
    from pydantic import ConfigDict, PydanticUserError, TypeAdapter, ValidationError

    kinds = _plain(_kinds(kind))
    if isinstance(value, bool) and bool not in kinds and kinds & {int, float}:
        raise _wrong(key, value, kind)
    try:
        try:
            adapter = TypeAdapter(kind, config=ConfigDict(arbitrary_types_allowed=True))
        except PydanticUserError:  # a class that brings its own configuration
            adapter = TypeAdapter(kind)
        return adapter.validate_python(value)
    except ValidationError as error:
        raise _refused(key, value, kind, error.errors()) from None


def _refused(key: str, value: Any, kind: Any, complaints: list[Any]) -> ConfigurationError:
    """What pydantic complains of: the place inside an object that fits as one, else what kind of
    value would.
    """
    if not isinstance(value, Mapping) or not any(map(_is_object, _plain(_kinds(kind)))):
        return _wrong(key, value, kind, str(complaints[0]["msg"]))
    # a union complains once per alternative, with the alternative's name in front of the place
    deepest = max(complaints, key=lambda complaint: len(complaint["loc"]))
    place = ".".join(
        str(part) for part in deepest["loc"] if part == deepest["loc"][-1] or part in value
    )
    why = " ".join(str(deepest["msg"]).split())[:200]
    return ConfigurationError(
        f"The engine argument {key}{place and f', at {place}'}: {why}.", param=key
    )


def _is_object(kind: Any) -> bool:
    return kind is dict or dataclasses.is_dataclass(kind)


def _wrong(key: str, value: Any, kind: Any, why: str = "") -> ConfigurationError:
    names = {bool: "true or false", int: "a whole number", float: "a number", str: "a text"}
    names |= {dict: "a JSON object", list: "a list", set: "a list", tuple: "a list"}
    kinds = _plain(_kinds(kind))
    wanted = list(dict.fromkeys(names[part] for part in names if part in kinds))
    wanted += ["a JSON object"] if dict not in kinds and any(map(_is_object, kinds)) else []
    if choices := [_name(choice) for choice in _choices(kind)]:
        rest = ["..."] if len(choices) > _SHOWN else []
        likely = near(str(value), choices, 3)
        others = [choice for choice in choices if choice not in likely]
        wanted.append(f"one of {', '.join([*likely, *others][:_SHOWN] + rest)}")
    text = " or ".join(wanted) or f"something else ({why[:200]})"
    return ConfigurationError(
        f"The engine argument {key} must be {text}, got {value!r}.", param=key
    )


def _choices(kind: Any) -> list[Any]:
    """The values a Literal or an Enum among the alternatives allows."""
    found: list[Any] = []
    for part in _kinds(kind):
        if typing.get_origin(part) is typing.Literal:
            found += typing.get_args(part)
        elif isinstance(part, type) and issubclass(part, enum.Enum):
            found += part.__members__.values()
    return found


def _name(choice: Any) -> str:
    return choice.name if isinstance(choice, enum.Enum) else str(choice)
