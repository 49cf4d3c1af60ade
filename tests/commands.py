"""Command lines of openllm as processes."""

from __future__ import annotations

import sys


def interruptible(*words: str) -> list[str]:
    """`openllm WORDS` as a process that Ctrl+C reaches: a shell lets what it runs in the background
    ignore SIGINT.
    """
    listen = "import signal; signal.signal(signal.SIGINT, signal.default_int_handler)"
    return [sys.executable, "-c", f"{listen}; from openllm.cli import main; main()", *words]
