"""Train the demo model from the text in demo_text/ and write its directory.

    python scripts/train_demo.py  # the model: on the GPU if there is one, else on the CPU
    python scripts/train_demo.py --adapters  # the two LoRA adapters on top of the model in --out
    python scripts/train_demo.py --score  # its held-out scores: questions, and calls of tools
    python scripts/train_demo.py --tiny --out D  # a few steps: the same files, an untaught model

Options combine in that order of work. The same seed draws the same conversations.
"""

from __future__ import annotations

import argparse
import math
import os
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from demo_batches import IGNORED, Batches
from demo_model import (
    EFFECTS,
    build_model,
    load_base,
    save_adapter,
    save_base,
    train_tokenizer,
)
from demo_scores import device, score_questions, score_tools
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
    seconds: float  # after which it must end, the rate at zero
    workers: int  # processes that prepare batches
    device: str
    seed: int


def main() -> None:
    options = parse_options()
    torch.manual_seed(options.seed)
    torch.set_float32_matmul_precision("high")
    torch.backends.cuda.enable_cudnn_sdp(False)  # it plans anew for each shape, and all differ
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
    parser.add_argument(
        "--resume", action="store_true", help="train what is in --out further, at a lower --rate"
    )
    parser.add_argument(
        "--talk",
        type=float,
        default=0.0,
        help="share of the model's texts that are drawn to end in small talk",
    )
    parser.add_argument("--rate", type=float, help="peak learning rate: 0.0025, of adapters 0.004")
    parser.add_argument("--steps", type=int, default=10000, help="training steps of the model")
    parser.add_argument(
        "--adapter-steps", type=int, default=3000, help="training steps of each adapter"
    )
    parser.add_argument(
        "--seconds",
        type=float,
        default=440,
        help="end the model's training within them; inf: only after --steps, as a CPU needs",
    )
    parser.add_argument(
        "--adapter-seconds", type=float, default=150, help="the same for each adapter"
    )
    parser.add_argument("--budget", type=int, default=16384, help="tokens of a batch")
    parser.add_argument("--rank", type=int, default=8, help="rank of the adapters")
    parser.add_argument("--workers", type=int, default=8, help="processes that prepare batches")
    parser.add_argument("--seed", type=int, default=7)
    return parser.parse_args()


def plan(options: argparse.Namespace, steps: int, seconds: float, rate: float) -> Run:
    if options.tiny:
        return Run(4, 512, rate, math.inf, workers=0, device="cpu", seed=options.seed)
    workers = options.workers if device() == "cuda" else 0
    return Run(steps, options.budget, rate, seconds, workers, device(), options.seed)


def train_base(options: argparse.Namespace) -> None:
    corpus = Corpus()
    if options.resume:
        model, tokenizer = load_base(options.out)
    else:
        draws = 2000 if options.tiny else 40000
        tokenizer = train_tokenizer(every_text(corpus, draws, options.seed))
        model = build_model(tokenizer)
    run = plan(options, options.steps, options.seconds, options.rate or 2.5e-3)
    fit(model, Batches(tokenizer, run.budget, "plain", run.seed, options.talk), run)
    save_base(model.cpu(), tokenizer, len(corpus.topics), options.out)


def train_adapter(options: argparse.Namespace, name: str) -> None:
    model, tokenizer = load_base(options.out)
    config = LoraConfig(
        r=options.rank,
        lora_alpha=2 * options.rank,
        target_modules=PROJECTIONS,
        task_type="CAUSAL_LM",
    )
    run = plan(options, options.adapter_steps, options.adapter_seconds, options.rate or 4e-3)
    if options.resume:
        folder = str(options.out / "adapters" / name)
        adapted = PeftModel.from_pretrained(model, folder, is_trainable=True)
    else:
        adapted = get_peft_model(model, config)
    fit(adapted, Batches(tokenizer, run.budget, name, run.seed + 1), run)
    save_adapter(adapted.cpu(), name, options.out)


def fit(model: Any, batches: Batches, run: Run) -> None:
    """Train every weight that asks for a gradient: a short warm-up, then a linear decay to zero."""
    model.to(run.device).train()
    optimizers = build_optimizers(model, run.rate)
    weights = [weight for weight in model.parameters() if weight.requires_grad]
    warm = min(run.steps // 20, 200) + 1
    # every worker draws its conversations at once and then hands them out: many are kept ready
    ahead = 32 if run.workers else None
    loader = iter(
        DataLoader(
            batches,
            batch_size=None,
            num_workers=run.workers,
            prefetch_factor=ahead,
            worker_init_fn=stand_back,
        )
    )
    started, mean = time.monotonic(), 0.0
    for step in range(run.steps):
        left = 1 - max(step / run.steps, (time.monotonic() - started) / run.seconds)
        if left <= 0:
            break
        set_rate(optimizers, run.rate * min((step + 1) / warm, left))
        loss = loss_of(model, *(part.to(run.device) for part in next(loader)))
        loss.backward()
        torch.nn.utils.clip_grad_norm_(weights, 1.0)
        for one in optimizers:
            one.step()
        model.zero_grad(set_to_none=True)
        mean = loss.item() if not step else 0.95 * mean + 0.05 * loss.item()
        if step % 50 == 0 or step + 1 == run.steps:
            spent = time.monotonic() - started
            print(f"step {step} loss {mean:.4f} seconds {spent:.0f}", flush=True)


def stand_back(_worker: int) -> None:
    """Leave the processor to the training process, which waits for it more than for batches."""
    os.nice(10)


def set_rate(optimizers: list[torch.optim.Optimizer], rate: float) -> None:
    for group in (group for one in optimizers for group in one.param_groups):
        group["lr"] = rate


def build_optimizers(model: Any, rate: float) -> list[torch.optim.Optimizer]:
    """On a GPU Muon for the base model's matrices, which learn from fewer steps that way than with
    AdamW; AdamW for the rest. Muon computes in bfloat16, which many CPUs only emulate.
    """
    named = [(name, weight) for name, weight in model.named_parameters() if weight.requires_grad]
    matrices = [
        weight
        for name, weight in named
        if weight.is_cuda and weight.ndim == 2 and ".layers." in name and "lora" not in name
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
        "eager" if not ids.is_cuda and ids.shape[1] < 200 else "sdpa"
    )  # each is the faster one there
    # many a CPU is slower with bfloat16 than without
    with torch.autocast(ids.device.type, torch.bfloat16, enabled=ids.is_cuda):
        hidden = inner.model(input_ids=ids, use_cache=False).last_hidden_state[:, :-1]
        logits = inner.lm_head(hidden[learned])
    return cross_entropy(logits.float(), wanted[learned])


def print_scores(options: argparse.Namespace) -> None:
    """The held-out scores of the model, and of each adapter that is there."""
    for style in ("plain", *EFFECTS):
        model: Any = load_base(options.out)[0]
        folder = options.out / "adapters" / style
        if style != "plain":
            if not folder.exists():
                continue
            model = PeftModel.from_pretrained(model, str(folder))
        model.to(device()).eval()
        score_questions(model, options.out, style)
        if style == "plain":
            score_tools(model, options.out)


if __name__ == "__main__":
    main()
