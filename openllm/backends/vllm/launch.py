"""From a spec to a running AsyncLLM: everything that can be wrong is said before weights are
loaded.
"""

from __future__ import annotations

import contextlib
import importlib.util
import logging
import math
import multiprocessing
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import attrs

from openllm.backends.base import BackendInfo
from openllm.backends.stages import Stages
from openllm.backends.vllm.adapters import Adapters, adapter_ranks
from openllm.backends.vllm.arguments import NAMES, Arguments, Machine, engine_arguments
from openllm.backends.vllm.environment import ALWAYS, prepare_environment, take_whole_steps
from openllm.backends.vllm.failures import import_error, start_error
from openllm.backends.vllm.guard import Guard
from openllm.backends.vllm.launched import Launched
from openllm.backends.vllm.options import convert_options
from openllm.backends.vllm.pooling import own_stages, pooler_config, score_overrides
from openllm.backends.vllm.stats import StatsBoard, stat_logger
from openllm.backends.vllm.stream import shorten
from openllm.backends.vllm.structure import Structures, follow_by_xgrammar
from openllm.backends.vllm.usable import Installation, find_installation
from openllm.config.settings import Settings
from openllm.config.spec import LLMSpec
from openllm.errors import ConfigurationError, MissingDependency, WeightsError
from openllm.hardware.fit import Room, check_room
from openllm.hardware.gpus import Gpu, visible_gpus
from openllm.hardware.memory import free_memory, machine_memory
from openllm.hardware.shape import model_shape, plain_attention
from openllm.media.processor import looks_at_images
from openllm.weights.checkpoint import weights_size
from openllm.weights.code import runs_code
from openllm.weights.endings import end_token_ids
from openllm.weights.hub import config_errors
from openllm.weights.modules import read_modules
from openllm.weights.resolve import read_config, resolve_weights

logger = logging.getLogger(__name__)
# What vLLM raises while it reads its configuration and brings the engine up.
STARTING: tuple[type[Exception], ...] = (
    ImportError,
    OSError,
    ValueError,
    TypeError,
    KeyError,
    RuntimeError,
    NotImplementedError,
    AssertionError,
)


def launch(spec: LLMSpec, weights_dir: Path, settings: Settings, board: StatsBoard) -> Launched:
    """Bring the engine up. Blocks for seconds to minutes; not for an event loop's thread.

    Errors: MissingDependency, ConfigurationError, EngineDead.
    """
    arguments = plan_arguments(spec, weights_dir, settings)
    for line in arguments.lines:
        logger.info(line)
    try:
        with _quiet():
            config = engine_config(arguments)
            _check_workers(config)
        follow_by_xgrammar(config)
        _let_streams_finish(config, arguments, settings.drain_seconds)
        _check_room(config, weights_dir, settings.visible_devices)
        engine, guard = _guarded(config, board)
    except STARTING + config_errors() as error:
        raise start_error(error) from error
    info = _info(engine, config, weights_dir)
    return Launched(
        engine,
        config,
        shorten(engine),
        info,
        Adapters(engine, _slots(config), weights_dir),
        guard,
        Structures(engine, config, info.eos_token_ids),
        Stages(own_stages(weights_dir) if spec.task == "embed" else ()),
    )


def engine_args_class(spec: LLMSpec, settings: Settings) -> tuple[type, Installation]:
    """vLLM's AsyncEngineArgs, imported with the environment that `spec` needs. Errors:
    MissingDependency.
    """
    installation = find_installation()
    if installation is None or installation.fault:
        why = installation.fault if installation else "vLLM is not installed"
        raise MissingDependency(f"{why}.", hint="Run: pip install vllm")
    prepare_environment(installation.platform, spec.device, settings.visible_devices)
    try:
        from vllm.engine.arg_utils import AsyncEngineArgs
    except STARTING as error:
        raise import_error(error) from error
    return AsyncEngineArgs, installation


