"""Granite 3 and 4, by IBM: dense, mixtures of experts, and hybrids with Mamba 2."""

from openllm.models.base import FamilyMarks, LLMConfig, ModelCard
from openllm.models.shape import KnownShape


class GraniteConfig(LLMConfig):
    name = "granite"
    title = "Granite"
    architectures = ("GraniteMoeHybridForCausalLM", "GraniteForCausalLM", "GraniteMoeForCausalLM")
    models = {
        "ibm-granite/granite-4.0-micro": ModelCard(3.40e9, 131_072),
        "ibm-granite/granite-4.0-h-micro": ModelCard(3.19e9, 131_072),
        "ibm-granite/granite-4.0-h-tiny": ModelCard(6.94e9, 131_072, active=1e9),
        "ibm-granite/granite-4.0-h-small": ModelCard(32.2e9, 131_072, active=9e9),
        "ibm-granite/granite-4.0-350m": ModelCard(352e6, 32768),
        "ibm-granite/granite-4.0-1b": ModelCard(1.63e9, 131_072),
        "ibm-granite/granite-3.3-2b-instruct": ModelCard(2.53e9, 131_072),
        "ibm-granite/granite-3.3-8b-instruct": ModelCard(8.17e9, 131_072),
    }
    shapes = {
        "ibm-granite/granite-3.3-2b-instruct": KnownShape(40, 2048, 32, 8, 8192, 49159, tied=True),
        "ibm-granite/granite-3.3-8b-instruct": KnownShape(40, 4096, 32, 8, 12800, 49159, tied=True),
    }
    patterns = ("*/granite-4.0-*", "*/granite-3.[0-9]-*b-instruct*")
    marks = (
        FamilyMarks(
            ("<|start_of_role|>", "<|end_of_role|>"), ("<|start_of_role|>", "<|end_of_role|>")
        ),
    )
    default_id = "ibm-granite/granite-4.0-micro"
    lora_targets = ("q_proj", "k_proj", "v_proj", "o_proj")
    tool_format = "hermes"
    reasoning_format = "granite"
    license = "apache-2.0"
