"""How likely a chat model is to answer a question with each of a few texts, by its own
probabilities.

The question is asked as a turn of a conversation, each possible answer under a code of one or two
characters, and what the model is likely to begin its answer with is compared.
"""

from __future__ import annotations

import math
import string
from collections.abc import Awaitable, Callable, Sequence
from weakref import WeakKeyDictionary

import attrs

from openllm.answer.formats import reasoning_format
from openllm.errors import UnsupportedFeature
from openllm.llm.admission import PROMPT_END
from openllm.llm.formats import reasoning_of
from openllm.llm.llm import LLM
from openllm.types import Conversation, GenerationRequest, Message, TokenLogprob

LETTERS = string.ascii_uppercase
DIGITS = string.digits
MOST_ANSWERS = len(LETTERS) * len(DIGITS)
TOP = 20  # alternatives that every engine gives for a token
# A label's first token depends on what a tokenizer makes of a text's beginning.
_BEFORE = ("", " ", "\n")
# Parameters of a turn that is not thought about.
UNTHOUGHT = {"max_tokens": 1, "thinking_budget": 0}
Starts = tuple[tuple[int, ...], ...]  # for each text the ids of tokens that begin it
_CODE_STARTS: WeakKeyDictionary[LLM, tuple[Starts, Starts]] = WeakKeyDictionary()


@attrs.frozen
class Spot:
    """Where an answer may begin with one of several texts.

    `prompt` are the token ids before it. `starts` has, for each text, the ids of tokens that begin
    it; no two texts share one.
    """

    prompt: list[int]
    starts: Starts


@attrs.frozen
class NextToken:
    """A next token to ask the engine for: `only` that one, or whichever is the most likely."""

    prompt: list[int]
    only: int | None = None


# The next token of each prompt, with the `TOP` best (`TokenLogprob.top`).
Ask = Callable[[Sequence[NextToken]], Awaitable[list[TokenLogprob]]]


def codes(count: int) -> tuple[str, ...]:
    """What `count` answers are called, 2 to `MOST_ANSWERS`: a letter each, or a letter and a digit,
    which tokenizers keep apart.
    """
    if count <= len(LETTERS):
        return tuple(LETTERS[:count])
    return tuple(letter + digit for letter in LETTERS for digit in DIGITS)[:count]


def with_question(asked: Conversation, question: str) -> Conversation:
    """The conversation with a question at its end: in the user's last turn, if it is the last one,
    for many templates take no two.
    """
    *before, last = asked.messages
    if last.role == "user":
        turns = (*before, attrs.evolve(last, content=f"{last.content}\n\n{question}"))
    else:
        turns = (*asked.messages, Message("user", question))
    return attrs.evolve(asked, messages=turns)


async def answer_start(llm: LLM, asked: Conversation, adapter: str | None) -> list[int]:
    """The prompt up to where the answer's text begins: a thought that its template opens is closed,
    and what a model's format has before a text stands there. Errors: those of `LLM.admit`.
    """
    params = llm.sampling_params(**UNTHOUGHT)
    generation = await llm.admit(GenerationRequest(asked, params, adapter, reading=None))
    prompt = generation.prompt_token_ids
    name = reasoning_of(llm, tools=False)
    introduction = "" if name is None else reasoning_format(name).introduction
    tokenizer = llm.decoding_tokenizer
    end: str = tokenizer.decode(prompt[-PROMPT_END:], skip_special_tokens=False)
    if introduction and not end.endswith(introduction):
        return [*prompt, *tokenizer.encode(introduction, add_special_tokens=False).ids]
    return prompt


def _code_starts(llm: LLM) -> tuple[Starts, Starts]:
    """Of letters and of digits; they are found once. Errors: of `starts_of`."""
    if (known := _CODE_STARTS.get(llm)) is None:
        known = _CODE_STARTS[llm] = (starts_of(llm, LETTERS), starts_of(llm, DIGITS))
    return known


