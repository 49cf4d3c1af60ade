"""EXAONE 4, by LG AI Research: answers with or without a thought."""

from openllm.models.base import FamilyMarks, LLMConfig, ModelCard


class EXAONEConfig(LLMConfig):
    name = "exaone"
    title = "EXAONE"
    architectures = ("Exaone4ForCausalLM", "ExaoneMoeForCausalLM", "ExaoneMoEForCausalLM")
    models = {
        "LGAI-EXAONE/EXAONE-4.0-1.2B": ModelCard(1.28e9, 65536),
        "LGAI-EXAONE/EXAONE-4.0-32B": ModelCard(32.0e9, 131_072),
        "LGAI-EXAONE/K-EXAONE-236B-A23B": ModelCard(
            237e9, 262_144, active=23e9, license="k-exaone"
        ),
    }
    patterns = ("*/exaone-4.0-*", "*/k-exaone-*")
    marks = (FamilyMarks(("[|assistant|]", "[|endofturn|]"), ("[|assistant|]", "[|endofturn|]")),)
    default_id = "LGAI-EXAONE/EXAONE-4.0-1.2B"
    sampling = {"temperature": 0.6, "top_p": 0.95}
    lora_targets = ("q_proj", "k_proj", "v_proj", "o_proj", "gate_proj", "up_proj", "down_proj")
    tool_format = "hermes"
    reasoning_format = "think"
    license = "exaone"
