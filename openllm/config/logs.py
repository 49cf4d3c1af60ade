"""How a process writes its log: short lines for people, or one JSON object a line for programs."""

from __future__ import annotations

import json
import logging
from datetime import UTC, datetime
from typing import Any

FIELDS = "fields"  # the attribute of a record that holds what it says beside its message


def log_formatter(form: str, part: str = "") -> logging.Formatter:
    """A formatter of `form`, "text" or "json"; `part` names a process that is not the server
    itself.
    """
    if form == "json":
        return JSONFormatter(part)
    said = f"{part}: " if part else ""
    return logging.Formatter(f"%(asctime)s %(levelname).1s {said}%(message)s", "%H:%M:%S")


class JSONFormatter(logging.Formatter):
    """One object a line: `time` (UTC, ISO 8601), `level`, `logger`, `process`, `part` where it is
    not the server itself, `message`, `trace` where there is one, and the fields of the record.
    """

    def __init__(self, part: str = "") -> None:
        super().__init__()
        self._part = {"part": part} if part else {}

    def format(self, record: logging.LogRecord) -> str:
        found: dict[str, Any] = {
            "time": datetime.fromtimestamp(record.created, UTC).isoformat(timespec="milliseconds"),
            "level": record.levelname.lower(),
            "logger": record.name,
            "process": record.process,
            **self._part,
            "message": record.getMessage(),
        }
        if record.exc_info:
            found["trace"] = self.formatException(record.exc_info)
        return json.dumps(found | getattr(record, FIELDS, {}), ensure_ascii=False)
