"""A Helm chart of the same objects as the plain manifests, with what differs between
installations as values.

Each value has for its default what this Bento needs.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import attrs

from openllm.bento.kubernetes import objects, operators, pod
from openllm.bento.kubernetes.manifests import dump, write_files
from openllm.bento.kubernetes.options import SCALERS, KubernetesOptions, Replicas
from openllm.bento.kubernetes.workload import Workload
from openllm.config.settings import Settings
from openllm.errors import BuildError

# A text that the YAML of a template holds in the place of a value, and what becomes of it.
_YAML = re.compile(r"^( *)(- )?([\w.-]+): '@@yaml ([^@]+)@@'$", re.MULTILINE)
_IF = re.compile(r"^( *[\w.-]+): '@@if ([^@?]+) \? ([^@]+)@@'$", re.MULTILINE)
_BARE = re.compile(r"'@@bare ([^@]+)@@'")
_TEXT = re.compile(r"@@([^@]+)@@")
_RELEASE = "@@.Release.Name@@"
_NOTES = """\
Once its pods are ready, {{ .Release.Name }} serves at
http://{{ .Release.Name }}.{{ .Release.Namespace }}.svc:{{ .Values.service.port }}

  kubectl rollout status -n {{ .Release.Namespace }} deployment/{{ .Release.Name }}
"""


def write_chart(
    tag: str,
    image: str,
    folder: Path,
    options: KubernetesOptions | None = None,
    settings: Settings | None = None,
) -> list[Path]:
    """Write a chart into `folder`, which is made; its files. Errors: BuildError, ServeError."""
    workload = Workload.of(tag, image, options or KubernetesOptions(), settings)
    return write_files(folder, make_chart(workload))


def make_chart(workload: Workload) -> dict[str, str]:
    """The chart's files by name. Errors: BuildError."""
    if workload.options.hosts > 1:
        raise BuildError(
            "The chart is written for replicas of one host.",
            hint="Write plain manifests for several: they are a LeaderWorkerSet.",
        )
    version = workload.tag.partition(":")[2]
    about = {
        "apiVersion": "v2",
        "name": workload.name,
        "description": f"{workload.tag}, packed by openllm",
        "type": "application",
        "version": f"1.0.0-b{version}",
        "appVersion": version,
        "kubeVersion": ">=1.30.0-0",
    }
    files = {
        "Chart.yaml": dump(about),
        "values.yaml": dump(_values(workload)),
        "values.schema.json": json.dumps(_SCHEMA, indent=2) + "\n",
        "templates/NOTES.txt": _NOTES,
    }
    for part, (condition, manifest) in _templates(workload).items():
        text = _template(manifest)
        if condition:
            text = f"{{{{- if {condition} }}}}\n{text}{{{{- end }}}}\n"
        files[f"templates/{part}.yaml"] = text
    return files


def _values(workload: Workload) -> dict[str, Any]:
    options = workload.options
    found: dict[str, Any] = {
        "image": workload.image,
        "replicas": attrs.asdict(options.replicas),
        "scaler": options.scaler,
        "prometheus": options.prometheus,
        "monitor": options.monitor,
        "networkPolicy": True,
        "disruptionBudget": True,
        "service": {"type": "ClusterIP", "port": 80},
        "env": pod.variables(workload),
        "resources": workload.resources(),
        "podSecurityContext": pod.security(workload),
        "nodeSelector": pod.node_selector(workload),
        "tolerations": pod.tolerations(workload),
        "picker": options.picker or "",
    }
    if workload.weights:
        claim = objects.claim(workload)["spec"]
        found["storage"] = {
            "size": workload.claim(),
            "accessModes": claim["accessModes"],
            "className": options.storage_class or "",
        }
    return found


