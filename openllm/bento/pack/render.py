"""The text files of a service, from templates: service.py and README. What goes in is checked
first, then literal.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import attrs
import jinja2

import openllm
from openllm.config.spec import TASKS, LLMSpec
from openllm.errors import BuildError

DOCUMENT = "spec.json"
_NAME = re.compile(r"[a-z0-9](?:[-._a-z0-9]*[a-z0-9])?")
_DOCUMENT = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_./-]*\.(?:json|yaml)")
_TEXT = re.compile(r"[\w ./:@+,=()#?!-]*")
_FREE = (
    "chat_template",
    "model_id",
    "speculative_model",
)  # a template, and paths, which a Bento does not name
_LONGEST_NAME = 63  # of a BentoML tag
LONGEST_LABEL = 63  # characters of a DNS label


def render_service(name: str, document: str = DOCUMENT) -> str:
    """The text of service.py: literals only. Errors: BuildError for a name that is no tag name."""
    return _template("service.py.jinja").render(
        name=check_name(name), document=_checked(document, _DOCUMENT, "a spec file's name")
    )


def render_readme(name: str, specs: Sequence[LLMSpec]) -> str:
    """The README for the users of a Bento."""
    served = {
        task: [_plain(spec.served_name) for spec in specs if spec.task == task] for task in TASKS
    }
    adapters = [_plain(adapter.name) for spec in specs for adapter in spec.adapters]
    engines = sorted({spec.backend or "chosen at start" for spec in specs})
    return _template("bento_readme.md.jinja").render(
        name=check_name(name),
        title=_plain(name),
        models=served["generate"],
        embedders=served["embed"],
        adapters=adapters,
        engines=engines,
    )


def render_text(template: str, values: Mapping[str, Any]) -> str:
    """The text of any other template; the caller has checked every value."""
    return _template(template).render(values)


def check_name(name: str) -> str:
    """`name` if a Bento or model may be called so. Errors: BuildError."""
    if len(name) > _LONGEST_NAME:
        raise BuildError(f"The name {name[:20]!r}... is longer than {_LONGEST_NAME} characters.")
    return _checked(name, _NAME, "a Bento's name")


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


def _checked(value: str, pattern: re.Pattern[str], what: str) -> str:
    if not pattern.fullmatch(value) or ".." in value:
        raise BuildError(
            f"{value[:80]!r} cannot be {what}.",
            hint="Use lower-case letters, digits and . _ - between them.",
        )
    return value


def _plain(text: str) -> str:
    """Text that means nothing to Markdown or a shell: what else a served name may hold is
    replaced.
    """
    return re.sub(r"[^\w ./:@+-]", "_", text)


def _template(name: str) -> jinja2.Template:
    environment = jinja2.Environment(
        loader=jinja2.FileSystemLoader(template_directory()),
        undefined=jinja2.StrictUndefined,
        keep_trailing_newline=True,
        trim_blocks=True,
        autoescape=False,  # noqa: S701  Python and Markdown, no HTML; every value is checked above
    )
    environment.filters["literal"] = _literal
    return environment.get_template(name)


def _literal(value: Any) -> str:
    """A Python string literal in double quotes; the checked names hold nothing that needs
    escaping.
    """
    return f'"{value}"'


def template_directory() -> Path:
    """`_templates` of an installed openllm, `templates` of a checkout."""
    package = Path(openllm.__file__).parent
    inside = package / "_templates"
    return inside if inside.is_dir() else package.parent / "templates"
