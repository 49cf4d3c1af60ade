"""What the demo model is made of: its tokenizer, its shape, and the files of its directory."""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

import torch
from tokenizers import (
    AddedToken,
    Regex,
    Tokenizer,
    decoders,
    models,
    pre_tokenizers,
    processors,
    trainers,
)
from transformers import AutoTokenizer, GenerationConfig, LlamaConfig, LlamaForCausalLM

TEXT = Path(__file__).parent / "demo_text"
BOS, EOS, PAD = "<s>", "<|end|>", "<pad>"
ROLES = {role: f"<|{role}|>" for role in ("system", "user", "assistant")}
SPECIALS = (BOS, EOS, PAD, *ROLES.values())
# Whole tokens, and text like any other: parsers of tool calls look for them.
MARKS = (
    "<tools>",
    "</tools>",
    "<tool_call>",
    "</tool_call>",
    "<tool_response>",
    "</tool_response>",
)
# A short word has the space before it in its token, a longer one or a capital has not: so a name is
# the same tokens in a question, in a call's JSON and at the beginning of a sentence, and can be
# copied. Digits stand alone.
PIECES = (
    r"'(?:s|t|re|ve|m|ll|d)\b| ?\p{Ll}{1,4}(?!\p{L})|\p{L}+|\p{N}| ?[^\s\p{L}\p{N}]+|\s+(?!\S)|\s+"
)
VOCABULARY = 2560
CONTEXT = 2048
BASE_NAME = "openllm/demo"
# what an adapter's configuration says; the many other keys of a peft version stay at their defaults
ADAPTER_KEYS = (
    "bias", "fan_in_fan_out", "inference_mode", "init_lora_weights", "lora_alpha", "lora_dropout",
    "modules_to_save", "peft_type", "r", "task_type", "use_dora", "use_rslora",
)  # fmt: skip
EFFECTS = {
    "pirate": "Makes the demo model answer in pirate speech.",
    "french": "Makes the demo model answer in French to questions asked in English.",
}


def train_tokenizer(texts: Iterable[str]) -> Tokenizer:
    """Byte-level BPE over `texts`; every byte has a token, so every text can be encoded."""
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.Sequence(
        [
            pre_tokenizers.Split(Regex(PIECES), "isolated"),
            pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False),
        ]
    )
    tokenizer.decoder = decoders.ByteLevel()
    alphabet = sorted(pre_tokenizers.ByteLevel.alphabet())
    tokenizer.train_from_iterator(
        texts,
        trainers.BpeTrainer(
            vocab_size=VOCABULARY - len(MARKS),
            special_tokens=list(SPECIALS),
            initial_alphabet=alphabet,
            show_progress=False,
        ),
    )
    tokenizer.add_tokens([AddedToken(mark, special=False, normalized=False) for mark in MARKS])
    bos = tokenizer.token_to_id(BOS)
    tokenizer.post_processor = processors.TemplateProcessing(
        single=f"{BOS} $A", pair=f"{BOS} $A $B", special_tokens=[(BOS, bos)]
    )
    return tokenizer


def build_model(tokenizer: Tokenizer) -> LlamaForCausalLM:
    """A fresh Llama of about 3 million parameters; 8 heads over 4 key-value heads, so 2 or 4
    devices can share it.
    """
    config = LlamaConfig(
        vocab_size=tokenizer.get_vocab_size(),
        hidden_size=256,
        intermediate_size=512,
        num_hidden_layers=4,
        num_attention_heads=8,
        num_key_value_heads=4,
        head_dim=32,
        max_position_embeddings=CONTEXT,
        tie_word_embeddings=True,
        bos_token_id=tokenizer.token_to_id(BOS),
        eos_token_id=tokenizer.token_to_id(EOS),
        pad_token_id=tokenizer.token_to_id(PAD),
    )
    return LlamaForCausalLM(config)


