"""The options of `openllm bench` that say how much is asked, what, and for which answers."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import click

from openllm.cli.given.options import FILE, with_options

COUNT = click.IntRange(min=1)


def read_limits(
    ctx: click.Context, param: click.Parameter, values: tuple[str, ...]
) -> dict[str, float]:
    """`ttft=500` and the like, in milliseconds."""
    from openllm.cli.bench.figures import LIMITS

    found = {}
    for text in values:
        name, _, number = text.replace(":", "=", 1).partition("=")
        try:
            most = float(number)
        except ValueError:
            most = -1.0
        if name not in LIMITS or most <= 0:
            raise click.BadParameter(
                f"{text!r} is no limit. Write ttft=500, tpot=50 or e2e=10000 (milliseconds).",
                ctx,
                param,
            )
        found[name] = most
    return found


def load_options(function: Callable[..., Any]) -> Callable[..., Any]:
    """How much is asked, and how."""
    return with_options(
        function,
        click.option(
            "--streams",
            metavar="N[,N…]",
            help="Streams at once, a level each; 1-16 for each doubling. With --rate: the most at"
            " once.  [default: 1-8]",
        ),
        click.option(
            "--rate",
            metavar="R[,R…]",
            help="Requests per second that come whatever the server does, a level each; inf: all at"
            " once. Without it each stream asks again when it has its answer.",
        ),
        click.option(
            "--burstiness",
            type=click.FloatRange(min=0, min_open=True),
            default=1.0,
            show_default=True,
            help="Shape of the times between requests of --rate: 1 Poisson, less in bursts.",
        ),
        click.option(
            "--requests",
            type=COUNT,
            help="Requests of a level.  [default: 4 a stream, at least 8; with --rate 10 seconds'"
            " worth, at least 20]",
        ),
        click.option(
            "--warmup",
            type=click.IntRange(min=0),
            default=1,
            show_default=True,
            help="Requests before the first level, not counted.",
        ),
        click.option("--seed", type=int, default=0, show_default=True, help="Of what is random."),
        click.option(
            "--processes",
            type=COUNT,
            help="Processes of the load generator.  [default: one for each 64 streams]",
        ),
        click.option(
            "--timeout",
            type=click.FloatRange(min=0, min_open=True),
            default=600.0,
            show_default=True,
            help="Seconds that an answer may take.",
        ),
    )


def prompt_options(function: Callable[..., Any]) -> Callable[..., Any]:
    """What is asked."""
    return with_options(
        function,
        click.option("--model", help="The model or adapter to ask; by default the server's first."),
        click.option("--chat", is_flag=True, help="Ask for chat completions, not for text."),
        click.option(
            "--prompts",
            type=FILE,
            help="A file with a prompt a line: text, or JSON with prompt or messages, max_tokens.",
        ),
        click.option(
            "--prompt-tokens",
            type=COUNT,
            default=128,
            show_default=True,
            help="Tokens of a made-up prompt (with --chat words, about as many).",
        ),
        click.option(
            "--prefix-tokens",
            type=click.IntRange(min=0),
            default=0,
            show_default=True,
            help="Of a prompt's tokens, how many at its beginning are shared with others.",
        ),
        click.option(
            "--prefixes",
            type=COUNT,
            default=1,
            show_default=True,
            help="How many such beginnings there are.",
        ),
    )


def answer_options(function: Callable[..., Any]) -> Callable[..., Any]:
    """How long answers are, and how they are sampled."""
    return with_options(
        function,
        click.option(
            "--answer-tokens",
            type=COUNT,
            default=128,
            show_default=True,
            help="Longest answer in tokens.",
        ),
        click.option(
            "--ignore-eos/--no-ignore-eos",
            default=True,
            show_default=True,
            help="Let every answer be as long as it may.",
        ),
        click.option(
            "--temperature",
            type=click.FloatRange(min=0),
            default=0.0,
            show_default=True,
            help="How answers are sampled.",
        ),
    )
