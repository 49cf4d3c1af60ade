"""List the recipes that come with openllm."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from openllm.cli.given.options import FORMATS, format_option
from openllm.cli.output import print_json, print_table
from openllm.config.recipes import find_recipe, recipe_names, recipe_title

if TYPE_CHECKING:
    from openllm.bento.pack.resources import Resources


@click.command()
@format_option(*FORMATS)
def command(output: str) -> None:
    """List the recipes that come with openllm: Bentos that are ready to build.

    \b
    openllm build NAME
    openllm start NAME
    """
    from openllm.bento.pack.document import read_document, read_resources

    found = []
    for name in recipe_names():
        if (path := find_recipe(name)) is None:
            continue  # removed since it was listed
        specs, resources = read_document(path), read_resources(path)
        found.append((name, recipe_title(path), specs, resources))
    if output == "json":
        print_json(
            [
                {"name": name, "title": title, "specs": specs, "resources": resources.to_dict()}
                for name, title, specs, resources in found
            ]
        )
        return
    rows = [
        (name, ", ".join(spec["model_id"] for spec in specs), _gpus(resources), title)
        for name, title, specs, resources in found
    ]
    print_table(("RECIPE", "MODELS", "GPUS", "WHAT IT IS"), rows)


def _gpus(resources: Resources) -> str:
    if not resources.gpu:
        return "-"
    return f"{resources.gpu} x {resources.gpu_type}" if resources.gpu_type else str(resources.gpu)
