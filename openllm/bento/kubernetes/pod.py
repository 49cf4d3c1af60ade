"""The pods of a deployment: within the restricted Pod Security Standard, watched by three probes,
given the time to drain.
"""

from __future__ import annotations

import math
from typing import Any

from openllm.bento.image.dockerfile import USER
from openllm.bento.kubernetes.options import SecretKey, Toleration
from openllm.bento.kubernetes.workload import GPU, PORT, Workload
from openllm.config.settings import Settings
from openllm.http.life import BACKSTOP_SECONDS, LAST_WORDS_SECONDS

LOADING_SECONDS = 1800  # a large model may take so long to load before Kubernetes starts it again
NOTICE_SECONDS = 5  # until load balancers have seen that a pod is going
DRAIN_SECONDS = Settings().drain_seconds
# What draining takes at most, and the notice before it.
GRACE_SECONDS = math.ceil(
    NOTICE_SECONDS + DRAIN_SECONDS + 2 * LAST_WORDS_SECONDS + BACKSTOP_SECONDS
)
WEIGHTS = "/weights"  # where weights are kept that are fetched at start
HTTP = "http"  # the port's name
_HUB = SecretKey("huggingface", "token")


def pod_spec(workload: Workload) -> dict[str, Any]:
    """Of one pod that serves."""
    found: dict[str, Any] = {
        "terminationGracePeriodSeconds": GRACE_SECONDS,
        "automountServiceAccountToken": False,
        # A Service called openllm would set OPENLLM_PORT to an address.
        "enableServiceLinks": False,
        "securityContext": security(workload),
        "containers": [container(workload)],
        "volumes": volumes(workload),
        "topologySpreadConstraints": [
            {
                "maxSkew": 1,
                "topologyKey": "kubernetes.io/hostname",
                "whenUnsatisfiable": "ScheduleAnyway",
                "labelSelector": workload.selector(),
            }
        ],
    }
    if selector := node_selector(workload):
        found["nodeSelector"] = selector
    if taints := tolerations(workload):
        found["tolerations"] = taints
    return found


def scraping(workload: Workload) -> dict[str, str]:
    """Of a pod: where Prometheus finds its figures, unless a PodMonitor says so."""
    if workload.options.monitor:
        return {}
    return {
        "prometheus.io/scrape": "true",
        "prometheus.io/port": str(PORT),
        "prometheus.io/path": "/metrics",
    }


def security(workload: Workload) -> dict[str, Any]:
    """What Pod Security's `restricted` asks for of a pod."""
    found: dict[str, Any] = {
        "runAsNonRoot": True,
        "seccompProfile": {"type": "RuntimeDefault"},
    }
    if not workload.options.any_user:
        found |= {"runAsUser": USER, "runAsGroup": USER, "fsGroup": USER}
    return found


def node_selector(workload: Workload) -> dict[str, str]:
    """Labels of the nodes it may run on."""
    gpu_type = workload.replica.gpu_type
    kind = {"openllm.dev/gpu-type": gpu_type} if gpu_type else {}
    return {**kind, **workload.options.node_selector}


def tolerations(workload: Workload) -> list[dict[str, str]]:
    """Nodes with GPUs are often kept for those who ask for GPUs."""
    gpu = [Toleration(GPU, effect="NoSchedule")] if workload.gpus else []
    return [_toleration(one) for one in (*gpu, *workload.options.tolerations)]


def container(workload: Workload) -> dict[str, Any]:
    """The one of a pod that serves."""
    return {
        "name": "openllm",
        "image": workload.image,
        "ports": [{"name": HTTP, "containerPort": PORT}],
        "env": variables(workload),
        "startupProbe": probe("/readyz", period=5, failures=LOADING_SECONDS // 5),
        "readinessProbe": probe("/readyz", period=2, failures=1),
        "livenessProbe": probe("/livez", period=10, failures=3),
        # The pod is taken out of the Service while it still answers.
        "lifecycle": {"preStop": {"exec": {"command": ["sleep", str(NOTICE_SECONDS)]}}},
        "resources": workload.resources(),
        "securityContext": {
            "allowPrivilegeEscalation": False,
            "readOnlyRootFilesystem": True,
            "capabilities": {"drop": ["ALL"]},
        },
        "volumeMounts": mounts(workload),
    }


def variables(workload: Workload) -> list[dict[str, Any]]:
    """Metrics need no key, so that whoever scrapes them has none that could ask the model."""
    found: list[dict[str, Any]] = [
        {"name": "OPENLLM_DRAIN_SECONDS", "value": str(DRAIN_SECONDS)},
        {"name": "OPENLLM_OPEN_METRICS", "value": "true"},
    ]
    options = workload.options
    if options.api_key is not None:
        found.append(_from_secret("OPENLLM_API_KEY", options.api_key))
    if workload.weights:
        found.append({"name": "HF_HOME", "value": f"{WEIGHTS}/huggingface"})
        # Without one, models that are not gated are fetched all the same.
        named = options.hub_token is not None
        found.append(_from_secret("HF_TOKEN", options.hub_token or _HUB, optional=not named))
    return found


def volumes(workload: Workload) -> list[dict[str, Any]]:
    """What a pod writes to: all of it goes with the pod, but for weights that were fetched."""
    found: list[dict[str, Any]] = [
        {"name": "tmp", "emptyDir": {}},
        {"name": "shm", "emptyDir": {"medium": "Memory"}},
    ]
    if workload.weights:
        claim = {"claimName": claim_name(workload)}
        found.append({"name": "weights", "persistentVolumeClaim": claim})
    return found


def mounts(workload: Workload) -> list[dict[str, str]]:
    """Where they are in the container."""
    found = [
        {"name": "tmp", "mountPath": "/tmp"},  # noqa: S108  inside the container
        {"name": "shm", "mountPath": "/dev/shm"},  # noqa: S108
    ]
    if workload.weights:
        found.append({"name": "weights", "mountPath": WEIGHTS})
    return found


def claim_name(workload: Workload) -> str:
    """The PersistentVolumeClaim of the weights that are fetched at start."""
    return f"{workload.name}-weights"


def probe(path: str, period: int, failures: int) -> dict[str, Any]:
    """A GET that must be answered in 5 s."""
    return {
        "httpGet": {"path": path, "port": PORT},
        "periodSeconds": period,
        "timeoutSeconds": 5,
        "failureThreshold": failures,
    }


def _from_secret(name: str, secret: SecretKey, *, optional: bool = False) -> dict[str, Any]:
    reference: dict[str, Any] = {"name": secret.name, "key": secret.key}
    if optional:
        reference["optional"] = True
    return {"name": name, "valueFrom": {"secretKeyRef": reference}}


def _toleration(one: Toleration) -> dict[str, str]:
    found = {"key": one.key, "operator": "Exists" if one.value is None else "Equal"}
    if one.value is not None:
        found["value"] = one.value
    if one.effect is not None:
        found["effect"] = one.effect
    return found
