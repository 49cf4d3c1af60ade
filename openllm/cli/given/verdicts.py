"""Whether a model fits this machine, as commands print it: a cell of a table, or fields of JSON."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from openllm.cli.given.options import flags

if TYPE_CHECKING:
    from openllm.llm.catalogue import Verdict

HEAD = "FITS HERE"  # of the column


def verdict_cell(verdict: Verdict) -> str:
    """`quantised (--quantization int8)`."""
    options = " ".join(f"{flags(name)[0]} {value}" for name, value in verdict.options.items())
    return f"{verdict.fits} ({options})" if options else verdict.fits


def verdict_fields(verdict: Verdict) -> dict[str, Any]:
    """`fits` is yes, quantised, no or unknown; `fits_with` has the options with which it does, by
    the names of a spec.
    """
    return {"fits": verdict.fits, "fits_with": dict(verdict.options)}
