"""The `openllm` command: one subcommand per module of `commands`, imported only when it runs.

To add one: a module that exports `command`, there or as an entry point of the group
`openllm.commands`; options that others have too are in `given`.
"""

from __future__ import annotations

import ast
import sys
from collections.abc import Sequence
from types import ModuleType
from typing import Any

import click

import openllm
from openllm.discovery import Variant, did_you_mean, load, source_file, variants
from openllm.errors import ConfigurationError, OpenLLMError

GROUP = "openllm.commands"
INTERRUPTED = 130  # what shells report for a process that Ctrl+C ended
EPILOG = (
    "Options can be set as variables too: --max-model-len is OPENLLM_MAX_MODEL_LEN; `openllm env`"
    " lists them all."
)


# Commands of earlier openllms, and what does their work now.
REPLACED = {
    "query": "openllm ask",
    "instruct": "openllm ask",
    "embed": "openllm.client.Client(...).embed in Python",
    "get-prompt": "openllm prompt",
    "playground": "openllm run, or the page that openllm start serves",
    "repo": "openllm recipes",
    "hello": "openllm run",
    "build-base-container": "openllm build",
    "get-containerfile": "openllm build",
    "list-models": "openllm list",
    "list-bentos": "bentoml list",
    "start-grpc": "openllm start",
}


class DebugGroup(click.Group):
    """A group whose commands all take --debug and --quiet."""

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        command = super().get_command(ctx, cmd_name)
        if command is not None and not any(param.name == "debug" for param in command.params):
            command.params += _common_options()
        return command

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        """As click's; a word that is no command gets the nearest ones named."""
        known = self.list_commands(ctx)
        if args and not args[0].startswith("-") and args[0] not in known:
            if (now := REPLACED.get(args[0].replace("_", "-"))) and ctx.parent is None:
                ctx.fail(f"There is no {args[0]!r} any more: use {now}.")
            hint = did_you_mean(args[0], known)
            ctx.fail(f"No such command {args[0]!r}." + (f" {hint}" if hint else ""))
        return super().resolve_command(ctx, args)


class LazyGroup(DebugGroup):
    """The top group: finds its commands by their files and other distributions' entry points, and
    turns every failure into one line and an exit code.
    """

    def list_commands(self, ctx: click.Context) -> list[str]:
        return [name.replace("_", "-") for name in variants(GROUP)]

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        variant = variants(GROUP).get(cmd_name.replace("-", "_"))
        if cmd_name not in self.commands and variant is not None:
            self.add_command(load(variant, _read), cmd_name)
        return super().get_command(ctx, cmd_name)

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """The help text of a command is the first line of its module, read without importing it."""
        rows = [
            (name.replace("_", "-"), _summary(variant)) for name, variant in variants(GROUP).items()
        ]
        with formatter.section("Commands"):
            formatter.write_dl(rows)

    def main(
        self, args: Sequence[str] | None = None, prog_name: str | None = None, *_: Any, **extra: Any
    ) -> Any:
        """Run a command line and exit: 0 fine, 1 failed, 2 wrong input, 130 interrupted."""
        state = {"debug": False, "quiet": False}
        extra.update(standalone_mode=False, obj=state)
        try:
            code = super().main(args, prog_name or "openllm", **extra)
        except Exception as error:
            if state["debug"] and not isinstance(error, click.ClickException | click.Abort):
                raise
            sys.exit(_report(error))
        sys.exit(code if isinstance(code, int) else 0)


def _report(error: Exception) -> int:
    """Print one line about `error`; the exit code."""
    if isinstance(error, click.Abort):
        return INTERRUPTED
    if isinstance(error, click.UsageError):
        context = f" See `{error.ctx.command_path} --help`." if error.ctx else ""
        return _fail(_sentence(error.format_message()) + context, error.exit_code)
    if isinstance(error, click.ClickException):
        return _fail(error.format_message(), error.exit_code)
    if isinstance(error, OpenLLMError):
        from openllm.cli.words import FLAGS  # for an error only: it loads the table of options

        return _fail(error.said(FLAGS), error.exit_code)
    return _fail(
        f"{_sentence(f'{type(error).__name__}: {error}')} Run it again with --debug for the"
        " traceback.",
        1,
    )


def _fail(message: str, code: int) -> int:
    click.echo(f"Error: {' '.join(message.split())}", err=True)
    return code


def _sentence(text: str) -> str:
    return text if text.endswith((".", "?", "!")) else f"{text}."


def _read(variant: Variant, module: ModuleType) -> click.Command:
    command: click.Command = module.command
    if not isinstance(command, click.Command):
        raise ConfigurationError(f"{module.__name__}.command is no click command")
    return command


def _summary(variant: Variant) -> str:
    path = source_file(variant)
    try:
        docstring = path and ast.get_docstring(ast.parse(path.read_text(encoding="utf-8")))
    except (OSError, SyntaxError, UnicodeDecodeError):  # running it will say what is wrong with it
        docstring = None
    return (docstring or f"From {variant.distribution}.").partition("\n")[0]


def _common_options() -> list[click.Parameter]:
    """What every command takes, remembered for the whole command line."""

    def remember(ctx: click.Context, param: click.Parameter, value: bool) -> None:
        if value:
            ctx.find_root().obj[param.name] = True

    return [
        click.Option([*names], is_flag=True, expose_value=False, callback=remember, help=about)
        for *names, about in (
            ("-q", "--quiet", "Say nothing of progress: results, warnings and errors alone."),
            ("--debug", "Show the traceback of an error."),
        )
    ]


@click.group(
    "openllm",
    cls=LazyGroup,
    invoke_without_command=True,
    context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 110},
    params=_common_options(),
    epilog=EPILOG,
)
@click.version_option(openllm.__version__, "-V", "--version", message="openllm %(version)s")
@click.pass_context
def cli(ctx: click.Context) -> None:
    """Turn a large language model into a service.

    Try `openllm start` for the demo model that comes along, then `openllm build demo` to pack it
    into a Bento.
    """
    if ctx.invoked_subcommand is None:
        click.echo(ctx.get_help())


def main() -> None:
    """The console script."""
    cli.main()
