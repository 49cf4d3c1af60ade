"""From a spec and a directory of weights to a model on its device, and the limits the engine works
within.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import attrs
import torch

from openllm.backends.pytorch.loading.quantization import quantization_config
from openllm.backends.pytorch.loading.reading import read_weights, require_all, truly_missing
from openllm.backends.pytorch.options import ATTENTION, QUANTIZATION_CONFIG, refuse_unsupported
from openllm.config.sizes import write_size
from openllm.config.spec import LLMSpec
from openllm.errors import (
    ConfigurationError,
    UnsupportedCombination,
    WeightsError,
    option,
)
from openllm.hardware.cache import CacheLayout
from openllm.hardware.fit import MOST_CPU_CACHE, cpu_cache, gpu_cache, require_sequence
from openllm.hardware.memory import free_memory
from openllm.hardware.shape import has_alibi
from openllm.media.processor import looks_at_images
from openllm.weights.checkpoint import tensor_shapes
from openllm.weights.code import runs_code
from openllm.weights.endings import end_token_ids
from openllm.weights.hub import config_errors
from openllm.weights.modules import read_modules

DTYPES = {
    "float32": torch.float32,
    "float": torch.float32,
    "bfloat16": torch.bfloat16,
    "float16": torch.float16,
    "half": torch.float16,
}
GPU_SHARE = 0.9  # of a GPU's memory, where nothing is said
SLAB_BLOCK, SLAB_SPARE = 8, 1  # slabs are multiples of 8 tokens and have a token of scratch
SOLO_SEQUENCES = 4  # at once, when each has a cache of its own that no budget counts


@attrs.frozen
class LoadedModel:
    """A model ready to compute, and what its files say of it."""

    model: Any
    device: torch.device
    dtype: torch.dtype
    vocab_size: int  # ids below it may come in
    logit_width: int  # of what comes out: usually the same
    context: int  # tokens
    eos_token_ids: tuple[int, ...]


@attrs.frozen
class EngineLimits:
    """How much the engine takes on: all from the spec, else from the device."""

    max_model_len: int  # tokens
    max_num_seqs: int  # choices at once
    prefill_tokens: int  # prompt tokens computed in one step
    kv_bytes: int
    slab_length: int  # tokens of the shortest slab
    slab_rows: int  # rows of a slab at most
    prefix_caching: bool


def choose_device(spec: LLMSpec) -> torch.device:
    """The spec's device, else cuda, else mps, else cpu; a GPU always by its number. Errors:
    ConfigurationError.
    """
    name = spec.device
    if name is None or name == "auto":
        there = {"cuda": torch.cuda.is_available(), "mps": torch.backends.mps.is_available()}
        name = next((kind for kind, found in there.items() if found), "cpu")
    try:
        device = torch.device(name)
    except RuntimeError:
        device = torch.device("meta")
    usable = {
        "cpu": True,
        "cuda": torch.cuda.is_available() and (device.index or 0) < torch.cuda.device_count(),
        "mps": torch.backends.mps.is_available(),
    }
    if not usable.get(device.type, False):
        here = [kind for kind, there in usable.items() if there]
        raise ConfigurationError(
            f"There is no device {name!r} here.", hint=f"Usable: {', '.join(here)}.", param="device"
        )
    # torch.cuda.set_device does not take a device without a number
    return torch.device("cuda", 0) if device.type == "cuda" and device.index is None else device


def choose_dtype(spec: LLMSpec, stored: torch.dtype | None, device: torch.device) -> torch.dtype:
    """The spec's dtype; for "auto" the checkpoint's where the device is fast at it.

    On CUDA and MPS a 16-bit checkpoint stays as it is and fp32 becomes bf16 (fp16 where there is no
    bf16). On a CPU bf16 stays only with AVX512-BF16 or AMX instructions; everything else is fp32.
    Errors: ConfigurationError.
    """
    if spec.dtype != "auto":
        if spec.dtype not in DTYPES:
            raise ConfigurationError(
                f"dtype {spec.dtype!r} is unknown.",
                hint=f"Use auto or {', '.join(DTYPES)}.",
                param="dtype",
            )
        return DTYPES[spec.dtype]
    if device.type == "cpu":
        return torch.bfloat16 if stored == torch.bfloat16 and _has_fast_bf16() else torch.float32
    if stored in (torch.bfloat16, torch.float16):
        return stored
    if device.type == "cuda" and not torch.cuda.is_bf16_supported():
        return torch.float16
    return torch.bfloat16


def _has_fast_bf16() -> bool:
    probes = ("_is_avx512_bf16_supported", "_is_amx_tile_supported")
    return any(probe() for name in probes if (probe := getattr(torch.cpu, name, None)) is not None)


def read_model_config(weights_dir: Path, spec: LLMSpec) -> Any:
    """transformers' configuration of the directory. Errors: WeightsError."""
    from transformers import AutoConfig

    expected: tuple[type[Exception], ...] = (
        OSError,
        ValueError,
        KeyError,
        AttributeError,
        TypeError,
    )
    try:
        return AutoConfig.from_pretrained(
            weights_dir,
            trust_remote_code=runs_code(weights_dir, spec.trust_remote_code),
            local_files_only=True,
        )
    except expected + config_errors() as error:
        reason = (
            str(error).strip().partition("\n")[0].replace(str(weights_dir), "the model's directory")
        )
        raise WeightsError(
            f"The model's configuration cannot be read: {reason}",
            hint="Check config.json and the transformers version.",
        ) from error


