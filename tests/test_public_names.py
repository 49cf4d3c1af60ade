"""What `openllm.X` is, at runtime and for a type checker."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

import openllm
from openllm.llm.auto import auto_classes, class_names
from scripts.write_stubs import TARGET, render

ROOT = Path(__file__).parent.parent
SNIPPET = """
import openllm

reveal_type(openllm.VLLMLlama.from_pretrained("./m"))
reveal_type(openllm.AutoFlaxLLM.for_model("llama"))
reveal_type(openllm.LLM("demo").to_runner())
reveal_type(openllm.bento.depends("demo"))
reveal_type(openllm.LLM("demo").generate_iterator("x"))
reveal_type(openllm.LLM("demo").run(openllm.LLM("demo").generate_iterator("x")))
reveal_type(openllm.LLM("demo").run(openllm.LLM("demo").generate("x")))
llama: openllm.FamilyLLM = openllm.TFLlama("./m")
openllm.Nothing
"""


def test_the_stub_is_what_the_script_writes() -> None:
    assert TARGET.read_text() == render(), "run: python scripts/write_stubs.py"


@pytest.mark.parametrize(
    "name", sorted([*openllm.HOMES, *auto_classes(), *openllm.SUBPACKAGES, "FamilyLLM"])
)
def test_every_public_name_is_there(name: str) -> None:
    assert getattr(openllm, name) is not None
    assert name in {*dir(openllm), "FamilyLLM"}


def test_every_generated_class_is_there_under_its_own_name() -> None:
    for name in class_names():
        found = getattr(openllm, name)
        assert found.__name__ == name
        assert found is getattr(openllm, name)
        assert name in dir(openllm)


@pytest.mark.parametrize("name", ["Nothing", "nothing", "_private", "VLLMNothing"])
def test_other_names_are_not(name: str) -> None:
    with pytest.raises(AttributeError, match=name):
        getattr(openllm, name)


def test_importing_it_imports_no_framework() -> None:
    heavy = (
        "torch",
        "transformers",
        "vllm",
        "peft",
        "keras",
        "bentoml",
        "click",
        "rich",
        "huggingface_hub",
    )
    code = f"import sys, openllm; print(sorted(set(sys.modules) & set({heavy!r})))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


def test_a_type_checker_follows_the_generated_classes(tmp_path: Path) -> None:
    snippet = tmp_path / "snippet.py"
    snippet.write_text(SNIPPET)
    command = [
        sys.executable,
        "-m",
        "mypy",
        "--config-file",
        str(ROOT / "pyproject.toml"),
        str(snippet),
    ]
    done = subprocess.run(command, capture_output=True, text=True, cwd=ROOT)
    for expected in (
        'Revealed type is "openllm.VLLMLlama"',
        'Revealed type is "openllm.llm.auto.FamilyLLM"',
        'Revealed type is "openllm.llm.runner.LLMRunner"',
        'Revealed type is "openllm.llm.llm.LLM"',
        'Revealed type is "typing.AsyncGenerator[openllm.types.GenerationOutput, None]"',
        'Revealed type is "typing.Iterator[openllm.types.GenerationOutput]"',
        'Revealed type is "openllm.types.GenerationOutput"',
        'has no attribute "Nothing"',
        "Found 1 error in 1 file",
    ):
        assert expected in done.stdout, done.stdout + done.stderr
