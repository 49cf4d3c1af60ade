"""gpt-oss, OpenAI's open models: they think, and all they write is in harmony's channels."""

from openllm.models.base import FamilyMarks, LLMConfig, ModelCard
from openllm.models.shape import KnownShape


class GPTOSSConfig(LLMConfig):
    name = "gpt_oss"
    title = "gpt-oss"
    aliases = ("gpt-oss",)
    architectures = ("GptOssForCausalLM",)
    models = {
        "openai/gpt-oss-20b": ModelCard(20.9e9, 131_072, active=3.6e9),
        "openai/gpt-oss-120b": ModelCard(117e9, 131_072, active=5.1e9),
    }
    shapes = {
        "openai/gpt-oss-20b": KnownShape(
            24,
            2880,
            64,
            8,
            2880,
            201_088,
            head_dim=64,
            experts=32,
            taken=4,
            expert_width=2880,
            window=128,
            every=2,
            size=13_761_300_000,
        ),
        "openai/gpt-oss-120b": KnownShape(
            36,
            2880,
            64,
            8,
            2880,
            201_088,
            head_dim=64,
            experts=128,
            taken=4,
            expert_width=2880,
            window=128,
            every=2,
            size=65_248_800_000,
        ),
    }
    patterns = ("*/gpt-oss-*",)
    marks = (FamilyMarks(("<|channel|>", "<|message|>"), ("<|channel|>", "<|message|>")),)
    default_id = "openai/gpt-oss-20b"
    sampling = {"temperature": 1.0, "top_p": 1.0}
    lora_targets = ("q_proj", "k_proj", "v_proj", "o_proj")
    tool_format = "harmony"
    reasoning_format = "harmony"
    license = "apache-2.0"
