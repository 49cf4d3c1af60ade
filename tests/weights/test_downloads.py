"""How far a download is: on a terminal one line written anew, elsewhere lines of the log."""

from __future__ import annotations

import io

import pytest

from openllm.weights import downloads
from openllm.weights.downloads import Download
from openllm.weights.hub import snapshot
from tests.hub import FakeHub


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


def test_the_rate_and_the_rest_are_said_once_they_are_known() -> None:
    download = Download("org/model")
    download.count(2**20, 64 * 2**20)  # a part from an earlier attempt
    download.count(5 * 2**20, 64 * 2**20)
    assert download.line(0.5) == "Fetching org/model: 5.0 MiB of 64.0 MiB"
    assert download.line(4.0).endswith("5.0 MiB of 64.0 MiB, 1.0 MiB/s, 59 s left")
    assert download.line(400.0).endswith("98 min 20 s left".replace("98 min 20 s", "1 h 38 min"))


@pytest.fixture
def hub(monkeypatch: pytest.MonkeyPatch, tmp_path):
    with FakeHub() as found:
        found.add("org/model", {"config.json": b"{}", "model.safetensors": b"x" * 300_000})
        found.connect(monkeypatch, tmp_path / "cache")
        yield found


def test_in_a_pipe_there_are_lines_of_the_log(hub, monkeypatch, caplog) -> None:
    monkeypatch.setattr(downloads, "LINES_SECONDS", 0.0)
    with caplog.at_level("INFO"):
        snapshot("org/model")
    said = [text for text in caplog.messages if text.startswith("Fetching org/model")]
    assert any("293.0 KiB of" in text for text in said), said


def test_on_a_terminal_one_line_is_written_anew_and_taken_away(hub, monkeypatch) -> None:
    terminal = Terminal()
    monkeypatch.setattr("sys.stderr", terminal)
    monkeypatch.setattr(downloads, "ANEW_SECONDS", 0.0)
    snapshot("org/model")
    shown = terminal.getvalue()
    assert "\n" not in shown
    assert "\r\x1b[2KFetching org/model: 293.0 KiB of 293.0 KiB" in shown
    assert shown.endswith("\r\x1b[2K")
