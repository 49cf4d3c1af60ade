"""What one replica of a deployment takes of a machine that is not here: the plans of its engines,
one after the other.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Self

import attrs

from openllm.config.spec import LLMSpec
from openllm.errors import ConfigurationError
from openllm.facts import facts_of
from openllm.hardware.gpus import Gpu, gpus_needed, replica_gpus, share_replicas
from openllm.hardware.kinds import known_gpu
from openllm.hardware.memory import MachineMemory
from openllm.hardware.plan import Devices
from openllm.llm.planning import Plan, plan_at, with_usual_context
from openllm.weights.outline import Outline

AMPLE = MachineMemory(2**50, 2**50)  # of a machine that is chosen by what a replica takes
MOST_COUNTED = 8  # GPUs of one kind that are counted up to where nobody says how many


@attrs.frozen
class PlannedEngine:
    """One engine of a replica. `outline` says what its model is made of, None: nobody here knows;
    `draft` are the bytes of the weights of a draft model.
    """

    spec: LLMSpec  # which names its backend
    outline: Outline | None
    draft: int = 0


@attrs.frozen
class PlannedReplica:
    """The engines of one replica, and how many GPUs of which kind it runs on."""

    engines: tuple[PlannedEngine, ...]
    gpus: int
    gpu_type: str | None = None

    @classmethod
    def of(cls, engines: Sequence[PlannedEngine], gpus: int | None, gpu_type: str | None) -> Self:
        """`gpus` and `gpu_type` are what was said of them. A number that was not is what the specs
        ask for, and of a kind that is known as many as the plan needs.
        """
        least = replica_gpus([engine.spec for engine in engines])
        found = cls(tuple(engines), least if gpus is None else gpus, gpu_type)
        kind = known_gpu(gpu_type or "")
        uses = any(facts_of(engine.spec.backend or "").uses_gpu for engine in engines)
        if gpus is not None or kind is None or not uses:
            return found
        counts = range(max(least, 1), MOST_COUNTED + 1)
        enough = (at for at in counts if not found.why_not(Devices(AMPLE, kind.gpus(at))))
        return attrs.evolve(found, gpus=next(enough, max(least, 1)))

    @property
    def is_known(self) -> bool:
        """Whether the shape of each model is known, not only its size."""
        return all(engine.outline and engine.outline.config for engine in self.engines)

    @property
    def is_measured(self) -> bool:
        """Whether somebody has measured what each of its engines takes."""
        return all(facts_of(each.spec.backend or "").memory is not None for each in self.engines)

    @property
    def place(self) -> Devices:
        """Its GPUs as they are known from here, in a machine with memory for everything."""
        kind = known_gpu(self.gpu_type or "")
        size = AMPLE.total
        unknown = tuple(Gpu(at, "GPU", size, size) for at in range(self.gpus))
        return Devices(AMPLE, kind.gpus(self.gpus) if kind else unknown)

    @property
    def memory(self) -> int:
        """Bytes of the machine's own memory that it asks for: where there are GPUs its processes
        and the weights that pass through, else all of it. Errors: ConfigurationError where the
        specs ask for more GPUs than it has.
        """
        return sum(made.memory.machine for made in self.plans(self.place))

    def why_not(self, place: Devices) -> str | None:
        """Why it does not fit `place`, in numbers; None: it does, as far as is known."""
        try:
            made = next((made for made in self.plans(place) if _is_refused(made)), None)
        except ConfigurationError as error:
            return error.message.rstrip(".")
        return made.why_not.rstrip(".") if made else None

    def plans(self, place: Devices) -> Iterator[Plan]:
        """The plan of each engine whose model is known, in what those before it leave of `place`.
        Errors: ConfigurationError.
        """
        gpus, memory = list(place.gpus), place.memory
        for engine, share in self._shares(len(gpus)):
            if engine.outline is None:
                continue
            mine = gpus if share is None else [gpus[at] for at in share]
            there = attrs.evolve(place, gpus=tuple(mine), memory=memory)
            spec = with_usual_context(engine.spec, engine.outline.config)
            made = plan_at(spec, engine.outline, there, engine.draft)
            yield made
            taken = {gpu.index for gpu in made.memory.place.gpus}
            gpus = [_after(gpu, made) if gpu.index in taken else gpu for gpu in gpus]
            memory = attrs.evolve(memory, free=max(memory.free - made.memory.machine, 0))

    def _shares(self, count: int) -> Iterator[tuple[PlannedEngine, list[int] | None]]:
        """Each engine, replicas of one included, with the numbers of the GPUs that are its own of
        `count`; None: it shares all of them. Errors: ConfigurationError.
        """
        specs = [engine.spec for engine in self.engines]
        wanted = sum(gpus_needed(spec) for spec in specs)
        if wanted > count and all(spec.replicas == 1 for spec in specs):
            yield from ((engine, None) for engine in self.engines)
            return
        shares = share_replicas(specs, [str(at) for at in range(count)])
        for engine, masks in zip(self.engines, shares, strict=True):
            for mask in masks:
                yield engine, None if mask is None else _numbers(mask)


def _is_refused(made: Plan) -> bool:
    """Whether it is known not to fit, by the shape of its model."""
    return bool(made.outline.config) and not (made.fits or made.unsure)


def _numbers(mask: str) -> list[int]:
    return [int(at) for at in mask.split(",") if not at.startswith("-")]


def _after(gpu: Gpu, made: Plan) -> Gpu:
    """What is left of it: an engine fills what it may take with keys and values."""
    return attrs.evolve(gpu, free=max(gpu.free - made.memory.room, 0))
