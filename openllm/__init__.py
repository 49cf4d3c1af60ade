"""openllm turns a large language model into a service.

Every public name is resolved on first use, so that `import openllm` costs nothing and imports no
framework. Beside the names below there are one class per backend (`AutoLLM`, `AutoVLLM` and so on)
and one per family and backend (`Llama`, `VLLMLlama`, `TFLlama`, `FlaxLlama` and so on), derived
from the registries (`openllm.llm.auto`). What a type checker sees is `__init__.pyi`, written by
`scripts/write_stubs.py`.

To add a public name: the module it is in, in `HOMES`.
"""

from __future__ import annotations

import importlib
from typing import Any

__version__ = "0.1.0"

HOMES = {
    "AdapterSpec": "openllm.config.spec",
    "Conversation": "openllm.types",
    "EmbeddingOutput": "openllm.llm.embedding",
    "GenerationOutput": "openllm.types",
    "GenerationRequest": "openllm.types",
    "LLM": "openllm.llm.llm",
    "LLMConfig": "openllm.models.base",
    "LLMSpec": "openllm.config.spec",
    "Message": "openllm.types",
    "OpenLLMError": "openllm.errors",
    "Runner": "openllm.bento.runner.runner",
    "SamplingParams": "openllm.types",
    "Structure": "openllm.types",
    "StructureKind": "openllm.types",
}

SUBPACKAGES = (
    "bento",
    "client",
    "errors",
    "models",
)  # reached as attributes without being imported first

# Names of OpenLLM 0.3 to 0.6, and what does their work now.
REPLACED = {
    "AsyncHTTPClient": "openllm.client.AsyncClient",
    "AutoConfig": "openllm.models.get(name)",
    "HTTPClient": "openllm.client.Client",
    "build": "openllm.bento.build.build(openllm.LLMSpec(...))",
    "import_model": "the command `openllm pull`",
    "list_models": "openllm.models.names()",
    "start": "the command `openllm start`, or openllm.bento.serve.serve",
}


def __getattr__(name: str) -> Any:
    if name == "__all__":  # for `from openllm import *`, which alone pays for it
        return sorted([*HOMES, *importlib.import_module("openllm.llm.auto").auto_classes()])
    if name in HOMES:
        return getattr(importlib.import_module(HOMES[name]), name)
    if name in SUBPACKAGES:
        return importlib.import_module(f"openllm.{name}")
    if name in REPLACED:
        raise AttributeError(f"openllm has no {name!r} any more: use {REPLACED[name]}.")
    if name.startswith("_") or not name[:1].isupper():
        raise AttributeError(f"module 'openllm' has no attribute {name!r}")
    return getattr(importlib.import_module("openllm.llm.auto"), name)


def __dir__() -> list[str]:
    from openllm.llm.auto import auto_classes, class_names

    return sorted([*HOMES, *SUBPACKAGES, *auto_classes(), *class_names(), "__version__"])
