"""2,000 requests with changed bytes: none is answered with a fault of the server's."""

from __future__ import annotations

from pathlib import Path

from openllm.config.settings import Settings
from tests.chaos.mutations import attacked
from tests.protocols.conftest import echo_llm
from tests.serving import serve, write_echo_model


def test_no_bytes_are_a_fault_of_the_servers(tmp_path: Path) -> None:
    llm = echo_llm(write_echo_model(tmp_path / "echo"))
    with serve(llm, settings=Settings(admin_key="admin")) as running:
        found = attacked(running, 2000, seed=7)
    assert sum(found.values()) == 2000
    assert {"200", "400", "404"} <= set(found)