def plan_arguments(spec: LLMSpec, weights_dir: Path, settings: Settings) -> Arguments:
    """The engine arguments for `spec` on this machine. Imports vLLM. Errors: MissingDependency,
    ConfigurationError.
    """
    _refuse_second_start()
    declared, installation = engine_args_class(spec, settings)
    gpus = visible_gpus(settings.visible_devices) if installation.platform == "cuda" else ()
    machine = Machine(installation.platform, len(gpus), free_memory())
    said = attrs.evolve(spec, engine_args=convert_options(spec.engine_args, declared))
    config = read_config(weights_dir)
    ranks = adapter_ranks(spec.adapters, settings.bentoml_home)
    arguments = engine_arguments(said, weights_dir, model_shape(config), machine, ranks)
    named = {name: arguments.values[name] for name in NAMES.values() if name in arguments.values}
    arguments.values.update(convert_options(named, declared))
    if spec.trust_remote_code:
        arguments.values["trust_remote_code"] = runs_code(weights_dir, trusted=True)
    if spec.speculative_model is not None:
        draft = _draft(spec, spec.speculative_model, settings.bentoml_home)
        arguments.values["speculative_config"]["model"] = str(draft)
    if spec.task == "embed" and "pooler_config" not in arguments.values:
        arguments.values["pooler_config"] = pooler_config(weights_dir, config)
    if spec.task == "classify" and "hf_overrides" not in arguments.values:
        arguments.values.update(_score(spec, weights_dir, config))
    return arguments


def _score(spec: LLMSpec, weights_dir: Path, config: Mapping[str, Any]) -> dict[str, Any]:
    """What makes a reranker of a language model that answers yes or no."""
    score = read_modules(weights_dir).score
    if score is None:
        return {}
    from transformers import AutoTokenizer

    trusted = runs_code(weights_dir, spec.trust_remote_code)
    tokenizer = AutoTokenizer.from_pretrained(
        weights_dir, local_files_only=True, trust_remote_code=trusted
    )
    ids = [token for token in (score.true_token, score.false_token) if token is not None]
    tokens = tokenizer.convert_ids_to_tokens(ids)
    return {"hf_overrides": score_overrides(score, config, tokens), "convert": "classify"}


def _draft(spec: LLMSpec, model_id: str, home: Path) -> Path:
    """The directory of the speculative model, found and checked like the model's. Errors:
    ConfigurationError.
    """
    try:
        draft = LLMSpec(model_id=model_id, trust_remote_code=spec.trust_remote_code)
        return resolve_weights(draft, home)
    except (ConfigurationError, WeightsError) as error:
        raise ConfigurationError(
            f"The speculative model {model_id!r} cannot be used: {error.message}",
            hint=error.hint,
            param="speculative_model",
        ) from error


@contextlib.contextmanager
def _quiet() -> Iterator[None]:
    """Keep vLLM from logging what it raises as well, with tracebacks and a line per attempt."""
    from vllm import envs

    vllm = logging.getLogger("vllm")
    level = vllm.level
    if ALWAYS["VLLM_LOGGING_LEVEL"] == envs.VLLM_LOGGING_LEVEL:  # else the user asked to see more
        vllm.setLevel(logging.CRITICAL)
    try:
        yield
    finally:
        vllm.setLevel(level)


def engine_config(arguments: Arguments) -> Any:
    """The VllmConfig that `vllm serve` would resolve from the same arguments. Errors: those of
    vLLM.
    """
    from vllm.engine.arg_utils import AsyncEngineArgs
    from vllm.usage.usage_lib import UsageContext

    # batch sizes follow from the usage context: without it an engine takes a fraction of the
    # requests at once
    return AsyncEngineArgs(**arguments.values).create_engine_config(UsageContext.OPENAI_API_SERVER)


def _let_streams_finish(config: Any, arguments: Arguments, seconds: float) -> None:
    """Give the engine's process the time to drain that the server has.

    Ctrl+C, and BentoML's supervisor, signal that process too; by vLLM's default it then aborts
    every live request.
    """
    if hasattr(config, "shutdown_timeout") and "shutdown_timeout" not in arguments.values:
        config.shutdown_timeout = math.ceil(seconds)


def _refuse_second_start() -> None:
    """The engine's process imports the main script again; a script without a guard would start
    another engine there.
    """
    if getattr(multiprocessing.current_process(), "_inheriting", False):
        raise ConfigurationError(
            "The engine's process runs this script again and would start a second engine.",
            hint='Put what the script does below `if __name__ == "__main__":`.',
        )