def _templates(workload: Workload) -> dict[str, tuple[str, dict[str, Any]]]:
    """Each object with values in their places, and the condition on which it is there."""
    options = attrs.evolve(
        workload.options,
        scaler="keda",
        replicas=Replicas(1, 1),
        prometheus="@@.Values.prometheus@@",
        picker="@@.Values.picker@@",
    )
    slots = attrs.evolve(workload, name=_RELEASE, image="@@.Values.image@@", options=options)
    keda = 'and (eq .Values.scaler "keda") '
    found = {
        "deployment": ("", _deployment(slots)),
        "service": ("", _service(slots)),
        "autoscaler": ('eq .Values.scaler "hpa"', _scaled(objects.autoscaler(slots))),
        "keda": (
            f"{keda}(gt (int .Values.replicas.least) 0)",
            _scaled(operators.scaled_object(slots)),
        ),
        "keda-http": (
            f"{keda}(eq (int .Values.replicas.least) 0)",
            _scaled(operators.http_scaled_object(slots)),
        ),
        "disruption-budget": (".Values.disruptionBudget", objects.disruption_budget(slots)),
        "network-policy": (".Values.networkPolicy", objects.network_policy(slots)),
        "pod-monitor": (".Values.monitor", operators.pod_monitor(slots)),
        "inference-pool": (".Values.picker", operators.inference_pool(slots)),
    }
    if workload.weights:
        found["claim"] = ("", _claim(slots))
    return found


def _deployment(workload: Workload) -> dict[str, Any]:
    manifest = objects.deployment(workload)
    spec = manifest["spec"]
    none = 'eq .Values.scaler "none"'
    manifest["spec"] = {"replicas": f"@@if {none} ? .Values.replicas.least@@", **spec}
    inside = spec["template"]["spec"]
    (container,) = inside["containers"]
    for part in ("env", "resources"):
        container[part] = f"@@yaml .Values.{part}@@"
    for part, value in (
        ("securityContext", "podSecurityContext"),
        ("nodeSelector", "nodeSelector"),
        ("tolerations", "tolerations"),
    ):
        inside[part] = f"@@yaml .Values.{value}@@"
    return manifest


def _service(workload: Workload) -> dict[str, Any]:
    manifest = objects.service(workload)
    manifest["spec"]["type"] = "@@.Values.service.type@@"
    manifest["spec"]["ports"][0]["port"] = "@@bare .Values.service.port@@"
    return manifest


def _scaled(manifest: dict[str, Any]) -> dict[str, Any]:
    """Least and most are values, by whatever names the object has for them."""
    names = {"minReplicas", "minReplicaCount", "maxReplicas", "maxReplicaCount"}
    spec = manifest["spec"]
    for name in names & set(spec):
        spec[name] = f"@@bare .Values.replicas.{'least' if name.startswith('min') else 'most'}@@"
    if "replicas" in spec:
        spec["replicas"] = {
            "min": "@@bare .Values.replicas.least@@",
            "max": "@@bare .Values.replicas.most@@",
        }
    return manifest


def _claim(workload: Workload) -> dict[str, Any]:
    manifest = objects.claim(workload)
    manifest["spec"] = {
        "accessModes": "@@yaml .Values.storage.accessModes@@",
        "resources": {"requests": {"storage": "@@.Values.storage.size@@"}},
        "storageClassName": "@@if .Values.storage.className ? .Values.storage.className | quote@@",
    }
    return manifest


def _template(manifest: Mapping[str, Any]) -> str:
    """A manifest's YAML with Helm's actions in the places of the texts that stand for values."""

    def block(found: re.Match[str]) -> str:
        indent, dash, key, value = found.groups(default="")
        deep = len(indent) + len(dash) + 2
        return f"{indent}{dash}{key}:\n{{{{ toYaml {value} | indent {deep} }}}}"

    text = _YAML.sub(block, dump(manifest))
    text = _IF.sub(r"{{- if \2 }}\n\1: {{ \3 }}\n{{- end }}", text)
    text = _BARE.sub(r"{{ \1 }}", text)
    return _TEXT.sub(r"{{ \1 }}", text)


_COUNT = {"type": "integer", "minimum": 0}
_SCHEMA: Mapping[str, Any] = {
    "$schema": "https://json-schema.org/draft-07/schema#",
    "type": "object",
    "required": ["image", "replicas", "scaler"],
    "properties": {
        "image": {"type": "string", "minLength": 1},
        "replicas": {
            "type": "object",
            "required": ["least", "most"],
            "properties": {"least": _COUNT, "most": {"type": "integer", "minimum": 1}},
        },
        "scaler": {"enum": list(SCALERS)},
        "prometheus": {"type": "string"},
        "monitor": {"type": "boolean"},
        "networkPolicy": {"type": "boolean"},
        "disruptionBudget": {"type": "boolean"},
        "picker": {"type": "string"},
        "env": {"type": "array", "items": {"type": "object", "required": ["name"]}},
        "resources": {"type": "object"},
        "podSecurityContext": {"type": "object"},
        "nodeSelector": {"type": "object"},
        "tolerations": {"type": "array", "items": {"type": "object"}},
    },
}
