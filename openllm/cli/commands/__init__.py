"""The subcommands of `openllm`, one module each; its first line is its help in the list.

To add one: a module here that exports `command`, a click command.
"""
