"""Measure a running server under load."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from openllm.cli.bench.options import answer_options, load_options, prompt_options, read_limits
from openllm.cli.given.options import FILE, endpoint_options, format_option, given_settings
from openllm.cli.output import note, print_json
from openllm.errors import ConfigurationError, ServeError

if TYPE_CHECKING:
    from openllm.cli.bench.figures import BenchRun
    from openllm.config.settings import Settings

NEW_FILE = click.Path(dir_okay=False, path_type=Path)
_LEVELS = ("streams", "rate", "requests", "burstiness")
_SHAPE = ("prompt_tokens", "answer_tokens", "prefix_tokens", "prefixes")


@click.command()
@click.argument("url", required=False)
@load_options
@prompt_options
@answer_options
@click.option(
    "--goodput",
    "limits",
    multiple=True,
    callback=read_limits,
    metavar="NAME=MS",
    help="A limit in milliseconds (ttft, tpot, e2e): count what keeps it; may be repeated.",
)
@click.option("--plot", type=NEW_FILE, multiple=True, help="Draw the levels into an .svg or .png.")
@click.option("--save", type=NEW_FILE, help="Write the figures as JSON into a file, too.")
@click.option(
    "--compare", type=FILE, nargs=2, metavar="BEFORE AFTER", help="Two saved runs; asks no server."
)
@format_option("table", "json")
@endpoint_options
def command(
    url: str | None,
    compare: tuple[Path, Path] | None,
    plot: tuple[Path, ...],
    save: Path | None,
    output: str,
    **options: Any,
) -> None:
    """Measure a running server under load: tokens/s, time to first token (TTFT), time between
    tokens (ITL), errors, and how many requests keep given limits.

    URL is the server's address, by default --endpoint; any server with OpenAI's routes will do.

    \b
    openllm bench
    openllm bench gpu-box:3000 --streams 1-64 --goodput ttft=500 --goodput tpot=50
    openllm bench --rate 2,4,8 --burstiness 0.5 --prompt-tokens 1024 --prefix-tokens 768
    openllm bench -o json > after.json; openllm bench --compare before.json after.json --plot a.svg
    """
    from openllm.cli.bench.figures import check_new_file, read_run, writing
    from openllm.cli.bench.plot import check_plot, write_plot
    from openllm.cli.bench.report import compared, print_compared, print_run

    for path in plot:
        check_plot(path)
    for path in (*plot, *([save] if save else [])):
        check_new_file(path)
    if compare:
        runs = [(path.stem, read_run(path)) for path in compare]
        rows = compared(runs[0][1], runs[1][1])
        if not rows:
            raise ConfigurationError("The two runs have no level in common.")
        (print_json if output == "json" else print_compared)(rows)
    else:
        settings = given_settings(options if url is None else {**options, "endpoint": url})
        run = _run(settings, options)
        text = _json(run)
        if output == "json":
            click.echo(text)
        else:
            print_run(run)
        if save is not None:
            with writing(save):
                save.write_text(text + "\n", encoding="utf-8")
        runs = [("run", run)]
    for path in plot:
        with writing(path):
            write_plot(path, runs)
        note(f"Drawn: {path}.")
    if not compare:
        _check(run)


def _run(settings: Settings, options: dict[str, Any]) -> BenchRun:
    """Measure what the options say. Errors: those of a client, ConfigurationError."""
    from openllm.cli.bench.load import ServerUnderLoad
    from openllm.cli.bench.prompts import PromptShape
    from openllm.cli.bench.run import Bench, BenchPlan, read_levels
    from openllm.client import Client

    plan = BenchPlan(
        levels=read_levels(*(options[name] for name in _LEVELS)),
        shape=PromptShape(*(options[name] for name in _SHAPE)),
        prompts=options["prompts"],
        limits=options["limits"],
        warmup=options["warmup"],
        seed=options["seed"],
        processes=options["processes"],
        patience=options["timeout"],
    )
    with Client(settings.endpoint, key=settings.api_key, timeout=options["timeout"]) as client:
        tested = ServerUnderLoad(
            endpoint=client.endpoint,
            key=settings.api_key,
            model=options["model"] or client.models()[0].id,
            chat=options["chat"],
            fields={
                "temperature": options["temperature"],
                **({"ignore_eos": True} if options["ignore_eos"] else {}),
            },
        )
    return Bench(tested, plan, note).run()


def _json(run: BenchRun) -> str:
    import msgspec

    return msgspec.json.format(msgspec.json.encode(run), indent=2).decode()


def _check(run: BenchRun) -> None:
    """Errors: ServeError where a level had no answer."""
    for level in run.levels:
        if not level.completed:
            why = next(iter(level.errors), "")
            raise ServeError(f"No request was answered at {level.level}: {why}")
