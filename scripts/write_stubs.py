"""Write openllm/__init__.pyi: the public names and the generated classes, as a type checker needs
them.

Run it after adding a family or a public name; tests/test_public_names.py fails until it was run.
"""

from __future__ import annotations

import sys
from pathlib import Path

import openllm
from openllm.llm.auto import class_names

TARGET = Path(openllm.__file__).with_suffix(".pyi")


def render() -> str:
    """The stub file's text."""
    homes = [*openllm.HOMES.items(), ("FamilyLLM", "openllm.llm.auto")]
    lines = ['"""Written by scripts/write_stubs.py; do not edit."""', ""]
    lines += [f"from openllm import {name} as {name}" for name in sorted(openllm.SUBPACKAGES)]
    lines += [
        f"from {home} import {name} as {name}"
        for name, home in sorted(homes, key=lambda pair: pair[::-1])
    ]
    lines += ["", "__version__: str", "HOMES: dict[str, str]", "SUBPACKAGES: tuple[str, ...]", ""]
    for name in sorted(class_names()):
        lines.append(f"class {name}(FamilyLLM): ...")
    return "\n".join(lines) + "\n"


if __name__ == "__main__":
    TARGET.write_text(render())
    sys.stdout.write(f"wrote {TARGET.name}\n")
