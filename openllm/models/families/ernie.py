"""ERNIE 4.5, by Baidu: a small dense model and mixtures of experts."""

from openllm.models.base import LLMConfig, ModelCard


class ERNIEConfig(LLMConfig):
    name = "ernie"
    title = "ERNIE"
    architectures = ("Ernie4_5ForCausalLM", "Ernie4_5_MoeForCausalLM")
    models = {
        "baidu/ERNIE-4.5-0.3B-PT": ModelCard(361e6, 131_072),
        "baidu/ERNIE-4.5-21B-A3B-PT": ModelCard(21.8e9, 131_072, active=3e9),
        "baidu/ERNIE-4.5-21B-A3B-Thinking": ModelCard(21.8e9, 131_072, active=3e9),
        "baidu/ERNIE-4.5-300B-A47B-PT": ModelCard(300e9, 131_072, active=47e9),
    }
    patterns = ("*/ernie-4.5-*b*-pt", "*/ernie-4.5-*-thinking")
    default_id = "baidu/ERNIE-4.5-0.3B-PT"
    sampling = {"temperature": 0.8, "top_p": 0.8}
    lora_targets = ("q_proj", "k_proj", "v_proj", "o_proj", "gate_proj", "up_proj", "down_proj")
    reasoning_format = "think"
    license = "apache-2.0"
