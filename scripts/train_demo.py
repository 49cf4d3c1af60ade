"""Train the demo model from the text in demo_text/ and write its directory.

    python scripts/train_demo.py  # the model: on the GPU if there is one, else on the CPU
    python scripts/train_demo.py --adapters  # the two LoRA adapters on top of the model in --out
    python scripts/train_demo.py --score  # the share of held-out questions that it answers rightly
    python scripts/train_demo.py --tiny --out D  # a few steps: the same files, an untaught model

Options combine in that order of work. The same seed draws the same conversations.
"""

from __future__ import annotations

import argparse
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
import yaml
from demo_batches import IGNORED, Batches
from demo_model import (
    EFFECTS,
    answer,
    build_model,
    load_base,
    save_adapter,
    save_base,
    train_tokenizer,
)
from demo_text.corpus import Corpus, every_text
from peft import LoraConfig, PeftModel, get_peft_model
from torch.nn.functional import cross_entropy
from torch.utils.data import DataLoader

ROOT = Path(__file__).resolve().parent.parent
PROJECTIONS = ["q_proj", "k_proj", "v_proj", "o_proj", "gate_proj", "up_proj", "down_proj"]


@dataclass(frozen=True)
class Run:
    """The sizes of one training run."""

    steps: int
    budget: int  # tokens of a batch
    rate: float  # peak learning rate
    workers: int  # processes that prepare batches
    device: str
    seed: int


def main() -> None:
    options = parse_options()
    torch.manual_seed(options.seed)
    torch.set_float32_matmul_precision("high")
    if not (options.adapters or options.score) or options.base:
        train_base(options)
    if options.adapters:
        for name in EFFECTS:
            train_adapter(options, name)
    if options.score:
        print_scores(options)


def parse_options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description="Train the demo model of openllm.")
    parser.add_argument(
        "--out", type=Path, default=ROOT / "openllm" / "demo", help="the model's directory"
    )
    parser.add_argument(
        "--tiny", action="store_true", help="a few steps on the CPU, to test the script"
    )
    parser.add_argument(
        "--base",
        action="store_true",
        help="train the model, also when --adapters or --score is given",
    )
    parser.add_argument(
        "--adapters", action="store_true", help="train the LoRA adapters on the model in --out"
    )
    parser.add_argument(
        "--score", action="store_true", help="ask the held-out questions and print the misses"
    )
    parser.add_argument("--steps", type=int, default=1200, help="training steps of the model")
    parser.add_argument(
        "--adapter-steps", type=int, default=900, help="training steps of each adapter"
    )
    parser.add_argument("--rank", type=int, default=8, help="rank of the adapters")
    parser.add_argument("--workers", type=int, default=12, help="processes that prepare batches")
    parser.add_argument("--seed", type=int, default=7)
    return parser.parse_args()


def plan(options: argparse.Namespace, steps: int, budget: int, rate: float) -> Run:
    if options.tiny:
        return Run(steps=4, budget=512, rate=rate, workers=0, device="cpu", seed=options.seed)
    device = "cuda" if torch.cuda.is_available() else "cpu"
    workers = options.workers if device == "cuda" else 0
    return Run(
        steps=steps, budget=budget, rate=rate, workers=workers, device=device, seed=options.seed
    )


def train_base(options: argparse.Namespace) -> None:
    corpus = Corpus()
    tokenizer = train_tokenizer(every_text(corpus, 2000 if options.tiny else 40000, options.seed))
    model = build_model(tokenizer)
    run = plan(options, options.steps, budget=4096, rate=2.5e-3)
    fit(model, Batches(tokenizer, run.budget, "plain", run.seed), run)
    save_base(model.cpu(), tokenizer, len(corpus.topics), options.out)


def train_adapter(options: argparse.Namespace, name: str) -> None:
    model, tokenizer = load_base(options.out)
    config = LoraConfig(
        r=options.rank,
        lora_alpha=2 * options.rank,
        target_modules=PROJECTIONS,
        task_type="CAUSAL_LM",
    )
    run = plan(options, options.adapter_steps, budget=4096, rate=4e-3)
    adapted = get_peft_model(model, config)
    fit(adapted, Batches(tokenizer, run.budget, name, run.seed + 1), run)
    save_adapter(adapted.cpu(), name, options.out)


