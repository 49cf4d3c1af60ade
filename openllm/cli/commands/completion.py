"""Print what makes a shell complete openllm's commands."""

from __future__ import annotations

import click
from click.shell_completion import get_completion_class

from openllm.errors import ConfigurationError

SHELLS = ("bash", "zsh", "fish")
VARIABLE = "_OPENLLM_COMPLETE"


@click.command()
@click.argument("shell", type=click.Choice(SHELLS))
@click.pass_context
def command(ctx: click.Context, shell: str) -> None:
    """Print what makes SHELL complete openllm's commands, options, families, recipes, stored tags
    and running servers.

    \b
    openllm completion bash >> ~/.bashrc
    openllm completion zsh >> ~/.zshrc
    openllm completion fish > ~/.config/fish/completions/openllm.fish
    """
    kind = get_completion_class(shell)
    if kind is None:
        raise ConfigurationError(f"click {click.__version__} knows no {shell}.")
    click.echo(kind(ctx.find_root().command, {}, "openllm", VARIABLE).source())
