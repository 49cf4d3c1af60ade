"""One schema of the corpus, and what most of them have in them."""

from __future__ import annotations

from typing import Any

import attrs

Schema = dict[str, Any]
TEXT, INTEGER, NUMBER = {"type": "string"}, {"type": "integer"}, {"type": "number"}


@attrs.frozen
class Sample:
    """One schema; `refused`: the keyword that its refusal names, None where it is kept.

    `valid` are values that follow it and that its grammar must allow, `invalid` such as it must
    not allow.
    """

    name: str
    schema: Any
    refused: str | None = None
    valid: tuple[Any, ...] = ()
    invalid: tuple[Any, ...] = ()


def thing(required: tuple[str, ...] = (), **properties: Any) -> Schema:
    found: Schema = {"type": "object", "properties": properties}
    return found | ({"required": list(required)} if required else {})
