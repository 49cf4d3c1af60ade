"""Plain Kubernetes manifests for the image of a Bento: Deployment, Service and an autoscaler on our
own metrics.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import attrs
import yaml

from openllm.bento.image.dockerfile import USER, check_reference
from openllm.bento.inspect import inspect_bento
from openllm.bento.pack.names import dns_label
from openllm.bento.pack.resources import Resources
from openllm.config.settings import Settings
from openllm.config.spec import LLMSpec
from openllm.errors import BuildError
from openllm.hardware.footprint import HEADROOM, Footprint
from openllm.http.life import BACKSTOP_SECONDS, LAST_WORDS_SECONDS

PORT = 3000
LOADING_SECONDS = 1800  # a large model may take so long to load before Kubernetes starts it again
NOTICE_SECONDS = 5  # until load balancers have seen that a pod is going
DRAIN_SECONDS = Settings().drain_seconds
# What draining takes at most, and the notice before it.
GRACE_SECONDS = math.ceil(
    NOTICE_SECONDS + DRAIN_SECONDS + 2 * LAST_WORDS_SECONDS + BACKSTOP_SECONDS
)
WAITING_PER_POD = "4"  # requests in the queue of a pod above which another one is started
METRIC = "openllm_requests_waiting"
_GIB = 2**30


@attrs.frozen
class Replicas:
    """How many pods: the autoscaler stays within these."""

    least: int = 1
    most: int = 3

    def __attrs_post_init__(self) -> None:
        if not 1 <= self.least <= self.most:
            raise BuildError(
                f"From {self.least} to {self.most} replicas cannot be.",
                hint="Give 1 <= least <= most.",
            )


def write_manifests(
    tag: str, image: str, folder: Path, replicas: Replicas | None = None
) -> list[Path]:
    """Write one YAML file per object into `folder`, which is made; their paths. Errors: BuildError,
    ServeError.
    """
    written = []
    manifests = make_manifests(tag, image, replicas or Replicas())
    try:
        folder.mkdir(parents=True, exist_ok=True)
        for name, manifest in manifests.items():
            path = folder / f"{name}.yaml"
            path.write_text(yaml.safe_dump(manifest, sort_keys=False), encoding="utf-8")
            written.append(path)
    except OSError as error:
        raise BuildError(
            f"{folder} cannot be written: {error.strerror}.", hint="Name another directory."
        ) from None
    return written


def make_manifests(tag: str, image: str, replicas: Replicas) -> dict[str, dict[str, Any]]:
    """The objects by kind, in lower case. Errors: BuildError, ServeError."""
    found = inspect_bento(tag)
    check_reference(image)
    specs = [LLMSpec.from_dict(spec) for spec in found.specs]
    resources = Resources.read(found.resources)
    name = dns_label(found.tag.partition(":")[0])
    footprint = Footprint.of(specs, sum(found.sizes.values()), resources.gpu)
    container = _container(name, image, footprint)
    return {
        "deployment": _deployment(name, found.tag, container, resources, replicas),
        "service": _service(name),
        "autoscaler": _autoscaler(name, replicas),
    }


def _deployment(
    name: str, tag: str, container: Mapping[str, Any], resources: Resources, replicas: Replicas
) -> dict[str, Any]:
    pod: dict[str, Any] = {
        "terminationGracePeriodSeconds": GRACE_SECONDS,
        "automountServiceAccountToken": False,
        "securityContext": {
            "runAsNonRoot": True,
            "runAsUser": USER,
            "runAsGroup": USER,
            "fsGroup": USER,
        },
        "containers": [container],
        "volumes": [
            {"name": "tmp", "emptyDir": {}},
            {"name": "shm", "emptyDir": {"medium": "Memory"}},
        ],
    }
    if resources.gpu_type:
        pod["nodeSelector"] = {"openllm.dev/gpu-type": resources.gpu_type}
    annotations = {
        "prometheus.io/scrape": "true",
        "prometheus.io/port": str(PORT),
        "prometheus.io/path": "/metrics",
    }
    return {
        "apiVersion": "apps/v1",
        "kind": "Deployment",
        "metadata": {
            "name": name,
            "labels": _labels(name),
            "annotations": {"openllm.dev/bento": tag},
        },
        "spec": {
            "replicas": replicas.least,
            "selector": {"matchLabels": _labels(name)},
            "progressDeadlineSeconds": LOADING_SECONDS + 60,
            # A GPU is seldom free for a second copy, so the old pod goes first where there is one.
            "strategy": {
                "type": "RollingUpdate",
                "rollingUpdate": {"maxSurge": 0, "maxUnavailable": 1},
            },
            "template": {
                "metadata": {"labels": _labels(name), "annotations": annotations},
                "spec": pod,
            },
        },
    }


def _container(name: str, image: str, footprint: Footprint) -> dict[str, Any]:
    gib = math.ceil(footprint.host_memory / _GIB)
    requests: dict[str, Any] = {"cpu": "1", "memory": f"{gib}Gi"}
    limits: dict[str, Any] = {"memory": f"{HEADROOM * gib}Gi"}
    if footprint.gpus:
        requests["nvidia.com/gpu"] = limits["nvidia.com/gpu"] = footprint.gpus
    return {
        "name": name,
        "image": image,
        "ports": [{"name": "http", "containerPort": PORT}],
        "env": [{"name": "OPENLLM_DRAIN_SECONDS", "value": str(DRAIN_SECONDS)}],
        "startupProbe": _probe("/readyz", period=5, failures=LOADING_SECONDS // 5),
        "readinessProbe": _probe("/readyz", period=2, failures=1),
        "livenessProbe": _probe("/livez", period=10, failures=3),
        # The pod is taken out of the Service while it still answers.
        "lifecycle": {"preStop": {"exec": {"command": ["sleep", str(NOTICE_SECONDS)]}}},
        "resources": {"requests": requests, "limits": limits},
        "securityContext": {
            "allowPrivilegeEscalation": False,
            "readOnlyRootFilesystem": True,
            "capabilities": {"drop": ["ALL"]},
        },
        "volumeMounts": [
            {"name": "tmp", "mountPath": "/tmp"},  # noqa: S108  inside the container
            {"name": "shm", "mountPath": "/dev/shm"},  # noqa: S108
        ],
    }


def _probe(path: str, period: int, failures: int) -> dict[str, Any]:
    return {
        "httpGet": {"path": path, "port": "http"},
        "periodSeconds": period,
        "timeoutSeconds": 5,
        "failureThreshold": failures,
    }


def _service(name: str) -> dict[str, Any]:
    return {
        "apiVersion": "v1",
        "kind": "Service",
        "metadata": {"name": name, "labels": _labels(name)},
        "spec": {
            "type": "ClusterIP",
            "selector": _labels(name),
            "ports": [{"name": "http", "port": 80, "targetPort": "http"}],
        },
    }


def _autoscaler(name: str, replicas: Replicas) -> dict[str, Any]:
    """A HorizontalPodAutoscaler on the queue's length; a metrics adapter must bring it to
    Kubernetes.
    """
    metric = {
        "metric": {"name": METRIC},
        "target": {"type": "AverageValue", "averageValue": WAITING_PER_POD},
    }
    return {
        "apiVersion": "autoscaling/v2",
        "kind": "HorizontalPodAutoscaler",
        "metadata": {"name": name, "labels": _labels(name)},
        "spec": {
            "scaleTargetRef": {"apiVersion": "apps/v1", "kind": "Deployment", "name": name},
            "minReplicas": replicas.least,
            "maxReplicas": replicas.most,
            "metrics": [{"type": "Pods", "pods": metric}],
            "behavior": {"scaleDown": {"stabilizationWindowSeconds": 300}},
        },
    }


def _labels(name: str) -> dict[str, str]:
    return {"app.kubernetes.io/name": name, "app.kubernetes.io/managed-by": "openllm"}
