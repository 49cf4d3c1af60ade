"""The command as a whole: help, one-line errors, exit codes, and what it does not import."""

from __future__ import annotations

import ast
import json
import os
import signal
import socket
import subprocess
import sys
from pathlib import Path

import click
import pytest

import openllm
from openllm import cli as package
from openllm.cli import cli
from openllm.discovery import variants
from openllm.errors import ConfigurationError, EngineDead, WeightsError
from tests.cli.conftest import Run
from tests.commands import interruptible

KNOWN = [
    "adapters",
    "ask",
    "build",
    "deploy",
    "env",
    "inspect",
    "models",
    "prompt",
    "recipes",
    "start",
    "verify",
]
HEAVY = (
    "torch",
    "transformers",
    "bentoml",
    "vllm",
    "keras",
    "httpx",
    "rich",
    "starlette",
    "msgspec",
    "huggingface_hub",
)


def _python(code: str, environment: dict[str, str]) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, env=environment, check=False
    )


def test_the_commands_are_the_files_of_their_folder() -> None:
    files = (Path(package.__file__).parent / "commands").glob("[!_]*.py")
    assert list(variants("openllm.commands")) == sorted(path.stem for path in files)
    assert set(KNOWN) <= set(variants("openllm.commands"))


@pytest.mark.parametrize("args", [(), ("--help",), ("-h",)])
def test_help_lists_every_command_with_its_first_line(run: Run, args: tuple[str, ...]) -> None:
    result = run(*args)
    assert result.exit_code == 0
    assert all(f"  {name} " in result.output for name in variants("openllm.commands"))
    assert "Serve a model over HTTP." in result.output
    assert result.stderr == ""


@pytest.mark.parametrize("name", variants("openllm.commands"))
def test_every_command_and_every_option_explains_itself(run: Run, name: str) -> None:
    command = cli.get_command(click.Context(cli), name)
    assert command is not None
    found = [command]
    if isinstance(command, click.Group):
        found += [command.get_command(click.Context(command), inner) for inner in command.commands]
    for item in found:
        assert item is not None
        assert item.help
        assert all(param.help for param in item.params if isinstance(param, click.Option))
        assert {"debug", "quiet"} <= {param.name for param in item.params}
    summary = ast.get_docstring(
        ast.parse((Path(package.__file__).parent / "commands" / f"{name}.py").read_text())
    )
    assert summary
    assert run(name, "--help").exit_code == 0


def test_version(run: Run) -> None:
    assert run("--version").stdout == f"openllm {openllm.__version__}\n"


@pytest.mark.parametrize(
    ("args", "says"),
    [
        (("strat",), "No such command 'strat'. Did you mean start? See `openllm --help`."),
        (("zzz",), "No such command 'zzz'. See `openllm --help`."),
        (
            ("adapters", "lst"),
            "No such command 'lst'. Did you mean list? See `openllm adapters --help`.",
        ),
        (("start", "--port", "http"), "Invalid value for '--port': 'http' is not a whole number."),
        (("start", "--port", "70000"), "port must be from 0 to 65535, got 70000."),
        (("start", "--backend", "vlm"), "Invalid value for '--backend': 'vlm' is not one of"),
        (("start", "lama"), "Unknown model family 'lama'. Did you mean llama"),
        (("start", "--max-model-len", "0"), "max_model_len must be greater than 0, got 0."),
        (("start", "--engine-arg", "x"), "'x' is not KEY=VALUE."),
        (("start", "--engine-arg", "x=1", "--engine-arg", "x=2"), "x is given twice."),
        (
            ("start", "--sampling", "temperature=9"),
            "sampling: temperature: must be in [0, 2], got 9.",
        ),
        (
            ("start", "--task", "embed", "--adapter-id", "./a"),
            "An embedding model takes no LoRA adapters.",
        ),
        (
            ("start", "--backend", "flax", "--quantization", "int8"),
            "The flax backend cannot do 'int8'.",
        ),
        (("start", "--kv-cache-memory", "much"), "'much' is not a size in bytes"),
        (
            ("start", "--chat-template", "./none.jinja"),
            "cannot be read: No such file or directory.",
        ),
        (("start", "-f", "./none.yaml"), "File './none.yaml' does not exist."),
        (("build", "demo", "--label", "x"), "'x' is not KEY=VALUE."),
        (("models", "-o", "xml"), "Invalid value for '-o' / '--output'"),
        (("ask",), "Missing argument 'QUESTION'."),
        (
            ("ask", "hi", "--endpoint", "nowhere"),
            "'nowhere' is no endpoint. Write http://HOST:PORT.",
        ),
    ],
)
def test_wrong_input_is_one_line_and_exit_code_2(
    run: Run, args: tuple[str, ...], says: str
) -> None:
    result = run(*args)
    assert result.exit_code == 2
    assert result.stdout == ""
    assert result.stderr.startswith("Error: ")
    assert says in result.stderr
    assert result.stderr.count("\n") == 1


def test_an_option_that_is_mistyped_gets_the_nearest_one_named(run: Run) -> None:
    result = run("start", "--max-model-length", "1")
    assert result.exit_code == 2
    assert "--max-model-len" in result.stderr.partition("Did you mean")[2]


