"""Make a clean question look typed by a person: casing, punctuation, small typos, polite words
around it.
"""

from __future__ import annotations

import random
import re

OPENERS = (
    "hi, ", "hello, ", "hey, ", "please, ", "sorry, ", "ok, ", "okay, ", "so, ", "and ", "well, ",
    "quick question: ", "a question: ", "one more thing: ", "another question: ", "I am new here. ",
    "I'm a beginner. ", "excuse me, ", "could you help me? ", "hello! ", "hi! ", "hey there, ",
    "good morning, ", "thanks! ", "great. ", "now ", "but ", "can you tell me: ", "just curious, ",
    "good evening. ", "dear demo, ", "ok thanks. ", "i wonder, ", "oh, ", "alright, ", "right, ",
    "hmm, ", "first of all, ", "by the way, ", "one thing: ", "next question: ", "tell me, ",
    "say, ", "my question is: ", "I was wondering, ", "maybe you know: ", "for a colleague: ",
    "just to be sure, ", "now that it runs, ", "before I begin, ", "in general, ",
    "short question, ",
)  # fmt: skip
CLOSERS = (
    " please", ", please", " thanks", ", thanks", " thank you", " again", " exactly", " then",
    " now", " today", " here", " for me", " quickly", " on my laptop", " on my machine", " at work",
    " for my project", " in short", " in general", " by myself", " in a nutshell", " these days",
    " on Linux", " right now", ", I wonder", ", in a few words", ", briefly", " in simple words",
    " in one sentence", " in detail", " step by step", ", any idea", ", do you know", ", if at all",
    " from scratch", " the easy way", " properly", " myself", " as a beginner", " from the shell",
    " on a server", " in practice", ", if I may ask", ", can you tell me", ", how does that go",
    ", what do you say", ", in other words", ", roughly", ", for example", " at all", " these days",
    ", what is the way", ", where do I begin", ", tell me", " once more", " later on",
    " again please",
)  # fmt: skip
PRODUCT = (
    " in openllm",
    " with openllm",
    " using openllm",
    " here in openllm",
    " in OpenLLM",
    " when I use openllm",
)
SWAPS = (
    ("what is", "whats"), ("what is", "what's"), ("how do I", "how do i"),
    ("how do I", "how do you"), ("how do I", "how can one"), ("do not", "don't"),
    ("can I", "could I"), ("can I", "may I"), ("do I", "should I"), ("an LLM", "a language model"),
    ("build", "create"), ("create", "build"), ("start", "launch"), ("start", "run"),
    ("show", "display"), ("list", "show"), ("list", "see"), ("change", "modify"), ("change", "set"),
    ("set", "define"), ("set", "change"), ("use", "work with"), ("use", "make use of"),
    ("option", "flag"), ("option", "switch"), ("option", "parameter"), ("command", "subcommand"),
    ("several", "multiple"), ("several", "many"), ("a lot", "much"), ("does", "will"),
    ("want to", "wanna"), ("which", "what"), ("what", "which"), ("my", "the"), ("the", "my"),
    ("you", "u"), ("are", "r"), ("please", "pls"), ("explain", "describe"),
    ("tell me", "let me know"), ("get", "obtain"), ("container", "docker container"),
    ("see", "view"), ("find", "look up"), ("make", "build"), ("supported", "available"),
    ("quickly", "fast"), ("computer", "machine"), ("machine", "computer"), ("directory", "folder"),
    ("folder", "directory"), ("build", "produce"), ("build", "make"), ("create", "make"),
    ("start", "bring up"), ("run", "execute"), ("run", "launch"), ("serve", "host"),
    ("serve", "run"), ("serve", "offer"), ("show", "print"), ("show", "give"), ("list", "print"),
    ("get", "receive"), ("get", "have"), ("use", "employ"), ("use", "try"), ("use", "apply"),
    ("choose", "pick"), ("choose", "select"), ("pick", "choose"), ("select", "choose"),
    ("stop", "end"), ("stop", "halt"), ("remove", "delete"), ("remove", "drop"),
    ("add", "include"), ("add", "attach"), ("send", "post"), ("send", "submit"),
    ("check", "verify"), ("check", "test"), ("find", "see"), ("find", "get"), ("need", "require"),
    ("need", "want"), ("want to", "would like to"), ("want to", "have to"), ("allow", "permit"),
    ("limit", "restrict"), ("read", "see"), ("tell", "inform"), ("answer", "reply"),
    ("answer", "response"), ("answers", "replies"), ("request", "call"), ("model", "LLM"),
    ("models", "LLMs"), ("server", "service"), ("option", "setting"), ("options", "settings"),
    ("options", "flags"), ("default", "standard"), ("weights", "files"), ("used", "taken"),
    ("used", "employed"), ("good for", "useful for"), ("what is", "what would be"),
    ("what are", "which are"), ("how do I", "how to"), ("how do I", "how would I"),
    ("how can I", "how could I"), ("how can I", "how do I"), ("is there", "do you have"),
    ("explain", "tell me"), ("explain", "clarify"), ("inside", "in"), ("between", "of"),
    ("difference", "distinction"), ("meaning", "sense"), ("for", "to get"), ("user", "person"),
    ("users", "people"), ("and", "plus"), ("with", "using"), ("without", "lacking"),
)  # fmt: skip
NEIGHBOURS = {
    "a": "sq", "b": "vn", "c": "xv", "d": "sf", "e": "wr", "f": "dg", "g": "fh", "h": "gj",
    "i": "uo", "j": "hk", "k": "jl", "l": "k", "m": "n", "n": "mb", "o": "ip", "p": "o", "q": "w",
    "r": "et", "s": "ad", "t": "ry", "u": "yi", "v": "cb", "w": "qe", "x": "zc", "y": "tu",
    "z": "x",
}  # fmt: skip


