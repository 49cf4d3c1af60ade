"""Answer a file of requests, with an engine here or with running servers."""

from __future__ import annotations

import io
import sys
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import attrs
import click

from openllm.cli.given.options import FILE, SectionedCommand, given_spec, spec_options
from openllm.cli.given.specs import read_specs
from openllm.cli.output import note, quiet, warn
from openllm.config.settings import Settings
from openllm.config.spec import LLMSpec
from openllm.errors import InvalidRequest, option

if TYPE_CHECKING:
    from click._termui_impl import ProgressBar

    from openllm.protocols.openai.batch.lines import BatchLine, Results, Survey

AT_EACH = 64  # requests at a time of each server


@click.command(cls=SectionedCommand)
@click.argument("requests", type=FILE)
@click.option(
    "-o",
    "--output",
    required=True,
    type=click.Path(dir_okay=False, path_type=Path),
    help="The file that gets the answers. Where it has some already, the rest is answered.",
)
@click.option("--model", help="What answers: as MODEL of `openllm start`, whatever lines name.")
@click.option(
    "--endpoint",
    "endpoints",
    multiple=True,
    metavar="URL",
    help="A running server that answers, in place of an engine here; may be repeated.",
)
@click.option("--api-key", help="The servers' key. Better set OPENLLM_API_KEY.")
@click.option(
    "--concurrency",
    type=click.IntRange(min=1),
    help=(
        f"Requests at a time; by default as many as the engine runs, or {AT_EACH} for each server."
    ),
)
@spec_options()
@click.pass_context
def command(
    ctx: click.Context,
    /,
    requests: Path,
    output: Path,
    model: str | None,
    endpoints: tuple[str, ...],
    api_key: str | None,
    concurrency: int | None,
    **options: Any,
) -> None:
    """Answer a file of requests in OpenAI's batch format, one JSON object a line, with an engine
    here or with running servers.

    The answers come in the order in which they are ready, each with its request's custom_id. A run
    that was cut off goes on where it was when the command is given again. With several servers a
    request goes to the one with the fewest, and to another where one has no room or is gone.

    \b
    openllm batch requests.jsonl -o answers.jsonl
    openllm batch requests.jsonl -o answers.jsonl --model ./my-model --backend vllm
    openllm batch requests.jsonl -o answers.jsonl --endpoint http://a:3000 --endpoint http://b:3000
    """
    import asyncio

    from openllm.protocols.openai.batch.lines import Results, read_lines, survey

    if output.exists() and output.samefile(requests):
        raise InvalidRequest(
            "The answers would go into the file of requests.",
            hint=f"Give another file to {option('output')}.",
            param="output",
        )
    asked = survey(requests)
    settings = Settings.from_env()
    if not endpoints:
        (spec,) = read_specs(model or _named(asked), None, given_spec(options), settings)
    elif said := given_spec(options):
        raise click.UsageError(f"--endpoint leaves no engine here for {min(said)}.", ctx)
    results = Results.resume(output, asked.ids)
    left = len(asked.ids) - len(results.done)
    if results.done:
        note(f"{len(results.done)} of {len(asked.ids)} requests have their answers.")
    try:
        if left:
            if endpoints:
                key = api_key or settings.api_key
                lines = (_to_model(line, model) for line in read_lines(requests))
                work = _ask_servers(endpoints, key, lines, results, concurrency, left)
            else:
                lines = (_addressed(line, spec) for line in read_lines(requests))
                work = _run(spec, settings, lines, results, concurrency, left)
            asyncio.run(work)
    finally:
        say = warn if results.failed else note
        say(
            f"{len(results.done)} of {len(asked.ids)} requests are answered in {output},"
            f" {results.failed} of them with an error."
        )
    if results.failed:
        ctx.exit(1)


def _named(asked: Survey) -> str:
    """The one model that lines name."""
    names = sorted(asked.models)
    if len(names) == 1:
        return names[0]
    told = (
        f"Lines name {len(names)} models: {', '.join(names)}." if names else "No line has a model."
    )
    raise InvalidRequest(
        told, hint=f"Add {option('model', 'MODEL')}, which answers all of them.", param="model"
    )


async def _run(
    spec: LLMSpec,
    settings: Settings,
    lines: Iterable[BatchLine],
    results: Results,
    concurrency: int | None,
    left: int,
) -> None:
    import asyncio

    from openllm.http.app import create_app
    from openllm.llm.llm import LLM
    from openllm.protocols.openai.batch.work import AT_ONCE, Asker, answer_all

    llm = LLM.from_spec(spec, settings=settings)
    server = create_app([llm], attrs.evolve(settings, api_key=None, admin_key=None))
    await server.start()
    try:
        at_once = min(concurrency or llm.info.max_concurrency or AT_ONCE, left)
        with _progress(left) as bar:
            asker = Asker(server, lambda: server.alive, room=asyncio.Semaphore(at_once))
            await answer_all(asker, lines, results, at_once, lambda: bar.update(1))
    finally:
        await server.close()


async def _ask_servers(
    endpoints: Sequence[str],
    key: str | None,
    lines: Iterable[BatchLine],
    results: Results,
    concurrency: int | None,
    left: int,
) -> None:
    from openllm.client.pool import ServerPool
    from openllm.protocols.openai.batch.work import ServersAsker, answer_all

    at_once = min(concurrency or AT_EACH * len(endpoints), left)
    with _progress(left) as bar:
        async with ServerPool(endpoints, key) as pool:
            await answer_all(ServersAsker(pool), lines, results, at_once, lambda: bar.update(1))


def _progress(left: int) -> ProgressBar[int]:
    """A bar of the lines that are answered; with --quiet nobody sees it."""
    file = io.StringIO() if quiet() else sys.stderr
    return click.progressbar(length=left, label="Answering", file=file)


def _addressed(line: BatchLine, spec: LLMSpec) -> BatchLine:
    """`line`, to the model or the adapter it names, else to the model."""
    adapters = [adapter.name for adapter in spec.adapters]
    if line.body.get("model") in adapters:
        return line
    return _to_model(line, spec.served_name)


def _to_model(line: BatchLine, model: str | None) -> BatchLine:
    """`line`, to `model` where there is one, else to what it names."""
    return line if model is None else attrs.evolve(line, body={**line.body, "model": model})