def _guarded(config: Any, board: StatsBoard) -> tuple[Any, Guard]:
    guard = Guard()
    try:
        with guard:
            return _start(config, board), guard
    except BaseException:
        guard.release()
        raise


def _start(config: Any, board: StatsBoard) -> Any:
    from vllm.usage.usage_lib import UsageContext
    from vllm.v1.engine.async_llm import AsyncLLM

    take_whole_steps()
    return AsyncLLM.from_vllm_config(
        config,
        usage_context=UsageContext.OPENAI_API_SERVER,
        stat_loggers=[stat_logger(board)],
        disable_log_stats=True,  # vLLM's own loggers; ours stays on
    )


def _check_room(config: Any, weights_dir: Path, mask: str | None) -> None:
    model, cache, parallel = config.model_config, config.cache_config, config.parallel_config
    fields = read_config(weights_dir)
    if not plain_attention(fields) or model.runner_type == "pooling":
        return
    dtype = str(model.dtype if cache.cache_dtype == "auto" else cache.cache_dtype).removeprefix(
        "torch."
    )
    room = Room(
        max_model_len=model.max_model_len,
        cache_dtype=dtype,
        cache_bytes=cache.kv_cache_memory_bytes,
        block=cache.block_size or 16,
        share=cache.gpu_memory_utilization,
        tensor=parallel.tensor_parallel_size,
        pipeline=parallel.pipeline_parallel_size,
        blocks=cache.num_gpu_blocks_override,
    )
    check_room(room, model_shape(fields), weights_size(weights_dir), _devices(config, mask))


def _devices(config: Any, mask: str | None) -> tuple[Gpu, ...]:
    """Whose memory the engine takes: the GPUs, or this machine's as if it were one; with Ray it is
    not known.
    """
    if config.parallel_config.distributed_executor_backend == "ray":
        return ()
    if config.device_config.device_type == "cpu":
        memory = machine_memory()
        return (Gpu(0, "CPU", memory.total, memory.free),) if memory else ()
    return visible_gpus(mask)


def _check_workers(config: Any) -> None:
    """On the CPU each worker is bound to a NUMA node of its own; vLLM itself looks only in the
    engine's process.
    """
    alone = config.device_config.device_type != "cpu" or config.parallel_config.world_size == 1
    if not alone and importlib.util.find_spec("vllm.utils.ompmultiprocessing") is not None:
        from vllm.utils.ompmultiprocessing import OMPProcessManager

        OMPProcessManager(config)


def _slots(config: Any) -> int:
    """Adapters that may be mounted: on the CPU one slot stays empty for the rows of the base
    model.
    """
    if config.lora_config is None:
        return 0
    return int(config.lora_config.max_loras) - (
        1 if config.device_config.device_type == "cpu" else 0
    )


def _info(engine: Any, config: Any, weights_dir: Path) -> BackendInfo:
    model = config.model_config
    return BackendInfo(
        max_model_len=model.max_model_len,
        vocab_size=model.get_vocab_size(),
        eos_token_ids=_ends(engine, model, weights_dir),
        dtype=str(model.dtype).removeprefix("torch."),
        device=str(config.device_config.device_type),
        max_concurrency=config.scheduler_config.max_num_seqs,
        adapter_slots=_slots(config),
        adapter_rank=config.lora_config.max_lora_rank if config.lora_config is not None else None,
        priorities=config.scheduler_config.policy == "priority",
        images=_takes_images(model, weights_dir),
    )


def _takes_images(model: Any, weights_dir: Path) -> bool:
    """Whether vLLM looks at images with this model, and has not been told to leave that."""
    options = getattr(model, "multimodal_config", None)
    if not model.is_multimodal_model or options is None or not looks_at_images(weights_dir):
        return False
    alone = getattr(options, "language_model_only", False)
    return not alone and options.get_limit_per_prompt("image") > 0


def _ends(engine: Any, model: Any, weights_dir: Path) -> tuple[int, ...]:
    """The tokens that end a turn: those that any of the directory's files names."""
    found = [getattr(engine.tokenizer, "eos_token_id", None)]
    also = model.try_get_generation_config().get("eos_token_id")
    found += also if isinstance(also, list) else [also]
    found += [end for end in end_token_ids(weights_dir) if end < model.get_vocab_size()]
    return tuple(dict.fromkeys(token for token in found if token is not None))
