"""Show versions, engines, devices and every variable that openllm reads."""

from __future__ import annotations

import importlib.metadata
import platform
from typing import Any

import click

import openllm
from openllm.cli.given.options import format_option, written_default
from openllm.cli.output import print_json, print_table
from openllm.cli.words import FLAGS
from openllm.config.settings import Settings, all_variables, process_environment
from openllm.config.sizes import readable_size
from openllm.config.spec import LLMSpec
from openllm.config.variables import Variable
from openllm.discovery import variants
from openllm.errors import say
from openllm.facts import GROUP, all_facts

DISTRIBUTIONS = ("bentoml", "transformers")  # beside those of the engines


@click.command()
@format_option("table", "json", "markdown")
def command(output: str) -> None:
    """Show versions, engines, devices and every variable that openllm reads.

    With -o markdown: the table of variables alone, as docs/configuration.md has it.
    """
    if output == "markdown":
        click.echo(variables_table())
        return
    settings = Settings.from_env()  # warns of variables that nobody knows
    if output == "json":
        print_json(
            {
                "versions": _versions(),
                "backends": _backends(settings),
                "devices": _devices(settings),
                "variables": [_plain(row) for row in all_variables()],
            }
        )
        return
    print_table(("PACKAGE", "VERSION"), list(_versions().items()))
    click.echo()
    engines = [
        (item["name"], item["title"], item["obstacle"] or "yes") for item in _backends(settings)
    ]
    print_table(("BACKEND", "ENGINE", "USABLE HERE"), engines)
    click.echo()
    devices = [(item["name"], item["memory"]) for item in _devices(settings)]
    print_table(("DEVICE", "MEMORY"), devices)
    click.echo()
    variables = [_plain(row) for row in all_variables()]
    rows = [
        (item["name"], item["value"] or f"({item['default']})", item["meaning"])
        for item in variables
    ]
    print_table(("VARIABLE", "VALUE", "MEANING"), rows)


def _versions() -> dict[str, str]:
    found = {
        "openllm": openllm.__version__,
        "python": platform.python_version(),
        "platform": platform.platform(),
    }
    names = list(DISTRIBUTIONS)
    for facts in all_facts():
        carrier = variants(GROUP)[facts.name].distribution
        names += [*([carrier] if carrier else []), *facts.packages]
    return {**found, **{name: _version(name) for name in names}}


def _version(name: str) -> str:
    for distribution, note in ((name, ""), (f"{name}-cpu", " (built for the CPU)")):
        try:
            return importlib.metadata.version(distribution) + note
        except importlib.metadata.PackageNotFoundError:
            continue
    return "not installed"


def _backends(settings: Settings) -> list[dict[str, Any]]:
    from openllm.backends.select import obstacle

    obstacles = {
        facts.name: obstacle(LLMSpec(model_id="demo", backend=facts.name), facts.name, settings)
        for facts in all_facts()
    }
    return [
        {
            "name": facts.name,
            "title": facts.title,
            "spellings": facts.spellings,
            "distribution": variants(GROUP)[facts.name].distribution or "openllm",
            "obstacle": say(reason, FLAGS) if (reason := obstacles[facts.name]) else None,
        }
        for facts in all_facts()
    ]


def _devices(settings: Settings) -> list[dict[str, str]]:
    from openllm.hardware.gpus import visible_gpus

    gpus = [
        {"name": f"cuda:{gpu.index} {gpu.name}", "memory": readable_size(gpu.total)}
        for gpu in visible_gpus(settings.visible_devices)
    ]
    return gpus or [{"name": "cpu", "memory": "-"}]


def _plain(row: Variable) -> dict[str, Any]:
    value = process_environment().get(row.name)
    shown = "(set)" if value and row.secret else value
    return {
        "name": row.name,
        "value": shown,
        "default": written_default(row),
        "kind": row.kind,
        "meaning": row.meaning,
    }


def variables_table() -> str:
    """Every variable as a row of Markdown: its name, kind, default and meaning."""
    lines = ["| variable | kind | default | meaning |", "|---|---|---|---|"]
    for row in all_variables():
        kind = ", ".join(row.choices) or row.kind
        lines.append(f"| `{row.name}` | {kind} | {written_default(row)} | {row.meaning} |")
    return "\n".join(lines)
