"""Write openllm/__init__.pyi: the public names and the generated classes, as a type checker needs
them.

Run it after adding a family or a public name; tests/test_public_names.py fails until it was run.
"""

from __future__ import annotations

import sys
from pathlib import Path

import openllm
from openllm import models
from openllm.facts import is_ours
from openllm.llm.auto import auto_classes, class_names

TARGET = Path(openllm.__file__).with_suffix(".pyi")


def render() -> str:
    """The stub file's text, which knows no other distributions."""
    homes = list(openllm.HOMES.items())
    homes += [(name, "openllm.llm.auto") for name in ("AutoClass", "FamilyLLM")]
    lines = ['"""Written by scripts/write_stubs.py; do not edit."""', ""]
    lines += [f"from openllm import {name} as {name}" for name in sorted(openllm.SUBPACKAGES)]
    lines += [
        f"from {home} import {name} as {name}"
        for name, home in sorted(homes, key=lambda pair: pair[::-1])
    ]
    lines += ["", "__version__: str", "HOMES: dict[str, str]", "SUBPACKAGES: tuple[str, ...]", ""]
    autos = [name for name, kind in auto_classes().items() if is_ours(kind.backend_name)]
    lines += [f"class {name}(AutoClass): ..." for name in sorted(autos)]
    ours = [
        name
        for name, (family, backend) in class_names().items()
        if is_ours(backend) and models.is_ours(family.name)
    ]
    lines += [f"class {name}(FamilyLLM): ..." for name in sorted(ours)]
    return "\n".join(lines) + "\n"


if __name__ == "__main__":
    TARGET.write_text(render())
    sys.stdout.write(f"wrote {TARGET.name}\n")
