"""What one worker of several is given."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace

import pytest

from openllm.bento.services.worker import HTTPService
from openllm.config.settings import Settings
from tests.protocols.conftest import echo_llm
from tests.serving import write_echo_model


@pytest.mark.parametrize(("workers", "kept"), [(1, 5), (2, 0)])
def test_one_worker_of_several_keeps_nothing_for_the_next_request(
    tmp_path: Path, workers: int, kept: int
) -> None:
    """The next request may come to another."""
    llm = echo_llm(write_echo_model(tmp_path / "echo"))
    settings = Settings(max_stored_responses=5)
    service = SimpleNamespace()
    life = HTTPService.begin_life(service, [llm], settings, workers=workers, apart=False)
    assert life.server.settings.max_stored_responses == kept
    assert service.life is life
