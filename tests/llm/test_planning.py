"""Plans: which engine on which devices, whether it fits, and what would make it fit."""

from __future__ import annotations

import json
import math
from pathlib import Path
from typing import Any

import attrs
import pytest

from openllm.config.settings import Settings
from openllm.config.spec import LLMSpec
from openllm.errors import ConfigurationError
from openllm.hardware.memory import MachineMemory
from openllm.llm import planning
from openllm.llm.planning import GpuTarget, Plan, plan
from openllm.llm.room import require_room
from tests.backends.fakes import FakeGpu, drive

GIB = 2**30
LLAMA_8B: dict[str, Any] = {
    "architectures": ["LlamaForCausalLM"],
    "model_type": "llama",
    "vocab_size": 128256,
    "hidden_size": 4096,
    "intermediate_size": 14336,
    "num_hidden_layers": 32,
    "num_attention_heads": 32,
    "num_key_value_heads": 8,
    "max_position_embeddings": 131072,
    "torch_dtype": "bfloat16",
}
WIDE = {"q_proj": 4096, "k_proj": 1024, "v_proj": 1024, "o_proj": 4096}


def write_shape(directory: Path, config: dict[str, Any] = LLAMA_8B, part: str = "") -> Path:
    """A model of the shape whose weights are a file of holes: it takes no room on the disk. The
    matrices of its MLPs are those of `part`.
    """
    shapes = {"model.embed_tokens.weight": (128256, 4096), "lm_head.weight": (128256, 4096)}
    for layer in range(config["num_hidden_layers"]):
        within = f"model.layers.{layer}"
        shapes |= {f"{within}.self_attn.{name}.weight": (w, 4096) for name, w in WIDE.items()}
        shapes |= {
            f"{within}.mlp.{part}{name}_proj.weight": (14336, 4096) for name in ("gate", "up")
        }
        shapes[f"{within}.mlp.{part}down_proj.weight"] = (4096, 14336)
    header, end = {}, 0
    for name, shape in shapes.items():
        size = 2 * math.prod(shape)
        header[name] = {"dtype": "BF16", "shape": shape, "data_offsets": [end, end + size]}
        end += size
    text = json.dumps(header).encode()
    directory.mkdir(parents=True, exist_ok=True)
    with (directory / "model.safetensors").open("wb") as file:
        file.write(len(text).to_bytes(8, "little") + text)
        file.truncate(8 + len(text) + end)
    (directory / "config.json").write_text(json.dumps(config))
    return directory


@pytest.fixture(scope="module")
def eight_billion(tmp_path_factory: pytest.TempPathFactory) -> str:
    return str(write_shape(tmp_path_factory.mktemp("shape") / "8b"))


def has_memory(monkeypatch: pytest.MonkeyPatch, size: int) -> None:
    monkeypatch.setattr(planning, "machine_memory", lambda: MachineMemory(size, size))
    drive(monkeypatch, None)


def has_gpus(monkeypatch: pytest.MonkeyPatch, size: int, count: int) -> None:
    """GPUs for vLLM, and no build of it for the processor."""
    monkeypatch.setattr(planning, "find_backend", lambda name: _NoCpuBuild)
    monkeypatch.setattr(planning, "select_backend", lambda spec, settings: (_NoCpuBuild, "why"))
    uuids = [f"GPU-{at}" for at in range(count)]
    drive(monkeypatch, [FakeGpu(uuid=uuid, total=size, free=size) for uuid in uuids])


def on_gpu(model: str, gpu: str, count: int = 1, **options: Any) -> Plan:
    return plan(LLMSpec(model_id=model, **options), Settings(), GpuTarget(gpu, count))


def test_a_gpu_that_is_not_here(eight_billion: str) -> None:
    made = on_gpu(eight_billion, "H100")
    assert made.fits
    assert (made.spec.backend, made.dtype) == ("vllm", "bfloat16")
    assert "the first of vllm, pytorch" in made.reason
    assert made.memory.weights == pytest.approx(15.0 * GIB, rel=0.01)
    token = 2 * 32 * 8 * 128 * 2  # bytes
    assert made.memory.sequence == made.memory.context * token
    assert made.memory.most_context == 131072
    # what the engine may take, less weights, steps and the rest, is all for keys and values
    assert made.memory.cache == made.memory.room - made.memory.fixed
    eight = on_gpu(eight_billion, "H100", max_model_len=8192)
    assert eight.memory.most_streams == eight.memory.cache // (8192 * token)


