"""Llama 2 and 3, by Meta."""

from openllm.models.base import FamilyMarks, LLMConfig, ModelCard
from openllm.models.shape import KnownShape

_1B = KnownShape(16, 2048, 32, 8, 8192, 128_256, tied=True)
_3B = KnownShape(28, 3072, 24, 8, 8192, 128_256, tied=True)
_8B = KnownShape(32, 4096, 32, 8, 14336, 128_256)
_70B = KnownShape(80, 8192, 64, 8, 28672, 128_256)


class LlamaConfig(LLMConfig):
    name = "llama"
    title = "Llama"
    aliases = ("llama2", "llama3")
    architectures = ("LlamaForCausalLM",)
    models = {
        "meta-llama/Llama-3.2-1B-Instruct": ModelCard(1.24e9, 131_072),
        "meta-llama/Llama-3.2-3B-Instruct": ModelCard(3.21e9, 131_072),
        "meta-llama/Llama-3.2-1B": ModelCard(1.24e9, 131_072),
        "meta-llama/Llama-3.2-3B": ModelCard(3.21e9, 131_072),
        "meta-llama/Llama-3.1-8B-Instruct": ModelCard(8.03e9, 131_072, license="llama3.1"),
        "meta-llama/Llama-3.1-70B-Instruct": ModelCard(70.6e9, 131_072, license="llama3.1"),
        "meta-llama/Llama-3.1-405B-Instruct": ModelCard(406e9, 131_072, license="llama3.1"),
        "meta-llama/Llama-3.1-8B": ModelCard(8.03e9, 131_072, license="llama3.1"),
        "meta-llama/Llama-3.1-70B": ModelCard(70.6e9, 131_072, license="llama3.1"),
        "meta-llama/Llama-3.3-70B-Instruct": ModelCard(70.6e9, 131_072, license="llama3.3"),
        "meta-llama/Meta-Llama-3-8B-Instruct": ModelCard(8.03e9, 8192, license="llama3"),
        "meta-llama/Meta-Llama-3-70B-Instruct": ModelCard(70.6e9, 8192, license="llama3"),
        "meta-llama/Llama-2-7b-chat-hf": ModelCard(6.74e9, 4096, license="llama2"),
        "meta-llama/Llama-2-13b-chat-hf": ModelCard(13.0e9, 4096, license="llama2"),
        "meta-llama/Llama-2-70b-chat-hf": ModelCard(69.0e9, 4096, license="llama2"),
    }
    shapes = {
        "meta-llama/Llama-3.2-1B-Instruct": _1B,
        "meta-llama/Llama-3.2-1B": _1B,
        "meta-llama/Llama-3.2-3B-Instruct": _3B,
        "meta-llama/Llama-3.2-3B": _3B,
        "meta-llama/Llama-3.1-8B-Instruct": _8B,
        "meta-llama/Llama-3.1-8B": _8B,
        "meta-llama/Meta-Llama-3-8B-Instruct": _8B,
        "meta-llama/Llama-3.1-70B-Instruct": _70B,
        "meta-llama/Llama-3.1-70B": _70B,
        "meta-llama/Llama-3.3-70B-Instruct": _70B,
        "meta-llama/Meta-Llama-3-70B-Instruct": _70B,
        "meta-llama/Llama-3.1-405B-Instruct": KnownShape(126, 16384, 128, 8, 53248, 128_256),
        "meta-llama/Llama-2-7b-chat-hf": KnownShape(
            32, 4096, 32, 32, 11008, 32000, dtype="float16"
        ),
        "meta-llama/Llama-2-13b-chat-hf": KnownShape(
            40, 5120, 40, 40, 13824, 32000, dtype="float16"
        ),
        "meta-llama/Llama-2-70b-chat-hf": KnownShape(
            80, 8192, 64, 8, 28672, 32000, dtype="float16"
        ),
    }
    patterns = ("meta-llama/llama-2-*", "*/llama-3.[13]-*", "*/llama-3.2-[13]b*", "*/meta-llama-3*")
    marks = (
        FamilyMarks(("<|start_header_id|>", "<|eot_id|>"), ("<|begin_of_text|>", "<|eot_id|>")),
        FamilyMarks(("[INST]", "<<SYS>>")),  # Llama 2
    )
    default_id = "meta-llama/Llama-3.2-1B-Instruct"
    sampling = {"temperature": 0.6, "top_p": 0.9}
    lora_targets = ("q_proj", "k_proj", "v_proj", "o_proj", "gate_proj", "up_proj", "down_proj")
    tool_format = "llama3_json"
    backends = ("vllm", "pytorch", "tf", "flax")
    license = "llama3.2"
