"""Which of this machine's servers a command line means."""

from __future__ import annotations

from openllm.config.servers import RunningServer, running_servers
from openllm.config.settings import Settings
from openllm.errors import ConfigurationError, NotFound


def named_server(name: str | None) -> RunningServer:
    """The server of a process, port, URL or model; without a name the only one there is. Errors:
    NotFound, ConfigurationError where several are meant.
    """
    running = running_servers(Settings.from_env().bentoml_home)
    found = [server for server in running if name is None or server.answers_to(name)]
    if not found:
        what = "No server runs here." if name is None else f"No server here is called {name!r}."
        raise NotFound(what, hint="`openllm ps` lists those that run.")
    if len(found) > 1:
        ports = ", ".join(str(server.port) for server in found)
        raise ConfigurationError(
            f"{len(found)} servers could be meant.", hint=f"Name a port: {ports}."
        )
    return found[0]
