"""Packaging and Runners: the only package that imports bentoml.

`openllm.bento.depends` and `openllm.bento.service` are for a service.py of your own.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from openllm.bento.compose import depends as depends
    from openllm.bento.compose import service as service
    from openllm.bento.runner.runner import Runner as Runner

_HOMES = {
    "Runner": "openllm.bento.runner.runner",
    "depends": "openllm.bento.compose",
    "service": "openllm.bento.compose",
}


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(importlib.import_module(_HOMES[name]), name)
