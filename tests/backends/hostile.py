"""Structures that somebody sends who means no good, or knows no better."""

from __future__ import annotations

import json
from typing import Any

from openllm.types import Structure, StructureKind


def structure(kind: str, value: Any = "") -> Structure:
    return Structure(StructureKind(kind), value if isinstance(value, str) else json.dumps(value))


def overlapping(rules: int, tail: str = "", head: str = "a") -> Structure:
    """Many rules that match the same text, over and over behind `head`: some kilobytes that compile
    at once, and each token takes all ways through all of them. 1,500 rules take seconds of CPU per
    token even with the smallest vocabulary.
    """
    names = "|".join(f"x{at}" for at in range(rules))
    bodies = "\n".join(f"x{at} ::= [a-zA-Z ]+" for at in range(rules))
    return structure("grammar", f'root ::= "{head}" ({names})*\n{bodies}\n{tail}')


def doubling(depth: int = 2000) -> Structure:
    """Rules that each name the next one twice: 50 KB that take the compiler many seconds."""
    rules = "\n".join(f'x{at} ::= x{at + 1} x{at + 1} | "a"' for at in range(depth))
    return structure("grammar", f'root ::= x0\n{rules}\nx{depth} ::= "a"')


# What no engine can follow, and whose fault that is.
BAD = [
    structure("regex", "([a-z"),
    structure("regex", "\\"),
    structure("regex", "(?R)"),
    structure("regex", r"\p{L}+"),
    structure("regex", "a{999999999999}"),
    structure("regex", "(" * 3000 + ")" * 3000),
    structure("regex", "a\0b"),
    structure("json_schema", "{not json"),
    structure("json_schema", '{"type": 5}'),
    structure("json_schema", "[]"),
    structure("json_schema", '{"$ref": "#"}'),
    structure("json_schema", '{"$ref": "#/nowhere"}'),
    structure("json_schema", '{"type":"array","items":' * 100 + "{}" + "}" * 100),
    structure("grammar", "root ::= unknown"),
    structure("grammar", "root ::= root"),
    structure("grammar", "a ::= b\nb ::= a"),
    structure("grammar", "root ::= a\na ::= b\nb ::= a"),
    structure("grammar", ""),
    structure("choice", []),
    structure("choice", ["", "b"]),
    structure("choice", "not a list"),
]
