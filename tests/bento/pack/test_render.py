"""service.py holds literals only, whatever a build is told."""

from __future__ import annotations

import ast
from pathlib import Path

import pytest

from openllm.bento.pack.render import render_readme, render_service
from openllm.config.spec import LLMSpec
from openllm.errors import BuildError

ROOT = Path(__file__).parents[3]
EVIL = [
    "a\nb",
    "a\n",
    "$(touch x)",
    "{{ 7 * 7 }}",
    "a;b",
    'a"b',
    "a'b",
    "a b",
    "../a",
    "A",
    "-a",
    "a-",
    "",
    "a\0",
    "ä",
]


def test_it_is_short_and_calls_one_function_with_texts() -> None:
    text = render_service("llama-3.2-1b")
    assert len(text.splitlines()) <= 15
    docstring, imported, made = ast.parse(text).body
    assert isinstance(docstring, ast.Expr)
    assert isinstance(imported, ast.ImportFrom)
    assert isinstance(made, ast.Assign)
    assert isinstance(made.value, ast.Call)
    name, file, document = made.value.args
    assert isinstance(file, ast.Name)
    assert (ast.literal_eval(name), file.id, ast.literal_eval(document)) == (
        "llama-3.2-1b",
        "__file__",
        "spec.json",
    )


def test_the_one_at_the_root_is_the_same() -> None:
    assert (ROOT / "service.py").read_text() == render_service("demo", "bentos/demo.yaml")


@pytest.mark.parametrize("name", [*EVIL, "a" * 64])
def test_a_name_that_is_none_is_refused_in_one_line(name: str) -> None:
    with pytest.raises(BuildError) as error:
        render_service(name)
    assert "\n" not in str(error.value)


@pytest.mark.parametrize(
    "document", ["/etc/passwd", "../spec.json", 'spec.json")\nimport os', "spec.txt", ""]
)
def test_so_is_a_document_that_is_none(document: str) -> None:
    with pytest.raises(BuildError):
        render_service("demo", document)


def test_the_readme_names_model_and_adapters() -> None:
    spec = LLMSpec(model_id="demo", backend="echo", adapters=["./x:pirate"])
    text = render_readme("demo", [spec])
    assert '"model": "demo"' in text
    assert "pirate" in text
    assert "bentoml serve demo:latest" in text
    assert "on every interface, and asks for a key only where `OPENLLM_API_KEY` is set" in text
    assert "bentoml serve demo:latest --host 127.0.0.1" in text


def test_the_readme_shows_how_to_embed() -> None:
    text = render_readme(
        "pair", [LLMSpec(model_id="demo"), LLMSpec(model_id="a/b", name="vectors", task="embed")]
    )
    assert "/v1/chat/completions" in text
    assert 'client.embeddings.create(model="vectors"' in text
    assert "/v1/chat/completions" not in render_readme(
        "alone", [LLMSpec(model_id="a/b", task="embed")]
    )


def test_the_readme_defuses_what_a_name_may_hold() -> None:
    text = render_readme("demo", [LLMSpec(model_id="demo", name="a`$(x)`'; {{ 7 }} <b>")])
    for mark in ("$(", "{{", "<b>", "'; "):
        assert mark not in text
