"""LFM2, by Liquid AI: short convolutions between a few layers of attention."""

from openllm.models.base import FamilyMarks, LLMConfig, ModelCard


class LFM2Config(LLMConfig):
    name = "lfm2"
    title = "LFM2"
    architectures = ("Lfm2ForCausalLM", "Lfm2MoeForCausalLM", "Lfm2VlForConditionalGeneration")
    models = {
        "LiquidAI/LFM2-1.2B": ModelCard(1.17e9, 128_000),
        "LiquidAI/LFM2-350M": ModelCard(354e6, 128_000),
        "LiquidAI/LFM2-700M": ModelCard(742e6, 128_000),
        "LiquidAI/LFM2-2.6B": ModelCard(2.57e9, 128_000),
        "LiquidAI/LFM2-8B-A1B": ModelCard(8.34e9, 128_000, active=1.5e9),
        "LiquidAI/LFM2.5-1.2B-Instruct": ModelCard(1.17e9, 128_000),
        "LiquidAI/LFM2-VL-450M": ModelCard(451e6, 128_000),
        "LiquidAI/LFM2-VL-1.6B": ModelCard(1.58e9, 128_000),
    }
    patterns = ("liquidai/lfm2*",)
    marks = (
        FamilyMarks(
            ("<|im_start|>", "<|tool_list_start|>"), ("<|im_start|>", "<|tool_list_start|>")
        ),
    )
    default_id = "LiquidAI/LFM2-1.2B"
    sampling = {"temperature": 0.3, "min_p": 0.15, "repetition_penalty": 1.05}
    lora_targets = ("q_proj", "k_proj", "v_proj", "out_proj", "in_proj", "w1", "w2", "w3")
    license = "lfm1.0"
