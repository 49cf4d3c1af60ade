"""The families, one file each, and nothing else.

To add one: a module that defines one `LLMConfig`.
"""
