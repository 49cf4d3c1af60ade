"""Write tiny random models, each with a tokenizer, into a directory: every family shape that the
tests need.

All writers are deterministic (`seed`), take overrides of the model's configuration as keywords,
write safetensors in fp32 and return the directory. Heads are 32 wide so that every engine can run
them; weights are drawn wide enough for greedy answers to be clear of near-ties most of the time.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

SPECIAL_TOKENS = ("<pad>", "<s>", "</s>", "<|user|>", "<|assistant|>", "<|system|>")
PAD, BOS, EOS = 0, 1, 2
VOCAB_SIZE = 384

CHAT_TEMPLATE = (
    "{{ bos_token }}{% for message in messages %}<|{{ message['role'] }}|>{{ message['content']"
    " }}{{ eos_token }}{% endfor %}{% if add_generation_prompt %}<|assistant|>{% endif %}"
)

CORPUS = (
    "the engine reads token ids and yields deltas, one step at a time",
    "a bento carries the model, its adapters and the service that answers",
    "requests join and leave the batch at every step of the engine",
    'numbers 0 1 2 3 4 5 6 7 8 9 and signs {"name": "value", "list": [1, 2, 3], "flag": true}',
    "hello world, how do I build and serve a model on this machine?",
)

SMALL: dict[str, Any] = {
    "vocab_size": VOCAB_SIZE,
    "hidden_size": 64,
    "intermediate_size": 128,
    "num_hidden_layers": 2,
    "num_attention_heads": 2,
    "num_key_value_heads": 1,
    "head_dim": 32,
    "max_position_embeddings": 512,
    "pad_token_id": PAD,
    "bos_token_id": BOS,
    "eos_token_id": EOS,
    "tie_word_embeddings": False,
}


def write_tokenizer(path: Path, *, add_bos: bool = True) -> Path:
    """A byte-level BPE tokenizer of at most VOCAB_SIZE entries, trained in place, with a chat
    template.
    """
    from tokenizers import Tokenizer, decoders, models, pre_tokenizers, processors, trainers
    from transformers import PreTrainedTokenizerFast

    path.mkdir(parents=True, exist_ok=True)
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    alphabet = pre_tokenizers.ByteLevel.alphabet()
    special = list(SPECIAL_TOKENS)
    trainer = trainers.BpeTrainer(
        vocab_size=VOCAB_SIZE - 8,
        special_tokens=special,
        initial_alphabet=alphabet,
        show_progress=False,
    )
    tokenizer.train_from_iterator(CORPUS, trainer)
    if add_bos:
        tokenizer.post_processor = processors.TemplateProcessing(
            single="<s> $A", pair="<s> $A <s> $B", special_tokens=[("<s>", BOS)]
        )
    fast = PreTrainedTokenizerFast(
        tokenizer_object=tokenizer,
        bos_token="<s>",
        eos_token="</s>",
        pad_token="<pad>",
        additional_special_tokens=list(SPECIAL_TOKENS[3:]),
        chat_template=CHAT_TEMPLATE,
    )
    fast.save_pretrained(path)
    return path


def write_model(path: Path, config: Any, auto: str, *, seed: int = 0, spread: float = 0.3) -> Path:
    """A random model of `config` through the transformers auto class named `auto`, and the
    tokenizer beside it.
    """
    import torch
    import transformers

    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        model = getattr(transformers, auto).from_config(config, dtype=torch.float32)
        with torch.no_grad():
            for parameter in model.parameters():
                if parameter.dim() > 1:
                    parameter.normal_(0.0, spread)
    if getattr(model, "generation_config", None) is not None:
        model.generation_config.eos_token_id = EOS
        model.generation_config.bos_token_id = BOS
        model.generation_config.pad_token_id = PAD
    model.save_pretrained(path)
    return write_tokenizer(path)


def _write_decoder(
    path: Path, name: str, fields: dict[str, Any], overrides: dict[str, Any]
) -> Path:
    import transformers

    seed = overrides.pop("seed", 0)
    config = getattr(transformers, name)(**{**SMALL, **fields, **overrides})
    return write_model(path, config, "AutoModelForCausalLM", seed=seed)


def write_llama(path: Path, **config: Any) -> Path:
    return _write_decoder(path, "LlamaConfig", {}, config)


def write_mistral(path: Path, **config: Any) -> Path:
    """All layers slide: pass `sliding_window` (default 16)."""
    return _write_decoder(path, "MistralConfig", {"sliding_window": 16}, config)


def write_qwen2(path: Path, **config: Any) -> Path:
    return _write_decoder(path, "Qwen2Config", {"use_sliding_window": False}, config)


def write_qwen3(path: Path, **config: Any) -> Path:
    return _write_decoder(path, "Qwen3Config", {"use_sliding_window": False}, config)


def write_phi3(path: Path, **config: Any) -> Path:
    return _write_decoder(path, "Phi3Config", {"num_key_value_heads": 2}, config)


def write_gemma2(path: Path, **config: Any) -> Path:
    """Sliding and full layers in turn, capped logits."""
    fields = {"sliding_window": 16, "num_hidden_layers": 4, "query_pre_attn_scalar": 32}
    return _write_decoder(path, "Gemma2Config", fields, config)


def write_gemma3(path: Path, **config: Any) -> Path:
    """Sliding layers with a full one now and then."""
    fields = {"sliding_window": 16, "num_hidden_layers": 6, "query_pre_attn_scalar": 32}
    return _write_decoder(path, "Gemma3TextConfig", fields, config)


def write_gpt2(path: Path, **config: Any) -> Path:
    from transformers import GPT2Config

    seed = config.pop("seed", 0)
    fields = {"vocab_size": VOCAB_SIZE, "n_embd": 64, "n_layer": 2, "n_head": 2, "n_positions": 512}
    ids = {"bos_token_id": BOS, "eos_token_id": EOS, "pad_token_id": PAD}
    return write_model(
        path, GPT2Config(**{**fields, **ids, **config}), "AutoModelForCausalLM", seed=seed
    )


def write_mamba(path: Path, **config: Any) -> Path:
    """A state-space model: no KV cache at all."""
    from transformers import MambaConfig

    seed = config.pop("seed", 0)
    fields = {"vocab_size": VOCAB_SIZE, "hidden_size": 32, "num_hidden_layers": 2, "state_size": 8}
    ids = {"bos_token_id": BOS, "eos_token_id": EOS, "pad_token_id": PAD}
    return write_model(
        path, MambaConfig(**{**fields, **ids, **config}), "AutoModelForCausalLM", seed=seed
    )


def write_t5(path: Path, **config: Any) -> Path:
    """An encoder-decoder model."""
    from transformers import T5Config

    seed = config.pop("seed", 0)
    fields = {
        "vocab_size": VOCAB_SIZE,
        "d_model": 64,
        "d_kv": 32,
        "d_ff": 128,
        "num_layers": 2,
        "num_heads": 2,
    }
    ids = {"decoder_start_token_id": PAD, "eos_token_id": EOS, "pad_token_id": PAD}
    return write_model(
        path, T5Config(**{**fields, **ids, **config}), "AutoModelForSeq2SeqLM", seed=seed
    )


def write_encoder(path: Path, *, pooling: str | None = "mean", **config: Any) -> Path:
    """A BERT-shaped encoder; `pooling` ("mean", "cls", "lasttoken" or None) goes to
    1_Pooling/config.json.
    """
    from transformers import BertConfig

    seed = config.pop("seed", 0)
    fields = {
        key: SMALL[key]
        for key in ("vocab_size", "hidden_size", "intermediate_size", "num_attention_heads")
    }
    fields |= {"num_hidden_layers": 2, "max_position_embeddings": 128, "pad_token_id": PAD}
    write_model(path, BertConfig(**{**fields, **config}), "AutoModel", seed=seed, spread=0.1)
    if pooling is not None:
        modes = {"mean": "mean_tokens", "cls": "cls_token", "lasttoken": "lasttoken"}
        chosen = {f"pooling_mode_{mode}": mode == modes[pooling] for mode in modes.values()}
        (path / "1_Pooling").mkdir(exist_ok=True)
        text = json.dumps({"word_embedding_dimension": fields["hidden_size"], **chosen})
        (path / "1_Pooling" / "config.json").write_text(text)
    return path


def write_classifier(path: Path, kind: str = "bert", *, labels: int = 1, **config: Any) -> Path:
    """A model with a head for labels: "bert" (whose tokenizer gives token types), "xlm_roberta",
    "modernbert" or "qwen3".
    """
    import transformers

    seed = config.pop("seed", 0)
    names = ("vocab_size", "hidden_size", "intermediate_size", "num_attention_heads")
    encoder = {key: SMALL[key] for key in names}
    encoder |= {"num_hidden_layers": 2, "max_position_embeddings": 128, "pad_token_id": PAD}
    fields: dict[str, tuple[str, dict[str, Any]]] = {
        "bert": ("BertConfig", encoder),
        "xlm_roberta": ("XLMRobertaConfig", {**encoder, "type_vocab_size": 1}),
        "modernbert": (
            "ModernBertConfig",
            {**encoder, "num_hidden_layers": 3, "bos_token_id": BOS, "eos_token_id": EOS}
            | {"cls_token_id": BOS, "sep_token_id": EOS},
        ),
        "qwen3": ("Qwen3Config", {**SMALL, "max_position_embeddings": 128}),
    }
    name, values = fields[kind]
    made = getattr(transformers, name)(**{**values, "num_labels": labels, **config})
    write_model(path, made, "AutoModelForSequenceClassification", seed=seed, spread=0.1)
    if kind != "qwen3":
        _pair_texts(path, typed=kind == "bert")
    return path


def _pair_texts(path: Path, *, typed: bool) -> None:
    """Make the tokenizer in `path` join two texts as BERT does, or as RoBERTa does."""
    from tokenizers import Tokenizer, processors

    pair = "<s> $A </s> $B:1 </s>:1" if typed else "<s> $A </s> </s> $B </s>"
    tokenizer = Tokenizer.from_file(str(path / "tokenizer.json"))
    tokenizer.post_processor = processors.TemplateProcessing(
        single="<s> $A </s>", pair=pair, special_tokens=[("<s>", BOS), ("</s>", EOS)]
    )
    tokenizer.save(str(path / "tokenizer.json"))
    file = path / "tokenizer_config.json"
    names = ["input_ids", *(["token_type_ids"] if typed else []), "attention_mask"]
    file.write_text(json.dumps({**json.loads(file.read_text()), "model_input_names": names}))


def write_adapter(path: Path, base: Path, *, rank: int = 4, seed: int = 0, **config: Any) -> Path:
    """A LoRA adapter in peft's format for the model in `base`, random in both matrices so that it
    changes answers.
    """
    import torch
    from peft import LoraConfig, get_peft_model
    from transformers import AutoModelForCausalLM

    fields: dict[str, Any] = {"r": rank, "lora_alpha": 2 * rank, "target_modules": "all-linear"}
    fields |= {"task_type": "CAUSAL_LM", **config}
    model = get_peft_model(AutoModelForCausalLM.from_pretrained(base), LoraConfig(**fields))
    with torch.random.fork_rng(devices=[]), torch.no_grad():
        torch.manual_seed(seed)
        for name, parameter in model.named_parameters():
            if "lora_" in name:
                parameter.normal_(0.0, 0.3)
    model.save_pretrained(path)
    return path
