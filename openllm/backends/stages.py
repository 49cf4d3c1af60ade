"""What a pooled vector goes through behind the pooling, as sentence-transformers' modules Dense,
LayerNorm and Normalize do it, in fp32.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from openllm.errors import InvalidRequest, WeightsError
from openllm.weights.checkpoint import read_header, refuse_pickled
from openllm.weights.modules import Activation, Dense, LayerNorm, Normalize, Stage

if TYPE_CHECKING:
    import torch

WEIGHTS = "model.safetensors"


class Stages:
    """The stages of one model, with their weights on `device`. Errors: WeightsError."""

    def __init__(self, stages: Sequence[Stage], device: torch.device | str = "cpu") -> None:
        self._stages = [(stage, _weights(stage, device)) for stage in stages]

    def __bool__(self) -> bool:
        """Whether there are any."""
        return bool(self._stages)

    def __call__(self, vectors: torch.Tensor) -> torch.Tensor:
        """`[rows, width]` -> `[rows, another width]`. Errors: InvalidRequest for vectors of a
        width that the first stage does not take, as another pooling may give them.
        """
        for stage, weights in self._stages:
            vectors = _through(stage, weights, vectors)
        return vectors


def check_stages(stages: Sequence[Stage]) -> None:
    """Look at the files' headers. Errors: WeightsError for weights that are missing, or of other
    shapes than the configuration says.
    """
    for stage in stages:
        if isinstance(stage, Normalize):
            continue
        path = _file(stage.folder)
        header = read_header(path)
        for name, shape in _shapes(stage).items():
            found = header.get(name)
            if found is None or found.shape != shape:
                has = "none" if found is None else f"one of shape {list(found.shape)}"
                raise WeightsError(
                    f"{path} has {has} of the {name} {list(shape)} that config.json beside it"
                    " says.",
                    hint="Fetch the directory again.",
                )


def _shapes(stage: Stage) -> Mapping[str, tuple[int, ...]]:
    """The tensors of a stage's file."""
    if isinstance(stage, LayerNorm):
        return dict.fromkeys(("norm.weight", "norm.bias"), (stage.width,))
    if isinstance(stage, Normalize):
        return {}
    shapes: dict[str, tuple[int, ...]] = {"linear.weight": (stage.outputs, stage.inputs)}
    if stage.bias:
        shapes["linear.bias"] = (stage.outputs,)
    if stage.residual and stage.inputs != stage.outputs:
        shapes["residual.weight"] = (stage.outputs, stage.inputs)
    return shapes


def _file(folder: Path) -> Path:
    path = folder / WEIGHTS
    if not path.is_file():
        if (pickled := folder / "pytorch_model.bin").is_file():
            refuse_pickled(str(pickled), trust_remote_code=False)
        raise WeightsError(f"{path} is missing.", hint="Fetch the directory again.")
    return path


def _weights(stage: Stage, device: torch.device | str) -> Mapping[str, torch.Tensor]:
    if isinstance(stage, Normalize):
        return {}
    from safetensors.torch import load_file

    check_stages([stage])
    found = load_file(_file(stage.folder))
    return {name: found[name].float().to(device) for name in _shapes(stage)}


def _through(
    stage: Stage, weights: Mapping[str, torch.Tensor], vectors: torch.Tensor
) -> torch.Tensor:
    from torch.nn import functional

    if isinstance(stage, Normalize):
        return functional.normalize(vectors, dim=-1)
    width = stage.inputs if isinstance(stage, Dense) else stage.width
    if vectors.shape[-1] != width:
        raise InvalidRequest(
            f"This pooling gives vectors of {vectors.shape[-1]} numbers; the model goes on with"
            f" {width}.",
            hint="Leave the pooling to the model.",
            param="pooling",
        )
    if isinstance(stage, LayerNorm):
        return functional.layer_norm(
            vectors, (width,), weights["norm.weight"], weights["norm.bias"]
        )
    linear = functional.linear(vectors, weights["linear.weight"], weights.get("linear.bias"))
    found = _activated(linear, stage.activation)
    if not stage.residual:
        return found
    across = weights.get("residual.weight")
    return found + (vectors if across is None else functional.linear(vectors, across))


def _activated(vectors: torch.Tensor, function: Activation) -> torch.Tensor:
    from torch.nn import functional

    if function == "identity":
        return vectors
    if function == "tanh":
        return vectors.tanh()
    if function == "relu":
        return functional.relu(vectors)
    if function == "gelu":
        return functional.gelu(vectors)
    return functional.silu(vectors) if function == "silu" else vectors.sigmoid()
