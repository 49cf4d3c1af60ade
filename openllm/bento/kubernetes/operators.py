"""Objects that need something installed in the cluster: KEDA, Prometheus' operator, the Gateway
API's inference extension, LeaderWorkerSet.
"""

from __future__ import annotations

from typing import Any

from openllm.bento.image.dockerfile import BENTO
from openllm.bento.kubernetes.objects import METRIC, WAITING_PER_POD, template
from openllm.bento.kubernetes.pod import HTTP
from openllm.bento.kubernetes.workload import PORT, Workload
from openllm.bento.serving.project import KEEP_ALIVE_SECONDS

SCRAPE_SECONDS = 15
COOLDOWN_SECONDS = 300  # without work, until the last replica ends
RAY_PORT = 6379
_RAY = "/app/.venv/bin/ray"


def scaled_object(workload: Workload) -> dict[str, Any]:
    """KEDA's, on the queue of all pods as Prometheus has it."""
    spec = {
        "scaleTargetRef": {"name": workload.name},
        "minReplicaCount": workload.options.replicas.least,
        "maxReplicaCount": workload.options.replicas.most,
        "cooldownPeriod": COOLDOWN_SECONDS,
        "triggers": [
            {
                "type": "prometheus",
                "metadata": {
                    "serverAddress": workload.options.prometheus,
                    "query": waiting(workload),
                    "threshold": str(WAITING_PER_POD),
                },
            }
        ],
    }
    return workload.manifest("keda.sh/v1alpha1", "ScaledObject", spec)


def waiting(workload: Workload) -> str:
    """The query for the requests that wait in all pods."""
    return f'sum({METRIC}{{pod=~"{workload.name}-.*"}}) or vector(0)'


def http_scaled_object(workload: Workload) -> dict[str, Any]:
    """KEDA's HTTP add-on: its interceptor takes requests while there is no replica, keeps them
    until one is ready, and counts them. It is asked by the host name of the Service.
    """
    replicas = workload.options.replicas
    spec = {
        "hosts": [workload.name],
        "scaleTargetRef": {
            "apiVersion": "apps/v1",
            "kind": "Deployment",
            "name": workload.name,
            "service": workload.name,
            "port": 80,
        },
        "replicas": {"min": replicas.least, "max": replicas.most},
        "scaledownPeriod": COOLDOWN_SECONDS,
        "scalingMetric": {"concurrency": {"targetValue": WAITING_PER_POD}},
    }
    return workload.manifest("http.keda.sh/v1alpha1", "HTTPScaledObject", spec)


def pod_monitor(workload: Workload) -> dict[str, Any]:
    """Tells Prometheus' operator to read /metrics of each pod, which needs no key."""
    spec = {
        "selector": workload.selector(),
        "podMetricsEndpoints": [
            {"port": HTTP, "path": "/metrics", "interval": f"{SCRAPE_SECONDS}s"}
        ],
    }
    return workload.manifest("monitoring.coreos.com/v1", "PodMonitor", spec)


def inference_pool(workload: Workload) -> dict[str, Any]:
    """The pods among which an endpoint picker, the Service that is named, chooses for a gateway."""
    spec = {
        "selector": workload.selector(),
        "targetPorts": [{"number": PORT}],
        "endpointPickerRef": {
            "name": workload.options.picker,
            "port": {"number": 9002},
            # Any pod answers, if less well chosen.
            "failureMode": "FailOpen",
        },
    }
    return workload.manifest("inference.networking.k8s.io/v1", "InferencePool", spec)


def leader_worker_set(workload: Workload) -> dict[str, Any]:
    """Replicas of several machines each: the leader begins a Ray cluster and serves, the others
    join it. A lost one takes its group along, which begins anew.
    """
    options = workload.options
    leader = template(workload)
    head = leader["spec"]["containers"][0]
    begin = " ".join([_RAY, "start", "--head", f"--port={RAY_PORT}"])
    kept = " ".join(["--timeout-keep-alive", str(KEEP_ALIVE_SECONDS)])
    head["command"] = ["sh", "-c"]
    head["args"] = [f"{begin} && exec /app/.venv/bin/python -m bentoml serve {BENTO} {kept}"]
    head["env"].append({"name": "OPENLLM_DISTRIBUTED_EXECUTOR", "value": "ray"})
    worker = template(workload)
    # Services and figures are the leader's.
    worker["metadata"] = {"labels": {**workload.labels(), "openllm.dev/role": "worker"}}
    leader["metadata"]["labels"] = {**workload.labels(), "openllm.dev/role": "leader"}
    joins = worker["spec"]["containers"][0]
    for part in ("ports", "startupProbe", "readinessProbe", "livenessProbe", "lifecycle"):
        joins.pop(part)
    joins["command"] = ["sh", "-c"]
    # LeaderWorkerSet sets the variable in each of its pods.
    address = f"--address=$(LWS_LEADER_ADDRESS):{RAY_PORT}"
    joins["args"] = [" ".join(["exec", _RAY, "start", address, "--block"])]
    spec = {
        "replicas": options.replicas.least,
        "leaderWorkerTemplate": {
            "size": options.hosts,
            "restartPolicy": "RecreateGroupOnPodRestart",
            "leaderTemplate": leader,
            "workerTemplate": worker,
        },
    }
    return workload.manifest(
        "leaderworkerset.x-k8s.io/v1",
        "LeaderWorkerSet",
        spec,
        annotations={"openllm.dev/bento": workload.tag},
    )
