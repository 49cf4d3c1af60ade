"""The model families: which there are, and which one a model belongs to.

To add one: a module that defines one `LLMConfig`, in `families/` or as an entry point of the group
`openllm.families`.
"""

from openllm.models.registry import (
    GENERIC,
    all_families,
    find,
    get,
    is_ours,
    named,
    names,
    resolve,
)

__all__ = ["GENERIC", "all_families", "find", "get", "is_ours", "named", "names", "resolve"]
