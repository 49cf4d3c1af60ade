"""What a process that serves or builds writes on stderr, in short lines."""

from __future__ import annotations

import logging


def configure_logging(level: str) -> None:
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