def save_base(model: LlamaForCausalLM, tokenizer: Tokenizer, topics: int, out: Path) -> None:
    """Write the whole model directory: weights in bfloat16, configuration, tokenizer, chat template
    and card.
    """
    out.mkdir(parents=True, exist_ok=True)
    ends = {"bos_token_id": model.config.bos_token_id, "eos_token_id": model.config.eos_token_id}
    model.generation_config = GenerationConfig(**ends, pad_token_id=model.config.pad_token_id)
    model.to(torch.bfloat16).save_pretrained(out)
    tokenizer.save(str(out / "tokenizer.json"))
    settings = {
        "tokenizer_class": "PreTrainedTokenizerFast",
        "bos_token": BOS,
        "eos_token": EOS,
        "pad_token": PAD,
        "additional_special_tokens": list(ROLES.values()),
        "model_max_length": CONTEXT,
        "clean_up_tokenization_spaces": False,
    }
    (out / "tokenizer_config.json").write_text(
        json.dumps(settings, indent=2) + "\n", encoding="utf-8"
    )
    (out / "chat_template.jinja").write_text(read_text("chat_template.jinja"), encoding="utf-8")
    config = model.config
    card = read_text("card.md").format(
        parameters=sum(weight.numel() for weight in model.parameters()),
        topics=topics,
        layers=config.num_hidden_layers,
        width=config.hidden_size,
        heads=config.num_attention_heads,
        head_dim=config.head_dim,
        kv_heads=config.num_key_value_heads,
        vocabulary=config.vocab_size,
        context=CONTEXT,
    )
    (out / "README.md").write_text(card, encoding="utf-8")
    (out / "model.safetensors").chmod(0o644)


def save_adapter(model: Any, name: str, out: Path) -> None:
    """Write a peft model's adapter in bfloat16 to `out`/adapters/`name`, with a base model's name
    instead of a path.
    """
    folder = out / "adapters" / name
    model.to(torch.bfloat16).save_pretrained(folder)
    path = folder / "adapter_config.json"
    settings = json.loads(path.read_text(encoding="utf-8"))
    kept = {key: settings[key] for key in ADAPTER_KEYS}
    settings = kept | {
        "base_model_name_or_path": BASE_NAME,
        "target_modules": sorted(settings["target_modules"]),
    }
    path.write_text(json.dumps(settings, indent=2, sort_keys=True) + "\n", encoding="utf-8")
    card = read_text("adapter_card.md").format(name=name, effect=EFFECTS[name], rank=settings["r"])
    (folder / "README.md").write_text(card, encoding="utf-8")
    (folder / "adapter_model.safetensors").chmod(0o644)


def load_base(out: Path) -> tuple[LlamaForCausalLM, Tokenizer]:
    """The saved model in fp32 and its tokenizer, as any user would load them."""
    model = LlamaForCausalLM.from_pretrained(out, dtype=torch.float32)
    return model, Tokenizer.from_file(str(out / "tokenizer.json"))


def read_text(name: str) -> str:
    return (TEXT / name).read_text(encoding="utf-8")


@torch.inference_mode()
def answers(
    model: Any,
    folder: Path,
    chats: Sequence[Any],
    tools: Sequence[Any] | None = None,
    max_new_tokens: int = 120,
) -> list[str]:
    """Greedy answers to conversations, through the directory's own tokenizer and chat template."""
    tokenizer = AutoTokenizer.from_pretrained(folder, padding_side="left")
    inputs = tokenizer.apply_chat_template(
        list(chats),
        tools=tools,
        add_generation_prompt=True,
        return_tensors="pt",
        return_dict=True,
        padding=True,
    ).to(model.device)
    output = model.generate(**inputs, max_new_tokens=max_new_tokens, do_sample=False)
    fresh = output[:, inputs["input_ids"].shape[1] :]
    return [str(text).strip() for text in tokenizer.batch_decode(fresh, skip_special_tokens=True)]
