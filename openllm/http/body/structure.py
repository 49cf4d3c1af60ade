"""What the text of an answer must look like, as bodies say it, to a `Structure`."""

from __future__ import annotations

from collections.abc import Callable

import msgspec

from openllm.http.body.fields import Fields, required
from openllm.types import Structure, StructureKind

MAX_CHARACTERS = 256 * 1024
MAX_CHOICES = 1024


def read_structure(fields: Fields, form: str, direct: str) -> Structure | None:
    """The structure in field `form` (an object with a type) or in field `direct` (an object with
    the structure itself). Errors: InvalidRequest, UnsupportedFeature.
    """
    for kind in ("json", "regex", "choice", "grammar", "json_object"):
        fields.refuse(f"guided_{kind}", f"Use {fields.path(direct)}.{kind}.")
    found = [
        structure
        for structure in (_typed(fields, form), _direct(fields, direct))
        if structure is not None
    ]
    if len(found) > 1:
        fields.bad(direct, f"cannot go together with {form}")
    return found[0] if found else None


def _typed(fields: Fields, name: str) -> Structure | None:
    form = fields.object(name)
    return None if form is None else read_form(form, schema="json_schema")


def read_form(form: Fields, *, schema: str | None) -> Structure | None:
    """The structure that an object with a type says; None: any text. The schema stands in its field
    `schema`, or beside the type. Errors: InvalidRequest.
    """
    kind = required(form, "type", form.choice("type", "text", "json_object", "json_schema"))
    structure = None
    if kind == "json_object":
        structure = Structure(StructureKind.JSON_OBJECT)
    elif kind == "json_schema":
        structure = _named_schema(
            form if schema is None else required(form, schema, form.object(schema))
        )
    form.close()
    return structure


def _named_schema(fields: Fields) -> Structure:
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
    found = [structure for read in _KINDS for structure in [read(wanted)] if structure is not None]
    wanted.refuse("structural_tag", "Use json, json_object, regex, choice or grammar.")
    for option in ("disable_any_whitespace", "disable_additional_properties", "disable_fallback"):
        wanted.pass_over(option, "The engine decides this.", False)
    wanted.pass_over("whitespace_pattern", "The engine decides this.")
    wanted.close()
    if len(found) != 1:
        fields.bad(name, "must have exactly one of json, json_object, regex, choice and grammar")
    return found[0]


def _json(fields: Fields) -> Structure | None:
    value = fields.raw("json")
    if value is None:
        return None
    if isinstance(value, dict):
        return Structure(
            StructureKind.JSON_SCHEMA, _bounded(fields, "json", msgspec.json.encode(value).decode())
        )
    if not isinstance(value, str):
        fields.bad("json", "must be a JSON schema, as an object or as a string")
    try:
        schema = msgspec.json.decode(value)
    except (msgspec.MsgspecError, RecursionError):
        schema = None
    if not isinstance(schema, dict):
        fields.bad("json", "must be a JSON schema")
    return Structure(StructureKind.JSON_SCHEMA, _bounded(fields, "json", value))


def _json_object(fields: Fields) -> Structure | None:
    return Structure(StructureKind.JSON_OBJECT) if fields.flag("json_object") else None


def _regex(fields: Fields) -> Structure | None:
    value = fields.text("regex", longest=MAX_CHARACTERS)
    return None if value is None else Structure(StructureKind.REGEX, value)


def _grammar(fields: Fields) -> Structure | None:
    value = fields.text("grammar", longest=MAX_CHARACTERS)
    return None if value is None else Structure(StructureKind.GRAMMAR, value)


def _choice(fields: Fields) -> Structure | None:
    value = fields.texts("choice", most=MAX_CHOICES, longest=MAX_CHARACTERS)
    if value is None:
        return None
    if not value or "" in value:
        fields.bad("choice", "must be a list of at least one text, none of them empty")
    return Structure(
        StructureKind.CHOICE, _bounded(fields, "choice", msgspec.json.encode(value).decode())
    )


_KINDS: tuple[Callable[[Fields], Structure | None], ...] = (
    _json,
    _json_object,
    _regex,
    _choice,
    _grammar,
)


def _bounded(fields: Fields, name: str, text: str) -> str:
    if len(text) > MAX_CHARACTERS:
        fields.bad(name, f"has {len(text)} characters; at most {MAX_CHARACTERS} are allowed")
    return text
