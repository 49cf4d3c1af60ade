"""The first bytes of a repository's files on the Hub, without the rest of them."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import attrs

from openllm.weights.fetching.faults import retried
from openllm.weights.hub import Token

_SECONDS = 20.0  # for an answer to begin, and between two pieces of it
_PIECE = 16 * 1024  # bytes read at once: what is read beyond what was asked for, at most


@attrs.frozen
class Head:
    """The first bytes of a file, how long all of it is (None: the server does not say), and the
    commit that it is of.
    """

    data: bytes
    size: int | None
    commit: str | None


@attrs.define
class Repository:
    """One revision of a repository, read in pieces. `fetched` counts the bytes of all bodies that
    were read, by whatever thread.
    """

    name: str
    revision: str | None = None
    token: Token = None
    fetched: int = 0
    _counting: threading.Lock = attrs.field(factory=threading.Lock, repr=False)

    def head(self, file: str, most: int) -> Head | None:
        """Up to the first `most` bytes of `file`; None where the repository has no such file.
        Errors: WeightsError, one for each thing that goes wrong.
        """
        from huggingface_hub.errors import RemoteEntryNotFoundError

        def ask() -> Head | None:
            try:
                with self._asked(file, most) as response:
                    return self._read(response, most)
            except RemoteEntryNotFoundError:
                return None

        return retried(ask, self.name, self.revision)

    @contextmanager
    def _asked(self, file: str, most: int) -> Iterator[Any]:
        """The Hub's answer, its body not read yet. A token is not shown to where it sends on."""
        from huggingface_hub import constants, hf_hub_url
        from huggingface_hub.errors import OfflineModeIsEnabled
        from huggingface_hub.utils import build_hf_headers, get_session, hf_raise_for_status

        if constants.HF_HUB_OFFLINE:
            raise OfflineModeIsEnabled("the Hub is not asked")
        headers = build_hf_headers(token=self.token)
        headers |= {"Range": f"bytes=0-{most - 1}", "Accept-Encoding": "identity"}
        url = hf_hub_url(self.name, file, revision=self.revision, endpoint=constants.ENDPOINT)
        with get_session().stream(
            "GET", url, headers=headers, follow_redirects=True, timeout=_SECONDS
        ) as response:
            if response.status_code >= 400:
                response.read()
            hf_raise_for_status(response)
            yield response

    def _read(self, response: Any, most: int) -> Head:
        """A server that knows no ranges sends everything: what is not wanted is not read."""
        data = b""
        for piece in response.iter_raw(_PIECE):
            data += piece
            if len(data) >= most:
                break
        with self._counting:
            self.fetched += len(data)
        return Head(data[:most], _whole_size(response), _commit(response))


def _whole_size(response: Any) -> int | None:
    """Of the file: from Content-Range (RFC 9110, section 14.4), else Content-Length."""
    _, slash, total = response.headers.get("Content-Range", "").partition("/")
    if slash:
        return int(total) if total.isdigit() else None
    length = response.headers.get("Content-Length", "")
    return int(length) if length.isdigit() and response.status_code == 200 else None


def _commit(response: Any) -> str | None:
    """The commit that the Hub, or a mirror of it, has named on the way."""
    for answer in (response, *reversed(response.history)):
        if commit := answer.headers.get("X-Repo-Commit"):
            return str(commit)
    return None
