"""`openllm start`: renders the service.py a Bento would have and runs it on one port.

One model and one API worker need one process: this one. Else every engine, every replica of one and
every API worker gets its own, and this one watches them.
"""

from __future__ import annotations

import errno
import logging
import socket
from collections.abc import Callable, Sequence
from contextlib import closing
from pathlib import Path

import attrs

from openllm.backends.select import select_backend
from openllm.bento.pack.sources import check_sources
from openllm.bento.services.llm import ServicePlan
from openllm.bento.serving.logs import announce, configure_logging, log_to_file
from openllm.bento.serving.project import load_project, run_service, write_project
from openllm.bento.serving.supervisor import Fleet, supervise
from openllm.config.servers import address, listed
from openllm.config.settings import Settings, process_environment
from openllm.config.spec import LLMSpec
from openllm.errors import ConfigurationError, ServeError, option
from openllm.hardware.gpus import share_replicas, visible_devices
from openllm.http.auth import check_files
from openllm.http.tracing.provider import check_exporters
from openllm.llm.options import check_options
from openllm.llm.room import require_room
from openllm.weights.temporary import Temporary

logger = logging.getLogger("openllm")

BACKLOG = 2048


def serve(
    specs: LLMSpec | Sequence[LLMSpec],
    settings: Settings,
    on_listening: Callable[[str], None] = lambda url: None,
) -> None:
    """Serve `specs` until SIGTERM or Ctrl+C; returns once everything is stopped. `on_listening` is
    called with the address as soon as it is taken, before the engines are there.

    Bad input is found before that: a port in use (ServeError), weights that are missing or unsafe
    (WeightsError), a backend that cannot run, an option that it would have to ignore or a home of
    BentoML's that cannot be made (ConfigurationError, MissingDependency). An engine that fails
    later ends it with ServeError.
    """
    wanted = (specs,) if isinstance(specs, LLMSpec) else tuple(specs)
    configure_logging(settings.log_level, settings.log_format)
    check_files(settings)
    _require_home(settings.bentoml_home)
    check_exporters(process_environment())
    with (
        closing(_bind(settings.host, settings.port)) as listener,
        Temporary() as folder,
    ):
        engines = sum(spec.replicas for spec in wanted)
        alone = engines == 1 and settings.api_workers == 1
        backends = [select_backend(spec, settings)[0] for spec in wanted]
        chosen = [
            attrs.evolve(spec, backend=backend.facts.name)
            for spec, backend in zip(wanted, backends, strict=True)
        ]
        share_replicas(chosen, visible_devices(settings.visible_devices))  # while nothing is loaded
        served = []
        for spec, backend, named in zip(wanted, backends, chosen, strict=True):
            directory = check_sources(spec, backend, settings.bentoml_home)
            check_options(spec, directory, settings, sure=alone)
            served += [(named, directory)] * spec.replicas
        require_room(served, settings)
        _listen(listener)
        write_project(folder, wanted)
        host, port = listener.getsockname()[:2]
        url = address(host, port)
        with listed(settings.bentoml_home, url, [spec.served_name for spec in wanted]) as log:
            if log is not None:
                log_to_file(log, settings.log_format)
            on_listening(url)
            logger.info("Listening on http://%s:%d", f"[{host}]" if ":" in host else host, port)
            if alone:
                service = load_project(folder, ServicePlan(wanted, settings))
                run_service(service, listener, when_ready=lambda server: announce(server, url))
            else:
                supervise(Fleet(folder, wanted, settings), listener)


def _require_home(home: Path) -> None:
    """BentoML serves only where its home and what it has there exist, which need not be writable
    then. Errors: ConfigurationError.
    """
    try:
        for inner in ("bentos", "models", "envs", "tmp"):
            (home / inner).mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise ConfigurationError(
            f"BentoML's home {home} is not there and cannot be made: {error.strerror}.",
            hint="Point BENTOML_HOME at a directory that can be written.",
        ) from error


def _bind(host: str, port: int) -> socket.socket:
    """A socket at the address, not listening yet; port 0 takes any free one. Errors: ServeError."""
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
    except OSError as error:
        listener.close()
        raise _cannot_listen(host, port, error) from None
    return listener


def _listen(listener: socket.socket) -> None:
    """From here on clients get in. Errors: ServeError, where another has been faster."""
    host, port = listener.getsockname()[:2]
    try:
        listener.listen(BACKLOG)
    except OSError as error:
        raise _cannot_listen(host, port, error) from None


def _cannot_listen(host: str, port: int, error: OSError) -> ServeError:
    reasons = {
        errno.EADDRINUSE: (
            f"Port {port} on {host} is in use.",
            f"Stop what uses it, or add {option('port', port + 1)}.",
        ),
        errno.EACCES: (f"Port {port} needs more rights.", "Take one from 1024 up."),
    }
    other = (
        f"Cannot listen on {host}:{port}: {error.strerror}.",
        f"Try {option('host', '127.0.0.1')}.",
    )
    message, hint = reasons.get(error.errno or 0, other)
    return ServeError(message, hint=hint)
