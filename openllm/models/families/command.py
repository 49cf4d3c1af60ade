"""Command R and A, by Cohere."""

from openllm.models.base import FamilyMarks, LLMConfig, ModelCard


class CommandConfig(LLMConfig):
    name = "command"
    title = "Command"
    aliases = ("cohere",)
    architectures = ("Cohere2ForCausalLM", "CohereForCausalLM")
    models = {
        "CohereLabs/c4ai-command-r7b-12-2024": ModelCard(8.03e9, 132_096),
        "CohereLabs/c4ai-command-r-08-2024": ModelCard(32.3e9, 131_072),
        "CohereLabs/c4ai-command-r-plus-08-2024": ModelCard(104e9, 131_072),
        "CohereLabs/c4ai-command-a-03-2025": ModelCard(111e9, 262_144),
        "CohereLabs/command-a-reasoning-08-2025": ModelCard(111e9, 262_144),
        "CohereLabs/aya-expanse-8b": ModelCard(8.03e9, 8192),
        "CohereLabs/aya-expanse-32b": ModelCard(32.3e9, 8192),
    }
    patterns = ("*/c4ai-command-*", "*/command-a-reasoning-*", "*/aya-expanse-*")
    marks = (
        FamilyMarks(
            ("<|START_OF_TURN_TOKEN|>", "<|CHATBOT_TOKEN|>"),
            ("<|START_OF_TURN_TOKEN|>", "<|CHATBOT_TOKEN|>"),
        ),
    )
    default_id = "CohereLabs/c4ai-command-r7b-12-2024"
    lora_targets = ("q_proj", "k_proj", "v_proj", "o_proj", "gate_proj", "up_proj", "down_proj")
    tool_format = "command"
    reasoning_format = "command"
    license = "cc-by-nc-4.0"
