"""Llama 2 and 3, by Meta."""

from openllm.models.base import LLMConfig


class LlamaConfig(LLMConfig):
    name = "llama"
    title = "Llama"
    aliases = ("llama2", "llama3")
    architectures = ("LlamaForCausalLM",)
    model_ids = (
        "meta-llama/Llama-3.2-1B-Instruct",
        "meta-llama/Llama-3.2-3B-Instruct",
        "meta-llama/Llama-3.2-1B",
        "meta-llama/Llama-3.2-3B",
        "meta-llama/Llama-3.1-8B-Instruct",
        "meta-llama/Llama-3.1-70B-Instruct",
        "meta-llama/Llama-3.1-405B-Instruct",
        "meta-llama/Llama-3.1-8B",
        "meta-llama/Llama-3.1-70B",
        "meta-llama/Llama-3.3-70B-Instruct",
        "meta-llama/Meta-Llama-3-8B-Instruct",
        "meta-llama/Meta-Llama-3-70B-Instruct",
        "meta-llama/Llama-2-7b-chat-hf",
        "meta-llama/Llama-2-13b-chat-hf",
        "meta-llama/Llama-2-70b-chat-hf",
    )
    patterns = ("meta-llama/llama-2-*", "*/llama-3.[13]-*", "*/llama-3.2-[13]b*", "*/meta-llama-3*")
    default_id = "meta-llama/Llama-3.2-1B-Instruct"
    sampling = {"temperature": 0.6, "top_p": 0.9}
    lora_targets = ("q_proj", "k_proj", "v_proj", "o_proj", "gate_proj", "up_proj", "down_proj")
    tool_format = "llama3_json"
    backends = ("vllm", "pytorch", "tf", "flax")
    license = "llama3.2"