def starts_of(llm: LLM, texts: Sequence[str]) -> Starts:
    """For each text the tokens that may begin it. Errors: UnsupportedFeature where two cannot be
    told apart.
    """
    found = [_starts(llm, text) for text in texts]
    for at, (text, tokens) in enumerate(zip(texts, found, strict=True)):
        others = {token for other in (*found[:at], *found[at + 1 :]) for token in other}
        if not tokens or others & set(tokens):
            raise UnsupportedFeature(
                f"The tokenizer of {llm.name} has no token of its own for {text!r}.",
                hint="Take another model.",
                param="model",
            )
    return tuple(found)


def _starts(llm: LLM, text: str) -> tuple[int, ...]:
    tokens: dict[int, None] = {}
    for before in _BEFORE:
        for token in llm.renderer.encode(before + text, add_special_tokens=False):
            piece = llm.token_table.text(token).strip()
            if piece:
                if text.startswith(piece):
                    tokens[token] = None
                break
    return tuple(tokens)


async def chances(
    llm: LLM, prompts: Sequence[list[int]], counts: Sequence[int], ask: Ask
) -> list[list[float]]:
    """For each prompt the probabilities of its answers, `codes(count)`, which add up to 1. Errors:
    those of `ask`, UnsupportedFeature.
    """
    letters, digits = _code_starts(llm)
    wide = [count > len(LETTERS) for count in counts]
    firsts = [
        math.ceil(count / len(DIGITS)) if two else count
        for count, two in zip(counts, wide, strict=True)
    ]
    spots = [Spot(ids, letters[:most]) for ids, most in zip(prompts, firsts, strict=True)]
    found = [softmax(logs) for logs in await likelihoods(spots, ask)]
    inner = []
    for at, two in enumerate(wide):
        for place in range(firsts[at] if two else 0):
            left = digits[: counts[at] - place * len(DIGITS)]
            inner.append((at, place, Spot([*prompts[at], letters[place][0]], left)))
    within = await likelihoods([spot for _, _, spot in inner], ask)
    split: dict[int, list[float]] = {at: [] for at, two in enumerate(wide) if two}
    for (at, place, _), logs in zip(inner, within, strict=True):
        split[at] += [found[at][place] * share for share in softmax(logs)]
    return [split.get(at, shares) for at, shares in enumerate(found)]


async def likelihoods(spots: Sequence[Spot], ask: Ask) -> list[list[float]]:
    """For each spot the log probability of every text's beginning.

    One token shows the likeliest ones; a text that is not among them is asked for by itself, as the
    one token that may come, for an engine tells the log probability of that before it is made to
    come.
    """
    known = [_seen(one) for one in await ask([NextToken(spot.prompt) for spot in spots])]
    missing = [
        (at, tokens[0])
        for at, spot in enumerate(spots)
        for tokens in spot.starts
        if known[at].keys().isdisjoint(tokens)
    ]
    forced = await ask([NextToken(spots[at].prompt, token) for at, token in missing])
    for (at, token), one in zip(missing, forced, strict=True):
        known[at][token] = one.logprob
    return [
        [_log_sum([seen[token] for token in tokens if token in seen]) for tokens in spot.starts]
        for spot, seen in zip(spots, known, strict=True)
    ]


def _seen(one: TokenLogprob) -> dict[int, float]:
    return {one.token_id: one.logprob, **dict(one.top)}


def _log_sum(logs: Sequence[float]) -> float:
    highest = max(logs)
    if highest == -math.inf:
        return highest
    return highest + math.log(sum(math.exp(value - highest) for value in logs))


def softmax(logs: Sequence[float]) -> list[float]:
    """Log likelihoods as probabilities that add up to 1; all the same where none is possible."""
    total = _log_sum(logs)
    if total == -math.inf:
        return [1 / len(logs)] * len(logs)
    return [math.exp(value - total) for value in logs]
