"""Answer a file of requests, without a server."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import attrs
import click

from openllm.cli.given.options import SectionedCommand, given_spec, spec_options
from openllm.cli.given.specs import read_specs
from openllm.cli.output import note
from openllm.config.settings import Settings
from openllm.config.spec import LLMSpec
from openllm.errors import InvalidRequest, option

if TYPE_CHECKING:
    from openllm.protocols.openai.batch.lines import BatchLine, Results, Survey


@click.command(cls=SectionedCommand)
@click.argument("requests", type=click.Path(exists=True, dir_okay=False, path_type=Path))
@click.option(
    "-o",
    "--output",
    required=True,
    type=click.Path(dir_okay=False, path_type=Path),
    help="The file that gets the answers. Where it has some already, the rest is answered.",
)
@click.option("--model", help="What answers: as MODEL of `openllm start`, whatever lines name.")
@click.option(
    "--concurrency",
    type=click.IntRange(min=1),
    help="Requests at a time; by default as many as the engine runs.",
)
@spec_options()
@click.pass_context
def command(
    ctx: click.Context,
    /,
    requests: Path,
    output: Path,
    model: str | None,
    concurrency: int | None,
    **options: Any,
) -> None:
    """Answer a file of requests in OpenAI's batch format, one JSON object a line, without a server.

    The answers come in the order in which they are ready, each with its request's custom_id. A run
    that was cut off goes on where it was when the command is given again.

    \b
    openllm batch requests.jsonl -o answers.jsonl
    openllm batch requests.jsonl -o answers.jsonl --model ./my-model --backend vllm
    """
    import asyncio

    from openllm.protocols.openai.batch.lines import Results, survey

    if output.exists() and output.samefile(requests):
        raise InvalidRequest(
            "The answers would go into the file of requests.",
            hint=f"Give another file to {option('output')}.",
            param="output",
        )
    asked = survey(requests)
    settings = Settings.from_env()
    (spec,) = read_specs(model or _named(asked), None, given_spec(options), settings)
    results = Results.resume(output, asked.ids)
    left = len(asked.ids) - len(results.done)
    if results.done:
        note(f"{len(results.done)} of {len(asked.ids)} requests have their answers.")
    try:
        if left:
            asyncio.run(_run(spec, settings, requests, results, concurrency, left))
    finally:
        note(
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
    requests: Path,
    results: Results,
    concurrency: int | None,
    left: int,
) -> None:
    import asyncio

    from openllm.http.app import create_app
    from openllm.llm.llm import LLM
    from openllm.protocols.openai.batch.lines import read_lines
    from openllm.protocols.openai.batch.work import AT_ONCE, Asker, answer_all

    llm = LLM.from_spec(spec, settings=settings)
    server = create_app([llm], attrs.evolve(settings, api_key=None, admin_key=None))
    await server.start()
    try:
        at_once = min(concurrency or llm.info.max_concurrency or AT_ONCE, left)
        lines = (_addressed(line, spec) for line in read_lines(requests))
        with click.progressbar(length=left, label="Answering", file=sys.stderr) as bar:
            asker = Asker(server, lambda: server.alive, room=asyncio.Semaphore(at_once))
            await answer_all(asker, lines, results, at_once, lambda: bar.update(1))
    finally:
        await server.close()


def _addressed(line: BatchLine, spec: LLMSpec) -> BatchLine:
    """`line`, to the model or the adapter it names, else to the model."""
    adapters = [adapter.name for adapter in spec.adapters]
    if line.body.get("model") in adapters:
        return line
    return attrs.evolve(line, body={**line.body, "model": spec.served_name})
