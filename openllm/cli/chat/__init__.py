"""The terminal chat of `openllm run`: what was said, what is typed, and how answers are shown.

To add a command of the chat: a function in `commands`, and its row in `COMMANDS`.
"""
