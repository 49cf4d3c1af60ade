"""A thought between two marks at the beginning of an answer: what its formats share."""

from __future__ import annotations

from typing import ClassVar

from openllm.answer.formats import ReasoningFormat, Signs
from openllm.answer.reader import Phrases, Reader, Wait
from openllm.types import Reasoning

_NONE = Phrases()


class ThoughtReader(Reader):
    """Base of the parsers of thoughts; a subclass names its marks.

    Some templates write the opening mark into the prompt, so that the answer begins inside the
    thought; then only the closing mark is seen. A model that closes no thought has thought all the
    way; one that opens none has not thought. Line ends beside the marks are of neither.
    """

    opens: ClassVar[Phrases]
    closes: ClassVar[Phrases]
    ends: ClassVar[Phrases] = (
        _NONE  # what no thought has in it, so that it is closed without a mark
    )
    wraps: ClassVar[Phrases] = _NONE  # what stands around the answer, and is no part of it

    def __init__(self, prompt_end: str = "") -> None:
        super().__init__()
        self.thinking = self.begun(prompt_end)
        self._line_ends = ""  # of the thought, which may be its last

    @classmethod
    def begun(cls, prompt_end: str) -> bool:
        """Whether the prompt, of which this is the end, has opened the thought."""
        return cls.opens.end(prompt_end.rstrip())

    def read(self) -> Wait[None]:
        if self.thinking or (yield from self.word(self.opens)):
            self.thinking = True
            yield from self._thought()
            self.thinking = False
            yield from self.skip("\n")
        while (yield from self.text_until(self.wraps)):
            yield from self.skip("\n")

    def _thought(self) -> Wait[None]:
        yield from self.skip("\n")
        if (yield from self.until(self.closes | self.ends, self._think, unread=True)):
            yield from self.word(self.closes, "")
        elif self._line_ends:
            self.tell(Reasoning(self._line_ends))

    def _think(self, text: str) -> None:
        text = self._line_ends + text
        thought = text.rstrip("\n")
        self._line_ends = text[len(thought) :]
        if thought:
            self.tell(Reasoning(thought))


def thought_format(
    parser: type[ThoughtReader],
    opening: str,
    closing: str,
    *,
    mark: str,
    signs: Signs,
    introduction: str = "",
) -> ReasoningFormat:
    """The format of these thoughts; see `ReasoningFormat` for the words."""
    return ReasoningFormat(
        parser=parser,
        opening=opening,
        closing=closing,
        mark=mark,
        begun=parser.begun,
        signs=signs,
        introduction=introduction,
    )
