"""Tiny random checkpoints of model types by transformers' own names, how the engine does on each,
and the table of it in docs/models.md.

A checkpoint is the type's default configuration with every size that it has made small (`SMALL`),
and what the type needs beyond that (`BESIDE`).
"""

from __future__ import annotations

import asyncio
import json
import time
from pathlib import Path
from typing import Any

import attrs
import torch

from openllm.backends.pytorch.backend import PyTorchBackend
from openllm.errors import OpenLLMError
from tests.backends.pytorch.conftest import ask, started

VOCABULARY = 384
PAD, BOS, EOS = 0, 1, 2
SPREAD = 0.2  # of the weights: wide enough for greedy answers to be clear of ties
MARGIN = 1e-3  # between the two best logits: closer is a tie, and after a tie answers may part
NEW = 12  # tokens of an answer
LENGTHS = (1, 3, 40, 21, 9, 33)  # tokens of the six prompts
GOES_ON = 2  # the prompt that is asked again, and whose answer another prompt goes on from
EARLY = 4  # tokens of an answer that ends before the others

# Sizes by the name that configurations have for them; each goes to the types that have it.
SMALL: dict[str, Any] = {
    "vocab_size": VOCABULARY,
    "pad_token_id": PAD,
    "bos_token_id": BOS,
    "eos_token_id": EOS,
    **dict.fromkeys(("hidden_size", "d_model", "n_embd", "embedding_size", "embed_dim"), 64),
    **dict.fromkeys(("intermediate_size", "ffn_dim", "decoder_ffn_dim", "encoder_ffn_dim"), 96),
    **dict.fromkeys(("num_hidden_layers", "n_layer", "n_layers", "decoder_layers"), 4),
    **dict.fromkeys(("num_attention_heads", "n_head", "n_heads", "num_heads"), 4),
    **dict.fromkeys(("decoder_attention_heads", "encoder_attention_heads"), 4),
    "encoder_layers": 2,
    "num_key_value_heads": 2,
    **dict.fromkeys(("head_dim", "v_head_dim", "qk_nope_head_dim", "query_pre_attn_scalar"), 16),
    **dict.fromkeys(("max_position_embeddings", "n_positions"), 256),
    "sliding_window": 8,
    # experts
    **dict.fromkeys(("moe_intermediate_size", "shared_expert_intermediate_size"), 32),
    **dict.fromkeys(("num_experts", "num_local_experts", "n_routed_experts"), 4),
    "num_experts_per_tok": 2,
    "n_group": 2,
    "topk_group": 1,
    "first_k_dense_replace": 1,
    # latent attention
    "q_lora_rank": 24,
    "kv_lora_rank": 16,
    "qk_rope_head_dim": 8,
    # states
    "state_size": 8,
    **dict.fromkeys(("linear_key_head_dim", "linear_value_head_dim"), 16),
    "linear_num_key_heads": 2,
    "linear_num_value_heads": 4,
    "is_decoder": True,
    # pictures are numbered beyond the words
    **dict.fromkeys(("image_token_id", "image_token_index"), VOCABULARY - 2),
    "video_token_id": VOCABULARY - 1,
}

# Of the part of a model that looks at pictures.
SMALL_VISION: dict[str, Any] = {
    **dict.fromkeys(("hidden_size", "embed_dim"), 32),
    "intermediate_size": 48,
    **dict.fromkeys(("num_hidden_layers", "depth"), 1),
    **dict.fromkeys(("num_attention_heads", "num_heads"), 2),
    "image_size": 28,
    "patch_size": 14,
    "out_hidden_size": 64,
    "deepstack_visual_indexes": [0],
}

LATENT = {"num_key_value_heads": 4, "head_dim": 8}
MROPE = {"rope_type": "default", "rope_theta": 10000.0, "mrope_section": [2, 3, 3]}
MAMBA2 = {"mamba_n_heads": 4, "mamba_d_head": 32, "mamba_d_state": 8, "mamba_chunk_size": 16}
ROTARY = {"rotary_dim": 8}
SLIDING_AND_FULL = ["sliding_attention", "sliding_attention", "sliding_attention", "full_attention"]

