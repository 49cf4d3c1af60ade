"""The weights of a directory read into a model, and what its files lack."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import Any

from safetensors import SafetensorError

from openllm.backends.pytorch.loading.quiet import no_progress_bar
from openllm.errors import MissingDependency, WeightsError

# In the names of what a quantized module has beside the values of its weight.
BESIDE_VALUES = ("scale", "zero", "bias", "g_idx", "shape", "absmax", "quant_map", "quant_state")
# What building a model raises whose configuration has values that nobody has checked.
BUILDING = (
    OSError,
    ValueError,
    TypeError,
    KeyError,
    IndexError,
    AttributeError,
    ZeroDivisionError,
    RuntimeError,
)


def read_weights(
    kind: Any, weights_dir: Path, config: Any, keywords: dict[str, Any]
) -> tuple[Any, list[str]]:
    """The model, by an auto class, and the names of what its files lack. Errors: WeightsError,
    MissingDependency.
    """
    try:
        with no_progress_bar():
            model, found = kind.from_pretrained(
                weights_dir, config=config, output_loading_info=True, **keywords
            )
    except ImportError as error:
        reason = " ".join(str(error).split())
        raise MissingDependency(f"The weights cannot be loaded: {reason}") from error
    except (*BUILDING, SafetensorError) as error:
        reason = (
            str(error).strip().partition("\n")[0].replace(str(weights_dir), "the model's directory")
        )
        if "ignore_mismatched_sizes" in reason:  # that is about an option, of theirs
            reason = "config.json says other sizes than they have."
        raise WeightsError(
            f"The weights cannot be loaded: {reason}", hint="Check the directory's files."
        ) from error
    return model, list(found["missing_keys"])


def require_all(kind: str, missing: Iterable[str], task: str) -> None:
    """Refuse weights that transformers has made up at random. A pooler goes: nothing reads one but
    the head of a classifier.
    """
    names = sorted(name for name in missing if task == "classify" or "pooler." not in name)
    if names:
        more = f" and {len(names) - 1} more" if len(names) > 1 else ""
        raise WeightsError(
            f"The directory's weights lack {names[0]}{more}, which {kind} has.",
            hint="Take a complete checkpoint, and for an encoder task='embed'.",
        )


def truly_missing(missing: Iterable[str], stored: Iterable[str]) -> list[str]:
    """Those of `missing` whose module has no values in the files. Of a quantized one transformers
    may miss the name that the weight has without quantization, and numbers that it computes.
    """
    holders: set[str] = set()
    for name in stored:
        module, _, leaf = name.rpartition(".")
        if not any(part in leaf for part in BESIDE_VALUES):
            holders.add(module)
    named = (name.rpartition(".") for name in missing)
    return [
        f"{module}.{leaf}"
        for module, _, leaf in named
        if module not in holders and not any(part in leaf for part in BESIDE_VALUES)
    ]
