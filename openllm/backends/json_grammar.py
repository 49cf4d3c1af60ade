"""JSON schemas as grammars of xgrammar, for the engines that follow them."""

from __future__ import annotations

# The characters of a string whose length is bounded: xgrammar (0.2.8) lets control characters
# through there, and with them text that no JSON parser takes. For other strings it leaves them out,
# as below.
_LOOSE = r"([^\"\\\r\n])"
_STRICT = r"([^\0-\x1f\"\\\r\n])"


def json_grammar(schema: str) -> str:
    """The EBNF of `schema` without white space between tokens: a weak model fills an answer with
    it.

    Takes milliseconds: not for an event loop. Errors: those of xgrammar.
    """
    import xgrammar

    return str(xgrammar.Grammar.from_json_schema(schema, any_whitespace=False)).replace(
        _LOOSE, _STRICT
    )