# What a type needs beside that, or has to be told to show what is its own; `...` leaves a size as
# it is by default. What stands after a plus tells apart several of one type.
BESIDE: dict[str, dict[str, Any]] = {
    **dict.fromkeys(
        (*("axk1", "axk2", "deepseek_v2", "deepseek_v3", "glm4_moe_lite", "longcat_flash"),),
        LATENT,
    ),
    **dict.fromkeys(("codegen", "gptj"), ROTARY),
    "bamba": {**MAMBA2, "attn_layer_indices": [1, 3]},
    "bloom": {"hidden_size": 64},
    "deepseek_v2": {**LATENT, "num_experts_per_tok": 2},
    "youtu": {**LATENT, "q_lora_rank": 24},
    "deepseek_v32": {**LATENT, "index_topk": 8, "index_n_heads": 4, "index_head_dim": 16},
    "dots1": {
        "n_routed_experts": 4,
        "num_experts_per_tok": 2,
        "n_shared_experts": 1,
        "layer_types": SLIDING_AND_FULL,
    },
    "falcon": {"head_dim": ..., "num_kv_heads": 4},
    "falcon+alibi": {"head_dim": ..., "num_kv_heads": 4, "alibi": True},
    "falcon_h1": {**MAMBA2, "mamba_d_ssm": 128},
    "gemma3_text": {"layer_types": SLIDING_AND_FULL},
    "glm_moe_dsa": {**LATENT, "index_topk": 8, "index_n_heads": 4, "index_head_dim": 16},
    "gemma4_text": {"vocab_size_per_layer_input": VOCABULARY, "hidden_size_per_layer_input": 16},
    "gpt_neo": {"num_layers": 4, "attention_types": [[["global", "local"], 2]], "window_size": 8},
    "gpt_oss": {"layer_types": ["sliding_attention", "full_attention"] * 2},
    "granitemoehybrid": {
        **MAMBA2,
        "layer_types": ["linear_attention", "full_attention"] * 2,
        "shared_intermediate_size": 32,
    },
    **{key: {"head_dim": 16} for key in ("hunyuan_v1_dense", "hunyuan_v1_moe", "ministral")},
    "jamba": {
        "attn_layer_period": 2,
        "attn_layer_offset": 1,
        "mamba_d_state": 8,
        "mamba_dt_rank": 4,
        "use_mamba_kernels": False,
    },
    "kimi_linear": {
        **LATENT,
        "layer_types": ["linear_attention", "full_attention"] * 2,
        "linear_head_dim": 16,
        "linear_num_heads": 4,
        "num_experts_per_token": 2,
    },
    "lfm2": {"layer_types": ["conv", "full_attention"] * 2},
    "lfm2_moe": {"layer_types": ["conv", "full_attention"] * 2, "num_dense_layers": 1},
    "llama4_text": {"attention_chunk_size": 16},
    # scales queries by their position from the 33rd token on
    "llama4_text+scale": {
        "layer_types": ["full_attention"] * 4,
        "no_rope_layers": [0] * 4,
        "attn_temperature_tuning": True,
        "floor_scale": 32,
    },
    "mamba2": {"num_heads": 8, "head_dim": 16, "n_groups": 2, "chunk_size": 16},
    "minimax": {"block_size": 16},
    "nemotron": {"num_key_value_heads": 2},
    "nemotron_h": {
        "mamba_num_heads": 4,
        "mamba_head_dim": 32,
        "ssm_state_size": 8,
        "n_groups": 2,
        "chunk_size": 16,
        "n_group": 1,
        "moe_shared_expert_intermediate_size": 32,
        "layers_block_type": ["linear_attention", "moe", "full_attention", "mlp"],
        "num_hidden_layers": ...,
    },
    "phi3+long": {
        "rope_parameters": {
            "rope_type": "longrope",
            "rope_theta": 10000.0,
            "short_factor": [1.0] * 8,
            "long_factor": [4.0] * 8,
            "original_max_position_embeddings": 32,
        },
        "original_max_position_embeddings": 32,
    },
    **{
        key: {"layer_types": ["linear_attention", "full_attention"] * 2}
        for key in ("qwen3_5_text", "qwen3_5_moe_text", "qwen3_next", "olmo_hybrid")
    },
    "recurrent_gemma": {"lru_width": 64, "attention_window_size": 16},
    **{
        key: {"d_kv": 16, "d_ff": 96, "num_layers": 2, "num_decoder_layers": 2}
        for key in ("t5", "mt5", "umt5", "longt5", "switch_transformers")
    },
    **{
        key: {"text_config": {"rope_parameters": MROPE}}
        for key in ("qwen2_vl", "qwen2_5_vl", "qwen3_vl", "qwen3_vl_moe", "paddleocr_vl")
    },
    **{
        key: {"text_config": {"rope_parameters": MROPE, "pad_token_id": PAD}}
        for key in ("glm4v", "glm46v", "glmga", "glm_ocr")
    },
    "glm4v_moe": {
        "text_config": {
            "rope_parameters": {**MROPE, "partial_rotary_factor": 0.5, "mrope_section": [1, 1, 2]},
            "pad_token_id": PAD,
        }
    },
    "xmod": {"default_language": "en_XX"},
    "zamba": {
        "num_hidden_layers": 6,
        "attn_layer_period": 3,
        "attn_layer_offset": 2,
        "attention_hidden_size": 128,
        "attention_head_dim": 32,
        "num_key_value_heads": 4,
        "mamba_dt_rank": 4,
        "mamba_d_state": 8,
        "use_mamba_kernels": False,
    },
    "zamba2": {
        "num_key_value_heads": 4,
        "n_mamba_heads": 4,
        "mamba_headdim": 32,
        "mamba_d_state": 8,
        "chunk_size": 16,
        "layers_block_type": ["linear_attention", "hybrid", "linear_attention", "hybrid"],
    },
}