def test_what_does_not_fit_says_what_would(eight_billion: str) -> None:
    made = on_gpu(eight_billion, "T4")
    assert not made.fits
    assert made.dtype == "float16"  # it has no bf16
    assert "needs" in made.why_not
    assert "T4 are there" in made.why_not
    assert [(field, spec.quantization) for field, spec in made.helps] == [
        ("quantization", "bitsandbytes")  # nor fp8
    ]
    assert made.helps[0][1].max_model_len is None
    long = on_gpu(eight_billion, "L4", max_model_len=65536)
    assert ("max_model_len", long.memory.most_context) == (
        long.helps[0][0],
        long.helps[0][1].max_model_len,
    )
    assert {spec.quantization for _, spec in long.helps} >= {"fp8"}


def test_several_gpus_divide_weights_keys_and_values(eight_billion: str, tmp_path: Path) -> None:
    one, two = on_gpu(eight_billion, "H100"), on_gpu(eight_billion, "H100", 2)
    assert two.memory.weights == -(-one.memory.weights // 2)
    assert two.memory.sequence * 2 == one.memory.sequence
    assert "2 x H100" in two.devices
    latent = str(write_shape(tmp_path, {**LLAMA_8B, "kv_lora_rank": 512, "qk_rope_head_dim": 64}))
    alone, both = (on_gpu(latent, "H100", count, max_model_len=4096) for count in (1, 2))
    assert both.memory.sequence == alone.memory.sequence  # one vector for all heads
    three = on_gpu(eight_billion, "H100", 3)
    assert len(three.memory.place.gpus) == 2
    assert "stay idle" in three.devices
    assert len(on_gpu(eight_billion, "H100", 2, backend="pytorch").memory.place.gpus) == 1
    with pytest.raises(ConfigurationError, match="4 GPUs are asked for, and there are 2"):
        on_gpu(eight_billion, "H100", 2, tensor_parallel_size=4)


def test_copies_have_their_gpus_to_themselves(eight_billion: str) -> None:
    one, two = on_gpu(eight_billion, "H100", 2), on_gpu(eight_billion, "H100", 4)
    copies = on_gpu(eight_billion, "H100", 4, data_parallel_size=2)
    assert copies.memory.weights == one.memory.weights == two.memory.weights * 2
    assert copies.memory.sequence == one.memory.sequence
    assert "data_parallel_size=2 (4 GPUs in all)" in copies.devices
    assert "4 x H100" in copies.devices
    with pytest.raises(ConfigurationError, match="8 GPUs are asked for, and there are 4"):
        on_gpu(eight_billion, "H100", 4, tensor_parallel_size=2, data_parallel_size=4)
    with pytest.raises(ConfigurationError, match="this model has none"):
        on_gpu(eight_billion, "H100", 4, enable_expert_parallel=True)


def test_copies_share_the_experts(tmp_path: Path) -> None:
    config = {**LLAMA_8B, "architectures": ["MixtralForCausalLM"], "model_type": "mixtral"}
    model = str(write_shape(tmp_path / "mixture", {**config, "num_local_experts": 8}, "experts.0."))
    one = on_gpu(model, "H100")
    fields = {"tensor_parallel_size": 1, "data_parallel_size": 2, "enable_expert_parallel": True}
    two = on_gpu(model, "H100", 2, **fields)
    assert one.model.parts.experts > one.model.parts.dense
    assert two.memory.weights == one.model.parts.dense + one.model.parts.experts // 2
    assert two.memory.sequence == one.memory.sequence


def test_cards_that_differ_are_not_mixed(
    monkeypatch: pytest.MonkeyPatch, eight_billion: str
) -> None:
    monkeypatch.setattr(planning, "find_backend", lambda name: _NoCpuBuild)
    monkeypatch.setattr(planning, "select_backend", lambda spec, settings: (_NoCpuBuild, "why"))
    drive(
        monkeypatch,
        [
            FakeGpu(name="NVIDIA L4", uuid="GPU-a", total=22 * GIB, free=22 * GIB),
            FakeGpu(name="NVIDIA A100-SXM4-80GB", uuid="GPU-b", total=80 * GIB, free=80 * GIB),
        ],
    )
    made = plan(LLMSpec(model_id=eight_billion), Settings())
    assert [gpu.index for gpu in made.memory.place.gpus] == [1]
    assert "NVIDIA L4 would slow them down" in made.devices
    both = plan(LLMSpec(model_id=eight_billion, tensor_parallel_size=2), Settings())
    assert len(both.memory.place.gpus) == 2


class _NoCpuBuild:
    facts = planning.facts_of("vllm")

    @staticmethod
    def cpu_build() -> None:
        return None


def test_on_a_cpu_the_format_it_computes_in_counts(
    monkeypatch: pytest.MonkeyPatch, eight_billion: str
) -> None:
    monkeypatch.setattr(planning, "fast_in_bf16", lambda: False)
    has_memory(monkeypatch, 64 * GIB)
    made = plan(LLMSpec(model_id=eight_billion, backend="pytorch"), Settings())
    assert made.fits
    assert made.dtype == "float32"
    assert made.memory.weights == pytest.approx(29.9 * GIB, rel=0.01)
    narrow = LLMSpec(model_id=eight_billion, backend="pytorch", dtype="bfloat16")
    half = plan(narrow, Settings())
    assert half.memory.weights * 2 == made.memory.weights
    packed = LLMSpec(model_id=eight_billion, backend="pytorch", quantization="int8")
    eight = plan(packed, Settings())
    assert eight.memory.weights * 4 == pytest.approx(made.memory.weights, rel=0.01)
    # all of it is loaded before it shrinks
    assert eight.memory.least == pytest.approx(made.memory.weights, rel=0.01)


def test_it_is_refused_with_numbers_and_what_would_make_it_fit(
    monkeypatch: pytest.MonkeyPatch, eight_billion: str
) -> None:
    monkeypatch.setattr(planning, "fast_in_bf16", lambda: False)
    spec = LLMSpec(model_id=eight_billion, backend="pytorch")
    has_memory(monkeypatch, 20 * GIB)
    with pytest.raises(ConfigurationError) as caught:
        require_room([(spec, Path(eight_billion))], Settings())
    said = str(caught.value)
    assert "does not fit: loading it takes" in said
    assert "29.9 GiB of weights in float32" in said
    assert "20.0 GiB of memory are free" in said
    assert "dtype=bfloat16" in said
    assert "force" in said
    require_room([(spec, Path(eight_billion))], Settings(force=True))
    has_memory(monkeypatch, 40 * GIB)
    require_room([(spec, Path(eight_billion))], Settings())
    with pytest.raises(ConfigurationError, match="for the models before"):
        require_room([(spec, Path(eight_billion))] * 2, Settings())


@pytest.mark.parametrize("gpus", [0, 8])
def test_a_model_over_several_hosts_is_left_to_its_engine(
    monkeypatch: pytest.MonkeyPatch, eight_billion: str, gpus: int
) -> None:
    has_memory(monkeypatch, GIB)
    has_gpus(monkeypatch, 80 * GIB, gpus)
    over = LLMSpec(model_id=eight_billion, backend="vllm", tensor_parallel_size=16)
    with pytest.raises(ConfigurationError, match="GPUs are asked for" if gpus else "not fit"):
        require_room([(over, Path(eight_billion))], Settings())
    ray = attrs.evolve(over, distributed_executor="ray")
    require_room([(ray, Path(eight_billion))], Settings())


@pytest.mark.parametrize(
    "fields",
    [
        {"engine_args": {"cpu_offload_gb": 40}},
        {"engine_args": {"tensor_parallel_size": 2}},
        {"quantization": "experts_int8"},
    ],
)
def test_what_a_plan_cannot_count_is_not_refused(
    monkeypatch: pytest.MonkeyPatch, eight_billion: str, fields: dict[str, Any]
) -> None:
    has_gpus(monkeypatch, 12 * GIB, 2)
    spec = LLMSpec(model_id=eight_billion, backend="vllm", tensor_parallel_size=1)
    with pytest.raises(ConfigurationError, match="does not fit"):
        require_room([(spec, Path(eight_billion))], Settings())
    other = attrs.evolve(spec, **fields)
    require_room([(other, Path(eight_billion))], Settings())
    made = plan(other, Settings())
    assert made.unsure
    assert not made.helps


def test_what_an_engine_without_weights_serves_is_never_too_much(
    monkeypatch: pytest.MonkeyPatch, eight_billion: str
) -> None:
    has_memory(monkeypatch, GIB)
    require_room(
        [(LLMSpec(model_id=eight_billion, backend="echo"), Path(eight_billion))], Settings()
    )