def test_a_variable_that_is_wrong_is_named(run: Run) -> None:
    result = run("start", "--print-spec", OPENLLM_MAX_MODEL_LEN="many")
    assert (result.exit_code, result.stdout) == (2, "")
    assert result.stderr == "Error: OPENLLM_MAX_MODEL_LEN: 'many' is not a whole number.\n"


@pytest.mark.parametrize(
    ("error", "code", "line"),
    [
        (
            ConfigurationError("This cannot be.", hint="Do that."),
            2,
            "Error: This cannot be. Do that.\n",
        ),
        (WeightsError("No weights."), 1, "Error: No weights.\n"),
        (EngineDead("Gone,\n  for good."), 1, "Error: Gone, for good.\n"),
        (click.FileError("x", "no room"), 1, "Error: Could not open file 'x': no room\n"),
        (
            OSError(28, "No space left on device"),
            1,
            "Error: OSError: [Errno 28] No space left on device. Run it again",
        ),
        (
            RuntimeError("boom"),
            1,
            "Error: RuntimeError: boom. Run it again with --debug for the traceback.\n",
        ),
        (KeyboardInterrupt(), 130, ""),
    ],
)
def test_a_failure_is_one_line_and_its_exit_code(
    run: Run, monkeypatch: pytest.MonkeyPatch, error: BaseException, code: int, line: str
) -> None:
    def fail(*_: object) -> None:
        raise error

    monkeypatch.setattr("openllm.cli.given.specs.resolve_model", fail)
    result = run("start")
    assert result.exit_code == code
    assert result.stderr.strip("\n").startswith(line.strip("\n"))
    assert "Traceback" not in result.stderr


@pytest.mark.parametrize("args", [("--debug", "start", "lama"), ("start", "lama", "--debug")])
def test_debug_shows_the_traceback(environment: dict[str, str], args: tuple[str, ...]) -> None:
    command = [sys.executable, "-m", "openllm", *args]
    done = subprocess.run(command, capture_output=True, text=True, env=environment, check=False)
    assert done.returncode == 1
    assert done.stderr.startswith("Traceback")
    assert "UnknownFamily" in done.stderr


def test_debug_leaves_wrong_usage_one_line(run: Run) -> None:
    assert run("--debug", "strat").stderr.count("\n") == 1


def test_ctrl_c_ends_with_130_and_no_traceback(environment: dict[str, str]) -> None:
    with socket.create_server(("127.0.0.1", 0)) as mute:
        endpoint = f"http://127.0.0.1:{mute.getsockname()[1]}"
        command = interruptible("ask", "hello", "--endpoint", endpoint)
        process = subprocess.Popen(command, stderr=subprocess.PIPE, text=True, env=environment)
        mute.settimeout(60)
        connection, _ = mute.accept()
        with connection:
            connection.recv(1)
            process.send_signal(signal.SIGINT)
            _, stderr = process.communicate(timeout=60)
    assert process.returncode == 130
    assert stderr.strip() == ""


def test_a_reader_that_leaves_early_is_no_error(environment: dict[str, str]) -> None:
    read, write = os.pipe()
    os.close(read)
    command = [sys.executable, "-m", "openllm", "models"]
    done = subprocess.run(
        command, stdout=write, stderr=subprocess.PIPE, text=True, env=environment, check=False
    )
    os.close(write)
    assert "Traceback" not in done.stderr
    assert "Error" not in done.stderr


@pytest.mark.parametrize(
    "args",
    [["--help"], ["models"], ["models", "-o", "json"], ["start", "--help"], ["recipes", "-h"]],
)
def test_what_only_prints_imports_nothing_heavy(
    environment: dict[str, str], args: list[str]
) -> None:
    code = (
        "import sys\n"
        "from openllm.cli import cli\n"
        f"try:\n    cli.main({args!r})\n"
        "except SystemExit as end:\n    assert end.code == 0, end.code\n"
        f"print(*[name for name in {HEAVY!r} if name in sys.modules], file=sys.stderr)"
    )
    done = _python(code, environment)
    assert (done.returncode, done.stderr.strip()) == (0, "")


def test_only_the_command_that_runs_is_imported(environment: dict[str, str]) -> None:
    code = (
        "import sys, json\nfrom openllm.cli import cli\ntry:\n    cli.main(['recipes',"
        " '--help'])\nexcept SystemExit:\n    pass\nnames = [n for n in sys.modules if"
        " n.startswith('openllm.cli.commands.')]\nprint(json.dumps(names), file=sys.stderr)"
    )
    assert json.loads(_python(code, environment).stderr) == ["openllm.cli.commands.recipes"]


@pytest.mark.parametrize(("verb", "now"), [("query", "openllm ask"), ("get-prompt", "prompt")])
def test_a_command_of_earlier_versions_names_what_replaced_it(
    run: Run, verb: str, now: str
) -> None:
    result = run(verb, "x")
    assert (result.exit_code, result.stderr.count("\n")) == (2, 1)
    assert f"There is no {verb!r} any more: use" in result.stderr
    assert now in result.stderr
