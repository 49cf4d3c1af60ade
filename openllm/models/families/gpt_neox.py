"""GPT-NeoX and Pythia, by EleutherAI: text completion without a chat template."""

from openllm.models.base import LLMConfig, ModelCard


class GPTNeoXConfig(LLMConfig):
    name = "gpt_neox"
    title = "GPT-NeoX"
    aliases = ("pythia",)
    architectures = ("GPTNeoXForCausalLM",)
    models = {
        "EleutherAI/pythia-70m": ModelCard(70.4e6, 2048),
        "EleutherAI/pythia-160m": ModelCard(162e6, 2048),
        "EleutherAI/pythia-410m": ModelCard(405e6, 2048),
        "EleutherAI/pythia-1b": ModelCard(1.01e9, 2048),
        "EleutherAI/pythia-1.4b": ModelCard(1.41e9, 2048),
        "EleutherAI/pythia-2.8b": ModelCard(2.78e9, 2048),
        "EleutherAI/pythia-6.9b": ModelCard(6.86e9, 2048),
        "EleutherAI/pythia-12b": ModelCard(11.8e9, 2048),
        "EleutherAI/gpt-neox-20b": ModelCard(20.6e9, 2048),
    }
    patterns = ("eleutherai/pythia-*", "eleutherai/gpt-neox-*")
    default_id = "EleutherAI/pythia-160m"
    lora_targets = ("query_key_value", "dense", "dense_h_to_4h", "dense_4h_to_h")
    license = "apache-2.0"
