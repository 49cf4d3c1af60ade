"""examples/clients, as they are: the files that stand on the vendors' clients."""

from __future__ import annotations

import re
import shutil
from collections.abc import Iterator

import pytest

from tests.clients import examples
from tests.clients.frameworks import HOME

pytest.importorskip("langchain_openai", reason="needs `make test-frameworks`")

NODE = shutil.which("node") is not None and (HOME / "node_modules" / "openai").exists()
NAMES = [name for name in examples.FRAMEWORKS if NODE or not name.endswith(".mjs")]


@pytest.fixture(scope="module")
def printed(demo: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[examples.Printed]:
    home = tmp_path_factory.mktemp("examples")
    with examples.running(NAMES, demo, home) as found:
        yield found


@pytest.mark.parametrize("name", examples.FRAMEWORKS)
def test_an_example_prints_what_it_asks_for(printed: examples.Printed, name: str) -> None:
    if name not in printed:
        pytest.skip(
            "needs Node.js and npm (apt-get install npm), then `make -B install-frameworks`"
        )
    assert re.fullmatch(examples.FRAMEWORKS[name], printed[name].result())
