"""Directories of one process in the system's temporary directory: what one that was killed has left
is removed by the next.
"""

from __future__ import annotations

import contextlib
import os
import shutil
import tempfile
import weakref
from pathlib import Path
from types import TracebackType

from openllm.weights.scratch import abandoned, hold

PREFIX = "openllm-run-"


class Temporary:
    """An empty directory for this user alone, at `path`: gone when it is closed, when the process
    ends, or, where that is killed, when another one makes its own. Errors: OSError.
    """

    def __init__(self) -> None:
        parent = Path(tempfile.gettempdir())
        with contextlib.suppress(OSError):  # of a directory that cannot be listed
            for path in abandoned(parent, PREFIX):
                shutil.rmtree(path, ignore_errors=True)
        made = Path(tempfile.mkdtemp(prefix=f".{PREFIX}"))
        held = hold(made)
        # named only now, when it is held: no other process takes it for an abandoned one
        self.path = made.rename(made.with_name(made.name.removeprefix(".")))
        self._remove = weakref.finalize(self, _remove, self.path, held)

    def close(self) -> None:
        """Remove it; a second time does nothing."""
        self._remove()

    def __enter__(self) -> Path:
        return self.path

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()


def _remove(path: Path, held: int | None) -> None:
    shutil.rmtree(path, ignore_errors=True)
    if held is not None:
        os.close(held)
