"""List the recipes that come with openllm."""

from __future__ import annotations

from typing import Any

import click

from openllm.cli.output import FORMATS, format_option, print_json, print_table
from openllm.config.recipes import find_recipe, recipe_names, recipe_title


@click.command()
@format_option(*FORMATS)
def command(output: str) -> None:
    """List the recipes that come with openllm: Bentos that are ready to build.

    \b
    openllm build NAME
    openllm start NAME
    """
    recipes = [_read(name) for name in recipe_names()]
    if output == "json":
        print_json(recipes)
        return
    rows = [
        (item["name"], _models(item), _gpus(item["resources"]), item["title"]) for item in recipes
    ]
    print_table(("RECIPE", "MODELS", "GPUS", "WHAT IT IS"), rows)


def _models(recipe: dict[str, Any]) -> str:
    return ", ".join(spec["model_id"] for spec in recipe["specs"])


def _gpus(resources: dict[str, Any]) -> str:
    count, kind = resources.get("gpu"), resources.get("gpu_type", "")
    return f"{count} x {kind}".removesuffix(" x ") if count else "-"


def _read(name: str) -> dict[str, Any]:
    from openllm.bento.pack.document import read_document, read_resources

    path = find_recipe(name)
    if path is None:  # removed since it was listed
        raise FileNotFoundError(name)
    return {
        "name": name,
        "title": recipe_title(path),
        "specs": read_document(path),
        "resources": read_resources(path).to_dict(),
    }
