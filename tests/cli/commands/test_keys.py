"""Keys made on the command line, and the file they go into."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from openllm.http.keys.file import read_keys
from tests.cli.conftest import Run


def test_a_new_key_goes_into_the_file_and_is_shown_once(run: Run, tmp_path: Path) -> None:
    made = run("keys", "new", "team-a", "--model", "llama-*", "--tokens-per-minute", "1000")
    assert made.exit_code == 0
    key = made.stderr.split()[-1]
    assert key not in made.stdout
    other = run("keys", "new", "team-b", "--max-requests", "2", "--expires", "2030-01-31")
    assert other.stderr.split()[-1] != key
    file = tmp_path / "keys.yaml"
    file.write_text(made.stdout + other.stdout)
    file.chmod(0o600)
    first, second = read_keys(file)
    assert (first.name, first.models, first.limits.tokens_per_minute) == (
        "team-a",
        ("llama-*",),
        1000,
    )
    assert (second.limits.max_requests, second.expired()) == (2, False)
    listed = run("keys", "check", str(file), "-o", "json")
    assert [entry["name"] for entry in json.loads(listed.stdout)] == ["team-a", "team-b"]
    assert "team-b" in run("keys", "check", str(file)).stdout


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (("new", "a b"), "name"),
        (("new", "admin"), "admin"),
        (("new", "a", "--expires", "soon"), "expires"),
        (("new", "a", "--tokens-per-minute", "-1"), "tokens_per_minute"),
        (("check", "none.yaml"), "none.yaml"),
    ],
)
def test_what_is_wrong_is_one_line(run: Run, words: tuple[str, ...], said: str) -> None:
    result = run("keys", *words)
    assert result.exit_code in (1, 2)
    assert (said in result.stderr, result.stderr.count("\n")) == (True, 1), result.stderr
