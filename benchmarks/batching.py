"""What batching is worth for each kind of model: tokens per CPU-second of eight streams together,
and of the same eight one sequence at a time.

    OMP_NUM_THREADS=1 python -m benchmarks.batching [type …]

Shapes of some tens of millions of parameters with random weights in fp32; both ways are started
in one process, and asked in turn.
"""

from __future__ import annotations

import asyncio
import statistics
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from unittest import mock

import torch
import transformers

from openllm.backends.pytorch.backend import BACKEND, PyTorchBackend
from openllm.backends.pytorch.forward import fit
from openllm.backends.stream import deltas
from openllm.config.spec import LLMSpec
from openllm.types import SamplingParams, TokenRequest, new_request_id

STREAMS, PROMPT, ANSWER, ROUNDS = 8, 16, 24, 2
VOCABULARY = 8192
COMMON: dict[str, Any] = {
    "vocab_size": VOCABULARY,
    "hidden_size": 512,
    "intermediate_size": 1024,
    "num_hidden_layers": 4,
    "num_attention_heads": 8,
    "num_key_value_heads": 2,
    "max_position_embeddings": 1024,
    **dict.fromkeys(("pad_token_id", "bos_token_id", "eos_token_id"), 0),
}
LINEAR = ["linear_attention", "full_attention"] * 2
EXPERTS = {"moe_intermediate_size": 256, "num_experts_per_tok": 2}
LATENT = {
    "q_lora_rank": 256,
    "kv_lora_rank": 128,
    "qk_rope_head_dim": 32,
    "qk_nope_head_dim": 64,
    "v_head_dim": 64,
    "num_key_value_heads": 8,
    "first_k_dense_replace": 1,
    "n_routed_experts": 8,
    "n_group": 1,
    "topk_group": 1,
    **EXPERTS,
}
GATED = {
    "linear_key_head_dim": 64,
    "linear_value_head_dim": 64,
    "linear_num_key_heads": 4,
    "linear_num_value_heads": 8,
    "head_dim": 64,
    "layer_types": LINEAR,
}
MAMBA2 = {"mamba_n_heads": 16, "mamba_d_head": 64, "mamba_d_state": 64, "mamba_chunk_size": 64}
SHAPES: dict[str, dict[str, Any]] = {
    "llama": {},
    "gpt_oss": {
        "head_dim": 64,
        "intermediate_size": 256,
        "num_local_experts": 8,
        "num_experts_per_tok": 2,
    },
    "deepseek_v2": LATENT,
    "deepseek_v3": LATENT,
    "qwen3_5_text": GATED,
    "qwen3_next": {
        **GATED,
        **EXPERTS,
        "num_experts": 8,
        "shared_expert_intermediate_size": 256,
    },
    "lfm2": {"layer_types": ["conv", "full_attention"] * 2},
    "granitemoehybrid": {
        **MAMBA2,
        "layer_types": LINEAR,
        "num_local_experts": 0,
        "num_experts_per_tok": 0,
        "shared_intermediate_size": 1024,
    },
    "mamba": {"state_size": 16},
    "mamba2": {"num_heads": 16, "head_dim": 64, "n_groups": 1, "state_size": 64, "chunk_size": 64},
    "bamba": {**MAMBA2, "attn_layer_indices": [1, 3]},
    "falcon_h1": {**MAMBA2, "mamba_d_ssm": 1024, "head_dim": 64},
    "jamba": {
        "attn_layer_period": 2,
        "attn_layer_offset": 1,
        "mamba_d_state": 16,
        "mamba_dt_rank": 32,
        "use_mamba_kernels": False,
        "num_experts": 1,
    },
    "nemotron_h": {
        "mamba_num_heads": 16,
        "mamba_head_dim": 64,
        "ssm_state_size": 64,
        "n_groups": 2,
        "chunk_size": 64,
        "layers_block_type": ["linear_attention", "mlp", "full_attention", "mlp"],
        "num_hidden_layers": None,
        "head_dim": 64,
    },
}


def write(model_type: str, folder: Path) -> int:
    """A checkpoint of the type's shape; how many parameters it has."""
    fields = {**COMMON, **SHAPES[model_type]}
    known = {name: value for name, value in fields.items() if value is not None}
    config = transformers.CONFIG_MAPPING[model_type](**known)
    torch.manual_seed(0)
    model = transformers.AutoModelForCausalLM.from_config(config, dtype=torch.float32)
    model.save_pretrained(folder)
    return sum(parameter.numel() for parameter in model.parameters())


@contextmanager
def one_at_a_time() -> Iterator[None]:
    """Models that are started within this context share no pass."""
    with mock.patch.object(fit, "_choose_flat", return_value="asked for"):
        yield


async def start(folder: Path) -> PyTorchBackend:
    spec = LLMSpec(
        model_id=str(folder),
        backend="pytorch",
        dtype="float32",
        device="cpu",
        max_num_seqs=STREAMS,
        enable_prefix_caching=False,
    )
    backend = BACKEND(spec, folder)
    await backend.start()
    return backend


async def rate(backend: PyTorchBackend) -> float:
    """Tokens per CPU-second of all streams, the computing of their prompts in it."""

    async def stream(seed: int) -> None:
        generator = torch.Generator().manual_seed(seed)
        prompt = torch.randint(1, VOCABULARY, (PROMPT,), generator=generator).tolist()
        params = SamplingParams(temperature=0.0, max_tokens=ANSWER, ignore_eos=True)
        async for _ in deltas(backend, TokenRequest(new_request_id(), prompt, params)):
            pass

    begun = time.process_time()
    await asyncio.gather(*(stream(seed) for seed in range(STREAMS)))
    return STREAMS * ANSWER / (time.process_time() - begun)


async def compare(model_type: str) -> str:
    """A row of the table."""
    with tempfile.TemporaryDirectory() as name:
        size = write(model_type, Path(name))
        batched = await start(Path(name))
        with one_at_a_time():
            single = await start(Path(name))
        rates = [(await rate(batched), await rate(single)) for _ in range(ROUNDS + 1)][1:]
        for backend in (batched, single):
            await backend.close()
    both = [statistics.median(column) for column in zip(*rates, strict=True)]
    factor = statistics.median(one / other for one, other in rates)
    return f"| {model_type} | {size / 1e6:.0f} M | {both[0]:.0f} | {both[1]:.0f} | {factor:.1f}x |"


async def main(names: list[str]) -> None:
    transformers.logging.set_verbosity_error()
    transformers.logging.disable_progress_bar()
    for name in names or SHAPES:
        print(await compare(name), flush=True)


if __name__ == "__main__":
    asyncio.run(main(sys.argv[1:]))