# All that are held to `generate()`.
TYPES: tuple[str, ...] = (
    "afmoe",
    "apertus",
    "arcee",
    "aria",
    "aria_text",
    "axk1",
    "axk2",
    "aya_vision",
    "bamba",
    "bart",
    "bert",
    "bert-generation",
    "big_bird",
    "bigbird_pegasus",
    "biogpt",
    "bitnet",
    "blenderbot",
    "blenderbot-small",
    "bloom",
    "camembert",
    "codegen",
    "cohere",
    "cohere2",
    "cohere2_moe",
    "cohere2_vision",
    "cpmant",
    "ctrl",
    "cwm",
    "data2vec-text",
    "deepseek_v2",
    "deepseek_v3",
    "deepseek_v32",
    "deepseek_v4",
    "deepseek_vl",
    "diffllama",
    "doge",
    "dots1",
    "electra",
    "ernie",
    "ernie4_5",
    "ernie4_5_moe",
    "exaone4",
    "exaone4_5",
    "exaone_moe",
    "falcon",
    "falcon+alibi",
    "falcon_h1",
    "falcon_mamba",
    "flex_olmo",
    "fuyu",
    "gemma",
    "gemma2",
    "gemma3",
    "gemma3_text",
    "gemma4",
    "gemma4_text",
    "gemma4_unified",
    "gemma4_unified_text",
    "git",
    "glm",
    "glm4",
    "glm46v",
    "glm4_moe",
    "glm4_moe_lite",
    "glm4v",
    "glm4v_moe",
    "glm_moe_dsa",
    "got_ocr2",
    "gpt-sw3",
    "gpt2",
    "gpt_bigcode",
    "gpt_neo",
    "gpt_neox",
    "gpt_neox_japanese",
    "gpt_oss",
    "gptj",
    "granite",
    "granite_swa",
    "granitemoe",
    "granitemoe_swa",
    "granitemoehybrid",
    "granitemoeshared",
    "helium",
    "hrm_text",
    "hunyuan_v1_dense",
    "hunyuan_v1_moe",
    "hy_v3",
    "hy_v4",
    "hyperclovax",
    "hyperclovax_vision_v2",
    "idefics2",
    "idefics3",
    "inkling_text",
    "internvl",
    "jais2",
    "jamba",
    "jetmoe",
    "kimi_linear",
    "laguna",
    "lfm2",
    "lfm2_moe",
    "lfm2_vl",
    "lighton_ocr",
    "llama",
    "llama4",
    "llama4_text",
    "llama4_text+scale",
    "llava",
    "llava_next",
    "llava_next_video",
    "llava_onevision",
    "longcat_flash",
    "mamba",
    "mamba2",
    "marian",
    "mbart",
    "megatron-bert",
    "mellum",
    "mimo_v2_flash",
    "minicpmv4_6",
    "minicpmv4_7",
    "minimax",
    "minimax_m2",
    "minimax_m3_vl",
    "minimax_m3_vl_text",
    "ministral",
    "ministral3",
    "mistral",
    "mistral3",
    "mixtral",
    "mllama",
    "modernbert-decoder",
    "moshi",
    "mpt",
    "mt5",
    "mvp",
    "nanochat",
    "nemotron",
    "nemotron_h",
    "olmo",
    "olmo2",
    "olmo3",
    "olmo_hybrid",
    "olmoe",
    "openai-gpt",
    "opt",
    "ovis2",
    "paddleocr_vl",
    "paligemma",
    "pegasus",
    "persimmon",
    "phi",
    "phi3",
    "phi3+long",
    "phi4_multimodal",
    "phimoe",
    "plbart",
    "qianfan_ocr",
    "qwen2",
    "qwen2_5_vl",
    "qwen2_moe",
    "qwen2_vl",
    "qwen3",
    "qwen3_5",
    "qwen3_5_moe",
    "qwen3_5_moe_text",
    "qwen3_5_text",
    "qwen3_moe",
    "qwen3_next",
    "qwen3_vl",
    "qwen3_vl_moe",
    "recurrent_gemma",
    "rembert",
    "roberta",
    "roberta-prelayernorm",
    "roc_bert",
    "roformer",
    "rwkv",
    "seed_oss",
    "smollm3",
    "smolvlm",
    "solar_open",
    "stablelm",
    "starcoder2",
    "t5",
    "trocr",
    "umt5",
    "vaultgemma",
    "video_llama_3",
    "video_llava",
    "vipllava",
    "whisper",
    "xglm",
    "xlm",
    "xlm-roberta",
    "xlm-roberta-xl",
    "xmod",
    "youtu",
    "zamba",
    "zamba2",
)
# What the ordinary test run looks at: one of each way in which a model can be its own.
FEW = (
    *("gemma3_text", "gpt_oss", "deepseek_v3", "falcon+alibi", "gptj", "qwen2_vl", "mllama"),
    *("bamba", "minimax", "falcon_h1", "nemotron_h", "recurrent_gemma", "roberta", "t5"),
    *("llama4_text+scale", "phi3+long", "qwen3_5_text", "lfm2", "mamba"),
)


