"""What can be said of a deployment and of a process, as values read once and passed down.

To add an option: a field of `spec.LLMSpec` and its row in `variables.SPEC_VARIABLES`, or a field of
`settings.Settings`; it is an `OPENLLM_*` variable and an option of the command line from then on.
"""
