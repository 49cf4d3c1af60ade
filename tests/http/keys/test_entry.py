"""One entry of a file of keys."""

from __future__ import annotations

import re
from datetime import UTC, date, datetime, timedelta
from typing import Any

import pytest

from openllm.errors import ConfigurationError
from openllm.http.keys.entry import Scrypt, new_key, read_entry, scrypt_of, sha256_of

HASH = f"sha256:{sha256_of(b'secret')}"


def read(**fields: Any) -> Any:
    return read_entry({"name": "a", "hash": HASH, **fields}, "entry 1")


def test_an_entry_says_everything_of_a_key() -> None:
    entry = read(
        models=["demo", "llama-*"],
        requests_per_minute=60,
        tokens_per_minute=1000,
        max_requests=4,
        expires=date(2027, 1, 31),
    )
    assert (entry.name, entry.hash, entry.models) == ("a", HASH[7:], ("demo", "llama-*"))
    assert (entry.limits.requests_per_minute, entry.limits.max_requests) == (60, 4)
    assert entry.expires == datetime(2027, 2, 1, tzinfo=UTC)


@pytest.mark.parametrize(
    ("said", "meant"),
    [
        ("2027-01-31", datetime(2027, 2, 1, tzinfo=UTC)),
        ("2027-01-31T12:00:00", datetime(2027, 1, 31, 12, tzinfo=UTC)),
        (datetime(2027, 1, 31, 12), datetime(2027, 1, 31, 12, tzinfo=UTC)),
        (None, None),
    ],
)
def test_a_day_is_valid_to_its_end(said: object, meant: datetime | None) -> None:
    entry = read(expires=said)
    assert entry.expires == meant
    if meant is not None:
        assert entry.expired(meant)
        assert not entry.expired(meant - timedelta(seconds=1))


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"name": None}, "needs a name"),
        ({"name": "a\nb"}, "needs a name"),
        ({"name": "admin"}, "needs a name"),
        ({"hash": "secret"}, "hash must be"),
        ({"hash": "sha256:abc"}, "hash must be"),
        ({"hash": None}, "hash must be"),
        ({"hash": "scrypt:65536:8:64:c2FsdA==:AAAAAAAAAAAAAAAAAAAAAAAA"}, "hash must be"),
        ({"hash": "scrypt:16777216:8:1:c2FsdA==:AAAAAAAAAAAAAAAAAAAAAAAA"}, "hash must be"),
        ({"models": "demo"}, "models must be"),
        ({"models": []}, "models must be"),
        ({"max_requests": 0}, "max_requests must be"),
        ({"tokens_per_minute": 1.5}, "tokens_per_minute must be"),
        ({"requests_per_minute": True}, "requests_per_minute must be"),
        ({"expires": "soon"}, "expires must be"),
        ({"request_per_minute": 3}, "Did you mean requests_per_minute"),
        ({"key": "secret"}, "has no 'key'"),
    ],
)
def test_a_wrong_entry_is_named_and_tells_no_secret(fields: dict[str, Any], message: str) -> None:
    with pytest.raises(ConfigurationError, match=message) as refused:
        read(**fields)
    assert "entry 1" in str(refused.value)
    assert "secret" not in str(refused.value)
    assert "\n" not in str(refused.value)


def test_an_entry_must_be_a_mapping() -> None:
    with pytest.raises(ConfigurationError, match="entry 2 is no mapping"):
        read_entry("sk-secret", "entry 2")


def test_chosen_words_have_a_slow_hash_of_their_own() -> None:
    first, second = scrypt_of("correct horse"), scrypt_of("correct horse")
    assert first != second
    hashed = read(hash=first).hash
    assert isinstance(hashed, Scrypt)
    assert hashed.matches(b"correct horse")
    assert not hashed.matches(b"correct house")


def test_fresh_keys_cannot_be_guessed() -> None:
    found = {new_key() for _ in range(50)}
    assert len(found) == 50
    assert all(re.fullmatch(r"sk-[A-Za-z0-9_-]{43}", key) for key in found)