@attrs.frozen
class Result:
    """How the engine did on one type."""

    type: str
    batched: bool = False  # in one forward pass, else one sequence at a time
    problem: str | None = None
    seconds: float = 0.0


def configuration(model_type: str) -> Any:
    """transformers' configuration of a tiny model of that type."""
    from transformers import CONFIG_MAPPING

    kind = CONFIG_MAPPING[plain(model_type)]
    return kind(**_small(kind, model_type))


def plain(name: str) -> str:
    """transformers' type of what is called so here."""
    return name.partition("+")[0]


def _small(kind: Any, model_type: str, sizes: dict[str, Any] = SMALL) -> dict[str, Any]:
    base = kind()
    fields = {
        name: size
        for name, size in sizes.items()
        if _get(base, name) is not None or name.endswith("token_id")
    }
    for name in kind.sub_configs:
        inner = getattr(base, name, None)
        if inner is not None:
            sizes = SMALL if "text" in name else SMALL_VISION
            fields[name] = _small(type(inner), inner.model_type, sizes)
            fields[name]["model_type"] = inner.model_type
    for name, value in BESIDE.get(model_type, {}).items():
        if value is ...:
            fields.pop(name, None)
        elif isinstance(value, dict) and isinstance(fields.get(name), dict):
            fields[name] |= value
        else:
            fields[name] = value
    return fields


