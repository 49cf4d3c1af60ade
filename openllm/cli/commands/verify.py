"""Check every file of a built Bento against its digest."""

from __future__ import annotations

import click

from openllm.cli.given.options import FORMATS, format_option
from openllm.cli.output import print_json
from openllm.errors import BuildError


@click.command()
@click.argument("tag")
@format_option(*FORMATS)
def command(tag: str, output: str) -> None:
    """Check every file of a built Bento, its models included, against the digests written when it
    was built.

    What was changed, removed or added is named, and the exit code is 1.

    \b
    openllm verify demo:latest
    """
    from openllm.bento.inspect import verify_bento

    found = verify_bento(tag)
    if output == "json":
        print_json({"tag": found.tag, "checked": found.checked, "problems": found.problems})
    else:
        for problem in found.problems:
            click.echo(problem)
    if found.problems:
        many = (
            f"{len(found.problems)} of its files are"
            if len(found.problems) > 1
            else "One of its files is"
        )
        raise BuildError(
            f"{found.tag} is not as it was built: {many} different.", hint="Build it again."
        )
    if output == "table":
        click.echo(f"{found.tag} is as it was built: {found.checked} files checked.")
