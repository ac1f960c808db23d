"""Functions that fill a teacher's cache, to be called in processes of their own."""

import os
import signal
from pathlib import Path

import torch

from compress.distillation.cache import filling
from compress.distillation.cache.arrays import Kept
from compress.distillation.cache.open import open_cache
from compress.training.distributed.processes import end, join, leave
from tests.distillation.cache.models import Data, Preprocessor, Teacher, augmenter_for, context_for


def opened(teacher, data, folder, *, kept):
    return open_cache(
        teacher,
        kept=kept,
        context=context_for(teacher, data, folder, shared=folder),
        preprocessor=Preprocessor(),
        augmenter=augmenter_for(data),
        batch_size=4,
        arithmetic={},
    )


def killed(folder: Path, answers: int) -> None:
    """Fill it, and kill this process without warning after some answers."""

    class Killed(Teacher):
        def __call__(self, batch):
            if self.asked == answers:
                os.kill(os.getpid(), signal.SIGKILL)
            return super().__call__(batch)

    filling.COMMIT_BYTES = 0
    kept = Kept(logits=True, features=("hidden", "pooled"))
    opened(Killed(per_token=True), Data("text"), folder, kept=kept)


def one_of_several(folder: Path) -> None:
    """Open it in each of several processes; each says how often its teacher was asked."""
    data, teacher = Data("text"), Teacher()
    cached = opened(teacher, data, folder, kept=Kept(logits=True))
    asked = teacher.asked
    for batch in data.loader("train", None, batch_size=5):
        torch.testing.assert_close(cached(batch).logits, teacher(batch).logits)
    index = join("cpu").index
    (folder / f"said-{index}").write_text(f"{asked} {cached.notes[0].split(';')[-1]}")
    leave()
    end(0)
