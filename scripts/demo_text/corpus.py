"""The demo model's training text: topics read from YAML, all their questions, and random
conversations over them.
"""

from __future__ import annotations

import itertools
import json
import random
import string
from collections.abc import Iterator
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any

import yaml

from .calling import Calling
from .grammar import gerund, third_person
from .noise import roughen
from .pirate import speak

HERE = Path(__file__).parent
TOPIC_FILES = ("talk", "commands", "options", "api", "concepts", "sampling")
REFUSAL = "refusal"
SMALL_TALK = (
    "greet",
    "mood",
    "thanks",
    "bye",
    "okay",
    "who",
    "size",
    "maker",
    "ability",
    "limits",
    "language",
)
SLOTS = (
    "thing",
    "person",
    "place",
    "task",
    "prop",
    "office",
    "animal",
)  # of the templates in offtopic.yaml
GREETED = {"greet": ("greetings",), "thanks": ("thanking", "feelings"), "bye": ("partings",)}
KINDS = (
    "ask",
    "ask",
    "ask",
    "task",
    "task",
    "task",
    "name",
    "name",
    "verb",
    "doing",
)  # how often each is drawn
STYLES = ("plain", "pirate", "french")
WITH_TOOLS = 0.18  # of the training texts; they are about six times as long as the others


@dataclass(frozen=True)
class Topic:
    """One answer, in English and French, and the phrases that ask for it."""

    id: str
    answer: str
    french: str
    tasks: tuple[str, ...] = ()  # verb phrases, for "How do I {}?"
    names: tuple[str, ...] = ()  # noun phrases, for "What is {}?"
    asks: tuple[str, ...] = ()  # whole questions

    def answered(self, style: str) -> str:
        """The answer in one of STYLES."""
        return {"plain": self.answer, "french": self.french, "pirate": speak(self.answer)}[style]


@dataclass(frozen=True)
class Sample:
    """One training text in pieces: (role, text, learn). Role "raw" has no marker before it;
    `learn`: loss on it. `exact`: what is read must not be blurred, for the answer copies from it.
    """

    pieces: list[tuple[str, str, bool]] = field(default_factory=list)
    exact: bool = False


def normalise(question: str) -> str:
    """Lower case, single spaces, no final punctuation: two questions equal in this form are the
    same question.
    """
    return " ".join(question.lower().split()).strip(" ?!.")


def read(name: str) -> Any:
    return yaml.safe_load((HERE / f"{name}.yaml").read_text(encoding="utf-8"))


def phrases(topic: Topic, kind: str) -> tuple[str, ...]:
    """What a template of `kind` takes from a topic; for "ask", the whole questions."""
    if kind == "verb":
        return tuple(map(third_person, topic.tasks))
    if kind == "doing":
        return tuple(map(gerund, topic.tasks))
    return {"ask": topic.asks, "task": topic.tasks, "name": topic.names}[kind]


