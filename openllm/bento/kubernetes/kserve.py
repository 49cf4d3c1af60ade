"""A Bento's image for KServe: a ServingRuntime that says how it runs, and an InferenceService that
runs it.
"""

from __future__ import annotations

from typing import Any

from openllm.bento.kubernetes.objects import WAITING_PER_POD
from openllm.bento.kubernetes.operators import waiting
from openllm.bento.kubernetes.pod import pod_spec
from openllm.bento.kubernetes.workload import Workload

FORMAT = "openllm"  # the model format that the runtime serves
CONTAINER = "kserve-container"  # the name by which KServe knows it
_POD = (
    "terminationGracePeriodSeconds",
    "automountServiceAccountToken",
    "enableServiceLinks",
    "securityContext",
)


def serving_runtime(workload: Workload) -> dict[str, Any]:
    """How the image runs: the container of a pod, its volumes, and the nodes that it may run on."""
    pod = pod_spec(workload)
    (container,) = pod["containers"]
    spec: dict[str, Any] = {
        "supportedModelFormats": [{"name": FORMAT, "version": "1", "autoSelect": False}],
        "containers": [{**container, "name": CONTAINER}],
        "volumes": pod["volumes"],
    }
    spec |= {key: pod[key] for key in ("nodeSelector", "tolerations") if key in pod}
    return workload.manifest("serving.kserve.io/v1alpha1", "ServingRuntime", spec)


def inference_service(workload: Workload) -> dict[str, Any]:
    """As a Deployment of its own (not by Knative, which knows no queue of a model's). KEDA scales
    it where that is the scaler, else it keeps the least number of replicas.
    """
    options = workload.options
    pod = pod_spec(workload)
    keda = options.scaler == "keda"
    predictor: dict[str, Any] = {
        "minReplicas": options.replicas.least,
        "maxReplicas": options.replicas.most if keda else options.replicas.least,
        **{key: pod[key] for key in _POD},
        "model": {"modelFormat": {"name": FORMAT, "version": "1"}, "runtime": workload.name},
    }
    if keda:
        predictor["autoScaling"] = {
            "metrics": [
                {
                    "type": "External",
                    "external": {
                        "metric": {
                            "backend": "prometheus",
                            "serverAddress": options.prometheus,
                            "query": waiting(workload),
                        },
                        "target": {"type": "Value", "value": str(WAITING_PER_POD)},
                    },
                }
            ]
        }
    annotations = {
        "serving.kserve.io/deploymentMode": "RawDeployment",
        "serving.kserve.io/autoscalerClass": "keda" if keda else "none",
        "openllm.dev/bento": workload.tag,
    }
    spec = {"predictor": predictor}
    return workload.manifest(
        "serving.kserve.io/v1beta1", "InferenceService", spec, annotations=annotations
    )
