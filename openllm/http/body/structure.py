"""What the text of an answer must look like, as bodies say it, to a `Structure`."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from functools import cache

import msgspec

from openllm.http.body.fields import Fields, required
from openllm.types import Structure, StructureKind

GUIDED = "guided_"
MAX_CHARACTERS = 256 * 1024
MAX_CHOICES = 1024
_GUIDED_OPTIONS = ("decoding_backend", "whitespace_pattern")
_FORMS = ("text", "json_object", "json_schema", "json", "regex")


def read_structure(fields: Fields, form: str, direct: str) -> Structure | None:
    """The structure in field `form` (an object with a type) or in field `direct` (an object with
    the structure itself). Errors: InvalidRequest, UnsupportedFeature.
    """
    if fields.silent(_names(form, direct)):
        return None
    found = [
        (said, structure)
        for said, structure in (
            (form, _typed(fields, form)),
            (direct, _direct(fields, direct)),
            *_guided(fields),
        )
        if structure is not None
    ]
    if len(found) > 1:
        fields.bad(found[1][0], f"cannot go together with {found[0][0]}")
    if not found:
        return None
    fields.names["structure"], structure = found[0]
    return structure


@cache
def _names(form: str, direct: str) -> frozenset[str]:
    return frozenset((form, direct, *(GUIDED + name for name in (*_KINDS, *_GUIDED_OPTIONS))))


def _guided(fields: Fields) -> Iterator[tuple[str, Structure | None]]:
    """The kinds as fields of their own, which is how they were said before."""
    for kind, read in _KINDS.items():
        yield GUIDED + kind, read(fields, GUIDED + kind)
    for option in _GUIDED_OPTIONS:
        fields.pass_over(GUIDED + option, "The engine decides this.")


def _typed(fields: Fields, name: str) -> Structure | None:
    form = fields.object(name)
    return None if form is None else read_form(form, schema="json_schema")


def read_form(form: Fields, *, schema: str | None) -> Structure | None:
    """The structure that an object with a type says; None: any text. The schema stands in its field
    `schema`, or beside the type. Errors: InvalidRequest.
    """
    kind = required(form, "type", form.choice("type", *_FORMS))
    structure = None
    if kind in ("json_object", "json"):
        # Hugging Face's clients have a schema beside it
        structure = read_schema(form, "value") or Structure(StructureKind.JSON_OBJECT)
    elif kind == "regex":
        structure = required(form, "value", read_regex(form, "value"))
    elif kind == "json_schema":
        structure = read_named_schema(
            form if schema is None else required(form, schema, form.object(schema))
        )
    form.close()
    return structure


def read_named_schema(fields: Fields) -> Structure:
    """A `schema`, with a name or without. Errors: InvalidRequest."""
    fields.text("name", longest=64)
    fields.text("description")
    fields.flag("strict")
    schema = required(fields, "schema", fields.mapping("schema"))
    fields.close()
    return Structure(
        StructureKind.JSON_SCHEMA, _bounded(fields, "schema", msgspec.json.encode(schema).decode())
    )


def _direct(fields: Fields, name: str) -> Structure | None:
    wanted = fields.object(name)
    if wanted is None:
        return None
    read = [read(wanted, kind) for kind, read in _KINDS.items()]
    found = [structure for structure in read if structure is not None]
    wanted.refuse("structural_tag", "Use json, json_object, regex, choice or grammar.")
    for option in ("disable_any_whitespace", "disable_additional_properties", "disable_fallback"):
        wanted.pass_over(option, "The engine decides this.", False)
    wanted.pass_over("whitespace_pattern", "The engine decides this.")
    wanted.close()
    if len(found) != 1:
        fields.bad(name, "must have exactly one of json, json_object, regex, choice and grammar")
    return found[0]


def read_schema(fields: Fields, name: str) -> Structure | None:
    """A JSON schema, as an object or as text. Errors: InvalidRequest."""
    value = fields.raw(name)
    if value is None:
        return None
    if isinstance(value, dict):
        return Structure(
            StructureKind.JSON_SCHEMA, _bounded(fields, name, msgspec.json.encode(value).decode())
        )
    if not isinstance(value, str):
        fields.bad(name, "must be a JSON schema, as an object or as a string")
    try:
        schema = msgspec.json.decode(value)
    except (msgspec.MsgspecError, RecursionError):
        schema = None
    if not isinstance(schema, dict):
        fields.bad(name, "must be a JSON schema")
    return Structure(StructureKind.JSON_SCHEMA, _bounded(fields, name, value))


def _json_object(fields: Fields, name: str) -> Structure | None:
    return Structure(StructureKind.JSON_OBJECT) if fields.flag(name) else None


def read_regex(fields: Fields, name: str) -> Structure | None:
    """A regular expression. Errors: InvalidRequest."""
    value = fields.text(name, longest=MAX_CHARACTERS)
    return None if value is None else Structure(StructureKind.REGEX, value)


def _grammar(fields: Fields, name: str) -> Structure | None:
    value = fields.text(name, longest=MAX_CHARACTERS)
    return None if value is None else Structure(StructureKind.GRAMMAR, value)


def _choice(fields: Fields, name: str) -> Structure | None:
    value = fields.texts(name, most=MAX_CHOICES, longest=MAX_CHARACTERS)
    if value is None:
        return None
    if not value or "" in value:
        fields.bad(name, "must be a list of at least one text, none of them empty")
    return Structure(
        StructureKind.CHOICE, _bounded(fields, name, msgspec.json.encode(value).decode())
    )


_KINDS: Mapping[str, Callable[[Fields, str], Structure | None]] = {
    "json": read_schema,
    "json_object": _json_object,
    "regex": read_regex,
    "choice": _choice,
    "grammar": _grammar,
}


def _bounded(fields: Fields, name: str, text: str) -> str:
    if len(text) > MAX_CHARACTERS:
        fields.bad(name, f"has {len(text)} characters; at most {MAX_CHARACTERS} are allowed")
    return text
