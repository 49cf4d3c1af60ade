"""The same as `openllm run`."""

from openllm.cli.commands.run import command

__all__ = ["command"]
