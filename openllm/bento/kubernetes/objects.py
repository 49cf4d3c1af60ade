"""The objects of a deployment that every cluster knows: Deployment, Service, autoscaler, disruption
budget, network policy, claim.
"""

from __future__ import annotations

from typing import Any

from openllm.bento.kubernetes.pod import (
    HTTP,
    LOADING_SECONDS,
    claim_name,
    pod_spec,
    scraping,
)
from openllm.bento.kubernetes.workload import PORT, Workload

WAITING_PER_POD = 4  # requests in the queue of a pod above which another one is started
METRIC = "openllm_requests_waiting"
CLIENTS = {"openllm.dev/client": "true"}  # of namespaces whose pods may ask
_DNS, _HTTPS = 53, 443


def deployment(workload: Workload) -> dict[str, Any]:
    """Where an autoscaler says how many there are, the Deployment does not: each `apply` would set
    them back.
    """
    options = workload.options
    spec: dict[str, Any] = {"replicas": options.replicas.least} if options.scaler == "none" else {}
    # A GPU is seldom free for a second copy, so the old pod goes first where there is one.
    surge = {"maxSurge": 0, "maxUnavailable": 1}
    if not workload.gpus:
        surge = {"maxSurge": 1, "maxUnavailable": 0}
    spec |= {
        "selector": workload.selector(),
        "progressDeadlineSeconds": LOADING_SECONDS + 60,
        "strategy": {"type": "RollingUpdate", "rollingUpdate": surge},
        "template": template(workload),
    }
    return workload.manifest(
        "apps/v1", "Deployment", spec, annotations={"openllm.dev/bento": workload.tag}
    )


def template(workload: Workload) -> dict[str, Any]:
    """Of the pods that serve."""
    metadata: dict[str, Any] = {"labels": workload.labels()}
    if found := scraping(workload):
        metadata["annotations"] = found
    return {"metadata": metadata, "spec": pod_spec(workload)}


def service(workload: Workload) -> dict[str, Any]:
    """One address in the cluster, at port 80."""
    spec = {
        "type": "ClusterIP",
        "selector": workload.labels(),
        "ports": [{"name": HTTP, "port": 80, "targetPort": HTTP}],
    }
    return workload.manifest("v1", "Service", spec)


def autoscaler(workload: Workload) -> dict[str, Any]:
    """A HorizontalPodAutoscaler on the queue's length; a metrics adapter must bring it to
    Kubernetes.
    """
    metric = {
        "metric": {"name": METRIC},
        "target": {"type": "AverageValue", "averageValue": str(WAITING_PER_POD)},
    }
    spec = {
        "scaleTargetRef": {
            "apiVersion": "apps/v1",
            "kind": "Deployment",
            "name": workload.name,
        },
        "minReplicas": workload.options.replicas.least,
        "maxReplicas": workload.options.replicas.most,
        "metrics": [{"type": "Pods", "pods": metric}],
        "behavior": {"scaleDown": {"stabilizationWindowSeconds": 300}},
    }
    return workload.manifest("autoscaling/v2", "HorizontalPodAutoscaler", spec)


def disruption_budget(workload: Workload) -> dict[str, Any]:
    """A node that is emptied takes one pod at a time; a single one holds it up no longer than it
    drains.
    """
    spec = {"maxUnavailable": 1, "selector": workload.selector()}
    return workload.manifest("policy/v1", "PodDisruptionBudget", spec)


def network_policy(workload: Workload) -> dict[str, Any]:
    """Who may ask: pods of the same namespace, and of those that carry the label CLIENTS. What a
    pod may ask: names, those again, and the Hub where weights are fetched from there.
    """
    near = [{"podSelector": {}}, {"namespaceSelector": {"matchLabels": CLIENTS}}]
    names = [{"protocol": kind, "port": _DNS} for kind in ("UDP", "TCP")]
    egress: list[dict[str, Any]] = [{"ports": names}, {"to": near}]
    if workload.weights:
        egress.append({"ports": [{"protocol": "TCP", "port": _HTTPS}]})
    ingress: list[dict[str, Any]] = [
        {"from": near, "ports": [{"protocol": "TCP", "port": PORT}]},
    ]
    if workload.options.hosts > 1:  # which find each other at ports of their own
        own = [{"podSelector": workload.selector()}]
        ingress.append({"from": own})
    spec = {
        "podSelector": workload.selector(),
        "policyTypes": ["Ingress", "Egress"],
        "ingress": ingress,
        "egress": egress,
    }
    return workload.manifest("networking.k8s.io/v1", "NetworkPolicy", spec)


def claim(workload: Workload) -> dict[str, Any]:
    """The disk that keeps weights fetched at start, shared where there are several pods."""
    options = workload.options
    several = options.replicas.most > 1 or options.hosts > 1
    spec: dict[str, Any] = {
        "accessModes": ["ReadWriteMany" if several else "ReadWriteOnce"],
        "resources": {"requests": {"storage": workload.claim()}},
    }
    if options.storage_class:
        spec["storageClassName"] = options.storage_class
    return workload.manifest("v1", "PersistentVolumeClaim", spec, name=claim_name(workload))
