"""Batches over HTTP, with the official client, which checks every answer."""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import attrs
import openai
import pytest

from openllm.config.settings import Settings
from openllm.errors import ConfigurationError
from openllm.http.auth import check_files
from openllm.http.keys.entry import sha256_of
from openllm.protocols.openai.batch import runs
from openllm.types import TokenRequest
from tests.protocols.conftest import echo_llm
from tests.protocols.openai.responses.conftest import strict
from tests.serving import LONG_WAIT, Running, serve

CHAT, PLAIN = "/v1/chat/completions", "/v1/completions"
ENDED = ("completed", "failed", "expired", "cancelled")


def line(name: str, url: str = PLAIN, **body: Any) -> dict[str, Any]:
    asked = {"model": "echo", "prompt": f"hello {name}", "max_tokens": 3, **body}
    return {"custom_id": name, "method": "POST", "url": url, "body": asked}


def send(client: openai.OpenAI, *lines: Any, name: str = "in.jsonl") -> Any:
    text = "".join(f"{json.dumps(item)}\n" for item in lines)
    return client.files.create(file=(name, text.encode()), purpose="batch")


def begin(client: openai.OpenAI, *lines: Any, url: Any = PLAIN, **asked: Any) -> Any:
    return client.batches.create(
        input_file_id=send(client, *lines).id,
        endpoint=url,
        completion_window="24h",
        **asked,
    )


def ended(client: openai.OpenAI, batch: Any) -> Any:
    """The batch, once it has ended: what runs it is in the same process, and quick."""
    return once(client, batch, lambda batch: batch.status in ENDED)


def once(client: openai.OpenAI, batch: Any, told: Callable[[Any], bool]) -> Any:
    """The batch, once that is `told` of it."""
    end = time.monotonic() + LONG_WAIT
    while not told(batch):
        assert time.monotonic() < end, batch
        time.sleep(0.01)
        batch = client.batches.retrieve(batch.id)
    return batch


def lines_of(client: openai.OpenAI, file: str | None) -> dict[str, Any]:
    if file is None:
        return {}
    found = [json.loads(text) for text in client.files.content(file).text.splitlines()]
    names = [entry["custom_id"] for entry in found]
    assert len(set(names)) == len(names)  # no line is answered twice
    return dict(zip(names, found, strict=True))


@pytest.fixture(scope="module")
def client(running: Running) -> Iterator[openai.OpenAI]:
    with strict(running) as found:
        yield found


def test_a_batch_is_answered(client: openai.OpenAI) -> None:
    good = [line(f"line-{at}") for at in range(40)]
    bad = [line("wrong", max_tokens="many"), line("lost", model="nobody")]
    batch = begin(client, *good, *bad, metadata={"for": "tests"})
    assert (batch.status, batch.object, batch.endpoint) == ("validating", "batch", PLAIN)
    assert batch.metadata == {"for": "tests"}
    assert batch.expires_at == batch.created_at + 24 * 3600
    batch = ended(client, batch)
    assert batch.status == "completed", batch.errors
    counts = batch.request_counts
    assert (counts.total, counts.completed, counts.failed) == (42, 40, 2)
    assert batch.created_at <= batch.in_progress_at <= batch.finalizing_at <= batch.completed_at
    answers = lines_of(client, batch.output_file_id)
    assert answers.keys() == {item["custom_id"] for item in good}
    for answer in answers.values():
        assert answer["error"] is None
        assert answer["response"]["status_code"] == 200
        assert answer["response"]["body"]["usage"]["completion_tokens"] == 3
    errors = lines_of(client, batch.error_file_id)
    assert {name: item["response"]["status_code"] for name, item in errors.items()} == {
        "wrong": 400,
        "lost": 404,
    }
    assert errors["wrong"]["response"]["body"]["error"]["param"] == "max_tokens"
    kept = client.files.retrieve(batch.output_file_id)
    assert (kept.purpose, kept.filename) == ("batch_output", f"{batch.id}_output.jsonl")
    with pytest.raises(openai.BadRequestError, match="completed: it cannot be cancelled"):
        client.batches.cancel(batch.id)


