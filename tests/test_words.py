"""Below a front door nobody knows a front door's words: no text below protocols/ and cli/ names a
route, a vendor's field or a flag of ours, and every marked name is one that there is.

client/ stands at the other end of the wire: routes are what it calls.
"""

from __future__ import annotations

import ast
import inspect
import re
from collections.abc import Iterator
from pathlib import Path

import attrs
import click
import pytest

import openllm
from openllm.cli import cli
from openllm.cli.words import FLAGS
from openllm.config.settings import Settings
from openllm.config.spec import LLMSpec
from openllm.llm.llm import LLM
from openllm.protocols.openai.dialect import OPENAI
from openllm.types import Conversation, GenerationRequest, SamplingParams

ROOT = Path(openllm.__file__).parent
BELOW = sorted(
    path
    for path in ROOT.rglob("*.py")
    if path.relative_to(ROOT).parts[0] not in {"cli", "client", "protocols", "__main__.py"}
)
ROUTE = re.compile(r"/v\d+(beta)?/|\b(GET|POST|PUT|PATCH|DELETE) /|/api/")
FLAG = re.compile(r"(?<![\w-])--[a-z]")
# Fields of bodies that the domain calls otherwise.
VENDORS = re.compile(
    r"\b(response_format|structured_outputs|stream_options|max_completion_tokens|top_logprobs"
    r"|stop_sequences|tool_choice|chat_template_kwargs|include_stop_str_in_output|adapter_name"
    r"|num_predict)\b"
)
# An argument for another program (pip, podman, docker) and nothing else.
ARGUMENT = re.compile(r" ?--[a-z][a-z-]*(=\S*)?")
OTHER_PROGRAMS = {
    "bento/contents/scan.py": "pip's options that name an index",
    "bento/lock/image.py": "apt-get's line in a Dockerfile",
}


def texts(path: Path) -> Iterator[tuple[int, str]]:
    """Every string of a module but its docstrings, with its line."""
    tree = ast.parse(path.read_text(encoding="utf-8"))
    documented = (ast.Module, ast.ClassDef, ast.FunctionDef, ast.AsyncFunctionDef)
    docstrings = {
        id(node.body[0].value)
        for node in ast.walk(tree)
        if isinstance(node, documented) and node.body and isinstance(node.body[0], ast.Expr)
    }
    for node in ast.walk(tree):
        if isinstance(node, ast.Constant) and id(node) not in docstrings:
            if isinstance(node.value, str):
                yield node.lineno, node.value
            elif isinstance(node.value, bytes):
                yield node.lineno, node.value.decode("latin-1")


def marked(kind: str) -> Iterator[str]:
    """The names that modules below the front doors mark as `kind`."""
    for path in BELOW:
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if (
                isinstance(node, ast.Call)
                and isinstance(node.func, ast.Name)
                and node.func.id == kind
                and node.args
                and isinstance(node.args[0], ast.Constant)
            ):
                yield str(node.args[0].value)


def params() -> Iterator[str]:
    """Every `param="..."`."""
    for path in BELOW:
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            named = isinstance(node, ast.keyword) and node.arg == "param"
            if named and isinstance(node.value, ast.Constant) and node.value.value is not None:
                yield str(node.value.value)


def flags() -> set[str]:
    """Every flag of every command."""
    groups: list[click.Group] = [cli]
    found: set[str] = set()
    while groups:
        group = groups.pop()
        context = click.Context(group)
        for name in group.list_commands(context):
            command = group.get_command(context, name)
            assert command is not None
            if isinstance(command, click.Group):
                groups.append(command)
            found |= {flag for param in command.params for flag in param.opts}
    return found


@pytest.mark.parametrize("path", BELOW, ids=lambda path: str(path.relative_to(ROOT)))
def test_no_text_names_a_route_a_vendors_field_or_a_flag(path: Path) -> None:
    where = path.relative_to(ROOT).as_posix()
    # a module that reads bodies has to name the fields; its texts do not
    reads = where.startswith("http/body/")
    bad = []
    for line, text in texts(path):
        foreign = where in OTHER_PROGRAMS or (
            where.startswith("bento/") and ARGUMENT.fullmatch(text)
        )
        if (
            ROUTE.search(text)
            or (FLAG.search(text) and not foreign)
            or (VENDORS.search(text) and not (reads and text.isidentifier()))
        ):
            bad.append((line, text))
    assert bad == []


def test_marked_options_are_options() -> None:
    found = set(marked("option"))
    assert len(found) > 20
    assert {FLAGS.option(name, None).split()[0] for name in found} <= flags()


def test_marked_fields_are_the_requests() -> None:
    known = {
        field.name
        for kind in (SamplingParams, GenerationRequest, Conversation)
        for field in attrs.fields(kind)
    }
    known |= set(inspect.signature(LLM.embed).parameters)
    assert set(marked("field")) <= known


def test_marked_calls_are_known_to_who_shows_them() -> None:
    found = set(marked("call"))
    assert found >= {"LLM.embed", "LLM.generate", "LLM.adapters"}
    for name in found:
        assert name in OPENAI.calls or FLAGS.call(name) != name, name
        if name.startswith("LLM."):
            assert hasattr(openllm.LLM, name.removeprefix("LLM."))


def test_errors_name_what_the_domain_calls_so() -> None:
    kinds = (LLMSpec, Settings, SamplingParams, GenerationRequest, Conversation)
    known = {field.name for kind in kinds for field in attrs.fields(kind)}
    arguments = {"model", "source", "rank"}
    arguments |= {"texts", "normalize", "dimensions", "pooling", "truncate", "prompt_name"}
    engines = {"verify", "speculative_config", "device_map"}  # options by others' names
    assert set(params()) - known - arguments - engines == set()
