"""Kimi K2 and Kimi Linear, by Moonshot AI: mixtures of experts."""

from openllm.models.base import FamilyMarks, LLMConfig, ModelCard


class KimiConfig(LLMConfig):
    name = "kimi"
    title = "Kimi"
    architectures = ("KimiLinearForCausalLM", "KimiK25ForConditionalGeneration")
    models = {
        "moonshotai/Kimi-Linear-48B-A3B-Instruct": ModelCard(49.1e9, 1_048_576, active=3e9),
        "moonshotai/Kimi-K2-Instruct-0905": ModelCard(
            1.03e12, 262_144, active=32e9, license="modified-mit"
        ),
        "moonshotai/Kimi-K2-Instruct": ModelCard(
            1.03e12, 131_072, active=32e9, license="modified-mit"
        ),
        "moonshotai/Kimi-K2-Thinking": ModelCard(
            1.03e12, 262_144, active=32e9, license="modified-mit"
        ),
        "moonshotai/Kimi-K2.5": ModelCard(1.03e12, 262_144, active=32e9, license="modified-mit"),
        "moonshotai/Moonlight-16B-A3B-Instruct": ModelCard(16.0e9, 8192, active=3e9),
    }
    patterns = ("*/kimi-k2*", "*/kimi-linear-*", "moonshotai/moonlight-*")
    marks = (
        FamilyMarks(("<|im_middle|>", "<|im_assistant|>"), ("<|im_middle|>", "<|im_assistant|>")),
    )
    default_id = "moonshotai/Kimi-Linear-48B-A3B-Instruct"
    # No sampling: K2 Instruct is to be asked at 0.6, K2 Thinking at 1.0.
    lora_targets = ("q_a_proj", "q_b_proj", "kv_a_proj_with_mqa", "kv_b_proj", "o_proj")
    tool_format = "kimi_k2"
    reasoning_format = "kimi"
    license = "mit"
