"""Flan-T5, by Google: an encoder and a decoder, without a chat template."""

from openllm.models.base import LLMConfig, ModelCard


class FlanT5Config(LLMConfig):
    name = "flan_t5"
    title = "Flan-T5"
    aliases = ("flan-t5", "t5")
    architectures = ("T5ForConditionalGeneration",)
    models = {
        "google/flan-t5-small": ModelCard(77.0e6, 512),
        "google/flan-t5-base": ModelCard(248e6, 512),
        "google/flan-t5-large": ModelCard(783e6, 512),
        "google/flan-t5-xl": ModelCard(2.85e9, 512),
        "google/flan-t5-xxl": ModelCard(11.3e9, 512),
    }
    patterns = ("google/flan-t5-*",)
    default_id = "google/flan-t5-small"
    lora_targets = ("q", "k", "v", "o", "wi_0", "wi_1", "wo")
    backends = ("pytorch",)
    one_at_a_time = ("pytorch",)
    license = "apache-2.0"
