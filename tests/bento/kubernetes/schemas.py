"""What objects on Kubernetes may hold: the published schemas of 1.30 and later, and of the custom
resources the fields that their definitions have at the places we write to.
"""

from __future__ import annotations

import copy
from collections.abc import Mapping
from typing import Any

import jsonschema
import pytest

VERSIONS = ("1.30", "1.33", "1.37")
_TEXT, _WHOLE, _FLAG = {"type": "string"}, {"type": "integer"}, {"type": "boolean"}
_TEXTS = {"type": "object", "additionalProperties": _TEXT}


def _object(required: str = "", **properties: Any) -> dict[str, Any]:
    """A mapping with these keys and no others; `required` are names of them."""
    return {
        "type": "object",
        "properties": properties,
        "required": required.split(),
        "additionalProperties": False,
    }


def _list(of: Mapping[str, Any]) -> dict[str, Any]:
    return {"type": "array", "items": of, "minItems": 1}


_SELECTOR = _object("matchLabels", matchLabels=_TEXTS)
_POD = {"x-pod": True}  # a PodSpec: checked by the schema of Kubernetes itself
_TEMPLATE = _object("spec", metadata=_object(labels=_TEXTS, annotations=_TEXTS), spec=_POD)
_TARGET = {"apiVersion": _TEXT, "kind": _TEXT, "name": _TEXT}
_QUERY = _object("backend", backend={"const": "prometheus"}, serverAddress=_TEXT, query=_TEXT)
_POD_PARTS = {
    name: {}  # checked as parts of a PodSpec
    for name in (
        "terminationGracePeriodSeconds",
        "automountServiceAccountToken",
        "enableServiceLinks",
        "securityContext",
        "containers",
        "volumes",
        "nodeSelector",
        "tolerations",
    )
}
_FORMAT = {"name": _TEXT, "version": _TEXT}

# By apiVersion and kind: what `spec` may hold.
CUSTOM: Mapping[tuple[str, str], dict[str, Any]] = {
    # github.com/kedacore/keda: config/crd/bases/keda.sh_scaledobjects.yaml
    ("keda.sh/v1alpha1", "ScaledObject"): _object(
        "scaleTargetRef triggers",
        scaleTargetRef=_object("name", **_TARGET),
        minReplicaCount=_WHOLE,
        maxReplicaCount=_WHOLE,
        cooldownPeriod=_WHOLE,
        triggers=_list(_object("type metadata", type=_TEXT, metadata=_TEXTS)),
    ),
    # github.com/kedacore/http-add-on: config/crd/bases/http.keda.sh_httpscaledobjects.yaml
    ("http.keda.sh/v1alpha1", "HTTPScaledObject"): _object(
        "scaleTargetRef",
        hosts=_list(_TEXT),
        scaleTargetRef=_object("service", **_TARGET, service=_TEXT, port=_WHOLE),
        replicas=_object(min=_WHOLE, max=_WHOLE),
        scaledownPeriod=_WHOLE,
        scalingMetric=_object(concurrency=_object(targetValue=_WHOLE)),
    ),
    # github.com/prometheus-operator: monitoring.coreos.com_podmonitors.yaml
    ("monitoring.coreos.com/v1", "PodMonitor"): _object(
        "selector",
        selector=_SELECTOR,
        podMetricsEndpoints=_list(
            _object(port=_TEXT, path=_TEXT, interval={"type": "string", "pattern": "^[0-9]+s$"})
        ),
    ),
    # github.com/kubernetes-sigs/gateway-api-inference-extension, v1
    ("inference.networking.k8s.io/v1", "InferencePool"): _object(
        "selector targetPorts endpointPickerRef",
        selector=_SELECTOR,
        targetPorts={**_list(_object("number", number=_WHOLE)), "maxItems": 8},
        endpointPickerRef=_object(
            "name",
            name=_TEXT,
            port=_object("number", number=_WHOLE),
            failureMode={"enum": ["FailOpen", "FailClose"]},
        ),
    ),
    # github.com/kubernetes-sigs/lws: leaderworkerset.x-k8s.io_leaderworkersets.yaml
    ("leaderworkerset.x-k8s.io/v1", "LeaderWorkerSet"): _object(
        "leaderWorkerTemplate",
        replicas=_WHOLE,
        leaderWorkerTemplate=_object(
            "workerTemplate",
            size=_WHOLE,
            restartPolicy={"enum": ["RecreateGroupOnPodRestart", "None", "Default"]},
            leaderTemplate=_TEMPLATE,
            workerTemplate=_TEMPLATE,
        ),
    ),
    # github.com/kserve/kserve: config/crd/full/serving.kserve.io_servingruntimes.yaml
    ("serving.kserve.io/v1alpha1", "ServingRuntime"): _object(
        "containers",
        supportedModelFormats=_list(_object("name", **_FORMAT, autoSelect=_FLAG)),
        **{name: _POD_PARTS[name] for name in ("containers", "volumes")},
        **{name: _POD_PARTS[name] for name in ("nodeSelector", "tolerations")},
    ),
    # and serving.kserve.io_inferenceservices.yaml
    ("serving.kserve.io/v1beta1", "InferenceService"): _object(
        "predictor",
        predictor=_object(
            minReplicas=_WHOLE,
            maxReplicas=_WHOLE,
            model=_object("modelFormat", modelFormat=_object("name", **_FORMAT), runtime=_TEXT),
            autoScaling=_object(
                metrics=_list(
                    _object(
                        "type",
                        type={"enum": ["Resource", "External", "PodMetric"]},
                        external=_object(metric=_QUERY, target=_object(type=_TEXT, value=_TEXT)),
                    )
                )
            ),
            **{key: part for key, part in _POD_PARTS.items() if key != "containers"},
        ),
    ),
}


def check(manifest: Mapping[str, Any]) -> None:
    """That nothing in it is unknown, of a wrong type or missing, in every version."""
    kind = (manifest["apiVersion"], manifest["kind"])
    if kind not in CUSTOM:
        for version in VERSIONS:
            _validate(manifest, version)
        return
    assert set(manifest) == {"apiVersion", "kind", "metadata", "spec"}
    jsonschema.Draft202012Validator(CUSTOM[kind]).validate(manifest["spec"])
    for pod in _pods(manifest["spec"]):
        plain = {"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "x"}, "spec": pod}
        for version in VERSIONS:
            _validate(plain, version)


def _validate(manifest: Mapping[str, Any], version: str) -> None:
    validator = pytest.importorskip("kubernetes_validate", reason="`make install` brings it")
    validator.validate(copy.deepcopy(dict(manifest)), version, strict=True)


def _pods(spec: Mapping[str, Any]) -> list[dict[str, Any]]:
    """The PodSpecs that a custom resource holds; a part of one is made whole."""
    templates = spec.get("leaderWorkerTemplate", {})
    whole = [part["spec"] for name, part in templates.items() if name.endswith("Template")]
    parts = [
        {name: part[name] for name in _POD_PARTS if name in part}
        for part in (spec, spec.get("predictor", {}))
    ]
    whole += [{"containers": [{"name": "x", "image": "x"}], **part} for part in parts if part]
    return whole
