"""MiniMax M2, a mixture of experts that thinks between its calls of tools."""

from openllm.models.base import FamilyMarks, LLMConfig, ModelCard


class MiniMaxConfig(LLMConfig):
    name = "minimax"
    title = "MiniMax"
    architectures = ("MiniMaxM2ForCausalLM",)
    models = {
        "MiniMaxAI/MiniMax-M2": ModelCard(229e9, 196_608, active=10e9),
        "MiniMaxAI/MiniMax-M2.1": ModelCard(229e9, 196_608, active=10e9),
        "MiniMaxAI/MiniMax-M2.5": ModelCard(229e9, 196_608, active=10e9),
    }
    patterns = ("*/minimax-m2*",)
    marks = (FamilyMarks(("]~b]", "[e~["), ("]~b]", "[e~[")),)
    default_id = "MiniMaxAI/MiniMax-M2"
    sampling = {"temperature": 1.0, "top_p": 0.95, "top_k": 40}
    lora_targets = ("q_proj", "k_proj", "v_proj", "o_proj")
    tool_format = "minimax"
    reasoning_format = "think"
    license = "modified-mit"
