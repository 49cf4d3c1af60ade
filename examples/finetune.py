"""Teach the demo model fifty answers of a bakery with peft and transformers' Trainer, then ask it
beside the base.

    python examples/finetune.py  # trains, saves ./bakery, asks both: a minute or two on two cores
    openllm start demo --adapter-id ./bakery  # serves both

Needs openllm's PyTorch engine and peft (`make install` brings both). Each line of the data is one
conversation that ends with the answer to learn.
"""

from __future__ import annotations

import argparse
import json
import time
from pathlib import Path
from typing import Any

import torch
from transformers import Trainer, TrainingArguments, set_seed

import openllm

HERE = Path(__file__).parent
IGNORED = -100  # the label that counts for nothing
QUESTION = "When does the bakery open?"


def read_examples(path: Path, tokenizer: Any) -> list[dict[str, list[int]]]:
    """Token ids and labels per line; only the answer is learnt, not the question."""
    examples = []
    for line in path.read_text(encoding="utf-8").splitlines():
        messages = json.loads(line)["messages"]
        question = tokenizer.apply_chat_template(
            messages[:-1], add_generation_prompt=True, tokenize=True, return_dict=False
        )
        whole = tokenizer.apply_chat_template(messages, tokenize=True, return_dict=False)
        labels = [IGNORED] * len(question) + whole[len(question) :]
        examples.append({"input_ids": whole, "labels": labels})
    return examples


def collate(examples: list[dict[str, list[int]]]) -> dict[str, torch.Tensor]:
    """One batch, padded on the right."""
    width = max(len(example["input_ids"]) for example in examples)

    def padded(name: str, filler: int) -> torch.Tensor:
        return torch.tensor(
            [example[name] + [filler] * (width - len(example[name])) for example in examples]
        )

    lengths = torch.tensor([len(example["input_ids"]) for example in examples])
    mask = (torch.arange(width) < lengths[:, None]).long()
    return {
        "input_ids": padded("input_ids", 0),
        "labels": padded("labels", IGNORED),
        "attention_mask": mask,
    }


def train(llm: openllm.LLM, options: argparse.Namespace) -> float:
    """Train an adapter on the data and save it. The loss of the last steps."""
    set_seed(options.seed)
    model, tokenizer = llm.prepare_for_training(rank=16)
    arguments = TrainingArguments(
        output_dir=str(options.out),
        max_steps=options.steps,
        per_device_train_batch_size=10,
        learning_rate=5e-3,
        lr_scheduler_type="linear",
        warmup_steps=options.steps // 20,
        logging_steps=max(options.steps // 5, 1),
        save_strategy="no",
        report_to="none",
        disable_tqdm=True,
        dataloader_pin_memory=False,
        remove_unused_columns=False,
        seed=options.seed,
    )
    trainer = Trainer(
        model,
        arguments,
        data_collator=collate,
        train_dataset=read_examples(options.data, tokenizer),
    )
    trainer.train()
    model.save_pretrained(options.out)
    losses = [entry["loss"] for entry in trainer.state.log_history if "loss" in entry]
    return float(losses[-1])


def main() -> None:
    parser = argparse.ArgumentParser(description="Fine-tune the demo model on fifty lines.")
    parser.add_argument("--model", default="demo", help="a model with a chat template")
    parser.add_argument("--data", type=Path, default=HERE / "finetune.jsonl")
    parser.add_argument("--out", type=Path, default=Path("bakery"), help="directory of the adapter")
    parser.add_argument("--steps", type=int, default=120)
    parser.add_argument("--seed", type=int, default=1)
    options = parser.parse_args()

    begun = time.monotonic()
    with openllm.LLM(options.model, backend="pytorch") as llm:
        loss = train(llm, options)
        print(
            f"Trained for {time.monotonic() - begun:.0f} s, loss {loss:.3f}; the adapter is in"
            f" {options.out}."
        )
        llm.run(llm.mount_adapter("bakery", options.out))
        print("Q:      ", QUESTION)
        print("base:   ", llm(QUESTION, max_tokens=60))
        print("bakery: ", llm(QUESTION, adapter_name="bakery", max_tokens=60))


if __name__ == "__main__":
    main()
