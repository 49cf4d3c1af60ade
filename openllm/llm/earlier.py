"""Methods that an LLM of OpenLLM 0.3 to 0.6 had, and what does their work now."""

from __future__ import annotations

from typing import TYPE_CHECKING, Never

# The name, and what to use.
REPLACED = {
    "generate_one": "await llm.generate(prompt, max_tokens=...), whose outputs[0].text it is",
    "agenerate": "await llm.generate(prompt)",
    "import_model": "the command `openllm pull`",
    "save_pretrained": "the command `openllm pull`",
    "sanitize_parameters": "the options of llm.generate, which are openllm.SamplingParams' names",
    "postprocess_generate": "the outputs of llm.generate",
    "download_model": "llm.weights_dir",
}


class EarlierMethods:
    """Says of a method that is gone what does its work."""

    if not TYPE_CHECKING:  # or every name would be one that there is

        def __getattr__(self, name: str) -> Never:
            """Called for what an LLM does not have. Errors: AttributeError."""
            now = REPLACED.get(name)
            said = f"{type(self).__name__!r} object has no attribute {name!r}"
            raise AttributeError(f"{said} any more: use {now}." if now else said)
