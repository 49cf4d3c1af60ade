"""The same as `openllm pull`."""
# ruff: noqa: N999  the file is called as the command is

from openllm.cli.commands.pull import command

__all__ = ["command"]
