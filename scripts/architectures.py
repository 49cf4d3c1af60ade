"""Hold the PyTorch engine to transformers on every model type that the tests name, and write what
came out: the record beside the tests, and docs/models.md.

    python -m scripts.architectures [type …]

With types only those are tried, and what is known of the others stays.
"""

from __future__ import annotations

import json
import sys
import tempfile
from pathlib import Path

import transformers

from openllm.backends.pytorch.steps import STEP_ERRORS
from scripts.catalogue import section
from tests.backends.pytorch.architectures import TYPES, Result, evaluate, page, record

ROOT = Path(__file__).parents[1]
RECORD = ROOT / "tests" / "backends" / "pytorch" / "architectures.json"
PAGE = ROOT / "docs" / "models.md"


def main(names: list[str]) -> int:
    transformers.logging.set_verbosity_error()
    transformers.logging.disable_progress_bar()
    results = [tried(name) for name in names or TYPES]
    before = json.loads(RECORD.read_text("utf-8")) if names else {}
    kept = {name: before[name] for name in before if name not in names}
    kept |= {result.type: result.batched for result in results if result.problem is None}
    RECORD.write_text(record(kept), encoding="utf-8")
    PAGE.write_text(f"{page(kept)}\n{section()}", encoding="utf-8")
    return int(any(result.problem for result in results))


def tried(name: str) -> Result:
    with tempfile.TemporaryDirectory() as folder:
        try:
            result = evaluate(name, Path(folder))
        except (*STEP_ERRORS, ImportError) as error:  # of transformers, on what we built
            result = Result(name, problem=f"{type(error).__name__}: {error}")
    how = "batched" if result.batched else "one at a time"
    print(f"{name}: {result.problem or how} ({result.seconds} s)", flush=True)
    return result


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
