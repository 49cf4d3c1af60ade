"""/v1/adapters: the admin key, what may be named as a source, and answers that tell nothing of the
disk.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest

from openllm.config.settings import Settings
from tests.protocols.conftest import echo_llm
from tests.serving import Running, serve
from tests.tiny import write_adapter, write_llama

PATH = "/v1/adapters"
ADMIN = {"Authorization": "Bearer admin-key"}


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("adapters")


@pytest.fixture(scope="module")
def mounting(root: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Running]:
    base = write_llama(tmp_path_factory.mktemp("base") / "base-model")
    write_adapter(root / "pirate", base)
    (root / "empty").mkdir()
    (root / "link-out").symlink_to(base)
    settings = Settings(admin_key="admin-key", adapter_root=root)
    with serve(echo_llm(base, max_adapters=4), settings=settings) as found:
        yield found


@pytest.fixture
def admin(mounting: Running) -> Iterator[httpx.Client]:
    with mounting.client(headers=ADMIN) as found:
        yield found
        for item in found.get(PATH).json()["data"]:
            found.delete(f"{PATH}/{item['id']}")


def test_an_adapter_is_mounted_used_listed_and_removed(admin: httpx.Client) -> None:
    added = admin.post(PATH, json={"name": "arr", "source": "pirate"})
    assert (added.status_code, added.json()) == (
        201,
        {"id": "arr", "object": "adapter", "parent": "echo"},
    )
    assert admin.get(PATH).json()["data"] == [added.json()]
    cards = {card["id"]: card["parent"] for card in admin.get("/v1/models").json()["data"]}
    assert cards == {"echo": None, "arr": "echo"}
    answer = admin.post("/v1/completions", json={"model": "arr", "prompt": "hello"})
    assert answer.json()["model"] == "arr"
    assert (
        admin.post("/v1/generate", json={"adapter_name": "arr", "prompt": "hello"}).status_code
        == 200
    )
    assert admin.delete(f"{PATH}/arr").json() == {"id": "arr", "object": "adapter", "deleted": True}
    assert (
        admin.post("/v1/completions", json={"model": "arr", "prompt": "hello"}).status_code == 404
    )
    assert admin.delete(f"{PATH}/arr").status_code == 404


@pytest.mark.parametrize("name", ["arr", "echo"])
def test_a_name_that_is_taken_is_a_conflict(admin: httpx.Client, name: str) -> None:
    admin.post(PATH, json={"name": "arr", "source": "pirate"})
    assert admin.post(PATH, json={"name": name, "source": "pirate"}).status_code == 409


@pytest.mark.parametrize(
    "source",
    [
        "../base-model",
        "pirate/../../base",
        "/etc",
        "/etc/passwd",
        "~/x",
        "link-out",
        "empty",
        "missing",
        "",
        ".",
        "https://example.org/a",
        "file:///etc",
        "C:\\adapters",
        "org/name",
        "no-such-tag:1",
        "a\0b",
        "a" * 2000,
    ],
)
def test_sources_outside_the_root_are_refused_without_a_word_of_the_disk(
    admin: httpx.Client, root: Path, source: str
) -> None:
    answer = admin.post(PATH, json={"name": "x", "source": source})
    assert 400 <= answer.status_code < 500, answer.text
    assert str(root.parent) not in answer.text
    assert "Traceback" not in answer.text
    assert admin.get(PATH).json()["data"] == []


@pytest.mark.parametrize("name", ["", "../x", "a/b", "a b", "a" * 65, "-x", "a\nb", 1, None])
def test_names_are_plain_words(admin: httpx.Client, name: Any) -> None:
    answer = admin.post(PATH, json={"name": name, "source": "pirate"})
    assert (answer.status_code, answer.json()["error"]["param"]) == (400, "name")


@pytest.mark.parametrize(
    ("method", "path"), [("GET", PATH), ("POST", PATH), ("DELETE", f"{PATH}/x")]
)
def test_only_the_admin_key_opens_these_routes(
    mounting: Running, client: httpx.Client, method: str, path: str
) -> None:
    with mounting.client() as plain:
        assert plain.request(method, path).status_code == 403
        assert (
            plain.request(method, path, headers={"Authorization": "Bearer wrong"}).status_code
            == 403
        )
    answer = client.request(method, path, headers=ADMIN)  # a server without an admin key
    assert answer.status_code == 403
    assert "OPENLLM_ADMIN_KEY" in answer.text