def _get(config: Any, name: str) -> Any:
    try:
        return getattr(config, name, None)
    except RuntimeError:  # AmbiguousGlobalPerLayerAttributeError: it differs from layer to layer
        return None


def write_checkpoint(model_type: str, path: Path, seed: int = 0) -> Path:
    """A random model of that type in fp32, by the auto class that has it."""
    torch.manual_seed(seed)
    model = auto_class(model_type).from_config(configuration(model_type), dtype=torch.float32)
    with torch.no_grad():
        for parameter in model.parameters():
            if parameter.dim() > 1:
                parameter.normal_(0.0, SPREAD)
    model.save_pretrained(path)
    return path


def auto_class(model_type: str) -> Any:
    import transformers
    from transformers.models.auto import modeling_auto as names

    model_type = plain(model_type)
    if model_type in names.MODEL_FOR_IMAGE_TEXT_TO_TEXT_MAPPING_NAMES:
        return transformers.AutoModelForImageTextToText
    if model_type in names.MODEL_FOR_CAUSAL_LM_MAPPING_NAMES:
        return transformers.AutoModelForCausalLM
    return transformers.AutoModelForSeq2SeqLM


def prompts() -> list[list[int]]:
    generator = torch.Generator().manual_seed(7)
    return [
        torch.randint(6, VOCABULARY - 8, (length,), generator=generator).tolist()
        for length in LENGTHS
    ]


def generate(model: Any, prompt: list[int]) -> tuple[list[int], list[float]]:
    """transformers' own greedy answer, and how clear each of its tokens was."""
    ids = torch.tensor([prompt])
    out = model.generate(
        ids,
        attention_mask=torch.ones_like(ids),
        do_sample=False,
        max_new_tokens=NEW,
        min_new_tokens=NEW,
        eos_token_id=None,
        **dict.fromkeys(("forced_bos_token_id", "forced_eos_token_id")),
        return_dict_in_generate=True,
        output_logits=True,
    )
    best = [logits[0].float().topk(2).values for logits in out.logits]
    return out.sequences[0, -NEW:].tolist(), [float(two[0] - two[1]) for two in best]


def difference(found: list[int], own: list[int], gaps: list[float]) -> str | None:
    """Where an answer leaves transformers' own, but for ties."""
    for at, (token, right, gap) in enumerate(zip(found, own, gaps, strict=True)):
        if gap < MARGIN:
            return None
        if token != right:
            return f"token {at} is {token}, not {right} (clear by {gap:.2g})"
    return None


def expected(model_type: str, path: Path) -> list[tuple[list[int], list[int], list[float]]]:
    """Prompts, and for each what transformers answers and how clearly. The last one goes on from
    another's answer.
    """
    model = auto_class(model_type).from_pretrained(path, dtype=torch.float32).eval()
    asked = prompts()
    own = [(prompt, *generate(model, prompt)) for prompt in asked]
    if model.config.is_encoder_decoder:
        return own
    longer = asked[GOES_ON] + own[GOES_ON][1] + asked[1]
    return [*own, (longer, *generate(model, longer))]


