"""Phi 1.5 to 4, by Microsoft."""

from openllm.models.base import FamilyMarks, LLMConfig, ModelCard


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
