"""What a deployment consists of, read off a Bento: its image, what a pod takes, what it needs from
outside.
"""

from __future__ import annotations

import math
from typing import Any, Self

import attrs

from openllm.bento.image.dockerfile import check_reference
from openllm.bento.inspect import bento_replica, inspect_bento
from openllm.bento.kubernetes.options import KubernetesOptions
from openllm.bento.pack.names import dns_label
from openllm.bento.pack.resources import require_fit
from openllm.config.settings import Settings
from openllm.errors import BuildError
from openllm.llm.replica import PlannedReplica

PORT = 3000
GPU = "nvidia.com/gpu"
HEADROOM = 2  # times the memory that a pod asks for it may use before it is ended
_GIB = 2**30
_CLAIM_ROOM = 1.1  # times the weights: what the Hub's client keeps beside them


@attrs.frozen
class Workload:
    """One deployment. `name` is a DNS label; `replica` is what a pod, or the hosts of one that is
    spread over several, runs; `weights` are bytes fetched at start, 0 where the image has all.
    """

    name: str
    tag: str
    image: str
    replica: PlannedReplica
    weights: int
    options: KubernetesOptions

    @classmethod
    def of(
        cls, tag: str, image: str, options: KubernetesOptions, settings: Settings | None = None
    ) -> Self:
        """Errors: BuildError, also where the plan says that the GPUs are too few; ServeError."""
        found = inspect_bento(tag)
        check_reference(image)
        outside = [model for model in found.models if not model.inside]
        if unknown := [model.tag for model in outside if not model.size]:
            raise BuildError(
                f"{found.tag} does not say how large {unknown[0]} is, so nobody knows how much"
                " memory to ask for.",
                hint="Build it again with this openllm.",
            )
        replica = bento_replica(found)
        require_fit(replica, found.tag, settings or Settings())
        return cls(
            name=dns_label(found.tag.partition(":")[0]),
            tag=found.tag,
            image=image,
            replica=replica,
            weights=sum(model.size for model in outside),
            options=options,
        )

    @property
    def gpus(self) -> int:
        """GPUs of one pod. Errors: BuildError when the hosts of a replica cannot share them
        evenly.
        """
        if self.replica.gpus % self.options.hosts:
            raise BuildError(
                f"{self.replica.gpus} GPU(s) cannot be shared by {self.options.hosts} hosts.",
                hint="Give as many to each, by resources in the recipe or another number.",
            )
        return self.replica.gpus // self.options.hosts

    def labels(self) -> dict[str, str]:
        """What selects its pods."""
        return {"app.kubernetes.io/name": self.name, "app.kubernetes.io/managed-by": "openllm"}

    def selector(self) -> dict[str, Any]:
        """Its pods, as the specs of other objects name them."""
        return {"matchLabels": self.labels()}

    def manifest(
        self, version: str, kind: str, spec: dict[str, Any], **metadata: str | dict[str, str]
    ) -> dict[str, Any]:
        """One of its objects; `version` is that of its API, `metadata` is said over the usual."""
        return {
            "apiVersion": version,
            "kind": kind,
            "metadata": {"name": self.name, "labels": self.labels(), **metadata},
            "spec": spec,
        }

    def resources(self) -> dict[str, Any]:
        """Requests and limits of one pod: memory by the plan of its engines. Errors: BuildError."""
        gib = math.ceil(self.replica.memory / _GIB)
        requests: dict[str, Any] = {"cpu": "1", "memory": f"{gib}Gi"}
        limits: dict[str, Any] = {"memory": f"{HEADROOM * gib}Gi"}
        if self.gpus:
            requests[GPU] = limits[GPU] = self.gpus
        return {"requests": requests, "limits": limits}

    def claim(self) -> str:
        """How much disk the weights take that are fetched at start, as Kubernetes writes it."""
        return f"{math.ceil(self.weights * _CLAIM_ROOM / _GIB) + 1}Gi"
