"""A BentoCloud of one process: the REST routes that BentoML's client speaks, shapes by its schemas,
and its bad days.

with FakeCloud() as cloud:
    cloud.connect(monkeypatch)       # this process; for a child process pass `cloud.environ()`
    cloud.refuse("POST", "/api/v2/deployments", 402, "Out of quota.")

It believes nothing: bodies are read with the client's own schemas, parts of an upload must be there
with the ETag that was given out, an archive must be a tar, and no storage request may carry the
token.
"""

from __future__ import annotations

import asyncio
import hashlib
import io
import json
import re
import socket
import tarfile
import threading
import time
from collections.abc import Iterator, Mapping
from typing import Any, Self

import attrs
import pytest
import uvicorn
from bentoml._internal.cloud.schemas import schemasv1, schemasv2
from bentoml._internal.cloud.schemas.utils import schema_from_object
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, PlainTextResponse, Response
from starlette.routing import Route, WebSocketRoute
from starlette.websockets import WebSocket

TOKEN = "cloud-token-9f8e7d"
CLUSTER = "google-cloud-us-central-1"
WHEN = "2026-01-02 03:04:05.000000"
USER = {"name": "ada", "email": "ada@example.org", "first_name": "Ada", "last_name": "L"}
SCHEMAS = {"bento": schemasv1.CreateBentoSchema, "model": schemasv1.CreateModelSchema}


@attrs.define
class Archive:
    """A Bento or model as the cloud has it; `data` is its whole tar, once that is there."""

    kind: str
    name: str
    version: str
    manifest: dict[str, Any]
    status: str = "pending"
    reason: str = ""
    uploads: dict[str, dict[int, bytes]] = attrs.field(factory=dict)  # parts by upload and number
    data: bytes = b""

    def files(self) -> dict[str, bytes]:
        """What is in the tar, by name."""
        with tarfile.open(fileobj=io.BytesIO(self.data)) as tar:
            members = {
                member.name.removeprefix("./"): tar.extractfile(member)
                for member in tar
                if member.isfile()
            }
            return {name: reader.read() for name, reader in members.items() if reader is not None}


@attrs.define
class Live:
    """A deployment: what it was asked to be (the body as it came), and the states it still goes
    through.
    """

    name: str
    config: dict[str, Any]
    states: list[str]
    cluster: str | None
    revisions: int = 1


@attrs.frozen
class Rule:
    """One kind of bad day; `times` None: it does not end."""

    method: str
    path: re.Pattern[str]
    status: int
    body: str | dict[str, Any]
    delay: float
    left: list[int]


def instance_type(
    name: str, price: str, memory: str, gpus: int = 0, gpu: tuple[str, str] | None = None
) -> Any:
    """As /api/v1/instance_types lists it; `gpu`: type and memory of each."""
    wants = {"cpu": "4", "memory": memory, "gpu": str(gpus) if gpus else None}
    return {
        **resource("resource_instance", name),
        "display_name": name,
        "description": "",
        "config": {
            "group": "gpu" if gpus else "cpu",
            "resources": {"requests": wants, "limits": wants},
            "price": price,
            "node_selectors": {},
            "gpu_config": {"type": gpu[0], "memory": gpu[1]} if gpu else None,
        },
    }


def resource(kind: str, name: str) -> dict[str, Any]:
    return {
        "uid": f"{kind}-{name}",
        "created_at": WHEN,
        "updated_at": WHEN,
        "deleted_at": None,
        "name": name,
        "resource_type": kind,
        "labels": [],
    }


OFFER = (
    instance_type("gpu.a100.1", "4.20", "80Gi", 1, ("nvidia-a100-80gb", "80Gi")),
    instance_type("cpu.2", "0.09", "4Gi"),
    instance_type("cpu.1", "0.04", "1Gi"),
    instance_type("gpu.l4.1", "0.90", "16Gi", 1, ("nvidia-l4", "24Gi")),
    instance_type("gpu.l4.4", "3.60", "64Gi", 4, ("nvidia-l4", "24Gi")),
)


