"""A JSON object read field by field: each value typed and bounded, what nobody asked for refused,
or noted, by name.
"""

from __future__ import annotations

import math
import re
from collections.abc import Mapping, Sequence
from typing import Any, NoReturn

import msgspec

from openllm.discovery import did_you_mean
from openllm.errors import InvalidRequest, UnsupportedFeature
from openllm.http.body.amount import LARGE_BODY

_SURROGATE = re.compile(rb"\\u[dD][89a-fA-F]..")
# An escape of JSON; both halves of a pair as one.
_ESCAPE = re.compile(
    rb"\\u[dD][89abAB][0-9a-fA-F]{2}\\u[dD][c-fC-F][0-9a-fA-F]{2}|\\u[0-9a-fA-F]{4}|\\."
)
_ONE_ESCAPE = 6  # bytes
_BYTE_ORDER_MARK = b"\xef\xbb\xbf"
_CONTAINERS = frozenset((dict, list))
_KINDS: Mapping[type, str] = {
    str: "a string",
    bool: "a boolean",
    int: "an integer",
    float: "a number",
    list: "an array",
    dict: "an object",
    type(None): "null",
}


def _number(text: str) -> float:
    """Python's reading of a number: msgspec's own takes 15 microseconds for some near 1e-300, and
    lets no other thread run. Errors: ValueError, which becomes a ValidationError.
    """
    value = float(text)
    if math.isinf(value):
        raise ValueError(text)
    return value


_decoder = msgspec.json.Decoder(float_hook=_number)


def decode_object(body: bytes | bytearray, max_depth: int) -> dict[str, Any]:
    """The JSON object in `body`. Errors: InvalidRequest for anything else, and for nesting beyond
    `max_depth`.
    """
    if not body or body.isspace():
        raise InvalidRequest("The body is empty.", hint="Send a JSON object.")
    try:
        value = _decoder.decode(_unmarked(body))
    except RecursionError:
        raise _too_deep(max_depth) from None
    except msgspec.ValidationError:
        raise InvalidRequest("The body holds a number that is out of range.") from None
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise _not_json(body, error) from None
    if not isinstance(value, dict):
        raise InvalidRequest(f"The body must be a JSON object, not {kind_of(value)}.")
    # a short text with few brackets cannot be that deep
    if len(body) > LARGE_BODY or body.count(b"[") + body.count(b"{") > max_depth:
        check_depth(value, max_depth)
    return value


def _unmarked(body: bytes | bytearray) -> bytes | bytearray:
    """The body without a byte order mark; a copy only where it has one."""
    return body.removeprefix(_BYTE_ORDER_MARK)


def _not_json(body: bytes | bytearray, error: Exception) -> InvalidRequest:
    if not isinstance(error, msgspec.DecodeError):
        return InvalidRequest("The body is not valid JSON: not UTF-8.", hint="Send it as UTF-8.")
    if (half := _half_a_surrogate(body)) is not None:
        return InvalidRequest(
            f"The body is not valid JSON: half a surrogate pair (byte {half}) is no character.",
            hint="A text was cut inside a character: send whole ones.",
        )
    why = str(error).removeprefix("JSON is malformed: ")
    return InvalidRequest(f"The body is not valid JSON: {why}.", hint="Send a JSON object.")


def _half_a_surrogate(body: bytes | bytearray) -> int | None:
    """Where an escape stands for half a character beyond U+FFFF, the other half missing."""
    for found in _ESCAPE.finditer(body):
        escape = found.group()
        if len(escape) == _ONE_ESCAPE and _SURROGATE.fullmatch(escape):
            return found.start()
    return None


def check_depth(value: Any, max_depth: int) -> None:
    """Raise InvalidRequest when containers nest deeper than `max_depth`; looks at containers only,
    never recurses.
    """
    level, depth = [value], 0
    while level:
        depth += 1
        if depth > max_depth:
            raise _too_deep(max_depth)
        below: list[Any] = []
        for container in level:
            items = container.values() if isinstance(container, dict) else container
            if not _CONTAINERS.isdisjoint(map(type, items)):
                below.extend(item for item in items if type(item) in _CONTAINERS)
        level = below


def _too_deep(max_depth: int) -> InvalidRequest:
    return InvalidRequest(f"The JSON body is nested more than {max_depth} levels deep.")


