"""How many GPUs a deployment needs, and which: said in a recipe, or counted from its specs."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Any, Self

import attrs

from openllm.config.spec import LLMSpec
from openllm.errors import ConfigurationError
from openllm.hardware.gpus import replica_gpus

_GPU_TYPE = re.compile(r"[a-z0-9](?:[a-z0-9-]{0,61}[a-z0-9])?")
MOST_GPUS = 64  # of one machine; more is a slip of the pen


@attrs.frozen
class Resources:
    """GPUs of one replica; `gpu_type` as BentoCloud and node labels write it (nvidia-l4). None: not
    said.
    """

    gpu: int | None = None
    gpu_type: str | None = None

    def __attrs_post_init__(self) -> None:
        count = self.gpu
        if count is not None and (
            isinstance(count, bool) or not isinstance(count, int) or not 0 <= count <= MOST_GPUS
        ):
            raise ConfigurationError(
                f"resources: gpu must be a whole number from 0 to {MOST_GPUS}, got {count!r}."
            )
        kind = self.gpu_type
        if kind is not None and not (isinstance(kind, str) and _GPU_TYPE.fullmatch(kind)):
            raise ConfigurationError(
                f"resources: gpu_type cannot be {kind!r}.",
                hint="Write it like nvidia-l4, in lower case.",
            )

    @classmethod
    def read(cls, data: Any) -> Self:
        """The `resources` of a recipe. Errors: ConfigurationError for anything but `gpu` and
        `gpu_type`.
        """
        known = set(attrs.fields_dict(cls))
        if not isinstance(data, Mapping) or not set(data) <= known:
            raise ConfigurationError(
                f"resources must be a mapping of gpu and gpu_type, got {data!r}."
            )
        return cls(**data)

    def to_dict(self) -> dict[str, Any]:
        """Only what was said."""
        return attrs.asdict(self, filter=lambda _, value: value is not None)

    def gpus(self, specs: Sequence[LLMSpec]) -> int:
        """How many GPUs a replica gets: as said, else one set per engine that wants them."""
        if self.gpu is not None:
            return self.gpu
        return replica_gpus(specs)
