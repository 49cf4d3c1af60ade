"""What one worker of several is given."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace

import pytest

from openllm.bento.services.worker import HTTPService
from openllm.config.settings import Settings
from tests.protocols.conftest import echo_llm
from tests.serving import write_echo_model


@pytest.mark.parametrize(
    ("workers", "said", "kept"),
    [(1, None, None), (2, None, "sockets/kept"), (2, "mine", "mine")],
)
def test_workers_keep_together_what_the_next_request_may_ask_another_for(
    tmp_path: Path, workers: int, said: str | None, kept: str | None
) -> None:
    llm = echo_llm(write_echo_model(tmp_path / "echo"))
    settings = Settings(max_stored_responses=5, files_root=said and tmp_path / said)
    service = SimpleNamespace()
    addresses = [(tmp_path / "sockets" / "first.engine",)]
    life = HTTPService.begin_life(service, [llm], settings, workers=workers, addresses=addresses)
    own = life.server.settings
    assert (own.max_stored_responses, own.api_workers) == (5, workers)
    assert own.files_root == (kept and tmp_path / kept)
    assert service.life is life


def test_workers_that_share_no_directory_have_none(tmp_path: Path) -> None:
    llm = echo_llm(write_echo_model(tmp_path / "echo"))
    life = HTTPService.begin_life(SimpleNamespace(), [llm], Settings(), workers=2, addresses=[()])
    assert life.server.settings.files_root is None
