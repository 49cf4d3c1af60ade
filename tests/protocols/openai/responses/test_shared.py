"""Two servers that share a directory, as API workers do: each continues and ends what the other has
begun.
"""

from __future__ import annotations

import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path
from typing import Any

import attrs
import httpx
import pytest

from openllm.config.settings import Settings
from openllm.protocols.openai.responses import shared
from openllm.protocols.openai.responses.shared import SharedStore
from openllm.protocols.openai.responses.store import Answered
from tests.protocols.conftest import echo_llm
from tests.serving import LONG_WAIT, Running, serve

PATH = "/v1/responses"


@pytest.fixture(scope="module")
def workers(
    echo_model: Path, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[tuple[Running, Running]]:
    root = tmp_path_factory.mktemp("shared")
    settings = Settings(files_root=root, api_workers=2, max_stored_responses=20)
    slow = {"engine_args": {"delay": 0.02}}
    with (
        serve(echo_llm(echo_model, **slow), settings=settings) as one,
        serve(echo_llm(echo_model, **slow), settings=settings) as two,
    ):
        yield one, two


@pytest.fixture
def clients(workers: tuple[Running, Running]) -> Iterator[tuple[httpx.Client, httpx.Client]]:
    with workers[0].client() as one, workers[1].client() as two:
        yield one, two


def respond(client: httpx.Client, **body: Any) -> Any:
    answer = client.post(PATH, json={"max_output_tokens": 4, **body})
    assert answer.status_code == 200, answer.text
    return answer.json()


def over(client: httpx.Client, name: str) -> Any:
    """The response, once it is made."""
    end = time.monotonic() + LONG_WAIT
    while (found := client.get(f"{PATH}/{name}").json())["status"] == "in_progress":
        assert time.monotonic() < end
    return found


def test_a_response_is_continued_by_the_other(clients: tuple[httpx.Client, httpx.Client]) -> None:
    one, two = clients
    first = respond(one, input="hello")
    assert first["store"] is True
    second = respond(two, input="world", previous_response_id=first["id"])
    third = respond(one, input="again", previous_response_id=second["id"])
    listed = two.get(f"{PATH}/{third['id']}/input_items", params={"order": "asc"}).json()["data"]
    texts = [part["text"] for item in listed for part in item["content"]]
    assert [texts[0], texts[2], texts[4]] == ["hello", "world", "again"]
    assert one.get(f"{PATH}/{second['id']}").json() == second
    assert two.delete(f"{PATH}/{first['id']}").json()["deleted"]
    assert one.get(f"{PATH}/{first['id']}").status_code == 404


def test_a_conversation_is_of_both(clients: tuple[httpx.Client, httpx.Client]) -> None:
    one, two = clients
    name = one.post("/v1/conversations", json={}).json()["id"]
    respond(two, input="hello", conversation=name)
    respond(one, input="world", conversation=name)
    kept = two.get(f"/v1/conversations/{name}/items").json()["data"]
    assert len(kept) == 4


def test_the_other_cancels_what_goes_on_in_the_background(
    workers: tuple[Running, Running], clients: tuple[httpx.Client, httpx.Client]
) -> None:
    one, two = clients
    long = {"max_output_tokens": 400, "ignore_eos": True, "background": True}
    begun = respond(one, input="hello", **long)
    assert two.get(f"{PATH}/{begun['id']}").json()["status"] == "in_progress"
    gone = respond(one, input="world", **long)
    assert two.post(f"{PATH}/{begun['id']}/cancel").json()["status"] == "cancelled"
    assert two.delete(f"{PATH}/{gone['id']}").json()["deleted"]
    workers[0].wait_until(lambda: workers[0].llm.stats().running == 0)
    assert one.get(f"{PATH}/{begun['id']}").json()["status"] == "cancelled"
    assert one.get(f"{PATH}/{gone['id']}").status_code == 404
    done = respond(two, input="hello", background=True)
    assert over(one, done["id"])["status"] in ("completed", "incomplete")


def test_what_a_process_that_has_ended_was_making_has_failed(
    workers: tuple[Running, Running], clients: tuple[httpx.Client, httpx.Client]
) -> None:
    one, _ = clients
    long = {"max_output_tokens": 400, "ignore_eos": True, "background": True}
    begun = respond(one, input="hello", **long)
    root = workers[0].server.settings.files_root
    assert root is not None
    mine, dying = (SharedStore(20, 1 << 20, root) for _ in range(2))
    record = mine.current(begun["id"])
    assert isinstance(record, Answered)
    for name in ("resp_read", "resp_cancelled"):
        mine.put(attrs.evolve(record, id=name, maker=dying.process))
        assert one.get(f"{PATH}/{name}").json()["status"] == "in_progress"
    dying._lives.close()  # as the system does for one that is killed
    read = one.get(f"{PATH}/resp_read").json()
    assert (read["status"], read["error"]["code"]) == ("failed", "server_error")
    assert one.post(f"{PATH}/resp_cancelled/cancel").json()["status"] == "failed"
    assert one.get(f"{PATH}/{begun['id']}").json()["status"] == "in_progress"
    assert one.post(f"{PATH}/{begun['id']}/cancel").json()["status"] == "cancelled"
    for store in (mine, dying):
        store.close()


def test_others_are_answered_while_the_file_is_waited_for(
    workers: tuple[Running, Running], clients: tuple[httpx.Client, httpx.Client]
) -> None:
    one, two = clients
    first = respond(one, input="hello")
    root = workers[0].server.settings.files_root
    assert root is not None
    other = SharedStore(20, 1 << 20, root)
    with ThreadPoolExecutor(1) as pool:
        with other.together():
            waiting = pool.submit(respond, two, input="again", previous_response_id=first["id"])
            workers[1].wait_until(lambda: workers[1].server.limits.live == 1)
            begun = time.monotonic()
            with workers[1].client() as beside:
                assert [beside.get("/livez").status_code for _ in range(5)] == [200] * 5
            assert time.monotonic() - begun < shared._WAIT_SECONDS / 2
            assert not waiting.done()
        assert waiting.result(LONG_WAIT)["status"] in ("completed", "incomplete")
    other.close()


def test_many_begin_at_once(tmp_path: Path) -> None:
    for at in range(10):
        folder = tmp_path / str(at)
        with ThreadPoolExecutor(8) as pool:
            stores = list(pool.map(partial(SharedStore, 4, 1000), [folder] * 8))
        assert [len(store) for store in stores] == [0] * 8
        for store in stores:
            store.close()


def test_who_reads_does_not_wait_for_who_writes(tmp_path: Path) -> None:
    one, two = (SharedStore(4, 1000, tmp_path) for _ in range(2))
    with one.together():  # two would wait ten seconds for its turn to write, and give up
        assert two.current("resp_1") is None
    one.close()
    two.close()