def load_model(spec: LLMSpec, weights_dir: Path) -> LoadedModel:
    """Read weights (safetensors only unless remote code is trusted) onto the device.

    Errors: WeightsError, ConfigurationError, MissingDependency.
    """
    refuse_unsupported(spec)
    config = read_model_config(weights_dir, spec)
    device = choose_device(spec)
    quantized = getattr(config, "quantization_config", None)
    if quantized is not None and (
        spec.quantization is not None or QUANTIZATION_CONFIG in spec.engine_args
    ):
        raise UnsupportedCombination(
            "The checkpoint is quantized already.", hint="Drop quantization.", param="quantization"
        )
    text = config.get_text_config(decoder=True)
    dtype = choose_dtype(
        spec, getattr(text, "dtype", None) or getattr(config, "dtype", None), device
    )
    keywords: dict[str, Any] = {
        "dtype": dtype,
        "local_files_only": True,
        "trust_remote_code": runs_code(weights_dir, spec.trust_remote_code),
    }
    if not spec.trust_remote_code:
        keywords["use_safetensors"] = True
    if ATTENTION in spec.engine_args:
        keywords[ATTENTION] = spec.engine_args[ATTENTION]
    if getattr(text, "attn_logit_softcapping", None) is not None:
        keywords["attn_implementation"] = "eager"  # transformers' sdpa leaves the capping out
    if (quantization := quantization_config(spec, device)) is not None:
        keywords |= {"quantization_config": quantization, "device_map": {"": device}}
    elif quantized is not None or device.type != "cpu":
        keywords["device_map"] = {"": device}
    kind = _auto_class(spec, config, weights_dir)
    model, missing = read_weights(kind, weights_dir, config, keywords)
    if quantization is not None or quantized is not None:
        missing = truly_missing(missing, tensor_shapes(weights_dir))
    require_all(type(model).__name__, missing, spec.task)
    model.eval()
    return LoadedModel(
        model,
        device,
        dtype,
        *_widths(model, text),
        _context(model, text),
        _eos_ids(model, text, weights_dir),
    )


def _auto_class(spec: LLMSpec, config: Any, weights_dir: Path) -> Any:
    """What loads this configuration: a model that sees pictures goes by its own class, unless
    it is served for text alone and its text part has one that loads from the same files.
    """
    import transformers

    if spec.task == "embed":
        # T5EncoderModel, which is saved with a configuration that speaks of no decoder
        alone = (
            type(config) in transformers.MODEL_FOR_TEXT_ENCODING_MAPPING
            and type(config) in transformers.MODEL_FOR_SEQ_TO_SEQ_CAUSAL_LM_MAPPING
        )
        return transformers.AutoModelForTextEncoding if alone else transformers.AutoModel
    if spec.task == "classify":
        if read_modules(weights_dir).score is not None:
            return transformers.AutoModelForCausalLM
        return transformers.AutoModelForSequenceClassification
    if config.is_encoder_decoder:
        return transformers.AutoModelForSeq2SeqLM
    causal, seeing = (
        transformers.MODEL_FOR_CAUSAL_LM_MAPPING,
        transformers.MODEL_FOR_IMAGE_TEXT_TO_TEXT_MAPPING,
    )
    text = config.get_text_config(decoder=True)
    both = type(config) in causal and type(text) in causal
    if type(config) in seeing and (looks_at_images(weights_dir) or not both):
        return transformers.AutoModelForImageTextToText
    return transformers.AutoModelForCausalLM


