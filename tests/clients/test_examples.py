"""examples/clients, as they are: the files that this environment has what they need for."""

from __future__ import annotations

import re
from collections.abc import Iterator

import pytest

from tests.clients import examples
from tests.clients.servers import REPOSITORY

pytest.importorskip("anthropic", reason="needs `make test-clients`")


@pytest.fixture(scope="module")
def printed(demo: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[examples.Printed]:
    home = tmp_path_factory.mktemp("examples")
    with examples.running(examples.CLIENTS, demo, home) as found:
        yield found


@pytest.mark.parametrize("name", examples.CLIENTS)
def test_an_example_prints_what_it_asks_for(printed: examples.Printed, name: str) -> None:
    assert re.fullmatch(examples.CLIENTS[name], printed[name].result())


def test_each_example_is_short_run_and_listed() -> None:
    files = {path.name: path.read_text() for path in examples.FOLDER.iterdir()}
    assert sorted(files) == sorted([*examples.CLIENTS, *examples.FRAMEWORKS])
    page = (REPOSITORY / "docs" / "clients.md").read_text()
    for name, text in files.items():
        assert len(text.splitlines()) <= 40, name
        assert {"OPENLLM_ENDPOINT", "OPENLLM_API_KEY"} <= set(re.findall(r"\w+", text)), name
        assert "http://localhost:3000" in text, name
        assert f"(../examples/clients/{name})" in page, name
