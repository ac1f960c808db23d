"""The inputs of a row's latency: the full length, and the median one of the test split."""

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from compress.data.dataset import load_data
from compress.data.preprocess import load_preprocessor
from compress.data.spec import DataSpec
from compress.runner.row.inputs import repeated, typical_inputs
from compress.tasks.task import task

KIND = task("text-classification")
WORDS = [3, 5, 5, 9, 2, 5, 12, 5, 4, 6]


@pytest.fixture(scope="module")
def lengths(tmp_path_factory: pytest.TempPathFactory) -> tuple[Any, Any]:
    """What is asked of an artifact and a context, for texts of 2 to 12 words."""
    folder = tmp_path_factory.mktemp("texts")
    for split in ("train", "validation", "test", "calibration"):
        lines = [f"{' '.join(['word'] * count)},{number % 2}" for number, count in enumerate(WORDS)]
        (folder / f"{split}.csv").write_text("\n".join(["text,label", *lines]))
    files = {split: str(folder / f"{split}.csv") for split in ("train", "validation", "test")}
    spec = DataSpec.model_validate(
        {
            "huggingface": "csv",
            "files": files,
            "max_length": 16,
            "tokenizer": {"train": {"vocab_size": 300}},
        }
    )
    data = load_data(spec, task=KIND, labels=("0", "1"), seed=0)
    preprocessor = load_preprocessor(None, task=KIND, spec=spec, texts=["word " * 20])
    artifact = SimpleNamespace(require_preprocessor=lambda: preprocessor)
    return artifact, SimpleNamespace(data=data)


def test_a_sample_of_the_median_length_is_not_padded(lengths: tuple[Any, Any]) -> None:
    artifact, context = lengths
    found = typical_inputs(artifact, context)
    assert found is not None
    sample, full = found
    tokens = sample["input_ids"].shape[1]
    assert sample["attention_mask"].sum() == tokens < full["input_ids"].shape[1] == 16
    every = sorted(
        int(batch["attention_mask"].sum())
        for batch in context.data.loader("test", artifact.require_preprocessor(), batch_size=1)
    )
    assert tokens == every[len(every) // 2]
    assert np.array_equal(full["input_ids"][:, :tokens], sample["input_ids"])


def test_a_batch_is_the_sample_repeated(lengths: tuple[Any, Any]) -> None:
    found = typical_inputs(*lengths)
    assert found is not None
    batch = repeated(found[0], 3)
    assert all(len(x) == 3 and (x == x[:1]).all() for x in batch.values())


def test_images_of_one_size_have_no_other(tmp_path: Path) -> None:
    spec = DataSpec(sklearn="digits")
    kind = task("image-classification")
    data = load_data(spec, task=kind, labels=(), seed=0)
    preprocessor = load_preprocessor(None, task=kind, spec=spec)
    artifact: Any = SimpleNamespace(require_preprocessor=lambda: preprocessor)
    context: Any = SimpleNamespace(data=data)
    assert typical_inputs(artifact, context) is None
