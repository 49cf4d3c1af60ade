"""openllm turns a large language model into a service.

Every public name is resolved on first use, so that `import openllm` costs nothing and imports no framework.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from openllm.config import LLMConfig as LLMConfig
    from openllm.errors import OpenLLMError as OpenLLMError
    from openllm.llm import LLM as LLM
    from openllm.spec import AdapterSpec as AdapterSpec
    from openllm.spec import LLMSpec as LLMSpec
    from openllm.types import GenerationOutput as GenerationOutput
    from openllm.types import GenerationRequest as GenerationRequest
    from openllm.types import Message as Message
    from openllm.types import SamplingParams as SamplingParams

__version__ = "0.1.0"

_HOMES = {
    "LLM": "openllm.llm",
    "LLMConfig": "openllm.config",
    "LLMSpec": "openllm.spec",
    "AdapterSpec": "openllm.spec",
    "SamplingParams": "openllm.types",
    "Message": "openllm.types",
    "GenerationRequest": "openllm.types",
    "GenerationOutput": "openllm.types",
    "OpenLLMError": "openllm.errors",
}

__all__ = [
    "LLM",
    "AdapterSpec",
    "GenerationOutput",
    "GenerationRequest",
    "LLMConfig",
    "LLMSpec",
    "Message",
    "OpenLLMError",
    "SamplingParams",
]


def __getattr__(name: str) -> Any:
    if name in _HOMES:
        return getattr(importlib.import_module(_HOMES[name]), name)
    raise AttributeError(f"module 'openllm' has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted([*__all__, "__version__"])
