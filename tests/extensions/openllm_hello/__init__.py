"""Greet whoever asks."""

import click


@click.command()
@click.argument("name")
def command(name: str) -> None:
    """Greet NAME."""
    click.echo(f"Hello, {name}.")
