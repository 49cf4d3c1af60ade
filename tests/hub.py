"""A Hugging Face Hub of one process: the routes that the Hub client needs to fetch a repository,
and its bad days.

with FakeHub() as hub:
    hub.add("org/model", directory)
    hub.connect(monkeypatch, cache)  # this process; for a child process pass `hub.environ(cache)`
"""

from __future__ import annotations

import hashlib
import json
import re
import socket
import threading
import time
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any, Self
from urllib.parse import unquote, urlsplit

MAIN = "main"


@dataclass
class Repository:
    """Commits and branches; `refuses` is an error the Hub answers with ("GatedRepo",
    "RepoNotFound").
    """

    commits: dict[str, dict[str, bytes]] = field(default_factory=dict)
    branches: dict[str, str] = field(default_factory=dict)
    refuses: str | None = None
    token: str | None = None  # private: only with this one


Answer = tuple[int, dict[str, str], bytes]
PACE = 64 * 1024  # bytes written at once where there is a rate


class FakeHub:
    """Serves on a free port of 127.0.0.1 while the context is open. `requests` is the log: (method,
    path).

    Files of `large` bytes and more are what the Hub keeps in LFS: their ETag is their SHA-256, and
    their bytes come from another host, in ranges if `ranges`.
    """

    def __init__(self) -> None:
        self.repositories: dict[str, Repository] = {}
        self.requests: list[tuple[str, str]] = []
        self.stumbles = 0  # answers of 503 still to give
        self.large = 10**12
        self.ranges = True
        self.rate = 0.0  # bytes per second of one connection; 0: as fast as it goes
        self.cuts = 0  # bodies still to be cut off in the middle,
        self.cut_where = ""  # where the path has this
        self.fault: Callable[[str, str], Answer | None] = lambda method, path: None
        self.sent: Counter[str] = Counter()  # bytes of bodies, by path
        self.asked = 0  # bytes of bodies that were asked for
        self.shown: list[tuple[str, str]] = []  # host and path of requests with a token
        self._server = ThreadingHTTPServer(("127.0.0.1", 0), self._handler())
        self._kept = socket.socket()  # holds the port once the Hub is gone
        self._kept.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        self._thread = threading.Thread(
            target=self._server.serve_forever, args=(0.05,), daemon=True
        )

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()
        self._kept.close()

    def stop(self) -> None:
        """The Hub is gone: connections are refused from now on, and nobody else gets its port."""
        if self._thread.is_alive():
            self._server.shutdown()
            self._thread.join()
            self._server.server_close()
            self._kept.bind(self._server.server_address)

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self._server.server_port}"

    def add(self, name: str, source: Path | dict[str, bytes], branch: str = MAIN) -> str:
        """A new commit on `branch`, of a directory's files or of these; the commit's hash."""
        if isinstance(source, Path):
            files = {
                str(path.relative_to(source)): path.read_bytes()
                for path in source.rglob("*")
                if path.is_file()
            }
        else:
            files = source
        text = json.dumps(
            {path: hashlib.sha1(data).hexdigest() for path, data in sorted(files.items())}
        )
        commit = hashlib.sha1(f"{name}{text}".encode()).hexdigest()
        repository = self.repositories.setdefault(name, Repository())
        repository.commits[commit] = files
        repository.branches[branch] = commit
        return commit

    def environ(self, cache: Path) -> dict[str, str]:
        """The variables that point a child process here."""
        return {"HF_ENDPOINT": self.url, "HF_HOME": str(cache), "HF_HUB_CACHE": str(cache / "hub")}

    def connect(self, monkeypatch: Any, cache: Path, *, offline: bool = False) -> None:
        """Point the Hub client of this process here; it has read its variables already."""
        from huggingface_hub import constants

        monkeypatch.setattr(constants, "ENDPOINT", self.url)
        template = self.url + "/{repo_id}/resolve/{revision}/{filename}"
        monkeypatch.setattr(constants, "HUGGINGFACE_CO_URL_TEMPLATE", template)
        monkeypatch.setattr(constants, "HF_HUB_CACHE", str(cache / "hub"))
        monkeypatch.setattr(constants, "HF_TOKEN_PATH", str(cache / "token"))
        monkeypatch.setattr(constants, "HF_HUB_OFFLINE", offline)
        monkeypatch.delenv("HF_TOKEN", raising=False)

    def answer(self, path: str, authorization: str | None) -> tuple[int, dict[str, str], bytes]:
        """Status, headers and body for one request."""
        if self.stumbles > 0:
            self.stumbles -= 1
            return 503, {}, b"busy"
        if path.startswith("/cdn/"):
            return self._blob(path.removeprefix("/cdn/"))
        api, _, rest = path.removeprefix("/").partition("api/models/")
        name, _, action = ("", "", "") if rest else api.partition("/resolve/")
        if rest:
            name, action = _split(rest, ("/revision/", "/tree/"))
        repository = self.repositories.get(name)
        if repository is None or (
            repository.token and authorization != f"Bearer {repository.token}"
        ):
            return 401, {"X-Error-Code": "RepoNotFound"}, b'{"error": "Repository not found"}'
        if repository.refuses:
            return 403, {"X-Error-Code": repository.refuses}, b'{"error": "refused"}'
        if rest:
            return _describe(repository, name, action, self.large)
        status, headers, body = _resolve(repository, name, action)
        if status == 200 and len(body) >= self.large:
            digest = hashlib.sha256(body).hexdigest()
            there = self.url.replace("127.0.0.1", "localhost") + f"/cdn/{digest}"
            linked = {"X-Linked-ETag": f'"{digest}"', "X-Linked-Size": str(len(body))}
            return 302, {**headers, **linked, "Location": there}, b""
        return status, headers, body

    def _blob(self, digest: str) -> Answer:
        every = (
            data
            for repository in self.repositories.values()
            for files in repository.commits.values()
            for data in files.values()
        )
        found = next((data for data in every if hashlib.sha256(data).hexdigest() == digest), None)
        return (404, {}, b"") if found is None else (200, {"ETag": f'"{digest}"'}, found)

    def _write(self, target: Any, path: str, body: bytes) -> bool:
        """Send a body; whether the connection is to end with it."""
        self.asked += len(body)
        cut = self.cuts > 0 and len(body) > 1 and self.cut_where in path
        if cut:
            self.cuts -= 1
            body = body[: len(body) // 2]
        for at in range(0, len(body), PACE):
            piece = body[at : at + PACE]
            try:
                target.write(piece)
            except OSError:  # whoever asked is gone
                return True
            self.sent[path] += len(piece)
            if self.rate:
                time.sleep(len(piece) / self.rate)
        return cut

    def _handler(hub) -> type[BaseHTTPRequestHandler]:  # noqa: N805 - `self` is the handler's
        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                path = unquote(urlsplit(self.path).path)
                hub.requests.append((self.command, path))
                host, token = self.headers.get("Host", ""), self.headers.get("Authorization")
                if token:
                    hub.shown.append((host, path))
                answer = hub.fault(self.command, path)
                status, headers, body = answer or hub.answer(path, token)
                if status == 200 and hub.ranges and (asked := self.headers.get("Range")):
                    status, headers, body = _part(asked, headers, body)
                self.send_response(status)
                for key, value in {"Content-Length": str(len(body)), **headers}.items():
                    self.send_header(key, value)
                self.end_headers()
                if self.command == "GET":
                    self.close_connection |= hub._write(self.wfile, path, body)

            do_HEAD = do_GET  # noqa: N815

            def log_message(self, *_: object) -> None:
                """Say nothing."""

        return Handler


def _split(rest: str, marks: tuple[str, ...]) -> tuple[str, str]:
    for mark in marks:
        name, found, revision = rest.partition(mark)
        if found:
            return name, f"{mark.strip('/')} {revision}"
    return rest, f"revision {MAIN}"


def _commit(repository: Repository, revision: str) -> str | None:
    revision = repository.branches.get(revision, revision)
    return revision if revision in repository.commits else None


_NO_REVISION = (404, {"X-Error-Code": "RevisionNotFound"}, b'{"error": "Invalid rev id"}')


def _part(asked: str, headers: dict[str, str], body: bytes) -> Answer:
    match = re.fullmatch(r"bytes=(\d+)-(\d*)", asked)
    if match is None:
        return 200, headers, body
    first, last = int(match[1]), int(match[2] or len(body) - 1)
    said = {"Content-Range": f"bytes {first}-{min(last, len(body) - 1)}/{len(body)}"}
    return 206, {**headers, **said}, body[first : last + 1]


def _describe(repository: Repository, name: str, action: str, large: int) -> Answer:
    kind, _, revision = action.partition(" ")
    commit = _commit(repository, revision)
    if commit is None:
        return _NO_REVISION
    files = repository.commits[commit]
    if kind == "tree":
        listing: Any = [
            {"type": "file", "path": path, "size": len(data), "oid": _oid(data)}
            | ({"lfs": _lfs(data)} if len(data) >= large else {})
            for path, data in files.items()
        ]
    else:
        listing = {
            "id": name,
            "modelId": name,
            "sha": commit,
            "siblings": [{"rfilename": path} for path in files],
        }
    return 200, {"Content-Type": "application/json"}, json.dumps(listing).encode()


def _oid(data: bytes) -> str:
    """What git calls a file of this content, as the Hub does."""
    return hashlib.sha1(b"blob %d\0" % len(data) + data).hexdigest()


def _lfs(data: bytes) -> dict[str, Any]:
    return {"oid": hashlib.sha256(data).hexdigest(), "size": len(data), "pointerSize": 134}


def _resolve(repository: Repository, name: str, action: str) -> Answer:
    revision, _, path = action.partition("/")
    commit = _commit(repository, revision)
    if commit is None:
        return _NO_REVISION
    data = repository.commits[commit].get(path)
    if data is None:
        return 404, {"X-Error-Code": "EntryNotFound"}, b"{}"
    return 200, {"ETag": f'"{_oid(data)}"', "X-Repo-Commit": commit}, data
