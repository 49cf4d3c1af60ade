"""Gemma 1, 2 and 3, by Google."""

from openllm.models.base import FamilyMarks, LLMConfig, ModelCard
from openllm.models.shape import KnownShape


class GemmaConfig(LLMConfig):
    name = "gemma"
    title = "Gemma"
    aliases = ("gemma2", "gemma3")
    architectures = (
        "Gemma3ForCausalLM",
        "Gemma2ForCausalLM",
        "GemmaForCausalLM",
        "Gemma3ForConditionalGeneration",  # 4B and larger read images too
    )
    models = {
        "google/gemma-3-1b-it": ModelCard(1.0e9, 32768),
        "google/gemma-3-270m-it": ModelCard(268e6, 32768),
        "google/gemma-3-4b-it": ModelCard(4.3e9, 131_072),
        "google/gemma-3-12b-it": ModelCard(12.2e9, 131_072),
        "google/gemma-3-27b-it": ModelCard(27.4e9, 131_072),
        "google/gemma-2-2b-it": ModelCard(2.61e9, 8192),
        "google/gemma-2-9b-it": ModelCard(9.24e9, 8192),
        "google/gemma-2-27b-it": ModelCard(27.2e9, 8192),
        "google/gemma-2b-it": ModelCard(2.51e9, 8192),
        "google/gemma-7b-it": ModelCard(8.54e9, 8192),
    }
    shapes = {
        "google/gemma-3-270m-it": KnownShape(
            18, 640, 4, 1, 2048, 262_144, head_dim=256, tied=True, window=512, every=6
        ),
        "google/gemma-3-1b-it": KnownShape(
            26, 1152, 4, 1, 6912, 262_144, head_dim=256, tied=True, window=512, every=6
        ),
        "google/gemma-3-4b-it": KnownShape(
            34, 2560, 8, 4, 10240, 262_208, head_dim=256, tied=True, window=1024, every=6
        ),
        "google/gemma-3-12b-it": KnownShape(
            48, 3840, 16, 8, 15360, 262_208, head_dim=256, tied=True, window=1024, every=6
        ),
        "google/gemma-3-27b-it": KnownShape(
            62, 5376, 32, 16, 21504, 262_208, head_dim=128, tied=True, window=1024, every=6
        ),
        "google/gemma-2-2b-it": KnownShape(
            26, 2304, 8, 4, 9216, 256_000, head_dim=256, tied=True, window=4096, every=2
        ),
        "google/gemma-2-9b-it": KnownShape(
            42, 3584, 16, 8, 14336, 256_000, head_dim=256, tied=True, window=4096, every=2
        ),
        "google/gemma-2-27b-it": KnownShape(
            46, 4608, 32, 16, 36864, 256_000, head_dim=128, tied=True, window=4096, every=2
        ),
        "google/gemma-2b-it": KnownShape(18, 2048, 8, 1, 16384, 256_000, head_dim=256, tied=True),
        "google/gemma-7b-it": KnownShape(28, 3072, 16, 16, 24576, 256_000, head_dim=256, tied=True),
    }
    topics = {
        "vision": (
            "google/gemma-3-4b*",
            "google/gemma-3-12b*",
            "google/gemma-3-27b*",
        )
    }
    patterns = ("google/gemma-[0-9]b*", "*/gemma-[23]-*")
    marks = (
        FamilyMarks(("<start_of_turn>", "<end_of_turn>"), ("<start_of_turn>", "<end_of_turn>")),
    )
    default_id = "google/gemma-3-1b-it"
    sampling = {"top_k": 64, "top_p": 0.95}
    lora_targets = ("q_proj", "k_proj", "v_proj", "o_proj", "gate_proj", "up_proj", "down_proj")
    license = "gemma"