@pytest.mark.parametrize(
    ("url", "kind", "body"),
    [
        (CHAT, "chat.completion", {"messages": [{"role": "user", "content": "hi"}]}),
        ("/v1/responses", "response", {"input": "hi", "store": False}),
        ("/v1/embeddings", "list", {"input": "hi"}),
    ],
)
def test_every_url_that_can_be_asked(client: openai.OpenAI, url: str, kind: str, body: Any) -> None:
    request = {"custom_id": "a", "method": "POST", "url": url, "body": {"model": "echo", **body}}
    batch = ended(client, begin(client, request, url=url))
    assert batch.status == "completed", batch.errors
    (answer,) = lines_of(client, batch.output_file_id).values()
    assert answer["response"]["body"]["object"] == kind


@pytest.mark.parametrize(
    ("text", "number", "why"),
    [
        ("", None, "has no requests"),
        ("{}\n", 1, "custom_id must be"),
        (f"{json.dumps(line('a'))}\nno json\n", 2, "it is not JSON"),
        (f"{json.dumps(line('a'))}\n" * 2, 2, "is that of line 1"),
        (json.dumps(line("a", CHAT)), 1, "its url must be the batch's"),
        (json.dumps(line("a", stream=True)), 1, "body.stream cannot be true"),
        (json.dumps(line("a", background=True)), 1, "body.background cannot be true"),
    ],
)
def test_a_file_that_is_no_batch(
    client: openai.OpenAI, text: str, number: int | None, why: str
) -> None:
    file = client.files.create(file=("in.jsonl", text.encode()), purpose="batch")
    batch = client.batches.create(input_file_id=file.id, endpoint=PLAIN, completion_window="24h")
    batch = ended(client, batch)
    assert (batch.status, batch.output_file_id, batch.error_file_id) == ("failed", None, None)
    (error,) = batch.errors.data
    assert error.line == number
    assert why in error.message


def test_what_cannot_be_asked(client: openai.OpenAI) -> None:
    file = send(client, line("a")).id
    good: Any = {"input_file_id": file, "endpoint": PLAIN, "completion_window": "24h"}
    for wrong, named in (
        ({"endpoint": "/v1/images"}, "endpoint"),
        ({"completion_window": "1h"}, "completion_window"),
        ({"output_expires_after": {"anchor": "created_at", "seconds": 5}}, "seconds"),
        ({"metadata": {"a": "x" * 600}}, "metadata"),
    ):
        with pytest.raises(openai.BadRequestError, match=named):
            client.batches.create(**{**good, **wrong})
    for name in ("file-unknown", "file-../../lock", f"file-{'0' * 32}"):
        with pytest.raises(openai.NotFoundError, match="There is no file"):
            client.batches.create(**{**good, "input_file_id": name})
    with pytest.raises(openai.NotFoundError, match="There is no batch"):
        client.batches.retrieve("batch_unknown")


def test_batches_are_listed(client: openai.OpenAI) -> None:
    made = [ended(client, begin(client, line("a"))).id for _ in range(3)]
    listed = client.batches.list(limit=2)
    assert len(listed.data) == 2
    assert listed.has_more
    found = [batch.id for batch in client.batches.list(limit=2)]
    assert set(made) <= set(found)
    assert len(set(found)) == len(found)


@attrs.define
class Gate:
    """Lets the engine write only when a test says so, and counts what it was asked."""

    running: Running
    open: asyncio.Event
    asked: list[str]


@pytest.fixture
def gate(monkeypatch: pytest.MonkeyPatch) -> Gate:
    """To be put before an echo engine by `hold`."""
    return Gate(None, asyncio.Event(), [])  # type: ignore[arg-type]  # `hold` says it


def hold(gate: Gate, running: Running, monkeypatch: pytest.MonkeyPatch, most: int) -> None:
    """After `most` requests the engine waits until the gate is open."""
    backend = running.llm.backend
    submit = backend.submit

    async def wait(request: TokenRequest, sink: Any) -> Any:
        gate.asked.append(str(running.llm.tokenizer.decode(request.prompt_token_ids)))
        if len(gate.asked) > most:
            await gate.open.wait()
        return await submit(request, sink)

    monkeypatch.setattr(backend, "submit", wait)


