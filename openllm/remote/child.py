"""An engine's process: started with a plan on its standard input, which also tells it that its
parent is gone.
"""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path

import attrs
import msgspec

from openllm.config.settings import Settings, process_environment
from openllm.config.spec import LLMSpec
from openllm.errors import EngineDead
from openllm.remote.backend import RESTART, RunnerBackend
from openllm.weights.temporary import Temporary

STOP_SECONDS = 30.0  # for an engine to stop by itself


@attrs.frozen
class EnginePlan:
    """What an engine's process is told."""

    spec: str  # LLMSpec as JSON
    address: str  # of its socket
    weights_dir: str | None = None  # None: found by the spec
    log_level: str = "INFO"
    log_format: str = "text"
    drain_seconds: float = 5.0  # that its users get to leave when it is asked to stop; vLLM, too


class EngineProcess:
    """A child that runs one engine; it ends when this process does, however that ends."""

    def __init__(
        self, plan: EnginePlan, environment: Mapping[str, str], devices: str | None = None
    ) -> None:
        """`devices` becomes CUDA_VISIBLE_DEVICES; None: as it is in `environment`."""
        own = {} if devices is None else {"CUDA_VISIBLE_DEVICES": devices}
        command = [sys.executable, "-m", "openllm.remote"]
        self._child = subprocess.Popen(
            command, stdin=subprocess.PIPE, env={**environment, **own}, start_new_session=True
        )
        stdin = self._child.stdin
        if stdin is not None:
            stdin.write(msgspec.json.encode(plan) + b"\n")
            stdin.flush()

    @property
    def pid(self) -> int:
        return self._child.pid

    @property
    def exit_code(self) -> int | None:
        """None while it runs."""
        return self._child.poll()

    def wait(self) -> int:
        """Its exit code, once it has ended."""
        return self._child.wait()

    def terminate(self) -> None:
        """Ask it to end once its users are gone."""
        self._child.terminate()

    def stop(self, seconds: float = STOP_SECONDS) -> int:
        """Ask it to end, then make it; its exit code."""
        self.terminate()
        try:
            return self._child.wait(seconds)
        except subprocess.TimeoutExpired:
            self._child.kill()
            return self._child.wait()


class ChildBackend(RunnerBackend):
    """A runner that starts its engine's process itself, and ends it when closed."""

    def __init__(self, spec: LLMSpec, weights_dir: Path, settings: Settings | None = None) -> None:
        super().__init__(spec, weights_dir, Path(), settings)
        self._child: EngineProcess | None = None
        self._folder: Temporary | None = None

    async def start(self) -> None:
        if self._child is None:
            self._folder = Temporary()
            self.address = self._folder.path / "engine.sock"
            plan = EnginePlan(
                self.spec.to_json(),
                str(self.address),
                str(self.weights_dir),
                log_format=self.settings.log_format,
                drain_seconds=self.settings.drain_seconds,
            )
            self._child = EngineProcess(plan, process_environment())
        await super().start()

    @property
    def pid(self) -> int | None:
        """The engine's process; None while there is none."""
        return self._child.pid if self._child is not None else None

    def _still_coming(self, in_time: bool) -> None:
        if self._child is not None and self._child.exit_code is not None:
            raise EngineDead(
                f"The engine's process has ended with {self._child.exit_code}.", hint=RESTART
            )
        super()._still_coming(in_time)

    async def close(self) -> None:
        import asyncio

        await super().close()
        child, self._child = self._child, None
        if child is not None:
            await asyncio.to_thread(child.stop)
        if self._folder is not None:
            self._folder.close()
