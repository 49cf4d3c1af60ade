"""What can be said of a deployment on Kubernetes: KEY=VALUE texts, read and checked before anything
is written.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Self

import attrs

from openllm.discovery import did_you_mean
from openllm.errors import BuildError, option

SCALERS = ("hpa", "keda", "none")
PROMETHEUS = "http://prometheus-operated.monitoring.svc:9090"
_NAME = re.compile(r"[a-z0-9](?:[-a-z0-9.]{0,251}[a-z0-9])?")  # of an object, RFC 1123
_LABEL = re.compile(r"(?:[A-Za-z0-9](?:[-_.A-Za-z0-9]{0,61}[A-Za-z0-9])?)?")
_KEY = re.compile(rf"(?:{_NAME.pattern}/)?[A-Za-z0-9](?:[-_.A-Za-z0-9]{{0,61}}[A-Za-z0-9])?")
_URL = re.compile(r"https?://[A-Za-z0-9.:/_\[\]-]+")
_EFFECTS = ("NoSchedule", "PreferNoSchedule", "NoExecute")
_SWITCH = {"true": True, "false": False}


@attrs.frozen
class Replicas:
    """How many pods: the autoscaler stays within these. 0 at least: none while nobody asks, which
    only KEDA can do.
    """

    least: int = 1
    most: int = 3

    def __attrs_post_init__(self) -> None:
        if not 0 <= self.least <= self.most or self.most < 1:
            raise BuildError(
                f"From {self.least} to {self.most} replicas cannot be.",
                hint="Give 1 <= least <= most.",
            )


@attrs.frozen
class SecretKey:
    """One key of a Secret."""

    name: str
    key: str


@attrs.frozen
class Toleration:
    """A taint that a pod bears; `value` None: any, `effect` None: all."""

    key: str
    value: str | None = None
    effect: str | None = None


@attrs.frozen
class KubernetesOptions:
    """How a Bento is run on Kubernetes."""

    replicas: Replicas = attrs.field(factory=Replicas)
    scaler: str = "hpa"  # one of SCALERS
    prometheus: str = PROMETHEUS  # that KEDA asks
    monitor: bool = False  # a PodMonitor of Prometheus' operator
    picker: str | None = None  # the Service of an endpoint picker: an InferencePool
    hosts: int = 1  # machines of one replica: more make a LeaderWorkerSet
    any_user: bool = False  # the cluster chooses the user's id, as OpenShift does
    api_key: SecretKey | None = None
    hub_token: SecretKey | None = None
    storage_class: str | None = None
    node_selector: Mapping[str, str] = attrs.field(factory=dict)
    tolerations: tuple[Toleration, ...] = ()

    def __attrs_post_init__(self) -> None:
        if self.replicas.least == 0 and self.scaler != "keda":
            raise BuildError(
                "Only KEDA starts the first replica when somebody asks.",
                hint=f"Add {option('k8s_set', 'scaler=keda')}, or keep one replica.",
            )
        if self.hosts > 1 and self.replicas.least == 0:
            raise BuildError("A replica of several hosts cannot be scaled to none.")

    @classmethod
    def read(cls, texts: Sequence[str]) -> Self:
        """Options as KEY=VALUE texts; `node` and `toleration` may be repeated. Errors:
        BuildError.
        """
        said: dict[str, Any] = {}
        nodes: dict[str, str] = {}
        tolerations: list[Toleration] = []
        for text in texts:
            key, equals, value = text.partition("=")
            if not equals or not value:
                raise BuildError(f"{text[:80]!r} is not KEY=VALUE.", hint=_known())
            if key == "node":
                name, _, label = value.partition("=")
                nodes[_check(name, _KEY, text)] = _check(label, _LABEL, text)
            elif key == "toleration":
                tolerations.append(_toleration(value, text))
            elif key in _READERS:
                field, read = _READERS[key]
                said[field] = read(value, text)
            else:
                hint = did_you_mean(key, KEYS) or _known()
                raise BuildError(f"There is no {key[:40]!r} to set.", hint=hint)
        return cls(node_selector=nodes, tolerations=tuple(tolerations), **said)


def _known() -> str:
    return f"There are {', '.join(KEYS)}."


def _check(value: str, pattern: re.Pattern[str], text: str) -> str:
    if not pattern.fullmatch(value):
        raise BuildError(f"{text[:120]!r} cannot be: {value[:60]!r} is no such name.")
    return value


def _toleration(value: str, text: str) -> Toleration:
    """`KEY`, `KEY=VALUE`, and either with `:EFFECT`."""
    rest, _, effect = value.partition(":")
    if effect and effect not in _EFFECTS:
        raise BuildError(f"{text[:120]!r} has no effect.", hint=f"Take {', '.join(_EFFECTS)}.")
    key, equals, taint = rest.partition("=")
    return Toleration(
        _check(key, _KEY, text),
        _check(taint, _LABEL, text) if equals else None,
        effect or None,
    )


def _replicas(value: str, text: str) -> Replicas:
    found = re.fullmatch(r"([0-9]{1,4})(?:\.\.([0-9]{1,4}))?", value)
    if found is None:
        raise BuildError(f"{text[:80]!r} says no replicas.", hint="Write replicas=1..3, or 2.")
    return Replicas(int(found[1]), int(found[2] or found[1]))


def _scaler(value: str, text: str) -> str:
    if value not in SCALERS:
        raise BuildError(f"{text[:80]!r} names no scaler.", hint=f"Take {', '.join(SCALERS)}.")
    return value


def _hosts(value: str, text: str) -> int:
    if not re.fullmatch(r"[1-9][0-9]{0,2}", value):
        raise BuildError(f"{text[:80]!r} says no number of hosts.")
    return int(value)


def _flag(value: str, text: str) -> bool:
    if value not in _SWITCH:
        raise BuildError(f"{text[:80]!r} is neither true nor false.")
    return _SWITCH[value]


def _named(value: str, text: str) -> str:
    return _check(value, _NAME, text)


def _address(value: str, text: str) -> str:
    return _check(value, _URL, text)


def _secret(default: str) -> Callable[[str, str], SecretKey]:
    """Of `NAME` or `NAME:KEY`."""

    def read(value: str, text: str) -> SecretKey:
        name, _, key = value.partition(":")
        return SecretKey(_check(name, _NAME, text), _check(key or default, _LABEL, text))

    return read


_READERS: Mapping[str, tuple[str, Callable[[str, str], Any]]] = {
    "replicas": ("replicas", _replicas),
    "scaler": ("scaler", _scaler),
    "prometheus": ("prometheus", _address),
    "monitor": ("monitor", _flag),
    "picker": ("picker", _named),
    "hosts": ("hosts", _hosts),
    "any-user": ("any_user", _flag),
    "api-key": ("api_key", _secret("api-key")),
    "hf-token": ("hub_token", _secret("token")),
    "storage-class": ("storage_class", _named),
}
KEYS = (*_READERS, "node", "toleration")
