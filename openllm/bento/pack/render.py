"""The text files of a service, service.py and README, from templates with checked values."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import jinja2

import openllm
from openllm.bento.pack.document import DOCUMENT
from openllm.bento.pack.names import check_name, check_pattern
from openllm.config.spec import TASKS, LLMSpec

_DOCUMENT = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_./-]*\.(?:json|yaml)")


def render_service(name: str, document: str = DOCUMENT) -> str:
    """The text of service.py: literals only. Errors: BuildError for a name that is no tag name."""
    return _template("service.py.jinja").render(
        name=check_name(name), document=check_pattern(document, _DOCUMENT, "a spec file's name")
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
    # A Python string literal; the checked names hold nothing that needs escaping.
    environment.filters["literal"] = '"{}"'.format
    return environment.get_template(name)


def template_directory() -> Path:
    """`_templates` of an installed openllm, `templates` of a checkout."""
    package = Path(openllm.__file__).parent
    inside = package / "_templates"
    return inside if inside.is_dir() else package.parent / "templates"
