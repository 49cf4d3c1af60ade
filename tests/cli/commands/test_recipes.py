"""The recipes that come with openllm."""

from __future__ import annotations

import json

from tests.cli.conftest import Run


def test_recipes_that_come_along_can_be_resolved(run: Run) -> None:
    for recipe in json.loads(run("recipes", "-o", "json").stdout):
        assert run("build", recipe["name"], "--print-spec").exit_code == 0
        assert recipe["title"]
