"""Models in BentoML's forms, a Bento, a service, a Runner: the only package that imports bentoml.

Its doors are `build`, `serve`, `inspect` and `compose`. `openllm.bento.create_service` is what a
rendered service.py calls; `openllm.bento.depends` and `openllm.bento.service` are for one of your
own.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from openllm.bento.compose import depends as depends
    from openllm.bento.compose import service as service
    from openllm.bento.runner.runner import Runner as Runner
    from openllm.bento.services.llm import create_service as create_service

_HOMES = {
    "Runner": "openllm.bento.runner.runner",
    "create_service": "openllm.bento.services.llm",
    "depends": "openllm.bento.compose",
    "service": "openllm.bento.compose",
}


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(importlib.import_module(_HOMES[name]), name)
