"""The file of keys: read, looked at again, and kept when it breaks."""

from __future__ import annotations

import asyncio
import base64
import hashlib
import logging
from pathlib import Path
from typing import Any

import pytest
import yaml

from openllm.errors import ConfigurationError, Overloaded
from openllm.http.keys import file as files
from openllm.http.keys.entry import sha256_of
from openllm.http.keys.file import KeyFile, Known, read_keys

# scrypt's hash of "chosen words", at the least that it can cost
_DIGEST = hashlib.scrypt(b"chosen words", salt=b"salt", n=2, r=1, p=1, dklen=32)
QUICK = f"scrypt:2:1:1:c2FsdA==:{base64.b64encode(_DIGEST).decode()}"


def entry(name: str, **fields: Any) -> dict[str, Any]:
    """An entry whose key is `NAME-key`."""
    return {"name": name, "hash": f"sha256:{sha256_of(f'{name}-key'.encode())}", **fields}


def write(path: Path, *entries: Any) -> Path:
    path.write_text(yaml.safe_dump(list(entries)))
    path.chmod(0o600)
    return path


def broken(path: Path) -> None:
    path.write_text("- broken")


def removed(path: Path) -> None:
    path.unlink()


async def names(keys: KeyFile, *sent: str) -> list[str | None]:
    found = [await keys.find(key.encode()) for key in sent]
    return [None if known is None else known.caller.name for known in found]


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "keys.yaml"


def test_a_key_is_found_by_its_hash(path: Path) -> None:
    keys = KeyFile(write(path, entry("a"), entry("b", models=["demo"])))
    assert asyncio.run(names(keys, "a-key", "b-key", "c-key", "")) == ["a", "b", None, None]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "is empty"),
        ("[]", "is empty"),
        ("keys: []", "holds no list"),
        ("a: [", "is not YAML, line 2"),
        ("- a\n\x00", "is not YAML"),
        ("- name: a", "hash must be"),
        ("- just-a-key", "entry 1 is no mapping"),
    ],
)
def test_a_file_that_cannot_be_used_is_one_clear_line(path: Path, text: str, message: str) -> None:
    path.write_text(text)
    with pytest.raises(ConfigurationError, match=message) as refused:
        KeyFile(path)
    assert str(path) in str(refused.value)
    assert "\n" not in str(refused.value)


def test_a_missing_file_and_a_directory_are_one_clear_line(path: Path, tmp_path: Path) -> None:
    for wrong in (path, tmp_path):
        with pytest.raises(ConfigurationError, match="cannot be read: "):
            KeyFile(wrong)


def test_names_and_hashes_are_there_once(path: Path) -> None:
    with pytest.raises(ConfigurationError, match="two keys are called 'a'"):
        read_keys(write(path, entry("a"), {**entry("b"), "name": "a"}))
    with pytest.raises(ConfigurationError, match="have the hash of 'b'"):
        read_keys(write(path, entry("a"), {**entry("a"), "name": "b"}))


def test_expired_keys_are_told_and_a_file_of_them_alone_is_refused(
    path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    with pytest.raises(ConfigurationError, match=r"All keys of .* have expired"):
        KeyFile(write(path, entry("a", expires="2020-01-01")))
    KeyFile(write(path, entry("a", expires="2020-01-01"), entry("b")))
    assert caplog.messages == [f"{path}: the key a has expired."]


def test_a_file_that_others_can_read_is_told(path: Path, caplog: pytest.LogCaptureFixture) -> None:
    write(path, entry("a"))
    for mode, told in ((0o600, 0), (0o640, 0), (0o644, 1), (0o660, 1)):
        path.chmod(mode)
        caplog.clear()
        KeyFile(path)
        assert len(caplog.messages) == told, oct(mode)


def test_a_changed_file_is_read_again_and_keeps_what_was_used(path: Path) -> None:
    keys = KeyFile(write(path, entry("a", requests_per_minute=5), entry("b")))
    keys.accounts["a"].begin()
    write(path, entry("a", requests_per_minute=3), entry("longer-name"))

    async def main() -> list[str | None]:
        await keys.refresh()
        return await names(keys, "a-key", "b-key", "longer-name-key")

    assert asyncio.run(main()) == ["a", None, "longer-name"]
    left = keys.accounts["a"].allowances().requests
    assert left is not None
    assert (left.limit, left.remaining) == (3, 2)


def test_a_broken_file_keeps_the_keys_and_is_told_once(
    path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO)
    keys = KeyFile(write(path, entry("a")))

    async def main() -> None:
        broken(path)
        for _ in range(3):
            await keys.refresh()
        assert await names(keys, "a-key") == ["a"]
        removed(path)
        for _ in range(3):
            await keys.refresh()
        assert await names(keys, "a-key") == ["a"]
        write(path, entry("b"))
        await keys.refresh()
        assert await names(keys, "a-key", "b-key") == [None, "b"]

    asyncio.run(main())
    assert [record.levelname for record in caplog.records] == ["ERROR", "ERROR", "INFO"]
    assert "stay in force" in caplog.messages[0]


def test_chosen_words_are_compared_once_each(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    keys = KeyFile(write(path, entry("a"), {"name": "slow", "hash": QUICK}))
    compared: list[bytes] = []
    first_match = files._first_match

    def counted(slow: Any, key: bytes) -> Known | None:
        compared.append(key)
        return first_match(slow, key)

    monkeypatch.setattr(files, "_first_match", counted)
    sent = ("chosen words", "wrong", "a-key", "chosen words", "wrong")
    assert asyncio.run(names(keys, *sent)) == ["slow", None, "a", "slow", None]
    assert compared == [b"chosen words", b"wrong"]


def test_only_so_many_unknown_keys_wait_to_be_compared(
    path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    keys = KeyFile(write(path, entry("a"), {"name": "slow", "hash": QUICK}))
    monkeypatch.setattr(files, "_first_match", lambda slow, key: None)

    async def main() -> list[Any]:
        guesses = [keys.find(b"guess %d" % at) for at in range(20)]
        return await asyncio.gather(*guesses, return_exceptions=True)

    found = asyncio.run(main())
    assert found[:8] == [None] * 8
    assert all(isinstance(error, Overloaded) for error in found[8:])
