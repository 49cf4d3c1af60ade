"""Token ids in, parts of an answer out: text, reasoning, calls of tools.

To add a format in which models write those: a module in `tools/` or `reasoning/`.
"""
