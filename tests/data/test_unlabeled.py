import numpy as np
import pytest

from compress.data.dataset import load_data
from compress.data.preprocess import load_preprocessor
from compress.data.spec import DataSpec
from compress.data.unlabeled import with_unlabeled
from compress.errors import DataError
from compress.tasks.task import task

TEXTS, WORDS = task("text-classification"), task("token-classification")


@pytest.fixture
def sources(monkeypatch):
    from tests.data import entries as data_sources

    def fill(samples, other):
        monkeypatch.setattr(data_sources, "SAMPLES", {"train": samples, "test": samples[:2]})
        monkeypatch.setattr(data_sources, "OTHER", {"train": other})
        return tuple(
            DataSpec.model_validate({"python": f"tests.data.entries:{name}"})
            for name in ("load", "load_other")
        )

    return fill


def labelled(count):
    return [{"text": f"a {at}", "label": "xy"[at % 2]} for at in range(count)]


def test_unlabelled_samples_follow_the_labelled(sources, tokenizer_folder):
    spec, other = sources(labelled(10), [{"text": f"b {at}"} for at in range(6)])
    data = load_data(spec, task=TEXTS, labels=("x", "y"), seed=0)
    more = with_unlabeled(data, other, task=TEXTS, seed=0)
    before = data.size("train")
    assert more.size("train") == before + 6
    assert {split: more.size(split) for split in ("validation", "test", "calibration")} == {
        split: data.size(split) for split in ("validation", "test", "calibration")
    }
    targets = more.splits["train"].targets
    np.testing.assert_array_equal(targets[:before], data.splits["train"].targets)
    assert (targets[before:] == -100).all()
    order = np.arange(before + 6)[::-1].astype(np.int64)
    texts = more.splits["train"].fetch(order)["text"]
    assert texts[:6] == [f"b {at}" for at in range(5, -1, -1)]
    assert sorted(texts[6:]) == sorted(data.splits["train"].fetch(np.arange(before))["text"])
    mixed = np.array([before, 0, before + 1, 1])
    assert [text[0] for text in more.splits["train"].fetch(mixed)["text"]] == [*"baba"]
    assert more.fingerprint != data.fingerprint
    assert more.labelled
    assert more.notes[-1].startswith("train: 6 samples without labels")


def test_the_fingerprint_covers_the_other_source(sources):
    prints = set()
    for text in ("b", "c"):
        spec, other = sources(labelled(10), [{"text": text}] * 3)
        data = load_data(spec, task=TEXTS, labels=("x", "y"), seed=0)
        for limit in ({}, {"train": 2}):
            limited = other.model_copy(update={"limit": limit})
            prints.add(with_unlabeled(data, limited, task=TEXTS, seed=0).fingerprint)
    assert len(prints) == 4


def test_unlabelled_words(sources, tokenizer_folder):
    tagged = [{"tokens": ["a", "b"], "label": ["x", "y"]}] * 6
    spec, other = sources(tagged, [{"tokens": ["c"]}] * 2)
    data = load_data(spec, task=WORDS, labels=("x", "y"), seed=0)
    more = with_unlabeled(data, other, task=WORDS, seed=0)
    keys = spec.model_copy(update={"tokenizer": str(tokenizer_folder)})
    preprocessor = load_preprocessor(None, task=WORDS, spec=keys)
    batch = next(iter(more.loader("train", preprocessor, batch_size=20)))
    assert (batch["labels"][-2:] == -100).all()
    assert (batch["labels"][:-2, 1:3] >= 0).all()


def test_more_text_makes_more_blocks(sources):
    generation = task("text-generation")
    spec, other = sources([{"text": "some words"}] * 10, [{"text": "others " * 9}] * 4)
    keys = spec.model_copy(update={"max_length": 8})
    keys = DataSpec.model_validate(
        keys.model_dump() | {"tokenizer": {"train": {"vocab_size": 300}}}
    )
    data = load_data(keys, task=generation, labels=(), seed=0)
    preprocessor = load_preprocessor(None, task=generation, spec=keys, texts=data.texts("train"))
    data = data.bound(preprocessor)
    more = with_unlabeled(data, other, task=generation, seed=0)
    assert more.size("train") > data.size("train")
    assert more.size("validation") == data.size("validation")


def test_what_the_other_source_may_lack(sources):
    spec, other = sources(labelled(8), [])
    data = load_data(spec, task=TEXTS, labels=("x", "y"), seed=0)
    with pytest.raises(DataError, match="no samples in a split 'train'"):
        with_unlabeled(data, other, task=TEXTS, seed=0)
    spec, other = sources(labelled(8), [{"text": "a", "more": "b"}])
    pairs = DataSpec.model_validate(
        {"python": "tests.data.entries:load_other", "columns": {"text_pair": "more"}}
    )
    with pytest.raises(DataError, match=r"must give text, as .* Got text, text_pair"):
        with_unlabeled(data, pairs, task=TEXTS, seed=0)
