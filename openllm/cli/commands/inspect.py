"""Show what a built Bento consists of."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from openllm.cli.given.options import FORMATS, format_option
from openllm.cli.output import print_json, print_table
from openllm.config.sizes import readable_size

if TYPE_CHECKING:
    from openllm.bento.inspect import Inspection

DIGITS = 12  # of a digest, in a table


@click.command()
@click.argument("tag")
@format_option(*FORMATS)
def command(tag: str, output: str) -> None:
    """Show what a built Bento consists of: spec, models and their digests, licences, locked
    packages, sizes, SBOM.

    \b
    openllm inspect demo:latest
    openllm inspect demo:latest -o json
    """
    from openllm.bento.inspect import inspect_bento

    found = inspect_bento(tag)
    if output == "json":
        print_json(found.to_dict())
    else:
        _print(found)


def _print(found: Inspection) -> None:
    click.echo(f"{found.tag}, built by openllm {found.openllm}\n")
    for spec in found.specs:
        fields = ", ".join(f"{key}={value}" for key, value in spec.items())
        click.echo(f"Spec: {fields}")
    if found.resources:
        click.echo(
            "Resources: " + ", ".join(f"{key}={value}" for key, value in found.resources.items())
        )
    click.echo()
    rows = [
        (
            model.tag,
            model.kind,
            model.licence or "unknown",
            readable_size(model.size) if model.inside else "at start",
        )
        for model in found.models
    ]
    print_table(("MODEL", "KIND", "LICENCE", "SIZE"), rows)
    click.echo()
    files = [
        (name, digest[:DIGITS]) for model in found.models for name, digest in model.files.items()
    ]
    print_table(("FILE OF A MODEL", "SHA-256"), files)
    click.echo()
    print_table(
        ("PART", "SIZE"), [(part, readable_size(size)) for part, size in found.sizes.items()]
    )
    click.echo(
        f"\nLocked packages: {len(found.packages)}. SBOM: CycloneDX {found.sbom['specVersion']}, ",
        nl=False,
    )
    click.echo(f"{len(found.sbom['components'])} components. All of it: -o json")
