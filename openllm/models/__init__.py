"""The model families: which there are, and which one a model belongs to.

To add one: a module in `families/` that defines one `LLMConfig`.
"""

from openllm.models.registry import GENERIC, all_families, find, get, names, resolve

__all__ = ["GENERIC", "all_families", "find", "get", "names", "resolve"]