def _widths(model: Any, text: Any) -> tuple[int, int]:
    """Rows of the embedding, and of the head where there is one."""
    rows = int(getattr(model.get_input_embeddings(), "num_embeddings", 0) or text.vocab_size)
    head = model.get_output_embeddings()
    return rows, int(getattr(head, "out_features", 0) or rows)


def _context(model: Any, text: Any) -> int:
    for name in ("max_position_embeddings", "n_positions", "max_sequence_length", "seq_length"):
        if isinstance(length := getattr(text, name, None), int) and length > 0:
            return length - _reserved_positions(model)
    return 4096


def _reserved_positions(model: Any) -> int:
    """RoBERTa's kin count positions from the padding's index on: those before it hold no token."""
    for name, module in model.named_modules():
        if (
            name.endswith("position_embeddings")
            and getattr(module, "padding_idx", None) is not None
        ):
            return int(module.padding_idx) + 1
    return 0


def _eos_ids(model: Any, text: Any, weights_dir: Path) -> tuple[int, ...]:
    """The tokens that end a turn: those that any of the directory's files names."""
    rows, width = _widths(model, text)
    found: list[int | None] = []
    for source in (getattr(model, "generation_config", None), text):
        value = getattr(source, "eos_token_id", None)
        found += value if isinstance(value, list) else [value]
    found += end_token_ids(weights_dir)
    ids = (token for token in found if token is not None and 0 <= token < min(rows, width))
    return tuple(dict.fromkeys(ids))


def choose_limits(
    spec: LLMSpec, loaded: LoadedModel, token_bytes: int, row_bytes: int = 0
) -> EngineLimits:
    """The spec's limits, and defaults that fit the device. `token_bytes`: keys and values of one
    token, all layers; `row_bytes`: what one sequence takes however long it is.

    Both 0 stand for a model run one sequence at a time. Errors: ConfigurationError when what is
    asked for cannot fit.
    """
    on_cpu = loaded.device.type == "cpu"
    longest = spec.max_model_len or loaded.context
    if longest > loaded.context and not has_alibi(loaded.model.config.to_dict()):
        raise ConfigurationError(
            f"max_model_len {longest} is more than the model's context of {loaded.context} tokens.",
            param="max_model_len",
        )
    budget = spec.kv_cache_memory or _default_budget(spec, loaded.device)
    layout = CacheLayout(max(token_bytes, 1), SLAB_BLOCK, SLAB_SPARE)
    fits = layout.tokens(max(budget - 2 * row_bytes, 0))  # a row and one of scratch
    if spec.max_model_len is not None or fits < 1:
        more = option("kv_cache_memory", write_size(layout.size(longest)))
        require_sequence(longest, layout, budget, more)
    usual = 32 if on_cpu else 256
    sequences = spec.max_num_seqs or (usual if token_bytes + row_bytes else SOLO_SEQUENCES)
    return EngineLimits(
        max_model_len=min(longest, fits),
        max_num_seqs=sequences,
        prefill_tokens=spec.engine_args.get("prefill_tokens", 256 if on_cpu else 2048),
        kv_bytes=budget,
        slab_length=256 if on_cpu else 2048,
        slab_rows=min(sequences, 16 if on_cpu else 256),
        prefix_caching=spec.enable_prefix_caching is not False,
    )


def _default_budget(spec: LLMSpec, device: torch.device) -> int:
    """Bytes for keys and values: what utilisation leaves on a GPU, else a part of the free
    memory. Errors: ConfigurationError for a utilisation where torch has found no GPU.
    """
    share = spec.gpu_memory_utilization
    if device.type == "cuda":
        free, total = map(int, torch.cuda.mem_get_info(device))
        return gpu_cache(free, total, share or GPU_SHARE)
    if device.type == "mps" and share is not None:
        total = torch.mps.recommended_max_memory()
        return gpu_cache(total - torch.mps.driver_allocated_memory(), total, share)
    if share is not None:
        raise ConfigurationError(
            f"{option('gpu_memory_utilization')} is for a GPU, and torch finds none here.",
            hint=f"Leave it out; {option('kv_cache_memory')} says how large the cache may be.",
            param="gpu_memory_utilization",
        )
    return min(cpu_cache(free_memory()), MOST_CPU_CACHE)
