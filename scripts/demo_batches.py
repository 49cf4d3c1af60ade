"""Batches for training the demo model: random conversations as token ids, with the loss on the answers only."""

from __future__ import annotations

import random
from collections.abc import Iterator

import torch
from demo_model import BOS, EOS, PAD, ROLES, SPECIALS
from demo_text.corpus import Corpus, Sample, turns_for
from tokenizers import Tokenizer
from torch.utils.data import IterableDataset, get_worker_info

IGNORED = -100  # the label that carries no loss
LENGTHS = {"short": 1.0, "medium": 0.25, "long": 0.06}  # class -> conversations, as a share of the batch size
CHANCES = {"short": 0.84, "medium": 0.11, "long": 0.05}


class Batches(IterableDataset[tuple[torch.Tensor, torch.Tensor]]):
    """Endless (input ids, labels), each [conversations, tokens]; every worker draws its own from `seed`."""

    def __init__(self, tokenizer: Tokenizer, size: int, style: str, seed: int) -> None:
        self.corpus = Corpus()
        self.size, self.style, self.seed = size, style, seed
        self.plain = Tokenizer.from_str(tokenizer.to_str())
        self.broken = Tokenizer.from_str(tokenizer.to_str())
        self.broken.model.dropout = 0.1  # words fall into other pieces now and then, as typos make them
        self.vocabulary = tokenizer.get_vocab_size()
        self.markers = {role: tokenizer.token_to_id(marker) for role, marker in ROLES.items()}
        self.bos, self.eos, self.pad = (tokenizer.token_to_id(token) for token in (BOS, EOS, PAD))

    def __iter__(self) -> Iterator[tuple[torch.Tensor, torch.Tensor]]:
        worker = get_worker_info()
        rng = random.Random(self.seed * 1000 + (worker.id if worker else 0))
        while True:
            length = rng.choices(list(CHANCES), list(CHANCES.values()))[0]
            turns = turns_for(length)
            count = max(1, int(self.size * LENGTHS[length]))
            rows = [
                self.encode(rng, self.corpus.sample(rng, turns(rng), self.style)) for _ in range(count)
            ]  # prompts of one length class keep the padding small
            yield self.padded([ids for ids, _ in rows], self.pad), self.padded([tags for _, tags in rows], IGNORED)

    def encode(self, rng: random.Random, sample: Sample) -> tuple[list[int], list[int]]:
        """Token ids and labels of one sample: a role's marker, its text, the end marker."""
        ids, labels = [self.bos], [IGNORED]
        for index, (role, text, learn) in enumerate(sample.pieces):
            if role in self.markers:
                ids.append(self.markers[role])
                labels.append(IGNORED)
            tokens = self.tokens(rng, text, learn=learn)
            after = sample.pieces[index + 1][0] if index + 1 < len(sample.pieces) else ""
            if after not in ("raw", "more"):
                tokens.append(self.eos)
            ids += tokens
            labels += tokens if learn else [IGNORED] * len(tokens)
        return ids, labels

    def tokens(self, rng: random.Random, text: str, *, learn: bool) -> list[int]:
        """`text` as ids; questions, which are read but never written, are now and then split or blurred."""
        if learn:
            return list(self.plain.encode(text, add_special_tokens=False).ids)
        tokenizer = self.broken if rng.random() < 0.4 else self.plain
        ids: list[int] = list(tokenizer.encode(text, add_special_tokens=False).ids)
        if rng.random() < 0.2:
            ids = [rng.randrange(len(SPECIALS), self.vocabulary) if rng.random() < 0.06 else token for token in ids]
        return ids

    @staticmethod
    def padded(rows: list[list[int]], filler: int) -> torch.Tensor:
        width = max(len(row) for row in rows)
        return torch.tensor([row + [filler] * (width - len(row)) for row in rows])