def test_a_batch_is_cancelled(
    echo_model: Path, gate: Gate, monkeypatch: pytest.MonkeyPatch
) -> None:
    with serve(echo_llm(echo_model, max_num_seqs=4)) as running, strict(running) as client:
        hold(gate, running, monkeypatch, 3)
        batch = begin(client, *(line(f"line-{at}") for at in range(30)))
        running.wait_until(lambda: len(gate.asked) > 3)
        assert client.batches.retrieve(batch.id).status == "in_progress"
        shown = client.batches.cancel(batch.id)
        assert shown.status in ("cancelling", "cancelled")
        batch = ended(client, shown)
        assert (batch.status, batch.error_file_id) == ("cancelled", None)
        assert batch.cancelling_at <= batch.cancelled_at
        assert len(lines_of(client, batch.output_file_id)) == batch.request_counts.completed == 3
        assert batch.request_counts.total == 30
        running.wait_until(lambda: running.llm.stats().running == 0)


def test_a_batch_goes_on_after_a_restart(
    echo_model: Path, tmp_path: Path, gate: Gate, monkeypatch: pytest.MonkeyPatch
) -> None:
    settings = Settings(files_root=tmp_path / "files")
    check_files(settings)
    assert (tmp_path / "files").stat().st_mode & 0o777 == 0o700
    names = [f"line-{at}" for at in range(12)]
    with (
        serve(echo_llm(echo_model, max_num_seqs=4), settings=settings) as running,
        strict(running) as client,
    ):
        hold(gate, running, monkeypatch, 5)
        file = send(client, *map(line, names))
        batch = client.batches.create(
            input_file_id=file.id, endpoint=PLAIN, completion_window="24h"
        )
        client.files.delete(file.id)
        answers = tmp_path / "files" / "batches" / f"{batch.id}.answers"
        running.wait_until(lambda: answers.exists() and answers.read_bytes().count(b"\n") == 5)
    done = {json.loads(text)["custom_id"] for text in answers.read_text().splitlines()}
    before, gate.asked = gate.asked, []
    with serve(echo_llm(echo_model), settings=settings, lifespan=False) as running:
        hold(gate, running, monkeypatch, 100)
        running.run(running.server.start())
        with strict(running) as client:
            batch = ended(client, client.batches.retrieve(batch.id))
            assert (batch.status, batch.request_counts.completed) == ("completed", 12)
            assert lines_of(client, batch.output_file_id).keys() == set(names)
        running.run(running.server.close())
    asked = {text.split()[-1] for text in gate.asked}
    assert len(gate.asked) == len(names) - len(done) == 7
    assert not asked & done
    assert before
    assert not answers.exists()


def test_two_servers_share_a_directory(echo_model: Path, tmp_path: Path) -> None:
    """As API workers do: each line is answered once, whoever was asked."""
    settings = Settings(files_root=tmp_path / "files", api_workers=2)
    with (
        serve(echo_llm(echo_model), settings=settings) as one,
        serve(echo_llm(echo_model), settings=settings) as two,
        strict(one) as client,
        strict(two) as other,
    ):
        batches = [begin(client, *(line(f"l{at}") for at in range(20))) for _ in range(3)]
        for batch in batches:
            done = ended(other, other.batches.retrieve(batch.id))
            assert (done.status, done.request_counts.completed) == ("completed", 20)
            assert len(lines_of(other, done.output_file_id)) == 20
        assert {batch.id for batch in other.batches.list()} == {batch.id for batch in batches}


def test_workers_without_a_directory_say_so(echo_model: Path) -> None:
    for settings in (Settings(api_workers=2), Settings(max_files=0)):
        with serve(echo_llm(echo_model), settings=settings) as running, strict(running) as client:
            for ask in (client.files.list, client.batches.list, lambda: send(client)):
                with pytest.raises(openai.BadRequestError, match="keeps no files"):
                    ask()