class FakeCloud:
    """Serves on a free port of 127.0.0.1 while the context is open. `requests` is the log: (method,
    path).
    """

    def __init__(self) -> None:
        self.token = TOKEN
        self.strategy = "multipart"  # or "presigned", "proxy"
        self.rollout = ["image-building", "deploying", "running"]  # states of every new revision
        self.pods: list[tuple[str, str]] = []  # name and reason of pods that are not ready
        self.mute_pods = False  # the WebSocket is opened, and nothing comes
        self.offer = list(OFFER)
        self.secrets: set[str] = set()
        self.archives: dict[tuple[str, str, str], Archive] = {}
        self.repositories: set[tuple[str, str]] = set()
        self.deployments: dict[str, Live] = {}
        self.requests: list[tuple[str, str]] = []
        self.breaches: list[str] = []  # what no client may do
        self._rules: list[Rule] = []
        self._socket = socket.create_server(("127.0.0.1", 0))
        methods = ["GET", "POST", "PUT", "PATCH", "DELETE"]
        routes = [WebSocketRoute("/ws/v2/deployments/{name}/pods", self._tell_pods)]
        app = Starlette(routes=[*routes, Route("/{path:path}", self._serve, methods=methods)])
        config = uvicorn.Config(
            app, log_level="critical", ws="wsproto", timeout_graceful_shutdown=1, lifespan="off"
        )
        self._server = uvicorn.Server(config)
        self._thread = threading.Thread(
            target=self._server.run, args=([self._socket],), daemon=True
        )

    def __enter__(self) -> Self:
        self._thread.start()
        while not self._server.started:
            time.sleep(0.005)
        return self

    def __exit__(self, *_: object) -> None:
        self._server.should_exit = self._server.force_exit = True
        self._thread.join(10)
        self._socket.close()

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self._socket.getsockname()[1]}"

    def environ(self) -> dict[str, str]:
        return {"BENTO_CLOUD_API_KEY": self.token, "BENTO_CLOUD_API_ENDPOINT": self.url}

    def connect(self, monkeypatch: Any) -> None:
        for name, value in self.environ().items():
            monkeypatch.setenv(name, value)

    def refuse(
        self,
        method: str,
        path: str,
        status: int,
        body: str | dict[str, Any],
        times: int = 1000,
        delay: float = 0,
    ) -> None:
        """Answer so from now on; `path` is a regular expression for all of it. A status of 0 only
        waits.
        """
        self._rules.append(Rule(method, re.compile(path), status, body, delay, [times]))

    def recover(self) -> None:
        """All bad days are over."""
        self._rules.clear()

    def archive(self, kind: str, tag: str) -> Archive:
        name, _, version = tag.partition(":")
        return self.archives[kind, name, version]

    def asked(self, method: str, path: str) -> int:
        """How many requests there were to a path (a regular expression for all of it)."""
        return sum(
            one == method and re.fullmatch(path, where) is not None for one, where in self.requests
        )

    async def _serve(self, request: Request) -> Response:
        path = request.url.path
        self.requests.append((request.method, path))
        for rule in self._rules:
            if rule.left[0] and rule.method == request.method and rule.path.fullmatch(path):
                rule.left[0] -= 1
                await asyncio.sleep(rule.delay)
                if rule.status:
                    plain = isinstance(rule.body, str)
                    return (
                        PlainTextResponse(rule.body, rule.status)
                        if plain
                        else _error(rule.status, rule.body)
                    )
        token = request.headers.get("X-YATAI-API-TOKEN")
        parts = path.strip("/").split("/")
        if parts[0] == "storage":
            self.breaches += ["the token was sent to the storage"] if token else []
            return await self._store(parts[1:], request)
        if token != self.token:
            return _error(401, {"error": "Unauthorized: api token is invalid"})
        return await self._route(parts, request)

    async def _route(self, parts: list[str], request: Request) -> Response:
        match [request.method, *parts]:
            case ["GET", "api", "v1", "auth", "current"]:
                return JSONResponse(USER)
            case ["GET", "api", "v1", "instance_types"]:
                return JSONResponse(self.offer)
            case ["GET", "api", "v1", "org_secrets", name] if name in self.secrets:
                return JSONResponse(_secret(name))
            case [
                _,
                "api",
                "v1",
                ("bento_repositories" | "model_repositories") as repositories,
                *rest,
            ]:
                return await self._repository(
                    repositories.removesuffix("_repositories"), rest, request
                )
            case [_, "api", "v2", "deployments", *rest]:
                return await self._deployment(rest, request)
        return _error(404, {"error": f"record not found: {request.url.path}"})

    async def _repository(self, kind: str, rest: list[str], request: Request) -> Response:
        body = (
            await request.json()
            if request.method in ("POST", "PATCH") and await request.body()
            else None
        )
        match [request.method, *rest]:
            case ["POST"]:
                asked = schema_from_object(body, schemasv1.CreateBentoRepositorySchema)
                self.repositories.add((kind, asked.name))
                return JSONResponse(_repository(kind, asked.name))
            case ["GET", name] if (kind, name) in self.repositories:
                return JSONResponse(_repository(kind, name))
            case ["POST", name, _]:
                schema_from_object(body, SCHEMAS[kind])
                made = Archive(kind, name, body["version"], body["manifest"])
                self.archives[kind, name, made.version] = made
                return self._describe(made)
            case [_, name, _, version, *action] if (kind, name, version) in self.archives:
                found = self.archives[kind, name, version]
                if request.method == "PATCH" and not action:
                    found.manifest = body["manifest"]
                return (
                    await self._act(found, action[0], body, request)
                    if action
                    else self._describe(found)
                )
        return _error(404, {"error": "record not found"})

    async def _act(self, archive: Archive, action: str, body: Any, request: Request) -> Response:
        """One step of an upload."""
        extra: dict[str, Any] = {}
        place = f"{self.url}/storage/{archive.kind}/{archive.name}/{archive.version}"
        match action:
            case "start_upload":
                archive.status, archive.data = "uploading", b""
            case "presign_upload_url":
                extra = {
                    "presigned_upload_url": f"{place}/whole/1"
                    if self.strategy == "presigned"
                    else ""
                }
            case "start_multipart_upload":
                extra = {"upload_id": f"upload{len(archive.uploads) + 1}"}
                archive.uploads[extra["upload_id"]] = {}
            case "presign_multipart_upload_url":
                asked = schema_from_object(body, schemasv1.PreSignMultipartUploadUrlSchema)
                extra = {"presigned_upload_url": f"{place}/{asked.upload_id}/{asked.part_number}"}
            case "complete_multipart_upload":
                if (wrong := _join(archive, body)) is not None:
                    return _error(400, {"error": wrong})
            case "finish_upload":
                asked = schema_from_object(body, schemasv1.FinishUploadSchema)
                if asked.status == "success" and not _is_tar(archive.data):
                    return _error(400, {"error": "the archive is not complete"})
                archive.status, archive.reason = asked.status, asked.reason
            case "upload":
                archive.data = await request.body()
                archive.status = "success" if _is_tar(archive.data) else "failed"
        return self._describe(archive, **extra)

    async def _store(self, parts: list[str], request: Request) -> Response:
        """What is behind the presigned addresses."""
        kind, name, version, upload, number = parts
        archive, data = self.archives[kind, name, version], await request.body()
        if int(request.headers["Content-Length"]) != len(data):
            self.breaches.append("the length of a part is wrong")
        if upload == "whole":
            archive.data = data
        else:
            archive.uploads[upload][int(number)] = data
        return Response(headers={"ETag": _etag(data)})

    async def _deployment(self, rest: list[str], request: Request) -> Response:
        name = rest[0] if rest else None
        cluster = request.query_params.get("cluster") or None
        if request.method == "GET" and name in self.deployments:
            live = self.deployments[name]
            answer = self._show(live)
            live.states = live.states[1:] or live.states
            return JSONResponse(answer)
        if request.method == "POST" and name is None:
            body = await request.json()
            asked = schema_from_object(body, schemasv2.CreateDeploymentSchema)
            if asked.name in self.deployments:
                return _error(409, {"error": f"deployment {asked.name} already exists"})
            live = self.deployments[asked.name] = Live(
                asked.name, body, list(self.rollout), cluster
            )
        elif request.method == "PUT" and name in self.deployments:
            body = await request.json()
            asked = schema_from_object(body, schemasv2.UpdateDeploymentSchema)
            live = self.deployments[name]
            live.config, live.states, live.revisions = body, list(self.rollout), live.revisions + 1
        else:
            return _error(404, {"error": "record not found"})
        repository, _, version = asked.bento.partition(":")
        if self.archives[("bento", repository, version)].status != "success":
            return _error(400, {"error": f"bento {asked.bento} is not uploaded"})
        return JSONResponse(self._show(live))

    def _describe(self, archive: Archive, **extra: Any) -> Response:
        return JSONResponse(
            {
                **resource(archive.kind, archive.version),
                "description": "",
                "version": archive.version,
                "image_build_status": "pending",
                "upload_status": archive.status,
                "upload_finished_reason": archive.reason,
                "presigned_upload_url": "",
                "presigned_download_url": "",
                "manifest": archive.manifest,
                "transmission_strategy": {"multipart": "presigned_url", "proxy": "proxy"}.get(
                    self.strategy
                ),
                "upload_id": None,
                "build_at": WHEN,
                **extra,
            }
        )

    def _show(self, live: Live) -> dict[str, Any]:
        repository, _, version = live.config["bento"].partition(":")
        found = self.archives[("bento", repository, version)]
        described = {
            **_plain(self._describe(found)),
            "repository": _repository("bento", repository),
        }
        target = {
            **resource("deployment", "main"),
            "creator": USER,
            "config": live.config,
            "bento": described,
        }
        revision = {
            **resource("deployment_revision", "1"),
            "creator": USER,
            "status": "active",
            "targets": [target],
        }
        return {
            **resource("deployment", live.name),
            "status": live.states[0],
            "kube_namespace": "models",
            "creator": USER,
            "cluster": _cluster(),
            "latest_revision": revision,
            "manifest": {"dev": False},
            "urls": [f"https://{live.name}.example.org"] if live.states[0] == "running" else [],
        }

    async def _tell_pods(self, websocket: WebSocket) -> None:
        await websocket.accept()
        if self.mute_pods:
            await asyncio.sleep(60)
        await websocket.send_json(
            {"type": "success", "message": "", "payload": [_pod(*pod) for pod in self.pods]}
        )
        await websocket.close()


