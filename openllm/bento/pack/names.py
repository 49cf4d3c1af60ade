"""Names that may stand in a tag, a label, a file or a shell: checked, or made of any text."""

from __future__ import annotations

import re
from collections.abc import Sequence

import attrs

from openllm.config.spec import LLMSpec
from openllm.errors import BuildError

LONGEST_LABEL = 63  # characters of a DNS label
_LONGEST_NAME = 63  # characters of a BentoML tag
_NAME = re.compile(r"[a-z0-9](?:[-._a-z0-9]*[a-z0-9])?")
_TEXT = re.compile(r"[\w ./:@+,=()#?!-]*")
# A template, and paths, which a Bento does not name.
_FREE = ("chat_template", "model_id", "speculative_model")


def check_name(name: str) -> str:
    """`name` if a Bento or model may be called so. Errors: BuildError."""
    if len(name) > _LONGEST_NAME:
        raise BuildError(f"The name {name[:20]!r}... is longer than {_LONGEST_NAME} characters.")
    return check_pattern(name, _NAME, "a Bento's name")


def check_text(value: str, what: str) -> str:
    """`value` if it means nothing to a shell, a template or a YAML file, on one line. Errors:
    BuildError.
    """
    if not _TEXT.fullmatch(value):
        hint = "Use letters, digits, spaces and . / : @ + , = ( ) # ? ! _ - only."
        raise BuildError(f"{value[:80]!r} cannot be {what}.", hint=hint)
    return value


def check_specs(specs: Sequence[LLMSpec]) -> None:
    """Refuse names of models and adapters, and other words of a spec, that are no plain text.
    Errors: BuildError.
    """
    for spec in specs:
        check_text(spec.served_name, "a model's name")
        for field, value in attrs.asdict(spec, recurse=False).items():
            if isinstance(value, str) and field not in _FREE:
                check_text(value, f"a {field}")
        for adapter in spec.adapters:
            check_text(adapter.name, "an adapter's name")


def tag_name(text: str) -> str:
    """A tag name made of a model id or path: `meta-llama/Llama-3` -> `meta-llama--llama-3`. Errors:
    BuildError.
    """
    slug = re.sub(r"[^-._a-z0-9]+", "-", text.lower().replace("/", "--")).strip("-._")
    if not slug:
        raise BuildError(
            f"No tag name can be made of {text!r}.",
            hint="Give the model a name of letters and digits.",
        )
    return slug[:_LONGEST_NAME].rstrip("-._")


def dns_label(text: str) -> str:
    """A DNS label that begins with a letter (RFC 1035), made of `text`: `3b.chat` ->
    `llm-3b-chat`.
    """
    name = re.sub(r"[^a-z0-9]+", "-", text.lower()).strip("-")
    return (name if name[:1].isalpha() else f"llm-{name}")[:LONGEST_LABEL].rstrip("-")


def check_pattern(value: str, pattern: re.Pattern[str], what: str) -> str:
    """`value` if all of it matches and it climbs no directories. Errors: BuildError."""
    if not pattern.fullmatch(value) or ".." in value:
        raise BuildError(
            f"{value[:80]!r} cannot be {what}.",
            hint="Use lower-case letters, digits and . _ - between them.",
        )
    return value
