"""What both formats have in common: each line of an answer is one part."""

from collections.abc import Sequence

from openllm.types import Part


class LineParser:
    """Tells each line when it has ended; `prompt_end` does not matter."""

    markers = ()
    thinking = False  # nothing of a line is known before it has ended

    def __init__(self, prompt_end: str, tools: object = ()) -> None:
        self._line = ""

    def feed(self, text: str) -> Sequence[Part]:
        *lines, self._line = f"{self._line}{text}".split("\n")
        return [self.part(f"{line}\n") for line in lines]

    def flush(self) -> Sequence[Part]:
        line, self._line = self._line, ""
        return [self.part(line)] if line else []

    def part(self, line: str) -> Part:
        """What the line is."""
        raise NotImplementedError