def kind_of(value: object) -> str:
    """A JSON value's type as an error message says it."""
    return _KINDS.get(type(value), "something else")


def shown(value: object) -> str:
    """`value` as an error message shows it: short, whatever was sent."""
    text = repr(value) if not isinstance(value, dict | list) else kind_of(value)
    return text if len(text) <= 60 else f"{text[:57]}..."


class Written(str):
    """A field as the client wrote it: where an error has it as `param`, no dialect renames it."""

    __slots__ = ()


class Fields:
    """The fields of one JSON object. Every reader takes its field out; `close` sees to those that
    are left.

    With `ignored` the object is read leniently: what is left is noted there by its full name, a
    whole number may be written as 1.0, and NUL is a character of a text. Without, all that is
    refused. null counts as "not said". All errors are InvalidRequest and name the field as
    `prefix.name`.
    """

    def __init__(
        self,
        data: Mapping[str, Any],
        prefix: str = "",
        ignored: list[str] | None = None,
        names: dict[str, str] | None = None,
    ) -> None:
        self._data = dict(data)
        self._prefix = prefix
        self._ignored = ignored
        self._known: list[str] = []  # asked for so far, where a near miss is named
        # The domain's names of what this body says in a field of another name than its dialect's.
        self.names = {} if names is None else names

    @property
    def strict(self) -> bool:
        """Whether what cannot be honoured is refused, also where it changes no answer."""
        return self._ignored is None

    def path(self, name: str) -> Written:
        """The field's full name."""
        return Written(f"{self._prefix}.{name}" if self._prefix else name)

    def bad(self, name: str, why: str, *, hint: str | None = None) -> NoReturn:
        """Refuse the value of field `name`."""
        path = self.path(name)
        raise InvalidRequest(f"{path}: {why}.", hint=hint, param=path)

    def raw(self, name: str) -> Any:
        """Any JSON value; None when absent."""
        if self._ignored is None:
            self._known.append(name)
        return self._data.pop(name, None)

    def present(self, names: Sequence[str]) -> dict[str, Any]:
        """Take out several fields: those that say something, null does not."""
        if self._ignored is None:
            self._known += names
        return {name: value for name in names if (value := self._data.pop(name, None)) is not None}

    def silent(self, names: frozenset[str]) -> bool:
        """Whether the body has none of these fields, so that they need not be read one by one: most
        bodies have few fields of the many that there are.
        """
        if self._ignored is None:
            self._known += names
        return names.isdisjoint(self._data)

    def peek(self, name: str) -> Any:
        """Any JSON value, which stays to be read; None when absent."""
        return self._data.get(name)

    def said(self, name: str) -> bool:
        """Whether the field is there and not null; does not take it out."""
        return self._data.get(name) is not None

    def _typed(self, name: str, *kinds: type) -> Any:
        value = self.raw(name)
        if value is None:
            return None
        if kinds == (int,):
            value = self.whole(value)
        if type(value) not in kinds:
            self.bad(name, f"must be {_KINDS[kinds[0]]}, not {kind_of(value)}")
        return value

    def text(
        self, name: str, *, longest: int | None = None, known: Sequence[str] = ()
    ) -> str | None:
        """A string of at most `longest` characters. `known`: values that the caller does something
        with, for those who want to know of them; any other is returned all the same.
        """
        value = self._typed(name, str)
        if value is not None:
            self.check_text(name, value, longest)
        return value  # type: ignore[no-any-return]  # _typed has checked it

    def check_text(self, name: str, value: str, longest: int | None = None) -> None:
        """Refuse texts longer than `longest`; NUL characters where fields are read strictly."""
        if self.strict and "\0" in value:
            self.bad(name, "must not contain NUL characters")
        if longest is not None and len(value) > longest:
            self.bad(name, f"has {len(value)} characters; at most {longest} are allowed")

    def flag(self, name: str, default: bool = False) -> bool:
        """true or false."""
        value = self._typed(name, bool)
        return default if value is None else bool(value)

    def integer(self, name: str, low: int, high: int) -> int | None:
        """A whole number in [low, high]; true is none, and 1.0 only where read leniently."""
        value = self._typed(name, int)
        if value is not None and not low <= value <= high:
            self.bad(name, f"must be between {low} and {high}, not {shown(value)}")
        return value  # type: ignore[no-any-return]  # _typed has checked it

    def whole(self, value: Any) -> Any:
        """`value`; where fields are read leniently, 1 for 1.0."""
        lenient = not self.strict and type(value) is float and value.is_integer()
        return int(value) if lenient else value

    def mapping(self, name: str, *, most: int | None = None) -> dict[str, Any] | None:
        """An object with at most `most` keys."""
        value = self._typed(name, dict)
        self._check_size(name, value, most)
        return value  # type: ignore[no-any-return]  # _typed has checked it

    def items(self, name: str, *, most: int | None = None) -> list[Any] | None:
        """An array with at most `most` entries."""
        value = self._typed(name, list)
        self._check_size(name, value, most)
        return value  # type: ignore[no-any-return]  # _typed has checked it

    def _check_size(self, name: str, value: Any, most: int | None) -> None:
        if value is not None and most is not None and len(value) > most:
            self.bad(name, f"has {len(value)} entries; at most {most} are allowed")

    def texts(self, name: str, *, most: int, longest: int | None = None) -> tuple[str, ...] | None:
        """A string or an array of strings."""
        value = (
            self._typed(name, list, str)
            if type(self._data.get(name)) is not str
            else [self.raw(name)]
        )
        self._check_size(name, value, most)
        for item in value or ():
            if type(item) is not str:
                self.bad(
                    name,
                    f"must be a string or an array of strings, not an array with {kind_of(item)}",
                )
            self.check_text(name, item, longest)
        return None if value is None else tuple(value)

    def choice(self, name: str, *allowed: str) -> str | None:
        """One of `allowed`."""
        value = self.text(name)
        if value is not None and value not in allowed:
            self.bad(name, f"must be one of {', '.join(allowed)}, not {shown(value)}")
        return value

    def object(self, name: str) -> Fields | None:
        """A nested object to be read (and closed) the same way."""
        value = self.mapping(name)
        return None if value is None else self._inner(value, self.path(name))

    def objects(self, name: str, *, most: int) -> list[Fields] | None:
        """An array of at most `most` objects, each to be read (and closed) the same way."""
        entries = self.items(name, most=most)
        if entries is None:
            return None
        return [self.entry(item, f"{self.path(name)}[{at}]") for at, item in enumerate(entries)]

    def entry(self, value: Any, path: str) -> Fields:
        """An entry of an array, called `path`, which must be an object."""
        if type(value) is not dict:
            raise InvalidRequest(
                f"{path} must be an object, not {kind_of(value)}.", param=Written(path)
            )
        return self._inner(value, path)

    def _inner(self, value: Mapping[str, Any], path: str) -> Fields:
        return Fields(value, path, self._ignored, self.names)

    def note(self, name: str) -> None:
        """Note that the field has been read and is not acted on."""
        if self._ignored is not None:
            self._ignored.append(self.path(name))

    def ignore(self, *names: str) -> None:
        """Take out fields that do not change the answer."""
        self.present(names)

    def refuse(self, name: str, hint: str, *harmless: Any) -> None:
        """Raise UnsupportedFeature when the field says anything but null or one of the `harmless`
        values.
        """
        value = self.raw(name)
        if value is not None and not any(
            type(value) is type(item) and value == item for item in harmless
        ):
            path = self.path(name)
            raise UnsupportedFeature(f"{path} is not supported.", hint=hint, param=path)

    def pass_over(self, name: str, hint: str, *harmless: Any) -> None:
        """As `refuse`, for a field without which the answer is as good: it is noted where fields
        are read leniently.
        """
        if self._ignored is None:
            self.refuse(name, hint, *harmless)
            return
        value = self.raw(name)
        if value is not None and not any(value == item for item in harmless):
            self.note(name)

    def close(self) -> None:
        """Note the fields that no reader has asked for; or refuse them, naming near misses."""
        if self._ignored is not None:
            left = [name for name, value in self._data.items() if value is not None]
            self._ignored += map(self.path, left)
            return
        for name in self._data:
            path = shown(self.path(name))
            raise InvalidRequest(
                f"Unknown field {path}.",
                hint=did_you_mean(name, self._known, cutoff=0.75),
                param=Written(self.path(name)[:64]),
                code="unknown_field",
            )


def required(fields: Fields, name: str, value: Any) -> Any:
    """`value`, which must not be None. Errors: InvalidRequest."""
    if value is None:
        path = fields.path(name)
        raise InvalidRequest(f"{path} is required.", param=path, code="missing_field")
    return value
