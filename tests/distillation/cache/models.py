"""Data, a teacher and a context for tests of the cache; deterministic in every process."""

from __future__ import annotations

import numpy as np
import torch
from torch import nn

from compress.core.artifact import Artifact, Format
from compress.core.context import Context
from compress.distillation.answers import Answers
from compress.tasks.task import task
from compress.training.augmentation.augment import Augmenter
from compress.training.options import Augment

HIDDEN, CLASSES, VOCABULARY = 5, 7, 30


class Preprocessor:
    fingerprint = "inputs"


class Data:
    """Texts of random ids with padding on one side, or random images."""

    fingerprint = "data"

    def __init__(self, kind, *, size=23, left=False):
        random = np.random.default_rng(0)
        self.kind, self._size, self._left = kind, size, left
        lengths = random.integers(1, 9, size)
        self._texts = [random.integers(1, VOCABULARY, length) for length in lengths]
        self._images = torch.from_numpy(random.random((size, 1, 6, 6), dtype=np.float32))

    def size(self, split):
        return self._size

    def loader(self, split, preprocessor, *, batch_size, shuffle_seed=None, limit=None, **others):
        order = np.arange(self._size)
        if shuffle_seed is not None:
            np.random.default_rng(shuffle_seed).shuffle(order)
        order = order[:limit]
        starts = range(0, len(order), batch_size)
        return [self._batch(order[start : start + batch_size]) for start in starts]

    def _batch(self, ids):
        known = {"sample_ids": torch.from_numpy(ids.astype(np.int64))}
        known["labels"] = torch.zeros(len(ids), dtype=torch.int64)
        if self.kind == "image":
            return {"pixel_values": self._images[ids], **known}
        texts = [self._texts[at] for at in ids]
        longest = max(map(len, texts))
        tokens, mask = torch.zeros(2, len(ids), longest, dtype=torch.int64)
        for row, text in enumerate(texts):
            place = slice(longest - len(text), None) if self._left else slice(len(text))
            tokens[row, place], mask[row, place] = torch.from_numpy(text), 1
        return {"input_ids": tokens, "attention_mask": mask, **known}


class Teacher:
    """Answers of one sample depend on that sample alone; counts how often it was asked."""

    def __init__(self, *, per_token=False, scale=1.0):
        torch.manual_seed(0)
        self.module = nn.ModuleDict(
            {
                "words": nn.Embedding(VOCABULARY, HIDDEN),
                "pixels": nn.Linear(36, HIDDEN),
                "head": nn.Linear(HIDDEN, CLASSES),
            }
        )
        self.asked, self.per_token, self.scale = 0, per_token, scale

    def __call__(self, batch):
        self.asked += 1
        with torch.no_grad():
            if "pixel_values" in batch:
                pooled = hidden = self.module["pixels"](batch["pixel_values"].flatten(1))
            else:
                mask = batch["attention_mask"][..., None]
                hidden = self.module["words"](batch["input_ids"])
                pooled = (hidden * mask).sum(1) / mask.sum(1)
            logits = self.module["head"](hidden if self.per_token else pooled) * self.scale
        features = {"hidden": hidden, "pooled": pooled}
        if "pixel_values" in batch:
            features["map"] = batch["pixel_values"].repeat(1, 3, 1, 1)
        return Answers(logits, features)


def context_for(teacher, data, directory, *, shared=None, seed=0, progress=None):
    name = "image-classification" if data.kind == "image" else "text-classification"
    known = {} if progress is None else {"progress": progress}
    return Context(
        reference=Artifact(Format.TORCH, module=teacher.module),
        task=task(name),
        data=data,
        directory=directory,
        shared=shared,
        seed=seed,
        **known,
    )


def augmenter_for(data, **options):
    return Augmenter(
        Augment(**options), preprocessor=Preprocessor(), seed=0, size=data.size("train")
    )
