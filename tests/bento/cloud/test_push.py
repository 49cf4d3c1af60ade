"""A push to a local server that speaks the routes of BentoML's client: what arrives is the Bento,
and nothing else.
"""

from __future__ import annotations

import signal
import subprocess
import time
from pathlib import Path

import pytest

from openllm.bento.build import BuildResult, build
from openllm.bento.cloud.account import connect
from openllm.bento.cloud.push import push
from openllm.config.spec import LLMSpec
from openllm.errors import DeployError
from tests.bento.models import write_echo_weights
from tests.cloud import TOKEN, FakeCloud, cloud
from tests.commands import interruptible

__all__ = ["cloud"]

AGAIN = "Run it again: what is there completely is not sent again."
PART = 256 * 1024  # bytes; the client's own are of 100 MiB


@pytest.fixture
def built(home: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> BuildResult:
    """A Bento whose model is of several parts."""
    for module in ("bento", "model"):
        monkeypatch.setattr(f"bentoml._internal.cloud.{module}.FILE_CHUNK_SIZE", PART)
    weights = write_echo_weights(tmp_path / "parrot", size=3 * PART)
    return build(LLMSpec(model_id=str(weights), backend="echo"))


def _files(folder: Path, without: str = "models/") -> dict[str, bytes]:
    found = {
        path.relative_to(folder).as_posix(): path.read_bytes()
        for path in folder.rglob("*")
        if path.is_file()
    }
    return {name: data for name, data in found.items() if not name.startswith(without)}


def _send(built: BuildResult) -> list[str]:
    lines: list[str] = []
    push(connect(), built.tag, lines.append)
    return lines


def _check_all_there(cloud: FakeCloud, built: BuildResult) -> None:
    bento, model = cloud.archive("bento", built.tag), cloud.archive("model", built.models[0].tag)
    assert (bento.status, model.status) == ("success", "success")
    assert bento.files() == _files(built.path)
    assert model.files() == _files(built.models[0].path)


@pytest.mark.parametrize("strategy", ["multipart", "presigned", "proxy"])
def test_what_arrives_is_the_bento_and_its_model(
    cloud: FakeCloud, built: BuildResult, strategy: str
) -> None:
    cloud.strategy = strategy
    lines = _send(built)
    _check_all_there(cloud, built)
    assert lines[0].startswith(f"Sent {built.models[0].tag} (")
    assert lines[1].startswith(f"Sent {built.tag} (")
    parts = cloud.archive("model", built.models[0].tag).uploads.get("upload1", {})
    assert len(parts) == (4 if strategy == "multipart" else 0)


def test_what_is_there_is_not_sent_again(cloud: FakeCloud, built: BuildResult) -> None:
    _send(built)
    before = cloud.asked("PUT", "/storage/.*")
    lines = _send(built)
    assert lines == [f"{tag} is on BentoCloud already." for tag in (built.models[0].tag, built.tag)]
    assert cloud.asked("PUT", "/storage/.*") == before


def test_a_part_that_fails_is_sent_once_more(cloud: FakeCloud, built: BuildResult) -> None:
    cloud.refuse("PUT", "/storage/model/.*/2", 503, "slow down", times=2)
    _send(built)
    _check_all_there(cloud, built)


def test_a_push_that_was_cut_off_goes_on_with_what_is_missing(
    cloud: FakeCloud, built: BuildResult
) -> None:
    cloud.strategy = "presigned"
    cloud.refuse("PUT", "/storage/bento/.*", 500, "<disk full>")
    with pytest.raises(DeployError) as caught:
        _send(built)
    assert str(caught.value) == f"Could not push {built.tag}: <disk full>. {AGAIN}"
    assert cloud.archive("bento", built.tag).status == "failed"
    cloud.recover()
    sent = cloud.asked("PUT", "/storage/model/.*")
    assert _send(built)[0] == f"{built.models[0].tag} is on BentoCloud already."
    assert cloud.asked("PUT", "/storage/model/.*") == sent
    _check_all_there(cloud, built)


def test_ctrl_c_leaves_what_a_second_push_completes(cloud: FakeCloud, built: BuildResult) -> None:
    cloud.refuse("PUT", "/storage/bento/.*", 0, "", times=1, delay=1)
    command = interruptible("deploy", built.tag)
    with subprocess.Popen(
        command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    ) as process:
        end = time.monotonic() + 60
        while not cloud.asked("PUT", "/storage/bento/.*") and time.monotonic() < end:
            time.sleep(0.02)
        process.send_signal(signal.SIGINT)
        stdout, stderr = process.communicate(timeout=60)
    assert (process.returncode, stdout, cloud.deployments) == (130, "", {})
    assert "Traceback" not in stderr
    assert cloud.archive("bento", built.tag).status == "uploading"
    assert _send(built)[0] == f"{built.models[0].tag} is on BentoCloud already."
    _check_all_there(cloud, built)


def test_a_missing_part_is_no_success(cloud: FakeCloud, built: BuildResult) -> None:
    """BentoML's client asks to complete an upload even when a part of it was refused."""
    cloud.refuse("PUT", "/storage/model/.*/3", 403, "Signature does not match", times=3)
    with pytest.raises(
        DeployError, match=rf": parts \[1, 2\] are not all of \[1, 2, 4\]\. {AGAIN}$"
    ):
        _send(built)
    assert cloud.archive("model", built.models[0].tag).status == "failed"
    assert ("bento", *built.tag.split(":")) not in cloud.archives


def test_a_storage_that_cuts_the_connection_is_one_line(
    cloud: FakeCloud, built: BuildResult, monkeypatch: pytest.MonkeyPatch
) -> None:
    cloud.strategy = "presigned"
    monkeypatch.setattr(
        FakeCloud, "url", property(lambda self: "http://127.0.0.1:1")
    )  # of presigned addresses
    with pytest.raises(
        DeployError, match=rf"^Could not push {built.tag}: .*Connection refused\. {AGAIN}$"
    ):
        _send(built)


def test_no_token_is_told(cloud: FakeCloud, built: BuildResult) -> None:
    account = connect()
    assert TOKEN not in repr(account)
    cloud.refuse("POST", "/api/v1/bento_repositories", 422, {"message": f"bad header {TOKEN}"})
    with pytest.raises(DeployError, match=rf"bad header \*\*\*\. {AGAIN}$"):
        push(account, built.tag, lambda line: None)
