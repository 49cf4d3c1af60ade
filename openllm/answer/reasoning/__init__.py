"""How models mark what they think: one module per format.

To add one: a module that exports FORMAT, an `openllm.answer.formats.ReasoningFormat`, here or as an
entry point of the group `openllm.reasoning`. Most are made by `thought_format` in
`openllm.answer.thought`, of a `ThoughtReader` that names its marks.
"""
