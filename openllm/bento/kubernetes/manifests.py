"""Plain manifests for the image of a Bento: one YAML file per object, as `kubectl apply -f` takes a
folder of them.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import yaml

from openllm.bento.kubernetes import kserve, objects, operators
from openllm.bento.kubernetes.options import KubernetesOptions
from openllm.bento.kubernetes.workload import Workload
from openllm.config.settings import Settings
from openllm.errors import BuildError


def write_manifests(
    tag: str,
    image: str,
    folder: Path,
    options: KubernetesOptions | None = None,
    settings: Settings | None = None,
) -> list[Path]:
    """Write those of a deployment into `folder`, which is made; their paths. Errors: BuildError,
    ServeError.
    """
    workload = Workload.of(tag, image, options or KubernetesOptions(), settings)
    return write_files(folder, texts(make_manifests(workload)))


def write_kserve(
    tag: str,
    image: str,
    folder: Path,
    options: KubernetesOptions | None = None,
    settings: Settings | None = None,
) -> list[Path]:
    """Write KServe's objects into `folder`, which is made; their paths. Errors: BuildError,
    ServeError.
    """
    workload = Workload.of(tag, image, options or KubernetesOptions(), settings)
    return write_files(folder, texts(make_kserve(workload)))


def make_manifests(workload: Workload) -> dict[str, dict[str, Any]]:
    """The objects by their files' names."""
    options = workload.options
    several = options.hosts > 1
    found = {
        "workers" if several else "deployment": (
            operators.leader_worker_set if several else objects.deployment
        )(workload),
        "service": objects.service(workload),
    }
    if several:
        found["service"]["spec"]["selector"]["openllm.dev/role"] = "leader"
    elif options.scaler == "hpa":
        found["autoscaler"] = objects.autoscaler(workload)
    elif options.scaler == "keda":
        scaled = operators.scaled_object if options.replicas.least else operators.http_scaled_object
        found["keda"] = scaled(workload)
    found["disruption-budget"] = objects.disruption_budget(workload)
    found["network-policy"] = objects.network_policy(workload)
    return {**found, **_further(workload)}


def make_kserve(workload: Workload) -> dict[str, dict[str, Any]]:
    """The objects by their files' names. Errors: BuildError."""
    if workload.options.hosts > 1:
        raise BuildError(
            "KServe's objects are written for replicas of one host.",
            hint="Write plain manifests for several: they are a LeaderWorkerSet.",
        )
    return {
        "runtime": kserve.serving_runtime(workload),
        "inference-service": kserve.inference_service(workload),
        **_further(workload),
    }


def _further(workload: Workload) -> dict[str, dict[str, Any]]:
    found = {}
    if workload.weights:
        found["claim"] = objects.claim(workload)
    if workload.options.monitor:
        found["pod-monitor"] = operators.pod_monitor(workload)
    if workload.options.picker:
        found["inference-pool"] = operators.inference_pool(workload)
    return found


def texts(manifests: Mapping[str, Mapping[str, Any]]) -> dict[str, str]:
    """YAML by file name."""
    return {f"{name}.yaml": dump(manifest) for name, manifest in manifests.items()}


def dump(manifest: Mapping[str, Any]) -> str:
    """As YAML, in the order of its keys, nothing by reference."""
    plain: str = yaml.dump(manifest, Dumper=_Dumper, sort_keys=False, width=10_000)
    return plain


def write_files(folder: Path, files: Mapping[str, str]) -> list[Path]:
    """Write them below `folder`; their paths. Errors: BuildError."""
    written = []
    try:
        for name, text in files.items():
            path = folder / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(text, encoding="utf-8")
            written.append(path)
    except OSError as error:
        raise BuildError(
            f"{folder} cannot be written: {error.strerror}.", hint="Name another directory."
        ) from None
    return written


class _Dumper(yaml.SafeDumper):
    """Quotes also the texts that Go's YAML reads as numbers or booleans, and PyYAML does not."""

    def ignore_aliases(self, data: Any) -> bool:
        return True


# 1e3, 0o17, 0B1, 1_0e5: whatever is made of what numbers are made of
_Dumper.add_implicit_resolver(
    "tag:yaml.org,2002:float",
    re.compile(r"[-+]?\.?[0-9][0-9a-fA-FxXoO_.+-]*\Z"),
    list("-+.0123456789"),
)
_Dumper.add_implicit_resolver("tag:yaml.org,2002:bool", re.compile(r"[yYnN]\Z"), list("yYnN"))
