"""The walks of CONTRIBUTING.md and the page on a first Bento, followed word for word in a copy of
the checkout: the files they show are written, the commands are run, and what is printed is what
the page says.
"""

from __future__ import annotations

import os
import re
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import attrs
import pytest

from openllm.discovery import GROUPS
from tests.bento.conftest import free_port

ROOT = Path(__file__).parents[1]
PAGE = (ROOT / "CONTRIBUTING.md").read_text()
FIRST_BENTO = (ROOT / "docs" / "first-bento.md").read_text()
WALKS = dict(
    re.findall(
        r"^## A (.*?)\n(.*?)(?=^## |\Z)",
        PAGE.partition("\n# Five walks\n")[2],
        re.MULTILINE | re.DOTALL,
    )
)
STEP = re.compile(
    r"(?:^`(?P<path>[^`\n]+)`:\n\n)?^```(?P<kind>\w+)\n(?P<text>.*?)^```$", re.MULTILINE | re.DOTALL
)
COMMAND = re.compile(r"^\$ (?P<words>.*\n)(?P<seen>(?:(?!\$ ).*\n)*)", re.MULTILINE)
COMMAND_WAIT = 400.0  # seconds; a suite on a loaded machine
START_WAIT = 180.0
WALK_WAIT = 900
KEPT = ("openllm", "tests", "scripts", "docs", "templates", "bentos")
# What pip needs to install from a directory alone, and elsewhere than into this environment.
PIP = "--target {site} --no-deps --no-build-isolation --no-index --disable-pip-version-check"


@attrs.frozen
class Checkout:
    """A copy of this checkout, a folder where packages are installed for it, and its servers."""

    place: Path
    port: int
    servers: list[subprocess.Popen[str]] = attrs.field(factory=list)

    @property
    def site(self) -> Path:
        return self.place.parent / "site"

    @property
    def variables(self) -> dict[str, str]:
        """This process's without openllm's own; the copy comes before what is installed."""
        kept = {name: text for name, text in os.environ.items() if not name.startswith("OPENLLM_")}
        store = self.place.parent / "store"
        (store / "models").mkdir(parents=True, exist_ok=True)
        return {
            **kept,
            "PATH": os.pathsep.join((str(Path(sys.executable).parent), os.environ["PATH"])),
            "PYTHONPATH": os.pathsep.join((str(self.place), str(self.site))),
            "BENTOML_HOME": str(store),
            "BENTOML_DO_NOT_TRACK": "True",
            "OMP_NUM_THREADS": "1",
            "OPENLLM_PORT": str(self.port),
            "OPENLLM_ENDPOINT": f"http://127.0.0.1:{self.port}",
        }

    def follow(self, text: str) -> None:
        """Do what a walk says; its servers are on this checkout's port."""
        for step in STEP.finditer(re.sub(r"\b3000\b", str(self.port), text)):
            if step["path"]:
                path = self.place / step["path"]
                assert not path.exists(), f"{step['path']} is there already"
                path.parent.mkdir(parents=True, exist_ok=True)
                path.write_text(step["text"])
                continue
            assert step["kind"] == "console", step[0]
            for command in COMMAND.finditer(step["text"]):
                self.run(command["words"].strip(), command["seen"])

    def run(self, words: str, seen: str) -> None:
        """Run one command as a shell does; one that ends in & goes on while the rest is done."""
        words = words.replace("pip install", f"pip install {PIP.format(site=self.site)}")
        if words.endswith("&"):
            self._serve(words.removesuffix("&"), seen)
            return
        done = subprocess.run(
            ["bash", "-c", words],
            cwd=self.place,
            env=self.variables,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            timeout=COMMAND_WAIT,
        )
        assert shows(done.stdout, seen), f"$ {words}\n{done.stdout}"
        assert (done.returncode == 0) is ("Error:" not in seen), f"$ {words}\n{done.stdout}"

    def _serve(self, words: str, seen: str) -> None:
        """Begin a server, and wait until it has printed what is `seen`."""
        log = self.place.parent / f"server-{len(self.servers)}.log"
        with log.open("w") as output:
            server = subprocess.Popen(
                ["bash", "-c", f"exec {words}"],
                cwd=self.place,
                env=self.variables,
                stdout=output,
                stderr=subprocess.STDOUT,
                text=True,
                start_new_session=True,
            )
        self.servers.append(server)
        end = time.monotonic() + START_WAIT
        while not shows(log.read_text(), seen):
            assert server.poll() is None, f"$ {words}\n{log.read_text()}"
            assert time.monotonic() < end, f"$ {words}\n{log.read_text()}"
            time.sleep(0.1)


