"""The same as `openllm pull`."""

from openllm.cli.commands.pull import command

__all__ = ["command"]
