"""DeepSeek R1's distills: Qwen and Llama that learned to think from it, told apart by id."""

from openllm.models.base import LLMConfig, ModelCard
from openllm.models.shape import KnownShape


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
    shapes = {
        "deepseek-ai/DeepSeek-R1-Distill-Qwen-1.5B": KnownShape(28, 1536, 12, 2, 8960, 151_936),
        "deepseek-ai/DeepSeek-R1-Distill-Qwen-7B": KnownShape(28, 3584, 28, 4, 18944, 152_064),
        "deepseek-ai/DeepSeek-R1-Distill-Qwen-14B": KnownShape(48, 5120, 40, 8, 13824, 152_064),
        "deepseek-ai/DeepSeek-R1-Distill-Qwen-32B": KnownShape(64, 5120, 40, 8, 27648, 152_064),
        "deepseek-ai/DeepSeek-R1-Distill-Llama-8B": KnownShape(32, 4096, 32, 8, 14336, 128_256),
        "deepseek-ai/DeepSeek-R1-Distill-Llama-70B": KnownShape(80, 8192, 64, 8, 28672, 128_256),
        "deepseek-ai/DeepSeek-R1-0528-Qwen3-8B": KnownShape(36, 4096, 32, 8, 12288, 151_936),
    }
    patterns = ("*/deepseek-r1-distill-*", "*/deepseek-r1-0528-qwen3-*")
    default_id = "deepseek-ai/DeepSeek-R1-Distill-Qwen-1.5B"
    sampling = {"temperature": 0.6, "top_p": 0.95}
    lora_targets = ("q_proj", "k_proj", "v_proj", "o_proj", "gate_proj", "up_proj", "down_proj")
    tool_format = "deepseek_v3"
    reasoning_format = "think"
    license = "mit"
