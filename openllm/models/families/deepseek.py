"""DeepSeek V2, V3 and R1: mixtures of experts with latent attention."""

from openllm.models.base import FamilyMarks, LLMConfig, ModelCard


class DeepSeekConfig(LLMConfig):
    name = "deepseek"
    title = "DeepSeek"
    aliases = ("deepseek_v3", "deepseek_r1")
    architectures = ("DeepseekV3ForCausalLM", "DeepseekV2ForCausalLM", "DeepseekV32ForCausalLM")
    models = {
        "deepseek-ai/DeepSeek-V3.1": ModelCard(671e9, 163_840, active=37e9),
        "deepseek-ai/DeepSeek-V3.1-Terminus": ModelCard(671e9, 163_840, active=37e9),
        "deepseek-ai/DeepSeek-V3-0324": ModelCard(671e9, 163_840, active=37e9),
        "deepseek-ai/DeepSeek-R1": ModelCard(671e9, 163_840, active=37e9),
        "deepseek-ai/DeepSeek-R1-0528": ModelCard(671e9, 163_840, active=37e9),
        "deepseek-ai/DeepSeek-V3.2": ModelCard(671e9, 163_840, active=37e9),
        "deepseek-ai/DeepSeek-V2-Lite-Chat": ModelCard(
            15.7e9, 163_840, active=2.4e9, license="deepseek"
        ),
    }
    patterns = ("*/deepseek-v[23]*",)
    marks = (
        FamilyMarks(
            ("<\uff5cUser\uff5c>", "<\uff5cAssistant\uff5c>"),
            ("<\uff5cUser\uff5c>", "<\uff5cAssistant\uff5c>"),
        ),
    )
    default_id = "deepseek-ai/DeepSeek-V3.1"
    sampling = {"temperature": 0.6, "top_p": 0.95}
    lora_targets = ("q_a_proj", "q_b_proj", "kv_a_proj_with_mqa", "kv_b_proj", "o_proj")
    tool_format = "deepseek_v31"
    reasoning_format = "think"
    license = "mit"