def test_what_is_over_its_time_has_expired(
    echo_model: Path, gate: Gate, monkeypatch: pytest.MonkeyPatch
) -> None:
    with serve(echo_llm(echo_model, max_num_seqs=2)) as running, strict(running) as client:
        hold(gate, running, monkeypatch, 1)
        batch = begin(client, line("a"), line("b"))
        running.wait_until(lambda: len(gate.asked) == 2)
        batch = once(client, batch, lambda batch: batch.request_counts.completed == 1)
        monkeypatch.setattr(runs, "now", lambda: batch.expires_at)
        batch = ended(client, batch)
        assert batch.status == "expired"
        counts = batch.request_counts
        assert (counts.completed, counts.failed) == (1, 1)
        (error,) = lines_of(client, batch.error_file_id).values()
        assert (error["response"], error["error"]["code"]) == (None, "batch_expired")


def test_answers_have_bounds(echo_model: Path) -> None:
    settings = Settings(max_files_bytes=3000)
    with serve(echo_llm(echo_model), settings=settings) as running, strict(running) as client:
        batch = begin(client, *(line(f"{at}") for at in range(20)))
        batch = ended(client, batch)
        assert batch.status in ("completed", "failed")
        with pytest.raises(openai.BadRequestError, match="3000 bytes together"):
            send(client, line("more"))


def key_file(path: Path, *names: str) -> Path:
    entries = [{"name": name, "hash": f"sha256:{sha256_of(name.encode())}"} for name in names]
    path.write_text(json.dumps(entries))
    path.chmod(0o600)
    return path


def test_each_key_has_its_own(echo_model: Path, tmp_path: Path) -> None:
    settings = Settings(
        api_keys_file=key_file(tmp_path / "keys.yaml", "ann", "bob"), files_root=tmp_path / "files"
    )
    with (
        serve(echo_llm(echo_model), settings=settings) as running,
        strict(running, "ann") as ann,
        strict(running, "bob") as bob,
    ):
        batch = ended(ann, begin(ann, line("a")))
        assert batch.request_counts.completed == 1
        assert list(bob.files.list()) == list(bob.batches.list()) == []
        for name in (batch.input_file_id, batch.output_file_id):
            with pytest.raises(openai.NotFoundError):
                bob.files.content(name)
            with pytest.raises(openai.NotFoundError):
                bob.files.delete(name)
        with pytest.raises(openai.NotFoundError):
            bob.batches.cancel(batch.id)
        with pytest.raises(openai.NotFoundError):
            bob.batches.create(
                input_file_id=batch.input_file_id, endpoint=PLAIN, completion_window="24h"
            )
        assert {file.id for file in ann.files.list()} == {
            batch.input_file_id,
            batch.output_file_id,
        }


def test_lines_count_as_their_keys(echo_model: Path, tmp_path: Path) -> None:
    keys = key_file(tmp_path / "keys.yaml", "ann")
    entries = json.loads(keys.read_text())
    entries[0] |= {"models": ["other"]}
    keys.write_text(json.dumps(entries))
    settings = Settings(api_keys_file=keys, files_root=tmp_path / "files")
    with (
        serve(echo_llm(echo_model, aliases=("other",)), settings=settings) as running,
        strict(running, "ann") as ann,
    ):
        batch = ended(ann, begin(ann, line("mine", model="other"), line("not-mine")))
        assert lines_of(ann, batch.output_file_id).keys() == {"mine"}
        assert lines_of(ann, batch.error_file_id)["not-mine"]["response"]["status_code"] == 404


def test_a_directory_that_others_get_into(tmp_path: Path) -> None:
    (tmp_path / "open").mkdir(mode=0o755)
    with pytest.raises(ConfigurationError, match="chmod 700"):
        check_files(Settings(files_root=tmp_path / "open"))
    (tmp_path / "file").touch()
    with pytest.raises(ConfigurationError, match="files_root"):
        check_files(Settings(files_root=tmp_path / "file"))
