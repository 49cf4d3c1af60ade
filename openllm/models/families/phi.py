"""Phi 1.5 to 4, by Microsoft."""

from openllm.models.base import FamilyMarks, LLMConfig, ModelCard
from openllm.models.shape import KnownShape

_4_MINI = KnownShape(32, 3072, 24, 8, 8192, 200_064, tied=True)
_3_MINI = KnownShape(32, 3072, 32, 32, 8192, 32064)
_14B = KnownShape(40, 5120, 40, 10, 17920, 100_352)


class PhiConfig(LLMConfig):
    name = "phi"
    title = "Phi"
    aliases = ("phi3", "phi4")
    architectures = ("Phi3ForCausalLM", "PhiForCausalLM")
    models = {
        "microsoft/Phi-4-mini-instruct": ModelCard(3.84e9, 131_072),
        "microsoft/Phi-4-mini-reasoning": ModelCard(3.84e9, 131_072),
        "microsoft/phi-4": ModelCard(14.7e9, 16384),
        "microsoft/Phi-4-reasoning": ModelCard(14.7e9, 32768),
        "microsoft/Phi-3.5-mini-instruct": ModelCard(3.82e9, 131_072),
        "microsoft/Phi-3-mini-4k-instruct": ModelCard(3.82e9, 4096),
        "microsoft/Phi-3-mini-128k-instruct": ModelCard(3.82e9, 131_072),
        "microsoft/Phi-3-medium-4k-instruct": ModelCard(14.0e9, 4096),
        "microsoft/phi-2": ModelCard(2.78e9, 2048),
        "microsoft/phi-1_5": ModelCard(1.42e9, 2048),
    }
    shapes = {
        "microsoft/phi-4": _14B,
        "microsoft/Phi-4-reasoning": _14B,
        "microsoft/Phi-4-mini-instruct": _4_MINI,
        "microsoft/Phi-4-mini-reasoning": _4_MINI,
        "microsoft/Phi-3.5-mini-instruct": _3_MINI,
        "microsoft/Phi-3-mini-128k-instruct": _3_MINI,
    }
    patterns = (
        "microsoft/phi-[12]*",
        "*/phi-[34]-m[ie][nd]*",
        "*/phi-3.5-mini-*",
        "*/phi-4-reasoning*",
    )
    marks = (
        FamilyMarks(("<|user|>", "<|end|>", "<|assistant|>"), ("<|end|>", "<|assistant|>")),
        FamilyMarks(("<|im_start|>", "<|im_sep|>"), ("<|im_start|>", "<|im_sep|>")),  # phi-4
    )
    default_id = "microsoft/Phi-4-mini-instruct"
    # Phi 3 and 4 fuse what Phi 1 and 2 keep apart; peft takes the names that a model has.
    lora_targets = (
        "qkv_proj",
        "o_proj",
        "gate_up_proj",
        "down_proj",
        "q_proj",
        "k_proj",
        "v_proj",
        "dense",
    )
    tool_format = "phi4"
    license = "mit"
