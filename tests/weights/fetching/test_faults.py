"""Every bad day of the Hub is one line with its remedy, from a server that really has it."""

from __future__ import annotations

import errno
import random

import pytest

from openllm.errors import WeightsError
from openllm.weights.fetching import faults, leftovers
from openllm.weights.hub import snapshot
from tests.checkpoints import FILES
from tests.hub import Answer, FakeHub

PAGE: Answer = (200, {"Content-Type": "text/html"}, b"<html>Log in</html>")
WEIGHTS = random.Random(2).randbytes(5 * 2**20)


@pytest.fixture
def hub(monkeypatch, tmp_path):
    monkeypatch.setattr(faults, "_FIRST_PAUSE", 0.0)
    with FakeHub() as hub:
        hub.large = 2**20
        hub.add("org/model", {**FILES, "model.safetensors": WEIGHTS})
        hub.connect(monkeypatch, tmp_path / "hf")
        yield hub


def always(answer: Answer, part: str = ""):
    return lambda method, path: answer if part in path else None


@pytest.mark.parametrize(
    ("fault", "says"),
    [
        (always((429, {"Retry-After": "300"}, b"")), r"for 300 s \(429\).*after that.*HF_TOKEN"),
        (always((429, {"RateLimit": '"api";r=0;t=120'}, b"")), r"for 120 s \(429\)"),
        (always((500, {}, b"")), "answered 500.*Try again later"),
        (always((503, {}, b""), "/cdn/"), "answered 503"),
        (always(PAGE), "something else than the Hub's data: a proxy or a login page"),
        (always(PAGE, "/resolve/"), "a proxy or a login page"),
        (always(PAGE, "/cdn/"), "a proxy or a login page"),
        (always((302, {"Location": "/api/x"}, b"")), "from one address to the next"),
        (always((404, {"X-Error-Code": "RevisionNotFound"}, b"")), "no revision None"),
        (always((403, {"X-Error-Code": "GatedRepo"}, b"")), "is gated.*HF_TOKEN"),
    ],
)
def test_what_stays_wrong_is_one_line(hub: FakeHub, fault, says: str) -> None:
    hub.fault = fault
    with pytest.raises(WeightsError, match=says) as caught:
        snapshot("org/model")
    assert "\n" not in str(caught.value)


def test_a_short_wait_that_is_asked_for_is_waited(hub: FakeHub) -> None:
    left = [(429, {"Retry-After": "0"}, b"")] * 2
    hub.fault = lambda method, path: left.pop() if left else None
    assert (snapshot("org/model") / "model.safetensors").read_bytes() == WEIGHTS


def test_a_connection_that_is_cut_again_and_again(hub: FakeHub) -> None:
    hub.cuts = 10**6
    with pytest.raises(WeightsError, match=r"connection broke.*goes on from there"):
        snapshot("org/model")
    hub.cuts = 0
    assert (snapshot("org/model") / "model.safetensors").read_bytes() == WEIGHTS


def test_weights_that_are_cut_go_on_and_come_from_elsewhere(hub: FakeHub, monkeypatch) -> None:
    monkeypatch.setenv("HF_TOKEN", "secret")
    hub.cuts, hub.cut_where = 3, "/cdn/"
    assert (snapshot("org/model") / "model.safetensors").read_bytes() == WEIGHTS
    (sent,) = [size for path, size in hub.sent.items() if path.startswith("/cdn/")]
    assert sent == len(WEIGHTS)
    assert hub.shown
    assert not [path for host, path in hub.shown if "localhost" in host]


def test_a_server_without_ranges_sends_the_whole(hub: FakeHub) -> None:
    hub.ranges = False
    assert (snapshot("org/model") / "model.safetensors").read_bytes() == WEIGHTS


def test_an_address_that_has_expired_is_asked_for_again(hub: FakeHub) -> None:
    left = [(403, {}, b"expired")]
    hub.fault = lambda method, path: left.pop() if left and "/cdn/" in path else None
    assert (snapshot("org/model") / "model.safetensors").read_bytes() == WEIGHTS


def test_a_proxy_that_is_gone_is_named_without_its_password(hub: FakeHub, monkeypatch) -> None:
    from huggingface_hub.utils import close_session

    close_session()
    monkeypatch.setenv("http_proxy", "http://me:secret@127.0.0.1:9")
    monkeypatch.setenv("no_proxy", "")
    with pytest.raises(WeightsError, match=r"The proxy http://127\.0\.0\.1:9 cannot be") as caught:
        snapshot("org/model")
    close_session()
    assert "secret" not in str(caught.value)


def test_half_files_of_a_killed_download_go(hub: FakeHub, tmp_path) -> None:
    blobs = tmp_path / "hf" / "hub" / "models--org--model" / "blobs"
    blobs.mkdir(parents=True)
    (blobs / "abc.123.incomplete").write_bytes(b"x")
    snapshot("org/model")
    assert [path.name for path in blobs.iterdir() if "." in path.name] == []


def test_what_cannot_be_removed_or_told_stays_and_stops_nothing(hub: FakeHub, tmp_path) -> None:
    cache = tmp_path / "hf" / "hub"
    blobs = cache / "models--org--model" / "blobs"
    (blobs / "abc.1.incomplete").mkdir(parents=True)  # unlink fails, for root too
    (blobs / "def.1.incomplete").write_bytes(b"x")
    (cache / ".locks" / "models--org--model" / "def.lock").mkdir(parents=True)  # so does open
    assert (snapshot("org/model") / "model.safetensors").read_bytes() == WEIGHTS
    assert sorted(path.name for path in blobs.glob("*.*")) == [
        "abc.1.incomplete",
        "def.1.incomplete",
    ]


def test_a_cache_that_cannot_be_written_is_named(hub: FakeHub, tmp_path, monkeypatch) -> None:
    def refuse(*_: object, **__: object) -> None:
        raise OSError(errno.EROFS, "Read-only file system")

    monkeypatch.setattr(leftovers, "halves", lambda storage: [tmp_path / "gone"])
    monkeypatch.setattr("openllm.weights.hub.fetch_files", refuse)
    with pytest.raises(WeightsError, match=r"cannot be written.*Read-only.*HF_HOME"):
        snapshot("org/model")
