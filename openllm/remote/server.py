"""The engine's side of the socket: one LLM's engine serves all that connect and forgets those that
leave.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import stat
from functools import partial
from pathlib import Path

from openllm.errors import ConfigurationError, OpenLLMError
from openllm.llm.collector import collection_paused
from openllm.llm.llm import LLM
from openllm.remote.frames import VERSION, FromEngine, Hello, Status, to_trouble
from openllm.remote.user import User

log = logging.getLogger("openllm.remote")

LONGEST_ADDRESS = 100  # bytes of a Unix socket's path that every system takes
STATUS_SECONDS = 0.1  # how often the engine is asked how it is


class EngineServer:
    """Owns the engine of `llm` and listens at `address`, a path in a directory that only this user
    can enter.
    """

    def __init__(self, llm: LLM, address: Path) -> None:
        self.llm = llm
        self.address = address
        self.users: set[User] = set()
        self.dead: asyncio.Future[str] | None = (
            None  # set when the engine stops by itself, to the reason
        )
        self.leaving = False  # it ends once its users are gone
        self._unused = asyncio.Event()
        self._hello: Hello | None = None
        self._status: Status | None = None
        self._server: asyncio.AbstractServer | None = None
        self._watch: asyncio.Task[None] | None = None

    async def listen(self) -> None:
        """Take connections from now on; they hear of the engine once it is up. Errors:
        ConfigurationError.
        """
        if len(str(self.address).encode()) > LONGEST_ADDRESS:
            raise ConfigurationError(
                f"{self.address} is too long for a socket.", hint="Set TMPDIR to a shorter path."
            )
        require_private(self.address.parent)
        self.address.unlink(missing_ok=True)  # left by an engine that was killed
        loop = asyncio.get_running_loop()
        self.dead = loop.create_future()
        self._server = await loop.create_unix_server(partial(User, self), path=str(self.address))
        self.address.chmod(0o600)

    async def start(self) -> None:
        """Bring the engine up and tell everybody. Errors: the LLM's own, which are told, too."""
        try:
            with collection_paused():
                await self.llm.start()
        except OpenLLMError as error:
            self._greet(Hello(VERSION, trouble=to_trouble(error)))
            raise
        self.announce()  # before the greeting: who is greeted must know which adapters there are
        self._greet(Hello(VERSION, self.llm.info, self.llm.backend.name, self.llm.backend_reason))
        self._watch = asyncio.create_task(self._report())

    async def close(self) -> None:
        """Hang up on everybody and stop the engine."""
        if self._watch is not None:
            self._watch.cancel()
        if self._server is not None:
            self._server.close()
        for user in tuple(self.users):
            user.hang_up()
        await self.llm.aclose()
        with contextlib.suppress(FileNotFoundError):
            self.address.unlink()

    def join(self, user: User) -> None:
        self.users.add(user)
        if self._status is not None:
            user.send(self._status)
            self.announce()
        if self._hello is not None:
            user.send(self._hello)

    def leave(self, user: User) -> None:
        self.users.discard(user)
        if not self.users:
            self._unused.set()

    def leave_off(self) -> None:
        """Take no further connection, and tell everybody that it ends: whoever has other engines
        sends it nothing more, and leaves once its requests are over.
        """
        self.leaving = True
        if self._server is not None:
            self._server.close()
        self.address.unlink(missing_ok=True)
        if self._status is not None:
            self.announce()

    async def wait_unused(self, seconds: float) -> None:
        """Return once nobody is connected any more, or after `seconds`."""
        self._unused.clear()
        if self.users:
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(self._unused.wait(), seconds)

    def announce(self) -> None:
        """Tell everybody how the engine is, if that has changed."""
        llm = self.llm
        adapters = {name: str(llm.residency.path(name)) for name in llm.adapters}
        status = Status(llm.stats(), llm.failure, adapters, len(self.users), self.leaving)
        if status == self._status:
            return
        self._status = status
        self._tell(status)
        if status.failure is not None and self.dead is not None and not self.dead.done():
            self.dead.set_result(status.failure)

    def _greet(self, hello: Hello) -> None:
        self._hello = hello
        self._tell(hello)

    def _tell(self, frame: FromEngine) -> None:
        for user in self.users:
            user.send(frame)

    async def _report(self) -> None:
        while True:
            self.announce()
            await asyncio.sleep(STATUS_SECONDS)


def require_private(directory: Path) -> None:
    """Make `directory` for this user only, or see that it is. Errors: ConfigurationError."""
    directory.mkdir(mode=0o700, parents=True, exist_ok=True)
    if stat.S_IMODE(directory.stat().st_mode) & 0o077:
        raise ConfigurationError(
            f"Others can enter {directory}.", hint=f"Run: chmod 700 {directory}"
        )