class Corpus:
    """All topics and templates; `sample` draws one training text. `talk` is the share of texts that
    are drawn as chats whose last turn is a greeting, thanks or a farewell.
    """

    def __init__(self, talk: float = 0.0) -> None:
        self.talk = talk
        rows = [row for name in TOPIC_FILES for row in read(name)]
        self.topics = {
            row["id"]: Topic(
                **{
                    key: tuple(value) if isinstance(value, list) else value
                    for key, value in row.items()
                }
            )
            for row in rows
        }
        self.dialogue: dict[str, list[str]] = read("dialogue")
        self.offtopic: dict[str, list[Any]] = read("offtopic")
        self.refused = list(itertools.chain.from_iterable(self.offtopic["questions"]))

    @cached_property
    def questions(self) -> dict[str, str]:
        """Every question on a topic, normalised, with its topic's id; whole questions win over
        filled templates.
        """
        found: dict[str, str] = {}
        sources = (
            self._asked(),
            self._addressed(),
            *map(self._filled, ("task", "name", "verb", "doing")),
        )
        for topic, question in itertools.chain(*sources):
            found.setdefault(normalise(question), topic)
        return found

    def _asked(self) -> Iterator[tuple[str, str]]:
        for topic in self.topics.values():
            for question in topic.asks:
                yield topic.id, question

    def _addressed(self) -> Iterator[tuple[str, str]]:
        for topic, parts in GREETED.items():
            first, *others = (self.dialogue[part] for part in parts)
            for words in itertools.product(first, self.dialogue["addressed"], *others):
                yield topic, "".join(words)

    def _filled(self, kind: str) -> Iterator[tuple[str, str]]:
        for topic in self.topics.values():
            for phrase, template in itertools.product(
                phrases(topic, kind), self.dialogue[f"{kind}_templates"]
            ):
                yield topic.id, template.format(phrase)

    @cached_property
    def _weights(self) -> tuple[list[str], list[float]]:
        known = [topic for topic in self.topics.values() if topic.id != REFUSAL]
        sizes = [(len(t.asks) + 2 * len(t.tasks) + 2 * len(t.names)) ** 0.5 for t in known]
        return [topic.id for topic in known], sizes

    def ask(self, rng: random.Random) -> tuple[str, str]:
        """A question as typed and the id of its topic; about three in ten are for the refusal."""
        if rng.random() < 0.30:
            return roughen(rng, self._strange(rng), about_openllm=False), REFUSAL
        return self._question(rng, self.topics[rng.choices(*self._weights)[0]])

    def _question(self, rng: random.Random, topic: Topic) -> tuple[str, str]:
        kinds = [kind for kind in KINDS if phrases(topic, kind)]
        kind = rng.choice(kinds)
        if topic.id in GREETED and rng.random() < 0.6:
            first, *others = (self.dialogue[part] for part in GREETED[topic.id])
            text = "".join(
                rng.choice(words) for words in (first, self.dialogue["addressed"], *others)
            )
        elif kind == "ask":
            text = rng.choice(topic.asks)
        else:
            text = rng.choice(self.dialogue[f"{kind}_templates"]).format(
                rng.choice(phrases(topic, kind))
            )
        owner = self.questions.get(normalise(text), topic.id)
        talk = owner in SMALL_TALK
        return roughen(rng, text, about_openllm=not talk, small_talk=talk), owner

    def _strange(self, rng: random.Random) -> str:
        draw = rng.random()
        if draw < 0.34:
            return str(rng.choice(self.refused))
        if draw < 0.40:
            return " ".join(self._word(rng) for _ in range(rng.randint(1, 12)))
        if draw < 0.62:
            return self._unknown(rng)
        filled = rng.choice(self.offtopic["templates"])
        for slot in SLOTS:
            while f"{{{slot}}}" in filled:
                words = self.offtopic["people" if slot == "person" else f"{slot}s"]
                filled = filled.replace(f"{{{slot}}}", rng.choice(words), 1)
        return str(filled)

    def _unknown(self, rng: random.Random) -> str:
        """The topics' own templates around words that no topic owns, so that no template alone
        decides.
        """
        if rng.random() < 0.5:
            verb = (
                rng.choice(self.offtopic["tasks"])
                if rng.random() < 0.8
                else f"{self._word(rng)} {self._word(rng)}"
            )
            if rng.random() < 0.7:
                return rng.choice(self.dialogue["task_templates"]).format(verb)
            if rng.random() < 0.6:
                return rng.choice(self.dialogue["doing_templates"]).format(gerund(verb))
            return rng.choice(self.dialogue["verb_templates"]).format(third_person(verb))
        noun = rng.choice(self.offtopic["things"]) if rng.random() < 0.6 else self._word(rng)
        return rng.choice(self.dialogue["name_templates"]).format(noun)

    def _word(self, rng: random.Random) -> str:
        draw = rng.random()
        if draw < 0.5:
            return str(rng.choice(self.offtopic["things"])).split()[-1]
        if draw < 0.9:
            syllables = (
                rng.choice("bcdfghjklmnprstvwz") + rng.choice("aeiou")
                for _ in range(rng.randint(1, 4))
            )
            return "".join(syllables) + rng.choice(("", "n", "r", "st", "ck", "x", "l"))
        return "".join(rng.choices(string.ascii_lowercase + string.digits, k=rng.randint(2, 9)))

    def sample(self, rng: random.Random, style: str) -> Sample:
        """One training text: mostly a chat of one turn or some, with tools or without, now and then
        a bare prompt or a JSON answer.
        """
        if self.talk and rng.random() < self.talk:
            return self._ending_in_talk(rng, style)
        if rng.random() < (WITH_TOOLS if style == "plain" else WITH_TOOLS / 2):
            return self.with_tools(rng, style)
        draw = rng.random()
        if draw < 0.05:
            return self._bare(rng, style)
        if draw < 0.13:
            return self._as_json(rng, style)
        turns = (
            1
            if draw < 0.78
            else 2
            if draw < 0.91
            else rng.randint(3, 5)
            if draw < 0.99
            else rng.randint(6, 16)
        )
        return Sample(self._system(rng) + self._chat(rng, turns, style))

    def with_tools(self, rng: random.Random, style: str) -> Sample:
        """A conversation in which tools are declared."""

        def ordinary(rng: random.Random) -> tuple[str, str, bool]:
            question, topic = self.ask(rng)
            return question, self.topics[topic].answered(style), topic == REFUSAL

        system = rng.choice(self.dialogue["systems"]) if rng.random() < 0.35 else ""
        calling = Calling(ordinary, self.topics[REFUSAL].answered(style), style)
        return Sample(calling.conversation(rng, system), exact=True)

    def _system(self, rng: random.Random) -> list[tuple[str, str, bool]]:
        if rng.random() < 0.8:
            return []
        return [("system", rng.choice(self.dialogue["systems"]), False)]

    def _chat(self, rng: random.Random, turns: int, style: str) -> list[tuple[str, str, bool]]:
        pieces: list[tuple[str, str, bool]] = []
        for turn in range(turns):
            if turn and rng.random() < 0.06:
                question = roughen(rng, rng.choice(self.dialogue["repeats"]), about_openllm=False)
                answer = pieces[-1][1]
            else:
                question, topic = self.ask(rng)
                answer = self.topics[topic].answered(style)
            pieces += [("user", question, False), ("assistant", answer, True)]
        return pieces

    def _ending_in_talk(self, rng: random.Random, style: str) -> Sample:
        question, topic = self._question(rng, self.topics[rng.choice(list(GREETED))])
        last = [("user", question, False), ("assistant", self.topics[topic].answered(style), True)]
        return Sample([*self._system(rng), *self._chat(rng, rng.randint(0, 3), style), *last])

    def _bare(self, rng: random.Random, style: str) -> Sample:
        """A prompt without chat markers: a question and its answer, or an answer to continue."""
        question, topic = self.ask(rng)
        answer = self.topics[topic].answered(style)
        if rng.random() < 0.25:
            return Sample([("raw", answer, True)])
        return Sample(
            [
                ("raw", question + rng.choice(("", "", "", "\n", "\nAnswer:")), False),
                ("raw", answer, True),
            ]
        )

    def _as_json(self, rng: random.Random, style: str) -> Sample:
        """An answer inside a JSON object, perhaps beside other members: asked for, or with names
        given, as a grammar would force them.
        """
        question, topic = self.ask(rng)
        answer = self.topics[topic].answered(style)
        names = rng.sample(self.dialogue["json_keys"], rng.choice((1, 1, 1, 2, 2, 2, 3, 4)))
        values = [answer, *(self._member(rng, answer, style) for _ in names[1:])]
        if rng.random() < 0.3:
            rng.shuffle(values)
        asked = rng.random() < 0.5
        question += rng.choice(self.dialogue["json_suffixes"]) if asked else ""
        written = list(self._members(rng, names, values))
        if asked or rng.random() < 0.5:
            opening, first = written[0]
            rest = first + "".join(name + value for name, value in written[1:])
            written = [(opening, rest + "}")]
        else:
            written.append(("}", ""))
        pieces = [("user", question, False), ("assistant", written[0][0], asked)]
        for index, (name, value) in enumerate(written):
            if index:
                pieces.append(("more", name, name == "}"))
            if value:
                pieces.append(("more", value, True))
        return Sample(pieces)

    def _members(
        self, rng: random.Random, names: list[str], values: list[Any]
    ) -> Iterator[tuple[str, str]]:
        """(What a grammar gives, what the model writes) of each member; a text's first quotation
        mark is given, too.
        """
        colon, comma = rng.choice(((":", ","), (": ", ", "), (": ", ", ")))
        for index, (name, value) in enumerate(zip(names, values, strict=True)):
            given = f'{comma if index else "{"}"{name}"{colon}'
            text = json.dumps(value, ensure_ascii=False)
            quoted = text.startswith('"')
            yield given + '"' * quoted, text[quoted:]

    def _member(self, rng: random.Random, answer: str, style: str) -> Any:
        """What stands beside the answer: mostly text, for nobody knows the schema."""
        draw = rng.random()
        if draw < 0.45:
            return answer
        if draw < 0.70:
            return self.topics[self.ask(rng)[1]].answered(style)
        if draw < 0.85:
            return [self._word(rng) for _ in range(rng.randint(1, 3))]
        return rng.choice((rng.randint(0, 100), True, False, None))


def every_text(corpus: Corpus, draws: int, seed: int) -> Iterator[str]:
    """Text to train the tokenizer on: each answer in each style, `draws` random questions, and
    conversations with tools.
    """
    for topic, style in itertools.product(corpus.topics.values(), STYLES):
        yield from [topic.answered(style)] * 8
    rng = random.Random(seed)
    for _ in range(draws):
        yield corpus.ask(rng)[0]
    for _ in range(draws // 40):
        yield from (text for _, text, _ in corpus.with_tools(rng, "plain").pieces)
