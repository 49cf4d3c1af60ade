"""The options of `openllm bench` that say how much is asked, what, and for which answers."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import click

from openllm.cli.given.options import FILE, F, with_options

COUNT = click.IntRange(min=1)
COUNT_OR_NONE = click.IntRange(min=0)
ABOVE_ZERO = click.FloatRange(min=0, min_open=True)


def _number(
    name: str, kind: click.IntRange | click.FloatRange, default: float, meaning: str
) -> Callable[[F], F]:
    """An option with a number that help tells the default of."""
    return click.option(name, type=kind, default=default, show_default=True, help=meaning)


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
        _number(
            "--burstiness",
            ABOVE_ZERO,
            1.0,
            "Shape of the times between requests of --rate: 1 Poisson, less in bursts.",
        ),
        click.option(
            "--requests",
            type=COUNT,
            help="Requests of a level.  [default: 4 a stream, at least 8; with --rate 10 seconds'"
            " worth, at least 20]",
        ),
        _number("--warmup", COUNT_OR_NONE, 1, "Requests before the first level, not counted."),
        click.option("--seed", type=int, default=0, show_default=True, help="Of what is random."),
        click.option(
            "--processes",
            type=COUNT,
            help="Processes of the load generator.  [default: one for each 64 streams]",
        ),
        _number("--timeout", ABOVE_ZERO, 600.0, "Seconds that an answer may take."),
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
        _number(
            "--prompt-tokens",
            COUNT,
            128,
            "Tokens of a made-up prompt (with --chat words, about as many).",
        ),
        _number(
            "--prefix-tokens",
            COUNT_OR_NONE,
            0,
            "Of a prompt's tokens, how many at its beginning are shared with others.",
        ),
        _number("--prefixes", COUNT, 1, "How many such beginnings there are."),
    )


def answer_options(function: Callable[..., Any]) -> Callable[..., Any]:
    """How long answers are, and how they are sampled."""
    return with_options(
        function,
        _number("--answer-tokens", COUNT, 128, "Longest answer in tokens."),
        click.option(
            "--ignore-eos/--no-ignore-eos",
            default=True,
            show_default=True,
            help="Let every answer be as long as it may.",
        ),
        _number("--temperature", click.FloatRange(min=0), 0.0, "How answers are sampled."),
    )
