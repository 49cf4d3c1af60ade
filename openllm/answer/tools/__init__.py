"""How models write calls of tools: one module per format.

To add one: a module that exports PARSER, which makes an `openllm.answer.parts.Parser` of the end of
the prompt as text; here or as an entry point of the group `openllm.tools`.
"""
