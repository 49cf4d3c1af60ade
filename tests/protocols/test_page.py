"""The chat page: a few files, nothing from elsewhere, nothing that could turn a model's text into
code.
"""

from __future__ import annotations

import re
import shutil
import subprocess
from pathlib import Path

import httpx
import pytest

from openllm.config.settings import Settings
from tests.protocols.conftest import echo_llm
from tests.serving import serve

UI = Path(__file__).parents[2] / "openllm" / "ui"
SCRIPTS = sorted(UI.glob("*.js"))
NAMESPACE = "http://www.w3.org/2000/svg"  # of the icons: a name, which nothing asks for


def test_the_page_and_its_files_are_served(client: httpx.Client) -> None:
    page = client.get("/")
    assert page.headers["content-type"].startswith("text/html")
    names = re.findall(r'(?:src|href)="(ui/[^"]+)"', page.text)
    assert sorted(names) == ["ui/app.js", "ui/style.css"]
    imported = {
        name for path in SCRIPTS for name in re.findall(r'from "\./([^"]+)"', path.read_text())
    }
    assert {path.name for path in SCRIPTS} == {*imported, "app.js"}
    for name in (*names, *(f"ui/{name}" for name in imported)):
        answer = client.get(f"/{name}")
        assert answer.status_code == 200
        assert "content-security-policy" in answer.headers


def test_nothing_inline_and_nothing_from_elsewhere_may_run(client: httpx.Client) -> None:
    page = client.get("/")
    policy = page.headers["content-security-policy"]
    assert "default-src 'none'" in policy
    assert "unsafe" not in policy
    everything = "".join(
        path.read_text() for path in (UI / "index.html", UI / "style.css", *SCRIPTS)
    ).replace(NAMESPACE, "")
    assert not re.search(r"https?://", everything)
    assert not re.search(r"\son\w+\s*=\s*[\"']|<script>|\bstyle\s*=\s*\"", everything)
    assert not re.search(
        r"innerHTML|outerHTML|insertAdjacentHTML|document\.write|\beval\b|localStorage", everything
    )


def test_the_page_is_cached_by_its_content(client: httpx.Client) -> None:
    tag = client.get("/").headers["etag"]
    assert client.get("/", headers={"If-None-Match": tag}).status_code == 304


def test_every_element_the_script_asks_for_is_there() -> None:
    asked = {
        name for path in SCRIPTS for name in re.findall(r'byId\("([^"]+)"\)', path.read_text())
    }
    there = re.findall(r'\bid="([^"]+)"', (UI / "index.html").read_text())
    assert asked <= set(there)
    assert len(there) == len(set(there))


@pytest.mark.skipif(shutil.which("node") is None, reason="needs node")
def test_the_scripts_parse(tmp_path: Path) -> None:
    for path in SCRIPTS:
        module = tmp_path / f"{path.stem}.mjs"
        module.write_text(path.read_text())
        done = subprocess.run(["node", "--check", str(module)], capture_output=True, text=True)
        assert done.returncode == 0, done.stderr


def test_the_page_can_be_switched_off(echo_model: Path) -> None:
    with (
        serve(echo_llm(echo_model), settings=Settings(ui=False)) as running,
        running.client() as client,
    ):
        assert client.get("/").status_code == 404
