"""GLM 4, by Z.ai: dense models and mixtures of experts."""

from openllm.models.base import FamilyMarks, LLMConfig, ModelCard


class GLMConfig(LLMConfig):
    name = "glm"
    title = "GLM"
    aliases = ("glm4",)
    architectures = (
        "Glm4MoeLiteForCausalLM",
        "Glm4MoeForCausalLM",
        "Glm4ForCausalLM",
        "GlmForCausalLM",
    )
    models = {
        "zai-org/GLM-4.7-Flash": ModelCard(31.2e9, 202_752, active=3e9),
        "zai-org/GLM-4.7": ModelCard(358e9, 202_752, active=32e9),
        "zai-org/GLM-4.6": ModelCard(357e9, 202_752, active=32e9),
        "zai-org/GLM-4.5": ModelCard(358e9, 131_072, active=32e9),
        "zai-org/GLM-4.5-Air": ModelCard(110e9, 131_072, active=12e9),
        "zai-org/GLM-4-9B-0414": ModelCard(9.40e9, 32768),
        "zai-org/GLM-4-32B-0414": ModelCard(32.6e9, 32768),
        "zai-org/GLM-Z1-9B-0414": ModelCard(9.40e9, 32768),
        "zai-org/glm-4-9b-chat-hf": ModelCard(9.40e9, 131_072, license="glm-4"),
    }
    patterns = (
        "*/glm-4.[567]",
        "*/glm-4.[567]-air*",
        "*/glm-4.[567]-flash*",
        "*/glm-4.[567]-fp8",
        "*/glm-z1-*",
        "*/glm-4-*b-*",
    )
    marks = (FamilyMarks(("[gMASK]<sop>", "<|assistant|>"), ("[gMASK]", "<sop>")),)
    default_id = "zai-org/GLM-4.7-Flash"
    sampling = {"temperature": 1.0, "top_p": 0.95}
    lora_targets = ("q_proj", "k_proj", "v_proj", "o_proj")
    tool_format = "glm45"
    reasoning_format = "think"
    license = "mit"
