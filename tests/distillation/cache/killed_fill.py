"""Fills a teacher's cache, and kills itself without warning after some answers.

Run as `python killed_fill.py <folder> <answers>`.
"""

import os
import signal
import sys
from pathlib import Path

from compress.distillation.cache import filling
from compress.distillation.cache.arrays import Kept
from compress.distillation.cache.open import open_cache
from tests.distillation.cache.models import Data, Preprocessor, Teacher, augmenter_for, context_for


class Killed(Teacher):
    def __call__(self, batch):
        if self.asked == int(sys.argv[2]):
            os.kill(os.getpid(), signal.SIGKILL)
        return super().__call__(batch)


filling.COMMIT_BYTES = 0
data, teacher, folder = Data("text"), Killed(per_token=True), Path(sys.argv[1])
open_cache(
    teacher,
    kept=Kept(logits=True, features=("hidden", "pooled")),
    context=context_for(teacher, data, folder, shared=folder),
    preprocessor=Preprocessor(),
    augmenter=augmenter_for(data),
    batch_size=4,
    arithmetic={},
)
