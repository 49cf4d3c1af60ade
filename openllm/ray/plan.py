"""What the arguments of a Serve application come to: a spec for each replica, how many there are,
and where they are put.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import attrs

from openllm.bento.pack.document import read_document, read_resources
from openllm.config.settings import Settings, spec_layer
from openllm.config.spec import LLMSpec
from openllm.config.variables import PARSERS, SPEC_VARIABLES
from openllm.discovery import did_you_mean
from openllm.errors import ConfigurationError
from openllm.facts import facts_of
from openllm.hardware.gpus import gpus_needed
from openllm.llm.resolve import Layers, named_recipe, resolve_model

MODEL, FILE, GPUS = "model", "file", "gpus"
TARGET = 64  # answers under way in a replica at which another one is worth its start
ANSWERS = 256  # that an engine runs at once, where nothing is said


def _scaling(kind: str, default: Any = None) -> Any:
    return attrs.field(default=default, metadata={"kind": kind})


@attrs.frozen(kw_only=True)
class Autoscaling:
    """How many replicas there are. With `max_replicas` as many as the answers under way need."""

    min_replicas: int | None = _scaling("integer")
    max_replicas: int | None = _scaling("integer")
    target_ongoing_requests: float = _scaling("number", TARGET)
    upscale_delay_s: float | None = _scaling("number")
    downscale_delay_s: float | None = _scaling("number")

    @property
    def automatic(self) -> bool:
        return self.max_replicas is not None

    def options(self) -> dict[str, Any]:
        """Serve's `autoscaling_config`."""
        said = attrs.asdict(self, filter=lambda _, value: value is not None)
        return {"min_replicas": 1, **said}


@attrs.frozen
class ClusterPlan:
    """What runs on the cluster: `replicas` of them, or as `scaling` says."""

    spec: LLMSpec  # of one replica
    replicas: int
    scaling: Autoscaling
    settings: Settings
    gpu: int | None = None  # of one replica; None: as its spec shows

    @property
    def gpus(self) -> int:
        """Of one replica: as said, else one set where its engine, its device or its parallel sizes
        say that it wants any.
        """
        if self.gpu is not None:
            return self.gpu
        spec = self.spec
        named = spec.tensor_parallel_size or spec.data_parallel_size or spec.device == "cuda"
        engine = spec.backend is not None and facts_of(spec.backend).wants_gpu
        return gpus_needed(spec) if named or engine else 0

    def placement(self) -> dict[str, Any]:
        """Where a replica is put: on a node with its GPUs; where vLLM starts its workers on Ray,
        one of a group of bundles, which it finds and fills.
        """
        if self.spec.distributed_executor != "ray":
            return {"ray_actor_options": {"num_cpus": 1, "num_gpus": self.gpus}}
        worker = {"GPU": 1.0} if self.gpus else {"CPU": 1.0}
        workers = max(gpus_needed(self.spec), 1)
        return {
            "ray_actor_options": {"num_cpus": 1, "num_gpus": 0},
            "placement_group_bundles": [{"CPU": 1.0}, *([worker] * workers)],
            "placement_group_strategy": "PACK",
        }

    def options(self) -> dict[str, Any]:
        """Those of the deployment."""
        spec, settings = self.spec, self.settings
        many = (
            {"autoscaling_config": self.scaling.options()}
            if self.scaling.automatic
            else {"num_replicas": self.replicas}
        )
        return {
            **many,
            **self.placement(),
            # More than that a replica refuses itself, with Retry-After.
            "max_ongoing_requests": (spec.max_num_seqs or ANSWERS) + spec.max_queue,
            "graceful_shutdown_timeout_s": settings.drain_seconds,
            "graceful_shutdown_wait_loop_s": 0.5,
            "health_check_period_s": 5.0,
        }


def make_plan(args: Mapping[str, Any]) -> ClusterPlan:
    """The plan for `args`: `model` (a recipe, family, directory, Hub id or tag) or `file` (a recipe
    of one's own), the fields of a spec, `gpus` of a replica and the fields of `Autoscaling`, as
    texts or values. Errors: ConfigurationError for what is none of these.
    """
    rows = {row.field: row for row in SPEC_VARIABLES}
    counts = {field.name: field.metadata["kind"] for field in attrs.fields(Autoscaling)}
    explicit: dict[str, Any] = {}
    scaling: dict[str, Any] = {}
    gpu: int | None = None
    for key, value in args.items():
        if key in rows:
            explicit[key] = rows[key].read(value) if isinstance(value, str) else value
        elif key == GPUS:
            gpu = _read(key, "integer", value)
        elif key in counts:
            scaling[key] = _read(key, counts[key], value)
        elif key not in (MODEL, FILE):
            known = (MODEL, FILE, GPUS, *rows, *counts)
            raise ConfigurationError(
                f"There is no argument {key!r}.",
                hint=did_you_mean(key, known) or "See the fields of a recipe.",
            )
    settings = Settings.from_env()
    model: str | None = args.get(MODEL)
    path = Path(args[FILE]) if FILE in args else None
    if path is None and model is not None:
        path = named_recipe(model)
    spec = _spec(model, path, explicit, settings)
    if gpu is None and path is not None:
        gpu = read_resources(path).gpu
    return ClusterPlan(spec.engines()[0], spec.replicas, Autoscaling(**scaling), settings, gpu)


def _read(key: str, kind: str, value: Any) -> Any:
    if not isinstance(value, str):
        return value
    try:
        return PARSERS[kind](value)
    except ValueError as error:
        raise ConfigurationError(f"{key}: {value!r} {error}.", param=key) from None


def _spec(
    model: str | None, path: Path | None, explicit: Mapping[str, Any], settings: Settings
) -> LLMSpec:
    if path is None:
        return resolve_model(model, Layers(explicit, spec_layer()), settings)
    written = read_document(path)
    if len(written) > 1:
        raise ConfigurationError(
            f"{path.name} has {len(written)} models, and an application serves one.",
            hint="Run an application for each, with routes of their own.",
        )
    return resolve_model(None, Layers(explicit, spec_layer(), written[0]), settings)