@pytest.fixture
def cloud(monkeypatch: pytest.MonkeyPatch) -> Iterator[FakeCloud]:
    """One for a test, with this process's account on it."""
    with FakeCloud() as running:
        running.connect(monkeypatch)
        yield running
        assert running.breaches == []


def _join(archive: Archive, body: Mapping[str, Any]) -> str | None:
    """Make the archive of its parts; what is wrong with them, if anything."""
    asked = schema_from_object(body, schemasv1.CompleteMultipartUploadSchema)
    there = archive.uploads[asked.upload_id]
    named = {part.part_number: part.etag for part in asked.parts}
    if sorted(named) != list(range(1, len(named) + 1)) or set(named) != set(there) or not named:
        return f"parts {sorted(named)} are not all of {sorted(there)}"
    if any(named[number] != _etag(data) for number, data in there.items()):
        return "an ETag is wrong"
    archive.data = b"".join(there[number] for number in sorted(there))
    return None


def _etag(data: bytes) -> str:
    return f'"{hashlib.md5(data).hexdigest()}"'


def _is_tar(data: bytes) -> bool:
    """Whole: a tar ends with two blocks of zeros."""
    return len(data) >= 1024 and data.endswith(bytes(1024)) and tarfile.is_tarfile(io.BytesIO(data))


def _error(status: int, body: Any) -> Response:
    return JSONResponse(body, status)


def _plain(response: Response) -> dict[str, Any]:
    found: dict[str, Any] = json.loads(bytes(response.body))
    return found


def _repository(kind: str, name: str) -> dict[str, Any]:
    return {**resource(f"{kind}_repository", name), "description": "", f"latest_{kind}": None}


def _cluster() -> dict[str, Any]:
    more = {"description": "", "organization_name": "acme", "creator": USER, "is_first": True}
    return {**resource("cluster", CLUSTER), **more}


def _secret(name: str) -> dict[str, Any]:
    content = {
        "type": "env",
        "items": [{"key": "HF_TOKEN", "sub_path": None, "value": None}],
        "path": None,
    }
    return {
        **resource("secret", name),
        "description": "",
        "creator": USER,
        "cluster": _cluster(),
        "content": {**content, "stage": None},
    }


def _pod(name: str, reason: str) -> dict[str, Any]:
    return {
        "name": name,
        "namespace": "models",
        "labels": {},
        "pod_status": {"status": "Failed", "reason": reason},
        "status": {"phase": "Pending", "ready": False},
        "runner_name": "",
    }
