"""Options made from the table of variables, and what was given turned into layers: one grammar for
both.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, TypeVar

import attrs
import click

from openllm.cli.given.words import Offer, offer_addresses, offer_families
from openllm.config.settings import Settings, setting_variables
from openllm.config.sizes import write_size
from openllm.config.spec import LLMSpec
from openllm.config.variables import PARSERS, PREFIX, SPEC_VARIABLES, Variable

F = TypeVar("F", bound=Callable[..., Any])
FORMATS = ("table", "json")
FILE = click.Path(exists=True, dir_okay=False, path_type=Path)  # that is read
UNSET = "unset"
_SWITCH = {"true": "on", "false": "off"}
MODEL_FIELDS = ("model_id", "family", "revision", "trust_remote_code", "chat_template")
_NAMES = {
    "adapters": "--adapter-id",
    "aliases": "--served-name",
    "engine_args": "--engine-arg",
    "template_kwargs": "--default-chat-template-kwargs",
    "api_workers": "--api-workers,--workers",
}
_FORMATS = dict.fromkeys(("tool_format", "reasoning_format"), "NAME")
_METAVARS = {
    "adapters": "SOURCE[@REVISION][:NAME]",
    "aliases": "NAME",
    "chat_template": "FILE",
    **_FORMATS,
}
_REPEATED = ("adapters", "aliases")
_HELP = {
    "aliases": "Another name that requests may call the model by; may be repeated.",
    "adapters": "A LoRA adapter: a directory, Hub id or store tag; may be repeated.",
    "sampling": "A default of requests, such as temperature=0.2; may be repeated.",
    "template_kwargs": (
        "A default argument of the chat template, such as enable_thinking=false; may be repeated."
    ),
    "engine_args": "One of the engine's own options, by its own name; may be repeated.",
    "chat_template": "A file with a Jinja chat template that replaces the tokenizer's.",
    "api_key": (
        "Key that requests must send. Better set OPENLLM_API_KEY: other users can read command"
        " lines."
    ),
    "admin_key": "Key for mounting and removing adapters. Better set OPENLLM_ADMIN_KEY.",
}
_SECTIONS = {
    "model_id": "Model",
    "backend": "Engine",
    "adapters": "Adapters and defaults",
    "host": "Server",
}


_OFFERED: Mapping[str, Offer] = {"endpoint": offer_addresses, "family": offer_families}


def flags(field: str) -> list[str]:
    """The flags of a field's option, the one to speak of first."""
    return _NAMES.get(field, f"--{field.replace('_', '-')}").split(",")


class RowType(click.ParamType):  # type: ignore[type-arg]  # generic since click 8.2 only
    """Text read as the table's row says, the same way its variable is."""

    def __init__(self, row: Variable) -> None:
        self.name = row.kind
        self._parse = PARSERS[row.kind]

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:
        try:
            return self._parse(value) if isinstance(value, str) else value
        except ValueError as error:
            self.fail(f"{value!r} {error}.", param, ctx)


class ChoiceType(click.Choice):  # type: ignore[type-arg]  # generic since click 8.2 only
    """One of the row's values, however it is spelled."""

    def __init__(self, row: Variable) -> None:
        super().__init__(row.choices)
        self._parse = PARSERS[row.kind]

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:
        return super().convert(self._parse(value), param, ctx)


class TemplateFile(click.ParamType):  # type: ignore[type-arg]  # generic since click 8.2 only
    """A file's text."""

    name = "file"

    def convert(self, value: str, param: click.Parameter | None, ctx: click.Context | None) -> str:
        try:
            return Path(value).expanduser().read_text(encoding="utf-8")
        except (OSError, UnicodeDecodeError) as error:
            reason = error.strerror if isinstance(error, OSError) else "it is not UTF-8 text"
            self.fail(f"{value!r} cannot be read: {reason}.", param, ctx)


