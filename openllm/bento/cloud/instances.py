"""The machines that BentoCloud has to offer, with prices, and which of them a Bento fits on, by the
plan of its engines.
"""

from __future__ import annotations

import math
import re
from collections.abc import Sequence
from typing import Any, Self

import attrs

from openllm.bento.cloud.account import Account, conversation
from openllm.bento.cloud.deployment import Deployable, DeployOptions
from openllm.bento.cloud.push import Say
from openllm.bento.inspect import bento_replica, inspect_bento
from openllm.config.sizes import UNITS
from openllm.discovery import did_you_mean
from openllm.errors import DeployError, call, option
from openllm.hardware.gpus import Gpu
from openllm.hardware.kinds import known_gpu
from openllm.hardware.memory import MachineMemory
from openllm.hardware.plan import Devices
from openllm.llm.replica import AMPLE, PlannedReplica

_QUANTITY = re.compile(r"([0-9]+(?:\.[0-9]+)?) ?([KMGT]i|[kKMGT]|)B?")
_NO_LIST = ("403", "404")  # codes of an account, or a server, without a list
_NUMBER = re.compile(r"[0-9]+(?:\.[0-9]+)?")


@attrs.frozen
class InstanceType:
    """One kind of machine. `gpu_memory` is that of one GPU, in bytes; None: the cloud does not
    say.
    """

    name: str
    price: str  # as the cloud writes it
    cpu: str
    memory: int | None
    gpus: int
    gpu_type: str
    gpu_memory: int | None
    description: str

    @classmethod
    def read(cls, schema: Any) -> Self:
        """From BentoML's ResourceInstanceSchema."""
        requests = schema.config.resources.requests if schema.config.resources else None
        gpu = schema.config.gpu_config
        return cls(
            name=schema.display_name,
            price=schema.config.price or "",
            cpu=(requests and requests.cpu) or "",
            memory=read_quantity(requests and requests.memory),
            gpus=int(read_quantity(requests and requests.gpu) or 0),
            gpu_type=(gpu and gpu.type) or "",
            gpu_memory=read_quantity(gpu and gpu.memory),
            description=schema.description or "",
        )

    @property
    def cost(self) -> float:
        """The number in the price; infinite where there is none."""
        found = _NUMBER.search(self.price)
        return float(found[0]) if found else math.inf


def list_instance_types(account: Account, cluster: str | None) -> tuple[InstanceType, ...]:
    """What there is, cheapest first. Errors: DeployError."""
    with conversation(account, "list the instance types"):
        found = [
            InstanceType.read(schema)
            for schema in account.client.client.v2.list_instance_types(cluster)
        ]
    return tuple(sorted(found, key=lambda kind: (kind.cost, kind.name)))


def find_instance_type(kinds: Sequence[InstanceType], name: str) -> InstanceType:
    """Errors: DeployError that names the nearest."""
    for kind in kinds:
        if kind.name == name:
            return kind
    hint = did_you_mean(name, [kind.name for kind in kinds], 1, cutoff=0.4)
    raise DeployError(
        f"BentoCloud has no instance type {name[:60]!r}.",
        hint=hint or f"{call('list_instance_types')} lists them.",
    )


def why_not(kind: InstanceType, need: PlannedReplica) -> str | None:
    """The first reason why a replica does not fit on `kind`; None: it does, as far as is known."""
    if kind.gpus < need.gpus:
        return f"needs {_gpus(need.gpus)}, has {kind.gpus or 'none'}"
    if need.gpus and need.gpu_type and kind.gpu_type != need.gpu_type:
        return f"needs {need.gpu_type}, has {kind.gpu_type or 'another GPU'}"
    if not need.is_known:
        return None
    place = _place(kind, need.gpus)
    return "its memory is not known" if place is None else need.why_not(place)


def _place(kind: InstanceType, gpus: int) -> Devices | None:
    """The machine with so many of its GPUs; None: the cloud does not say how much memory it has."""
    if not gpus:
        return Devices(MachineMemory(kind.memory, kind.memory)) if kind.memory else None
    known = known_gpu(kind.gpu_type)
    sizes = [kind.gpu_memory, known.gpus(1)[0].total if known else None]
    size = min((size for size in sizes if size), default=None)
    if size is None:
        return None
    return Devices(AMPLE, tuple(Gpu(at, kind.gpu_type, size, size) for at in range(gpus)))


def cheapest(kinds: Sequence[InstanceType], need: PlannedReplica) -> InstanceType:
    """Errors: DeployError when none fits; it says why the largest does not."""
    for kind in sorted(kinds, key=lambda kind: (kind.cost, kind.name)):
        if why_not(kind, need) is None:
            return kind
    if not kinds:
        raise DeployError(
            "BentoCloud offers this account no instance types.",
            hint=f"Name one with {option('instance_type')}.",
        )
    largest = max(kinds, key=lambda kind: (kind.gpus * (kind.gpu_memory or 0), kind.memory or 0))
    raise DeployError(
        f"No instance type fits; {largest.name}, the largest, does not: {why_not(largest, need)}.",
        hint=f"Quantize the model, or name one with {option('instance_type')} all the same.",
    )


def choose(account: Account, bento: Deployable, options: DeployOptions, say: Say) -> DeployOptions:
    """`options` with an instance type: the one they name, which must exist, or the cheapest that
    fits.

    Where the account may not list them, or nobody here knows the Bento, BentoCloud decides. Errors:
    DeployError.
    """
    try:
        kinds = list_instance_types(account, options.cluster)
    except DeployError as error:
        if error.code not in _NO_LIST:
            raise
        say(
            f"{error.message}"
            f" {'It is not checked' if options.instance_type else 'BentoCloud decides'}."
        )
        return options
    need = bento_replica(inspect_bento(bento.tag)) if bento.local else None
    if options.instance_type is not None:
        kind = find_instance_type(kinds, options.instance_type)
        if need is not None and (reason := why_not(kind, need)) is not None:
            say(f"{kind.name} may not do: {reason}.")
        return options
    if need is None:
        say("The Bento is not here to be measured: BentoCloud decides on the instance type.")
        return options
    kind = cheapest(kinds, need)
    say(
        f"Taking {kind.name}{f' at {kind.price}' if kind.price else ''}, the cheapest that it"
        " fits on."
    )
    return attrs.evolve(options, instance_type=kind.name)


def read_quantity(text: str | None) -> int | None:
    """Bytes, or a plain number, in Kubernetes' notation (24Gi, 500M, 1) or in people's (24 GB);
    None if in neither.
    """
    found = _QUANTITY.fullmatch(text.strip()) if text else None
    return int(float(found[1]) * UNITS[f"{found[2]}B".replace("k", "K")]) if found else None


def _gpus(count: int) -> str:
    return "1 GPU" if count == 1 else f"{count} GPUs"
