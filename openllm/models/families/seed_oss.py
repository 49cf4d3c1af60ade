"""Seed-OSS, by ByteDance: a dense model whose thought has a budget."""

from openllm.models.base import FamilyMarks, LLMConfig, ModelCard


class SeedOSSConfig(LLMConfig):
    name = "seed_oss"
    title = "Seed-OSS"
    architectures = ("SeedOssForCausalLM",)
    models = {
        "ByteDance-Seed/Seed-OSS-36B-Instruct": ModelCard(36.2e9, 524_288),
    }
    patterns = ("*/seed-oss-*",)
    marks = (FamilyMarks(("<seed:think>",), ("<seed:bos>", "<seed:eos>")),)
    default_id = "ByteDance-Seed/Seed-OSS-36B-Instruct"
    sampling = {"temperature": 1.1, "top_p": 0.95}
    lora_targets = ("q_proj", "k_proj", "v_proj", "o_proj", "gate_proj", "up_proj", "down_proj")
    reasoning_format = "seed_oss"
    license = "apache-2.0"
