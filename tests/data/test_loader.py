from itertools import chain

import numpy as np
import pytest

from compress.data.dataset import load_data
from compress.data.images.transform import ImagePreprocessor
from compress.data.loader import BatchLoader
from compress.data.preprocess import load_preprocessor
from compress.data.rows import SequenceRows
from compress.data.spec import DataSpec
from compress.data.splits import Samples
from compress.data.texts.encode import TextPreprocessor
from compress.errors import DataError
from compress.tasks.task import task


@pytest.fixture(scope="module")
def digits():
    spec = DataSpec(sklearn="digits")
    return load_data(spec, task=task("image-classification"), labels=(), seed=0)


@pytest.fixture
def texts(tokenizer_folder):
    """A loader of texts of 1 to 20 words, labelled by their place."""
    spec = DataSpec(huggingface="some/data")
    preprocess = load_preprocessor(
        str(tokenizer_folder), task=task("text-classification"), spec=spec
    )
    lengths = np.random.default_rng(0).permutation(np.arange(330) % 20 + 1).tolist()
    rows = SequenceRows(
        "train", [{"text": " ".join("a" * length)} for length in lengths], {"text": "text"}, "label"
    )
    every = np.arange(len(rows), dtype=np.int64)

    def load(**options):
        return BatchLoader(Samples(rows, every, every), preprocess, batch_size=4, **options)

    return load


def flat(batches):
    return list(chain.from_iterable(batches))


def labels_of(loader):
    return [batch["labels"].tolist() for batch in loader]


def test_order_is_kept_without_a_seed(digits):
    loader = digits.loader("test", ImagePreprocessor(), batch_size=64, limit=100)
    batches = labels_of(loader)
    assert [len(batch) for batch in batches] == [64, 36]
    assert len(loader) == 2
    assert flat(batches) == digits.splits["test"].targets[:100].tolist()
    assert labels_of(loader) == batches


def test_each_epoch_has_its_own_repeatable_order(digits, texts):
    def images(**options):
        return digits.loader("validation", ImagePreprocessor(), batch_size=7, **options)

    for make in (images, texts):
        loader = make(shuffle_seed=3)
        first, second = labels_of(loader), labels_of(loader)
        again = make(shuffle_seed=3)
        assert (first, second) == (labels_of(again), labels_of(again))
        assert first != second
        assert first != labels_of(make(shuffle_seed=4))
        assert sorted(flat(first)) == sorted(flat(labels_of(make())))
        assert len(first) == len(loader)


def test_labels_belong_to_their_texts(texts):
    loader = texts(shuffle_seed=0)
    for batch in loader:
        words = batch["attention_mask"].sum(1) - 2
        for label, length in zip(batch["labels"].tolist(), words.tolist(), strict=True):
            assert len(loader.samples.rows.samples[label]["text"].split()) == length


def test_bucketing_saves_padding_and_keeps_the_rest_last(texts):
    def share_of_padding(loader):
        masks = [batch["attention_mask"] for batch in loader]
        return 1 - sum(int(mask.sum()) for mask in masks) / sum(mask.numel() for mask in masks)

    assert share_of_padding(texts(shuffle_seed=0)) < share_of_padding(texts()) / 4
    sizes = [len(batch) for batch in labels_of(texts(shuffle_seed=0))]
    assert sizes == [4] * 82 + [2]


def test_fixed_length(texts):
    assert {batch["input_ids"].shape[1] for batch in texts(fixed_length=True)} == {24}


def test_another_preprocessor_is_refused(digits):
    with pytest.raises(TypeError, match="must be a TextPreprocessor or an ImagePreprocessor"):
        digits.loader("test", object(), batch_size=2)


def test_rows_are_fetched_a_pool_at_a_time(texts, monkeypatch):
    fetched = []
    fetch = SequenceRows.fetch
    monkeypatch.setattr(
        SequenceRows, "fetch", lambda rows, at: fetched.append(len(at)) or fetch(rows, at)
    )
    next(iter(texts()))
    assert fetched == [4]
    fetched.clear()
    batches = iter(texts(shuffle_seed=0))
    next(batches)
    assert fetched == [200]
    list(batches)
    assert fetched == [200, 128, 2]


@pytest.mark.parametrize("split", ["train", "validation"])
def test_a_text_without_a_token_is_named(split):
    from tokenizers import Tokenizer, models, pre_tokenizers
    from transformers import PreTrainedTokenizerFast

    backend = Tokenizer(models.WordLevel({"[PAD]": 0, "[UNK]": 1, "a": 2}, "[UNK]"))
    backend.pre_tokenizer = pre_tokenizers.Whitespace()
    preprocess = TextPreprocessor(
        PreTrainedTokenizerFast(
            tokenizer_object=backend,
            model_max_length=8,
            **{"pad_token": "[PAD]", "unk_token": "[UNK]"},
        )
    )
    rows = SequenceRows(
        split, [{"t": text} for text in ("a", "a a", " ", "a")], {"text": "t"}, None
    )
    samples = Samples(rows, np.array([3, 2, 1]), np.zeros(3, np.int64))
    for size in (1, 3):
        with pytest.raises(DataError, match=rf"row 2 of split '{split}': .* no token of ' ', so"):
            list(BatchLoader(samples, preprocess, batch_size=size))
    whole = Samples(rows, np.array([3, 1]), np.zeros(2, np.int64))
    assert len(list(BatchLoader(whole, preprocess, batch_size=1))) == 2


def test_half_a_surrogate_pair_is_named():
    rows = SequenceRows("test", [{"t": "a"}, {"t": "b\ud800"}], {"text": "t"}, None)
    with pytest.raises(DataError, match=r"row 1 of split 'test': .* half a surrogate pair at char"):
        rows.fetch(np.array([0, 1]))
