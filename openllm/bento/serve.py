"""`openllm start`: renders the service.py a Bento would have and runs it on one port.

One model and one API worker need one process: this one. Else every engine and every API worker gets
its own, and this one watches them.
"""

from __future__ import annotations

import errno
import logging
import socket
from collections.abc import Sequence
from contextlib import closing
from pathlib import Path
from tempfile import TemporaryDirectory

from openllm.backends.select import select_backend
from openllm.bento.pack.packing import check_sources
from openllm.bento.pack.render import DOCUMENT
from openllm.bento.service.llm_service import Deployment
from openllm.bento.serving.hosting import (
    configure_logging,
    load_project,
    run_service,
    write_project,
)
from openllm.bento.serving.supervisor import Fleet, supervise
from openllm.config.settings import Settings
from openllm.config.spec import LLMSpec
from openllm.errors import ServeError, option

logger = logging.getLogger("openllm")

BACKLOG = 2048


def serve(specs: LLMSpec | Sequence[LLMSpec], settings: Settings) -> None:
    """Serve `specs` until SIGTERM or Ctrl+C; returns once everything is stopped.

    Bad input is found before the server begins: a port in use (ServeError), weights that are
    missing or unsafe (WeightsError), a backend that cannot run (ConfigurationError,
    MissingDependency). An engine that fails later ends it with ServeError.
    """
    wanted = (specs,) if isinstance(specs, LLMSpec) else tuple(specs)
    configure_logging(settings.log_level)
    with (
        closing(_bind(settings.host, settings.port)) as listener,
        TemporaryDirectory(prefix="openllm-") as folder,
    ):
        for spec in wanted:
            check_sources(spec)
            select_backend(spec)
        write_project(Path(folder), wanted)
        host, port = listener.getsockname()[:2]
        logger.info("Listening on http://%s:%d", f"[{host}]" if ":" in host else host, port)
        if len(wanted) == 1 and settings.api_workers == 1:
            run_service(load_project(Path(folder), Deployment(wanted, settings)), listener)
        else:
            supervise(Fleet(Path(folder), wanted, settings), listener)


def bento_document(tag: str) -> Path:
    """The spec file of a Bento of the store. Errors: ServeError."""
    import bentoml
    from bentoml.exceptions import BentoMLException

    try:
        project = Path(bentoml.bentos.get(tag).path) / "src"
    except (BentoMLException, ValueError) as error:
        raise ServeError(
            f"There is no Bento {tag!r}.", hint="`bentoml list` shows what is there."
        ) from error
    document = next(
        (path for name in (DOCUMENT, "bentos/*.yaml") for path in sorted(project.glob(name))), None
    )
    if document is None:
        raise ServeError(
            f"The Bento {tag} was not built by openllm.", hint=f"Run: bentoml serve {tag}"
        )
    return document


def _bind(host: str, port: int) -> socket.socket:
    """A listening socket; port 0 takes any free one. Errors: ServeError."""
    try:
        family, kind, _, _, address = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0]
    except socket.gaierror:
        raise ServeError(
            f"There is no address {host!r}.",
            hint=f"Give {option('host')} an address of this machine.",
        ) from None
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
        return ServeError(
            f"Port {port} on {host} is in use.",
            hint=f"Stop what uses it, or add {option('port', port + 1)}.",
        )
    if error.errno == errno.EACCES:
        return ServeError(f"Port {port} needs more rights.", hint="Take one from 1024 up.")
    return ServeError(
        f"Cannot listen on {host}:{port}: {error.strerror}.",
        hint=f"Try {option('host', '127.0.0.1')}.",
    )
