"""Where the Hub keeps a file's bytes today: asked for once, again when the address has expired, and
the token shown to the Hub alone.
"""

from __future__ import annotations

import threading
from collections.abc import Generator
from urllib.parse import urlsplit

from openllm.weights.fetching.faults import NotTheFile
from openllm.weights.fetching.parts import NoRanges, Source

_EXPIRED = (401, 403, 410)  # what a signed address answers when its time is over


class Addresses:
    """The addresses behind the Hub's own, by those; for several threads."""

    def __init__(self, token: str | bool | None) -> None:
        self._token = token
        self._found: dict[str, str] = {}
        self._lock = threading.Lock()

    def know(self, url: str, address: str) -> None:
        """The file that the Hub calls `url` is at `address`."""
        self._found[url] = address

    def read(self, source: Source, first: int, last: int) -> Generator[bytes]:
        """The bytes `first` to `last` of a file. Errors: NoRanges, and the Hub client's."""
        from huggingface_hub import constants
        from huggingface_hub.utils import build_hf_headers, get_session, hf_raise_for_status

        address = self._address(source.url)
        headers = build_hf_headers(token=self._token)
        if urlsplit(address)[:2] != urlsplit(source.url)[:2]:
            headers.pop("authorization", None)
        headers |= {"Range": f"bytes={first}-{last}", "Accept-Encoding": "identity"}
        seconds = constants.HF_HUB_DOWNLOAD_TIMEOUT
        with get_session().stream("GET", address, headers=headers, timeout=seconds) as answer:
            if answer.status_code in _EXPIRED and address != source.url:
                self._found.pop(source.url, None)
                return  # nothing came: whoever reads tries again
            hf_raise_for_status(answer)
            if answer.headers.get("Content-Type", "").startswith("text/html"):
                raise NotTheFile("a page came")
            said = answer.headers.get("Content-Range", "")
            if answer.status_code != 206 or not said.startswith(f"bytes {first}-{last}/"):
                raise NoRanges
            yield from answer.iter_bytes()

    def _address(self, url: str) -> str:
        from huggingface_hub import get_hf_file_metadata

        with self._lock:
            if url not in self._found:
                self._found[url] = get_hf_file_metadata(url, token=self._token).location
            return self._found[url]