class SectionedCommand(click.Command):
    """A command whose many options are printed in sections."""

    def format_options(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        sections: dict[str, list[tuple[str, str]]] = {}
        for param in self.get_params(ctx):
            record = param.get_help_record(ctx) if isinstance(param, click.Option) else None
            if record is not None:
                sections.setdefault(_section(param.name), []).append(record)
        for title, records in sections.items():
            with formatter.section(title):
                formatter.write_dl(records)


def _section(name: str | None) -> str:
    """The title above an option: that of the last row with a title, up to its own."""
    title = "Options"
    rows = [row.field for row in (*SPEC_VARIABLES, *setting_variables())]
    if name not in rows:
        return title
    for field in rows[: rows.index(name) + 1]:
        title = _SECTIONS.get(field, title)
    return title


def spec_options(*fields: str) -> Callable[[F], F]:
    """One option per field of LLMSpec; only `fields`, when any are named."""
    return _options([row for row in SPEC_VARIABLES if not fields or row.field in fields])


def settings_options(function: F) -> F:
    """One option per field of Settings that says how openllm serves."""
    return _options(
        [
            row
            for row in setting_variables()
            if row.name.startswith(PREFIX) and row.field != "endpoint"
        ]
    )(function)


def endpoint_options(function: F) -> F:
    """--endpoint and --api-key of the commands that talk to a server."""
    return _options([row for row in setting_variables() if row.field in {"endpoint", "api_key"}])(
        function
    )


def admin_options(function: F) -> F:
    """--endpoint and --admin-key of the commands that change a server."""
    return _options([row for row in setting_variables() if row.field in {"endpoint", "admin_key"}])(
        function
    )


def format_option(*formats: str) -> Callable[[F], F]:
    """`-o/--output`, the first format being the default."""
    return click.option(
        "-o",
        "--output",
        type=click.Choice(formats),
        default=formats[0],
        show_default=True,
        help="How to print it.",
    )


def written_default(row: Variable) -> str:
    """The default of a row as one would write it; `unset` where nothing is said."""
    default = (
        row.default if row in setting_variables() else attrs.fields_dict(LLMSpec)[row.field].default
    )
    if isinstance(default, bool):
        return "true" if default else "false"
    if row.kind == "size" and isinstance(default, int):
        return write_size(default)
    return str(default) if isinstance(default, str | int | float | Path) else UNSET


def given_spec(options: Mapping[str, Any]) -> dict[str, Any]:
    """The strongest layer of an LLMSpec: what the command line says."""
    return _given(options, SPEC_VARIABLES)


def given_settings(options: Mapping[str, Any]) -> Settings:
    """Options over variables over defaults. Errors: ConfigurationError."""
    return attrs.evolve(Settings.from_env(), **_given(options, setting_variables()))


def _given(options: Mapping[str, Any], rows: Sequence[Variable]) -> dict[str, Any]:
    found = {row.field: options[row.field] for row in rows if row.field in options}
    return {field: value for field, value in found.items() if value is not None and value != ()}


def with_options(function: F, *options: Callable[[F], F]) -> F:
    """`function` decorated with `options`, which help prints in this order."""
    for option in reversed(options):
        function = option(function)
    return function


def _options(rows: Sequence[Variable]) -> Callable[[F], F]:
    return lambda function: with_options(function, *map(_option, rows))


def _option(row: Variable) -> Callable[[F], F]:
    names = flags(row.field)
    about: dict[str, Any] = {
        "default": None,  # what is not given is told from what is
        "help": _HELP.get(row.field, row.meaning) + _default_in_help(row),
        "metavar": _METAVARS.get(row.field),
    }
    if row.kind == "switch":
        return click.option(f"{names[0]}/--no-{names[0][2:]}", row.field, **about)
    if row.kind == "mapping":
        return click.option(
            *names,
            row.field,
            multiple=True,
            callback=parse_pairs,
            help=about["help"],
            metavar="KEY=VALUE",
        )
    if row.field in _REPEATED:
        return click.option(
            *names, row.field, multiple=True, help=about["help"], metavar=about["metavar"]
        )
    kind: Any = ChoiceType(row) if row.choices else RowType(row)
    if row.field in _OFFERED:
        about["shell_complete"] = _OFFERED[row.field]
    return click.option(
        *names, row.field, type=TemplateFile() if row.field == "chat_template" else kind, **about
    )


def _default_in_help(row: Variable) -> str:
    """As click would show it, had the option one."""
    default = written_default(row)
    if row.kind == "switch":
        default = _SWITCH.get(default, default)
    return "" if default in ("", UNSET) else f"  [default: {default}]"


def parse_pairs(
    ctx: click.Context, param: click.Parameter, values: tuple[str, ...]
) -> dict[str, Any] | None:
    """`key=value` texts, or JSON objects, as one mapping; a value is read as JSON where it is JSON,
    else as text.
    """
    found: dict[str, Any] = {}
    for text in values:
        said = _json(text)
        if not isinstance(said, dict):
            key, equals, value = text.partition("=")
            key = key.strip().lstrip("-").replace("-", "_")
            if not equals or not key:
                raise click.BadParameter(f"{text!r} is not KEY=VALUE.", ctx, param)
            said = {key: _json(value)}
        if twice := found.keys() & said.keys():
            raise click.BadParameter(f"{min(twice)} is given twice.", ctx, param)
        found |= said
    return found or None


def _json(text: str) -> Any:
    try:
        return json.loads(text)
    except ValueError:
        return text
