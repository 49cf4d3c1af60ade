"""A model that does not fit the memory is refused before its weights are loaded, with numbers and
what would make it fit.
"""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

import attrs

from openllm.config.settings import Settings
from openllm.config.sizes import readable_size
from openllm.config.spec import LLMSpec
from openllm.errors import ConfigurationError, WeightsError, option
from openllm.facts import facts_of
from openllm.llm.planning import Plan, plan_directory

FORCE = "force"  # the setting that lets one try it all the same


def require_room(served: Iterable[tuple[LLMSpec, Path]], settings: Settings) -> None:
    """Refuse models, each with the directory of its weights and the backend in its spec, that do
    not fit: those that run on the processor together in what the machine, or its container, has
    free; one that runs on GPUs in what is free there now, whatever else is to run on them. What is
    said of the context is left to the engine, which fits that to what the weights leave. Errors:
    ConfigurationError.
    """
    if settings.force:
        return
    taken = 0  # of the machine's memory, by those before
    for spec, directory in served:
        if spec.backend is None or facts_of(spec.backend).memory is None:
            continue
        # other hosts' GPUs are not seen from here, and what an engine's own options do is its own
        if spec.distributed_executor == "ray" or spec.engine_args:
            continue
        try:
            made = plan_directory(spec, directory, settings)
        except WeightsError:  # pickled, or damaged: loading explains it
            continue
        if made.unsure:
            continue
        memory = made.memory
        on_gpu = memory.place.on_gpu
        if (0 if on_gpu else taken) + memory.least > memory.room:
            raise _refusal(made, 0 if on_gpu else taken)
        taken += 0 if on_gpu else memory.least


def _refusal(made: Plan, taken: int) -> ConfigurationError:
    memory = made.memory
    where = "of the GPU" if memory.place.on_gpu else "of memory"
    beside = f" ({readable_size(taken)} of it for the models before)" if taken else ""
    helps = [
        option(field, str(getattr(spec, field)))
        for field, spec in made.helps
        if field in attrs.fields_dict(LLMSpec)
    ]
    better = f"Give {' or '.join(helps)}, " if helps else "Take a smaller model, "
    return ConfigurationError(
        f"{made.spec.model_id} does not fit: loading it takes {readable_size(memory.least)}"
        f" ({readable_size(memory.weights)} of weights in {made.spec.quantization or made.dtype}),"
        f" and {readable_size(memory.room)} {where} are free{beside}.",
        hint=f"{better}or try it all the same with {option(FORCE)}.",
    )
