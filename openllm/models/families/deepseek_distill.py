"""DeepSeek R1's distills: Qwen and Llama that learned to think from it, told apart by id."""

from openllm.models.base import LLMConfig, ModelCard


class DeepSeekDistillConfig(LLMConfig):
    name = "deepseek_distill"
    title = "DeepSeek R1 Distill"
    architectures = ("Qwen2ForCausalLM", "LlamaForCausalLM", "Qwen3ForCausalLM")
    by_id_only = True
    models = {
        "deepseek-ai/DeepSeek-R1-Distill-Qwen-1.5B": ModelCard(1.78e9, 131_072),
        "deepseek-ai/DeepSeek-R1-Distill-Qwen-7B": ModelCard(7.62e9, 131_072),
        "deepseek-ai/DeepSeek-R1-Distill-Qwen-14B": ModelCard(14.8e9, 131_072),
        "deepseek-ai/DeepSeek-R1-Distill-Qwen-32B": ModelCard(32.8e9, 131_072),
        "deepseek-ai/DeepSeek-R1-Distill-Llama-8B": ModelCard(8.03e9, 131_072),
        "deepseek-ai/DeepSeek-R1-Distill-Llama-70B": ModelCard(70.6e9, 131_072),
        "deepseek-ai/DeepSeek-R1-0528-Qwen3-8B": ModelCard(8.19e9, 131_072),
    }
    patterns = ("*/deepseek-r1-distill-*", "*/deepseek-r1-0528-qwen3-*")
    default_id = "deepseek-ai/DeepSeek-R1-Distill-Qwen-1.5B"
    sampling = {"temperature": 0.6, "top_p": 0.95}
    lora_targets = ("q_proj", "k_proj", "v_proj", "o_proj", "gate_proj", "up_proj", "down_proj")
    tool_format = "deepseek_v3"
    reasoning_format = "think"
    license = "mit"
