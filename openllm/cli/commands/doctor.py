"""Find out what keeps openllm from working here, and how to mend it."""

from __future__ import annotations

import attrs
import click

from openllm.cli.given.options import FORMATS, format_option
from openllm.cli.health import Finding, examine
from openllm.cli.output import print_json
from openllm.cli.words import FLAGS
from openllm.config.settings import Settings
from openllm.errors import say

_MARKS = {"fine": "ok", "note": "--", "wrong": "!!"}


@click.command()
@format_option(*FORMATS)
@click.pass_context
def command(ctx: click.Context, output: str) -> None:
    """Look at Python, packages, engines, GPUs, disk, stores, the Hub's token and the port, and say
    of each whether it is fine, else what is wrong and the command that mends it.

    The exit code is 1 where something is wrong. Nothing is changed, and no network is asked.
    """
    found = [_in_flags(finding) for finding in examine(Settings.from_env())]
    if output == "json":
        print_json([attrs.asdict(finding) for finding in found])
    else:
        width = max(len(finding.what) for finding in found)
        for finding in found:
            click.echo(f"{_MARKS[finding.state]}  {finding.what:{width}}  {finding.said}")
            if finding.mend:
                click.echo(f"{'':{width + 6}}{finding.mend}")
    if any(finding.state == "wrong" for finding in found):
        ctx.exit(1)


def _in_flags(finding: Finding) -> Finding:
    return attrs.evolve(finding, said=say(finding.said, FLAGS), mend=say(finding.mend, FLAGS))
