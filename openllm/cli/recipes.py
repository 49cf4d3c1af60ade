"""List the recipes that come with openllm."""

from __future__ import annotations

from typing import Any

import click

from openllm.cli._output import FORMATS, format_option, print_json, print_table
from openllm.recipes import find_recipe, recipe_names, recipe_title


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
    rows = [(item["name"], ", ".join(spec["model_id"] for spec in item["specs"]), item["title"]) for item in recipes]
    print_table(("RECIPE", "MODELS", "WHAT IT IS"), rows)


def _read(name: str) -> dict[str, Any]:
    from openllm.bento.document import read_document

    path = find_recipe(name)
    if path is None:  # removed since it was listed
        raise FileNotFoundError(name)
    return {"name": name, "title": recipe_title(path), "specs": read_document(path)}
