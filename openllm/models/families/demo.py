"""The small chat model that comes with openllm, for trying it out with no network."""

from openllm.models.base import LLMConfig


class DemoConfig(LLMConfig):
    name = "demo"
    title = "Demo"
    architectures = ("LlamaForCausalLM",)
    by_id_only = True
    model_ids = ("demo",)
    default_id = "demo"
    sampling = {"temperature": 0.0}  # it knows its answers by heart
    lora_targets = ("q_proj", "k_proj", "v_proj", "o_proj", "gate_proj", "up_proj", "down_proj")
    backends = ("vllm", "pytorch", "tf", "flax")
    license = "apache-2.0"
