"""BentoML's supervisor takes commands (start this program, stop that worker) from whoever reaches
it; here nobody but this user does.
"""

from __future__ import annotations

import importlib
import shutil
import sys
import tempfile
from pathlib import Path
from typing import Any

SUPERVISOR = "bentoml._internal.utils.circus"
MAKERS = ("bentoml_cli.serve", "bentoml.serving")  # what a process that makes one has imported
_ENDPOINTS = ("endpoint", "pubsub_endpoint")


def keep_commands_private() -> None:
    """From here on a supervisor that this process makes listens for commands, which it obeys
    without asking who sent them, at sockets in a folder of mode 0700; by default these are TCP
    ports of the loopback interface, open to every user of the machine. Does nothing in a process
    that makes none.
    """
    if sys.platform == "win32" or not any(name in sys.modules for name in MAKERS):
        return
    module = importlib.import_module(SUPERVISOR)
    for name in ("Arbiter", "ThreadedArbiter"):
        kind = getattr(module, name)
        if not issubclass(kind, _Private):
            setattr(module, name, type(name, (_Private, kind), {}))


class _Private:
    """Comes before BentoML's Arbiter, which has no types."""

    exit_stack: Any

    def __init__(self, *args: Any, **options: Any) -> None:
        folder = Path(tempfile.mkdtemp(prefix="openllm-"))  # which makes it for this user alone
        options |= {name: f"ipc://{folder / name}" for name in _ENDPOINTS}
        super().__init__(*args, **options)
        self.exit_stack.callback(shutil.rmtree, folder, ignore_errors=True)
