"""Texts of different lengths, some without labels, and a loss that counts each part by itself."""

import torch
from torch import nn

from compress.core.artifact import Artifact, Format
from compress.core.context import Context
from compress.tasks.task import task

WORDS, CLASSES = 30, 4


class Padded:
    """A preprocessor that has nothing to do."""

    fingerprint = "0"

    def save(self, directory):
        directory.mkdir(exist_ok=True)


class Sentences:
    """Every split holds the same sentences; a token's class is its number modulo 4."""

    def __init__(self, count=37, seed=0, *, labels=True):
        generator = torch.Generator().manual_seed(seed)
        lengths = torch.randint(1, 9, (count,), generator=generator)
        self.tokens = [
            torch.randint(1, WORDS, (int(length),), generator=generator) for length in lengths
        ]
        self.known = [labels and place % 3 != 0 for place in range(count)]

    def size(self, split):
        return len(self.tokens)

    def loader(self, split, preprocessor, *, batch_size, sample_ids=False, **_):
        return [
            self.batch(list(range(start, min(start + batch_size, len(self.tokens)))))
            for start in range(0, len(self.tokens), batch_size)
        ]

    def batch(self, ids):
        longest = max(len(self.tokens[at]) for at in ids)
        tokens = torch.zeros(len(ids), longest, dtype=torch.int64)
        labels = torch.full_like(tokens, -100)
        for row, at in enumerate(ids):
            tokens[row, : len(self.tokens[at])] = self.tokens[at]
            if self.known[at]:
                labels[row, : len(self.tokens[at])] = self.tokens[at] % CLASSES
        return {
            "input_ids": tokens,
            "attention_mask": (tokens > 0).long(),
            "labels": labels,
            "sample_ids": torch.tensor(ids),
        }


class Tagger(nn.Module):
    """Word embeddings and a head."""

    def __init__(self):
        super().__init__()
        self.embedding = nn.Embedding(WORDS, 16)
        self.inner = nn.Linear(16, 16)
        self.head = nn.Linear(16, CLASSES)
        self.unused = nn.Linear(3, 3)

    def forward(self, input_ids, attention_mask):
        return self.head(torch.tanh(self.inner(self.embedding(input_ids))))


class TwoParts(nn.Module):
    """Cross-entropy over labelled tokens, and a learned projection over all real ones."""

    def __init__(self):
        super().__init__()
        torch.manual_seed(5)
        self.projection = nn.Linear(CLASSES, 2)

    def forward(self, student, batch):
        logits = student(batch["input_ids"], batch["attention_mask"]).float()
        labels, mask = batch["labels"].flatten(), batch["attention_mask"].bool()
        known = labels != -100
        if known.any():
            tagged = nn.functional.cross_entropy(logits.flatten(0, 1), labels, ignore_index=-100)
        else:
            tagged = logits.sum() * 0
        return {"tags": tagged, "size": (self.projection(logits)[mask] - 1).square().mean()}

    def counts(self, batch):
        return {
            "tags": int((batch["labels"] != -100).sum()),
            "size": int(batch["attention_mask"].sum()),
        }


def tagger():
    torch.manual_seed(0)
    return Tagger().eval()


ARTIFACT = Artifact(Format.TORCH, preprocessor=Padded(), labels=tuple("abcd"))


def context(data, directory, **changes):
    given = {"task": task("token-classification"), **changes}
    return Context(reference=ARTIFACT, data=data, directory=directory, **given)
