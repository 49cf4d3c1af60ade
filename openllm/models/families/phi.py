"""Phi 1.5 to 4, by Microsoft."""

from openllm.models.base import LLMConfig


class PhiConfig(LLMConfig):
    name = "phi"
    title = "Phi"
    aliases = ("phi3", "phi4")
    architectures = ("Phi3ForCausalLM", "PhiForCausalLM")
    model_ids = (
        "microsoft/Phi-4-mini-instruct",
        "microsoft/phi-4",
        "microsoft/Phi-3.5-mini-instruct",
        "microsoft/Phi-3-mini-4k-instruct",
        "microsoft/Phi-3-mini-128k-instruct",
        "microsoft/Phi-3-medium-4k-instruct",
        "microsoft/phi-2",
        "microsoft/phi-1_5",
    )
    patterns = (
        "microsoft/phi-[12]*",
        "*/phi-[34]-m[ie][nd]*",
        "*/phi-3.5-mini-*",
        "*/phi-4-reasoning*",
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
