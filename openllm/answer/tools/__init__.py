"""How models write calls of tools: one module per format.

To add one: a module that exports FORMAT, an `openllm.answer.formats.ToolFormat`, which says how the
format is recognised (`signs`), read (`parser`), written (`write`) and forced (`grammar`); here or
as an entry point of the group `openllm.tools`. Most parsers are a `read` of a few lines on one of
`openllm.answer.json_call.JsonReader` (the call, or its arguments, are JSON) and
`openllm.answer.values.ValueReader` (each argument is marked, its value bare).
"""