def evaluate(model_type: str, path: Path) -> Result:
    """Write a checkpoint of the type to `path`, and hold the engine to `generate()` on it."""
    begun = time.monotonic()
    own = expected(model_type, write_checkpoint(model_type, path))
    try:
        batched, found = asyncio.run(_answers(path, [prompt for prompt, _, _ in own]))
    except OpenLLMError as error:
        return Result(model_type, problem=f"refused: {error}")
    wrong = []
    for at, tokens in found:
        part = difference(tokens, own[at][1][: len(tokens)], own[at][2][: len(tokens)])
        if part is not None:
            wrong.append(f"prompt {at}: {part}")
    problem = "; ".join(wrong) or None
    return Result(model_type, batched, problem, round(time.monotonic() - begun, 1))


async def _answers(path: Path, asked: list[list[int]]) -> tuple[bool, list[tuple[int, list[int]]]]:
    """Which prompt was asked, and the answer: six at once of which one leaves early; then one of
    them again, one that begins as another did, and one that joins when these are under way.
    """
    async with started(path) as backend:

        async def tokens(at: int, most: int = NEW, begun: asyncio.Event | None = None) -> Any:
            answer = await ask(backend, asked[at], max_tokens=most, begun=begun)
            wrong = [-1] * most if answer.error is None else [-2] * most
            return at, answer.tokens or wrong

        first = await asyncio.gather(
            *(tokens(at, EARLY if at == 1 else NEW) for at in range(len(LENGTHS)))
        )
        running = asyncio.Event()
        again = asyncio.gather(tokens(GOES_ON, begun=running), tokens(len(asked) - 1))
        await running.wait()
        joined = await tokens(len(LENGTHS) - 1)
        return is_batched(backend), [*first, *await again, joined]


def is_batched(backend: PyTorchBackend) -> bool:
    engine = backend._started.require_engine()  # type: ignore[union-attr]
    return hasattr(engine._parts.executor, "store")


def record(kept: dict[str, bool]) -> str:
    """Of each type whether it is batched, as JSON."""
    return json.dumps(kept, indent=1, sort_keys=True) + "\n"


def page(kept: dict[str, bool]) -> str:
    """docs/models.md of what was recorded."""
    from transformers.models.auto import modeling_auto as names

    rows = [f"| {name} | {'batched' if kept[name] else 'one at a time'} |" for name in sorted(kept)]
    seeing = names.MODEL_FOR_IMAGE_TEXT_TO_TEXT_MAPPING_NAMES
    pictures = sorted(name for name in kept if plain(name) in seeing)
    counts = f"{len(kept)} of them, {sum(kept.values())} batched"
    return HEAD.format(counts=counts, pictures=", ".join(pictures)) + "\n".join(rows) + "\n"


HEAD = """# Models on the PyTorch engine

The PyTorch engine runs what transformers has a class for. This table is written by
`make test-architectures`: for each type (`model_type` in config.json) it builds a tiny random
checkpoint, asks six prompts at once in fp32 and compares the answers, token by token, with those of
transformers' own `generate()`. All in the table are equal: {counts}.

*Batched* means that all requests of a step share one forward pass and that prefixes are shared;
*one at a time* that each has a pass of its own, with the cache that `generate()` gives it. What
stands after a plus is a variant: ALiBi in place of rotation, queries scaled by their position, a
longer context than the original one.

Of these the following see pictures too; the table is of their text: {pictures}.

Images are taken where the model's directory has transformers' own processor
(`preprocessor_config.json` or `processor_config.json`), Pillow is installed, and a rehearsal at
start gives the model's own logits behind an image; else the log says why, and the text alone is
served. Some processors need torchvision, too. A prompt up to its last image is computed by the
model's own forward pass; what follows, and the answer, are batched with all other requests, or one
at a time where the rehearsal says so. qwen2_vl, qwen2_5_vl, qwen3_vl, qwen3_5, llava, idefics3 and
gemma3 were tried, all batched: the answers to tiny random checkpoints equal those of transformers'
processor and `generate()`. Of mllama the text alone is served.

| type | how it is run |
|---|---|
"""