def fit(model: Any, batches: Batches, run: Run) -> None:
    """Train every weight that asks for a gradient: a short warm-up, then a linear decay to zero."""
    model.to(run.device).train()
    optimizers = build_optimizers(model, run.rate)
    weights = [weight for weight in model.parameters() if weight.requires_grad]
    warm = run.steps // 20 + 1
    schedules = [
        torch.optim.lr_scheduler.LambdaLR(
            one, lambda step: min((step + 1) / warm, 1 - step / run.steps)
        )
        for one in optimizers
    ]
    loader = iter(DataLoader(batches, batch_size=None, num_workers=run.workers))
    started, mean = time.monotonic(), 0.0
    for step in range(run.steps):
        loss = loss_of(model, *(part.to(run.device) for part in next(loader)))
        loss.backward()
        torch.nn.utils.clip_grad_norm_(weights, 1.0)
        for part in (*optimizers, *schedules):
            part.step()
        model.zero_grad(set_to_none=True)
        mean = loss.item() if not step else 0.95 * mean + 0.05 * loss.item()
        if step % 50 == 0 or step + 1 == run.steps:
            print(
                f"step {step} loss {mean:.4f} seconds {time.monotonic() - started:.0f}", flush=True
            )


def build_optimizers(model: Any, rate: float) -> list[torch.optim.Optimizer]:
    """Muon for the base model's matrices, which learn from fewer steps that way than with AdamW;
    AdamW for the rest.
    """
    named = [(name, weight) for name, weight in model.named_parameters() if weight.requires_grad]
    matrices = [
        weight
        for name, weight in named
        if weight.ndim == 2 and ".layers." in name and "lora" not in name
    ]
    others = [weight for _, weight in named if not any(weight is matrix for matrix in matrices)]
    adam = torch.optim.AdamW(others, lr=rate, betas=(0.9, 0.98), weight_decay=0.01)
    if not matrices:
        return [adam]
    return [
        adam,
        torch.optim.Muon(matrices, lr=rate, weight_decay=0.05, adjust_lr_fn="match_rms_adamw"),
    ]


def loss_of(model: Any, ids: torch.Tensor, labels: torch.Tensor) -> torch.Tensor:
    """Mean cross-entropy over the labelled tokens; only their logits are computed. Padding stands
    on the right.
    """
    inner = model.get_base_model() if isinstance(model, PeftModel) else model
    wanted = labels[:, 1:]
    learned = wanted != IGNORED
    inner.set_attn_implementation(
        "eager" if ids.shape[1] < 200 else "sdpa"
    )  # on a CPU, each is the faster one there
    with torch.autocast(ids.device.type, torch.bfloat16):
        hidden = inner.model(input_ids=ids, use_cache=False).last_hidden_state[:, :-1]
        logits = inner.lm_head(hidden[learned])
    return cross_entropy(logits.float(), wanted[learned])


def print_scores(options: argparse.Namespace) -> None:
    """Greedy answers to the held-out questions, of the model and of each adapter, against the
    topic's exact answer.
    """
    corpus = Corpus()
    heldout = yaml.safe_load(
        (ROOT / "scripts" / "demo_text" / "heldout.yaml").read_text(encoding="utf-8")
    )
    asked = [(topic, question) for topic, questions in heldout.items() for question in questions]
    device = "cuda" if torch.cuda.is_available() else "cpu"
    for style in ("plain", *EFFECTS):
        model: Any = load_base(options.out)[0]
        folder = options.out / "adapters" / style
        if style != "plain":
            if not folder.exists():
                continue
            model = PeftModel.from_pretrained(model, str(folder))
        said = answer(model.to(device).eval(), options.out, [question for _, question in asked])
        by_answer = {topic.answered(style): topic.id for topic in corpus.topics.values()}
        misses = [
            (topic, question, by_answer.get(text, text))
            for (topic, question), text in zip(asked, said, strict=True)
            if text != corpus.topics[topic].answered(style)
        ]
        for topic, question, text in misses:
            print(f"  {style}: {question!r} wanted {topic}, got {text}")
        print(f"{style}: {len(asked) - len(misses)} of {len(asked)} right")


if __name__ == "__main__":
    main()
