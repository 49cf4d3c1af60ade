"""Turn a plain answer into pirate speech; commands in backticks stay as they are."""

from __future__ import annotations

import re
import zlib

WORDS = {
    "you": "ye", "your": "yer", "my": "me", "is": "be", "are": "be", "am": "be", "the": "th'",
    "of": "o'", "and": "an'", "for": "fer", "hello": "ahoy", "yes": "aye", "it is": "'tis",
    "to": "t'", "goodbye": "farewell", "with": "wi'", "has": "be havin'", "serving": "servin'",
    "running": "runnin'", "everything": "everythin'",
}  # fmt: skip
OPENERS = ("Arr! ", "Ahoy, matey! ", "Avast! ", "Yo ho ho! ", "Shiver me timbers! ")
CLOSERS = (" Arrr!", " Savvy?", " Fair winds, matey!", " Now hoist th' sails!")


def speak(answer: str) -> str:
    """`answer` in pirate speech: the same facts, words swapped outside code, opener and closer
    chosen by its text.
    """
    draw = zlib.crc32(answer.encode())
    parts = re.split(r"(`[^`]*`|/\S+|\S*[_./*-]\S*\w)", answer)
    said = "".join(part if index % 2 else swap(part) for index, part in enumerate(parts))
    return OPENERS[draw % len(OPENERS)] + said + CLOSERS[draw // 8 % len(CLOSERS)]


def swap(text: str) -> str:
    """Every word of WORDS in `text`, its capital kept."""
    pattern = re.compile(
        r"\b(" + "|".join(sorted(WORDS, key=len, reverse=True)) + r")\b", re.IGNORECASE
    )

    def said(match: re.Match[str]) -> str:
        word = WORDS[match[0].lower()]
        return word[:1].upper() + word[1:] if match[0][0].isupper() else word

    return pattern.sub(said, text)
