"""One API worker of `openllm start` (`python -m openllm.bento.serving.api_worker`): its plan is on
standard input.
"""

from __future__ import annotations

import logging
import os
import signal
import socket
import sys
import threading
from pathlib import Path

import msgspec

from openllm.bento.pack.document import DOCUMENT, merge_document, read_document
from openllm.bento.services.llm import ServicePlan
from openllm.bento.serving.logs import configure_logging
from openllm.bento.serving.project import load_project, run_service
from openllm.bento.serving.supervisor import WorkerPlan
from openllm.config.settings import Settings
from openllm.config.words import VARIABLES
from openllm.errors import OpenLLMError

logger = logging.getLogger("openllm")


def main() -> int:
    """The exit code: 0 when asked to stop."""
    plan = msgspec.json.decode(sys.stdin.buffer.readline(), type=WorkerPlan)
    settings = Settings.from_env()
    configure_logging(settings.log_level, settings.log_format)
    folder = Path(plan.folder)
    specs = merge_document(read_document(folder / DOCUMENT), {})
    engines = tuple(tuple(map(Path, places)) for places in plan.engines)
    served = ServicePlan(specs, settings, engines, replaces=plan.replaces)
    threading.Thread(target=_wait_orphaned, daemon=True).start()
    try:
        service = load_project(folder, served)
        service.waits_for_engines = plan.replaces
        run_service(service, socket.socket(fileno=plan.listener))
    except OpenLLMError as error:
        logger.error("%s", error.said(VARIABLES))
        return error.exit_code
    return 0


def _wait_orphaned() -> None:
    """The supervisor keeps our standard input open for as long as it lives; without it, drain and
    end.
    """
    # Not its buffer: a thread must not hold that while the interpreter ends.
    while os.read(sys.stdin.fileno(), 4096):
        pass
    os.kill(os.getpid(), signal.SIGTERM)


if __name__ == "__main__":
    sys.exit(main())
