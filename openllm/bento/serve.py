"""`openllm start`: renders the service.py a Bento would have and runs it, in this process and on one port."""

from __future__ import annotations

import errno
import logging
import signal
import socket
import sys
from collections.abc import Iterator, Sequence
from contextlib import closing, contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from openllm.backends.select import select_backend
from openllm.bento.document import read_document, write_document
from openllm.bento.packing import check_sources
from openllm.bento.render import DOCUMENT, render_service, tag_name
from openllm.bento.service import Deployment, LLMService
from openllm.errors import ConfigurationError, ServeError
from openllm.settings import Settings
from openllm.spec import LLMSpec

logger = logging.getLogger("openllm")

BACKLOG = 2048
KEEP_ALIVE_SECONDS = 75  # longer than a load balancer keeps an idle connection


def serve(specs: LLMSpec | Sequence[LLMSpec], settings: Settings) -> None:
    """Serve `specs` until SIGTERM or Ctrl+C; returns once everything is stopped.

    Bad input is found before the server begins: a port in use (ServeError), weights that are missing or unsafe
    (WeightsError), a backend that cannot run (ConfigurationError, MissingDependency). An engine that fails later ends
    it with ServeError.
    """
    if settings.api_workers != 1:
        raise ConfigurationError("api_workers must be 1 here.", hint="Start several servers behind a balancer.")
    wanted = (specs,) if isinstance(specs, LLMSpec) else tuple(specs)
    _configure_logging(settings.log_level)
    with closing(_bind(settings.host, settings.port)) as listener, TemporaryDirectory(prefix="openllm-") as folder:
        for spec in wanted:
            check_sources(spec)
            select_backend(spec)
        _run(_load(Path(folder), wanted, settings), listener)


def bento_specs(tag: str) -> tuple[dict[str, Any], ...]:
    """The specs baked into a Bento of the store, one layer for `resolve_spec` each. Errors: ServeError."""
    import bentoml
    from bentoml.exceptions import BentoMLException

    try:
        project = Path(bentoml.bentos.get(tag).path) / "src"
    except (BentoMLException, ValueError) as error:
        raise ServeError(f"There is no Bento {tag!r}.", hint="`bentoml list` shows what is there.") from error
    document = next((path for name in (DOCUMENT, "bentos/*.yaml") for path in sorted(project.glob(name))), None)
    if document is None:
        raise ServeError(f"The Bento {tag} was not built by openllm.", hint=f"Run: bentoml serve {tag}")
    return read_document(document)


def _bind(host: str, port: int) -> socket.socket:
    """A listening socket; port 0 takes any free one. Errors: ServeError."""
    try:
        family, kind, _, _, address = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0]
    except socket.gaierror:
        raise ServeError(f"There is no address {host!r}.", hint="Give --host an address of this machine.") from None
    listener = socket.socket(family, kind)
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        listener.bind(address)
        listener.listen(BACKLOG)
    except OSError as error:
        listener.close()
        raise _unusable(error, host, port) from None
    return listener


def _unusable(error: OSError, host: str, port: int) -> ServeError:
    if error.errno == errno.EADDRINUSE:
        return ServeError(f"Port {port} on {host} is in use.", hint=f"Stop what uses it, or add --port {port + 1}.")
    if error.errno == errno.EACCES:
        return ServeError(f"Port {port} needs more rights.", hint="Take one from 1024 up.")
    return ServeError(f"Cannot listen on {host}:{port}: {error.strerror}.", hint="Try --host 127.0.0.1.")


def _load(folder: Path, specs: tuple[LLMSpec, ...], settings: Settings) -> LLMService:
    """The service of a service.py rendered into `folder`, as BentoML loads any; it serves exactly `specs`."""
    from bentoml import load

    (folder / "service.py").write_text(render_service(tag_name(specs[0].served_name)), encoding="utf-8")
    (folder / DOCUMENT).write_text(write_document(specs), encoding="utf-8")
    sys.modules.pop("service", None)
    service: LLMService = load("service:svc", working_dir=str(folder))
    service.deployment = Deployment(specs, settings)
    return service


def _run(service: LLMService, listener: socket.socket) -> None:
    """What BentoML's worker does with the same service, without its supervisor process."""
    import uvicorn

    app = service.to_asgi()
    config = uvicorn.Config(
        app,
        log_config=None,
        access_log=False,
        server_header=False,
        timeout_keep_alive=KEEP_ALIVE_SECONDS,
        lifespan="on",
    )
    host, port = listener.getsockname()[:2]
    logger.info("Listening on http://%s:%d", f"[{host}]" if ":" in host else host, port)
    with _signals_answered():
        uvicorn.Server(config).run(sockets=[listener])
    if service.runtime.failure:
        raise ServeError(service.runtime.failure)


@contextmanager
def _signals_answered() -> Iterator[None]:
    """uvicorn raises the signals it was stopped by once more after a clean stop; here they have done their work."""
    before = {number: signal.signal(number, _ignore) for number in (signal.SIGTERM, signal.SIGINT)}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def _ignore(number: int, frame: Any) -> None:
    """The handler of a signal that needs no more answer."""


def _configure_logging(level: str) -> None:
    """Short lines on stderr: ours from `level` up, the libraries' from warnings up."""
    handler = logging.StreamHandler()
    handler.setFormatter(logging.Formatter("%(asctime)s %(levelname).1s %(message)s", "%H:%M:%S"))
    logging.getLogger().handlers = [handler]
    logging.getLogger("openllm").setLevel(level.upper())
    import bentoml._internal.log  # noqa: F401  sets up its own handlers when it is imported

    logging.getLogger("bentoml").handlers = []
    for name in ("bentoml", "uvicorn", "uvicorn.error"):
        logging.getLogger(name).setLevel(logging.WARNING)
        logging.getLogger(name).propagate = True
