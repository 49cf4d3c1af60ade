"""What the operator of a server calls an option: the OPENLLM_* variable, which is right however the
server was started.
"""

from __future__ import annotations

from openllm.config.settings import all_variables
from openllm.errors import Words


class VariableWords(Words):
    """Options as variables: `OPENLLM_MAX_MODEL_LEN=4096`. The rest in Python's words."""

    def __init__(self) -> None:
        self._names = {row.field: row.name for row in all_variables()}

    def option(self, name: str, value: str | None) -> str:
        whole, _, part = name.partition(".")
        variable = self._names.get(whole)
        if variable is None:
            return super().option(name, value)
        if not part:
            return super().option(variable, value)
        if value is None:
            return f"{part} in {variable}"
        return f'{variable}={{"{part}": {value}}}'


VARIABLES = VariableWords()
