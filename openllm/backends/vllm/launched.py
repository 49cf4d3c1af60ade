"""A running AsyncLLM with what belongs to it, and its end."""

from __future__ import annotations

from typing import Any

import attrs

from openllm.backends.base import BackendInfo
from openllm.backends.stages import Stages
from openllm.backends.vllm.adapters import Adapters
from openllm.backends.vllm.guard import Guard
from openllm.backends.vllm.stream import Requests
from openllm.backends.vllm.structure import Structures


@attrs.define
class Launched:
    """A running engine."""

    engine: Any  # AsyncLLM
    config: Any  # VllmConfig
    requests: Requests
    info: BackendInfo
    adapters: Adapters
    guard: Guard
    structures: Structures
    stages: Stages  # what vectors go through that vLLM leaves out

    def shut_down(self) -> None:
        """End the engine's processes. Blocks for seconds."""
        self.engine.shutdown()
        # its __del__ would shut down once more, at the interpreter's end with half of the modules
        # gone
        self.engine.shutdown = lambda *args, **options: None
        self.guard.release()
