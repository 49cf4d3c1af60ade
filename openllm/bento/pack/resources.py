"""How many GPUs of which kind a recipe says that a deployment gets, and whether that is enough."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, Self

import attrs

from openllm.config.settings import Settings
from openllm.errors import BuildError, ConfigurationError, option
from openllm.hardware.kinds import known_gpu

if TYPE_CHECKING:
    from openllm.llm.replica import PlannedReplica

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


def require_fit(replica: PlannedReplica, name: str, settings: Settings) -> None:
    """Refuse a deployment, called `name`, whose plan does not fit the GPUs that it asks for; one
    whose GPUs are not known, or an engine that nobody has measured, is not looked at. Errors:
    BuildError.
    """
    known = replica.is_measured and known_gpu(replica.gpu_type or "") is not None
    if settings.force or not replica.gpus or not known:
        return
    if reason := replica.why_not(replica.place):
        raise BuildError(
            f"{name} does not fit {replica.gpus} x {replica.gpu_type}: {reason}.",
            hint=f"Give it more of them in resources, a shorter {option('max_model_len')} or"
            f" {option('quantization')}; OPENLLM_FORCE=1 goes on all the same.",
        )
