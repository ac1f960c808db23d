"""Opens a teacher's cache in each of several processes; each says how often its teacher was asked.

Run with `torchrun … two_process_fill.py <folder>`.
"""

import sys
from pathlib import Path

import torch

from compress.distillation.cache.arrays import Kept
from compress.distillation.cache.open import open_cache
from compress.training.distributed.processes import end, join, leave
from tests.distillation.cache.models import Data, Preprocessor, Teacher, augmenter_for, context_for

data, teacher, folder = Data("text"), Teacher(), Path(sys.argv[1])
cached = open_cache(
    teacher,
    kept=Kept(logits=True),
    context=context_for(teacher, data, folder, shared=folder),
    preprocessor=Preprocessor(),
    augmenter=augmenter_for(data),
    batch_size=4,
    arithmetic={},
)
asked = teacher.asked
for batch in data.loader("train", None, batch_size=5):
    torch.testing.assert_close(cached(batch).logits, teacher(batch).logits)
index = join("cpu").index
(folder / f"said-{index}").write_text(f"{asked} {cached.notes[0].split(';')[-1]}")
leave()
end(0)
