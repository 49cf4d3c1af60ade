"""A stored model by a name of one's own."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from tests.bento.conftest import home
from tests.cli.commands.test_pull import Pull, pull, run
from tests.cli.conftest import Run

__all__ = ["home", "pull", "run"]


def test_an_alias_is_a_model_wherever_one_is_named(run: Run, pull: Pull) -> None:
    tag = pull()
    assert run("alias", "my-prod", "demo:latest").stdout == f"my-prod is {tag}.\n"
    spec = json.loads(run("start", "my-prod", "--print-spec").stdout)
    assert (spec["model_id"], spec["name"], spec["family"]) == (tag, "my-prod", "demo")
    named = json.loads(run("start", "my-prod", "--name", "x", "--print-spec").stdout)
    assert named["name"] == "x"
    assert run("verify", "my-prod").stdout == f"{tag} is as it was stored.\n"
    assert json.loads(run("show", "my-prod", "-o", "json").stdout)["aliases"] == ["my-prod"]
    assert json.loads(run("list", "-o", "json").stdout)[0]["aliases"] == ["my-prod"]
    assert json.loads(run("alias", "-o", "json").stdout) == {"my-prod": tag}


def test_a_model_with_an_alias_stays(run: Run, pull: Pull, home: Path) -> None:
    tag = pull()
    run("alias", "my-prod", tag)
    refused = run("rm", tag)
    assert (refused.exit_code, refused.stdout) == (1, "")
    assert "The alias my-prod stands for" in refused.stderr
    assert json.loads(run("prune", "--unused", "-o", "json").stdout)["removed"] == []
    assert run("alias", "--remove", "my-prod").exit_code == 0
    assert len(json.loads(run("prune", "--unused", "-o", "json").stdout)["removed"]) == 1


def test_rm_by_force_takes_the_alias_too(run: Run, pull: Pull) -> None:
    run("alias", "my-prod", pull())
    assert run("rm", "my-prod", "--force").exit_code == 0
    assert json.loads(run("alias", "-o", "json").stdout) == {}


@pytest.mark.parametrize(
    ("args", "code", "says"),
    [
        (("llama", "demo:latest"), 2, "name of a family"),
        (("my-prod", "demo:none"), 1, "The model store has no demo:none"),
        (("My/Prod", "demo:latest"), 2, "cannot be an alias"),
        (("nothing",), 2, "There is no alias 'nothing'"),
        (("--remove", "nothing"), 2, "There is no alias 'nothing'"),
        (("--remove",), 2, "--remove takes one NAME"),
    ],
)
def test_what_cannot_be_is_one_line(
    run: Run, pull: Pull, args: tuple[str, ...], code: int, says: str
) -> None:
    pull()
    result = run("alias", *args)
    assert result.exit_code == code
    assert says in result.stderr
    assert result.stderr.count("\n") == 1
