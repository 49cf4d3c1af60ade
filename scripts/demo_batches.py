"""Batches for training the demo model: random conversations as token ids, with the loss on the
answers only.
"""

from __future__ import annotations

import random
from collections import Counter
from collections.abc import Iterator

import torch
from demo_model import BOS, EOS, PAD, ROLES, SPECIALS
from demo_text.corpus import Corpus, Sample
from tokenizers import Tokenizer
from torch.utils.data import IterableDataset, get_worker_info

Row = tuple[list[int], list[int]]
IGNORED = -100  # the label that carries no loss
POOL = (
    2048  # conversations drawn at once and sorted by length, so that little of a batch is padding
)


class Batches(IterableDataset[tuple[torch.Tensor, torch.Tensor]]):
    """Endless (input ids, labels), each [conversations, tokens]; every worker draws its own from
    `seed`.
    """

    def __init__(
        self, tokenizer: Tokenizer, budget: int, style: str, seed: int, talk: float = 0.0
    ) -> None:
        self.corpus = Corpus(talk)
        self.budget, self.style, self.seed = (
            budget,
            style,
            seed,
        )  # budget: tokens of a batch, padding counted
        self.brief = (
            0.85 if style == "plain" else 0.3
        )  # the adapters have all their answers still to learn
        self.plain = Tokenizer.from_str(tokenizer.to_str())
        self.broken = Tokenizer.from_str(tokenizer.to_str())
        self.broken.model.dropout = (
            0.1  # words fall into other pieces now and then, as typos make them
        )
        self.vocabulary = tokenizer.get_vocab_size()
        self.markers = {role: tokenizer.token_to_id(marker) for role, marker in ROLES.items()}
        self.bos, self.eos, self.pad = (tokenizer.token_to_id(token) for token in (BOS, EOS, PAD))
        self.decided = self.decision_lengths()

    def decision_lengths(self) -> dict[str, int]:
        """For each answer, after how many tokens no other answer begins like it."""
        answers = [topic.answered(self.style) for topic in self.corpus.topics.values()]
        ids = [tuple(self.plain.encode(answer, add_special_tokens=False).ids) for answer in answers]
        prefixes = Counter(row[:length] for row in ids for length in range(1, len(row) + 1))
        return {
            answer: next(
                (length for length in range(1, len(row) + 1) if prefixes[row[:length]] == 1),
                len(row),
            )
            for answer, row in zip(answers, ids, strict=True)
        }

    def __iter__(self) -> Iterator[tuple[torch.Tensor, torch.Tensor]]:
        worker = get_worker_info()
        rng = random.Random(self.seed * 1000 + (worker.id if worker else 0))
        while True:
            pool = [self.encode(rng, self.corpus.sample(rng, self.style)) for _ in range(POOL)]
            pool.sort(key=lambda row: len(row[0]) + rng.random())
            batches = list(self.cut(pool))
            rng.shuffle(batches)
            for rows in batches:
                yield (
                    self.padded([ids for ids, _ in rows], self.pad),
                    self.padded([tags for _, tags in rows], IGNORED),
                )

    def cut(self, pool: list[Row]) -> Iterator[list[Row]]:
        """Runs of `pool`, sorted by length, each within the budget of tokens."""
        rows: list[Row] = []
        for row in pool:
            if rows and (len(rows) + 1) * len(row[0]) > self.budget:
                yield rows
                rows = []
            rows.append(row)
        yield rows

    def encode(self, rng: random.Random, sample: Sample) -> Row:
        """Token ids and labels of one sample: a role's marker, its text, the end marker."""
        ids, labels = [self.bos], [IGNORED]
        brief = (
            rng.random() < self.brief
        )  # answers cut off once they are decided: their rest is soon learned
        for index, (role, text, learn) in enumerate(sample.pieces):
            if role in self.markers:
                ids.append(self.markers[role])
                labels.append(IGNORED)
            tokens = self.tokens(rng, text, clean=learn or sample.exact)
            after = sample.pieces[index + 1][0] if index + 1 < len(sample.pieces) else ""
            tags = list(tokens) if learn else [IGNORED] * len(tokens)
            cut = brief and text in self.decided and role == "assistant" and after != "more"
            if cut:
                kept = self.decided[text] + rng.randint(1, 6)
                tokens, tags = tokens[:kept], tags[:kept]
            if after not in ("raw", "more"):
                whole = self.eos if learn and not cut else IGNORED
                tokens, tags = [*tokens, self.eos], [*tags, whole]
            ids += tokens
            labels += tags
        return ids, labels

    def tokens(self, rng: random.Random, text: str, *, clean: bool) -> list[int]:
        """`text` as ids; questions, which are read but never written, are now and then split or
        blurred where they need not be `clean`.
        """
        if clean:
            return list(self.plain.encode(text, add_special_tokens=False).ids)
        tokenizer = self.broken if rng.random() < 0.4 else self.plain
        ids: list[int] = list(tokenizer.encode(text, add_special_tokens=False).ids)
        if rng.random() < 0.2:
            ids = [
                rng.randrange(len(SPECIALS), self.vocabulary) if rng.random() < 0.06 else token
                for token in ids
            ]
        return ids

    @staticmethod
    def padded(rows: list[list[int]], filler: int) -> torch.Tensor:
        width = -(-max(len(row) for row in rows) // 16) * 16  # few widths: kernels are known then
        return torch.tensor([row + [filler] * (width - len(row)) for row in rows])