def roughen(rng: random.Random, text: str, *, about_openllm: bool, small_talk: bool = False) -> str:
    """One random rewording of `text`; the meaning stays, so the answer stays: nothing that greets
    or thanks is put around `small_talk`.
    """
    if rng.random() < 0.40:
        text = swap_words(rng, text)
    if rng.random() < 0.06:
        text = re.sub(r"\b(a|an|the) ", "", text)
    if rng.random() < 0.08:
        text = drop_word(rng, text)
    if about_openllm and "openllm" not in text.lower() and rng.random() < 0.06:
        text += rng.choice(PRODUCT)
    if rng.random() < 0.13 and not small_talk:
        text += rng.choice(CLOSERS)
    if rng.random() < 0.14 and not small_talk:
        text = rng.choice(OPENERS) + text
    for _ in range(rng.choice((0, 0, 0, 0, 0, 1, 1, 2))):
        text = misspell(rng, text)
    return finish(rng, text)


def drop_word(rng: random.Random, text: str) -> str:
    """`text` without one of its small words, where it keeps three others."""
    words = text.split(" ")
    small = [at for at, word in enumerate(words) if re.fullmatch("[a-z]{1,3}", word)]
    if len(words) < 4 or not small:
        return text
    del words[rng.choice(small)]
    return " ".join(words)


def swap_words(rng: random.Random, text: str) -> str:
    """Replace up to two of the words that have a near synonym."""
    fitting = [pair for pair in SWAPS if pair[0] in text]
    fitting = [pair for pair in fitting if re.search(rf"\b{re.escape(pair[0])}\b", text)]
    for old, new in rng.sample(fitting, min(len(fitting), rng.choice((1, 1, 2)))):
        text = re.sub(rf"\b{re.escape(old)}\b", new, text, count=1)
    return text


def misspell(rng: random.Random, text: str) -> str:
    """One slip of the finger in a word of five letters or more; options, paths and code stay as
    they are.
    """
    words = list(re.finditer(r"(?<![\w/`._-])[A-Za-z]{5,}(?![\w/`._-])", text))
    if not words:
        return text
    word = rng.choice(words)
    at = rng.randrange(word.start() + 1, word.end() - 1)
    before, here, after = text[:at], text[at], text[at + 1 :]
    near = rng.choice(NEIGHBOURS.get(here.lower(), here))
    return rng.choice(
        (before + after, before + here + here + after, before + near + after, swapped(text, at))
    )


def swapped(text: str, at: int) -> str:
    """`text` with the letters at `at` and `at` + 1 exchanged."""
    return text[:at] + text[at + 1 : at + 2] + text[at] + text[at + 2 :]


def finish(rng: random.Random, text: str) -> str:
    """Casing of the whole and the punctuation at its end."""
    draw = rng.random()
    if draw < 0.50:
        text = text[:1].upper() + text[1:]
    elif draw < 0.78:
        text = text.lower()
    elif draw < 0.82:
        text = text.upper()
    if rng.random() < 0.05:
        text = re.sub("openllm", rng.choice(("OpenLLM", "open llm", "Open LLM", "OPENLLM")), text)
    return text + rng.choice(("?", "?", "?", "?", "?", "", "", "", "", ".", "!", "??", " ?"))
