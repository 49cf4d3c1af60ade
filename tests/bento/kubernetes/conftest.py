"""A deployment without a Bento behind it, which takes seconds to build."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from openllm.bento.kubernetes.options import KubernetesOptions
from openllm.bento.kubernetes.workload import Workload
from openllm.config.spec import LLMSpec
from openllm.llm.replica import PlannedEngine, PlannedReplica
from openllm.weights.outline import Outline

IMAGE = f"registry.example/demo@sha256:{'0' * 64}"
Make = Callable[..., Workload]


@pytest.fixture
def make() -> Make:
    """`make("scaler=keda", gpus=2, weights=140 * 10**9)`: options as on the command line; `weights`
    are fetched at start.
    """

    def workload(*texts: str, gpus: int = 0, weights: int = 0) -> Workload:
        spec = LLMSpec(model_id="demo", backend="vllm" if gpus else "pytorch")
        engine = PlannedEngine(spec, Outline({}, {}, weights or 10**9))
        return Workload(
            name="demo",
            tag="demo:0123456789abcdef",
            image=IMAGE,
            replica=PlannedReplica((engine,), gpus, "nvidia-l4" if gpus else None),
            weights=weights,
            options=KubernetesOptions.read(texts),
        )

    return workload
