"""What a process that serves or builds writes on stderr."""

from __future__ import annotations

import logging
from pathlib import Path

from openllm.config.logs import log_formatter
from openllm.http.app import Server
from openllm.llm.llm import LLM

logger = logging.getLogger("openllm")


def configure_logging(level: str, form: str = "text") -> None:
    """Lines on stderr, of the form "text" or "json": ours from `level` up, the libraries' from
    warnings up.
    """
    handler = logging.StreamHandler()
    handler.setFormatter(log_formatter(form))
    logging.getLogger().handlers = [handler]
    logging.getLogger("openllm").setLevel(level.upper())
    import bentoml._internal.log  # noqa: F401  sets up its own handlers when it is imported

    logging.getLogger("bentoml").handlers = []
    for name in ("bentoml", "uvicorn", "uvicorn.error"):
        logging.getLogger(name).setLevel(logging.WARNING)
        logging.getLogger(name).propagate = True


def log_to_file(path: Path, form: str = "text") -> None:
    """The same lines into a file that only this user can read, for `openllm logs`."""
    path.touch(mode=0o600)
    handler = logging.FileHandler(path, mode="w", encoding="utf-8")
    handler.setFormatter(log_formatter(form))
    logging.getLogger().addHandler(handler)


def announce(server: Server, url: str) -> None:
    """What somebody who has just started a server wants to know, once it is ready."""
    settings = server.settings
    needed = settings.api_key is not None or settings.api_keys_file is not None
    rows = [("API", f"{url}/v1"), ("Key", "needed" if needed else "none needed")]
    if settings.ui:
        rows.append(("Page", url))
    for llm in server.catalog.llms:
        rows += _about(llm)
    rows.append(("Try", f"openllm run {url}"))
    for name, value in rows:
        logger.info("  %-8s %s", name, value)


def _about(llm: LLM) -> list[tuple[str, str]]:
    info = llm.info
    facts = [f"context {info.max_model_len} tokens", f"{info.dtype} on {info.device}"]
    if info.max_concurrency:
        facts.append(f"{info.max_concurrency} answers at once")
    return [("Model", f"{llm.name} ({llm.backend.name}; {', '.join(facts)})")]