def shows(printed: str, seen: str) -> bool:
    """Whether `printed` is what a walk says is seen, where any white space is one space, and `...`
    stands for any text in a line, or on a line of its own for any lines.
    """
    pattern = ""
    for line in seen.splitlines():
        if line == "...":
            pattern += r"(?:.*\n)*?"
        else:
            pattern += re.escape(squeezed(line)).replace(re.escape("..."), ".*") + r"\n"
    text = "".join(f"{squeezed(line)}\n" for line in printed.rstrip().splitlines())
    return re.fullmatch(pattern, text) is not None


def squeezed(line: str) -> str:
    return " ".join(line.split())


@pytest.fixture
def checkout(tmp_path: Path) -> Iterator[Checkout]:
    """A copy; what runs in it ends with the test."""
    place = tmp_path / "openllm"
    place.mkdir()
    for name in KEPT:
        ignore = shutil.ignore_patterns("__pycache__")
        shutil.copytree(ROOT / name, place / name, ignore=ignore)
    for path in ROOT.iterdir():
        if path.suffix in (".md", ".toml", ".yaml") or path.name in ("LICENSE", "Makefile"):
            shutil.copy(path, place)
    found = Checkout(place, free_port())
    yield found
    for server in found.servers:
        if server.poll() is None:
            os.killpg(server.pid, signal.SIGTERM)
            server.wait(START_WAIT)


def test_there_is_a_walk_for_what_is_added_most() -> None:
    kinds = {group.kind for group in GROUPS.values()} - {"reasoning format"}
    assert set(WALKS) == kinds


@pytest.mark.timeout(WALK_WAIT)
@pytest.mark.parametrize("kind", WALKS)
def test_the_walk_leads_where_it_says(kind: str, checkout: Checkout) -> None:
    checkout.follow(WALKS[kind])
    files = [step["path"] for step in STEP.finditer(WALKS[kind]) if step["kind"] == "python"]
    options = f"--config pyproject.toml --no-cache {' '.join(files)}"
    checkout.run(f"ruff check {options}", "All checks passed!\n")
    checkout.run(f"ruff format --check {options}", "... already formatted\n")


@pytest.mark.timeout(WALK_WAIT)
def test_the_first_bento_is_built_served_and_asked(
    checkout: Checkout, monkeypatch: pytest.MonkeyPatch
) -> None:
    """On the one engine that `make install` installs; this environment may have others, too."""
    variables = {**checkout.variables, "OPENLLM_BACKEND": "pytorch"}
    monkeypatch.setattr(Checkout, "variables", variables)
    checkout.follow(FIRST_BENTO.partition("\n## Build\n")[2])
    assert len(checkout.servers) == 1


def test_what_is_printed_is_compared() -> None:
    assert shows("a  b\n\n", "a b\n...\n")
    assert shows("a\nb c\nd\n", "...\nb ...\nd\n")
    assert shows("", "")
    for printed in ("", "a b\n", "b\nc\n"):
        assert not shows(printed, "b\n")
    steps = [(step["path"], step["kind"]) for step in STEP.finditer(WALKS["family"])]
    assert steps[0] == ("openllm/models/families/wren.py", "python")
    assert ("console", None) not in steps
