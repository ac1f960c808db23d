"""Texts become one stream of tokens, of which nothing is lost."""

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from compress.data.dataset import load_data
from compress.data.preprocess import load_preprocessor
from compress.data.rows import SequenceRows
from compress.data.spec import DataSpec, Vocabulary
from compress.data.splits import Samples
from compress.data.texts.blocks import cut_blocks
from compress.data.texts.encode import TextPreprocessor
from compress.data.vocabulary.train import END, train_tokenizer
from compress.errors import DataError
from compress.tasks.task import task

TASK = task("text-generation")
TEXTS = [f"text {at} of some {'more ' * (at % 7)}words" for at in range(40)]


@pytest.fixture(scope="module")
def tokenizer():
    return train_tokenizer(TEXTS, Vocabulary(vocab_size=320), generates=True, max_length=16)


def preprocessor_of(tokenizer, length=16):
    tokenizer.pad_token = tokenizer.eos_token
    return TextPreprocessor(tokenizer, length)


def samples_of(texts):
    rows = SequenceRows("train", [{"text": text} for text in texts], {"text": "text"}, None)
    order = np.arange(len(texts), dtype=np.int64)
    return Samples(rows, order, np.full(len(texts), -100))


@pytest.fixture
def spec(monkeypatch):
    from tests.data import entries as data_sources

    monkeypatch.setattr(data_sources, "SAMPLES", {"train": [{"text": text} for text in TEXTS]})
    return DataSpec.model_validate(
        {
            "python": "tests.data.entries:load",
            "tokenizer": {"train": {"vocab_size": 320}},
            "max_length": 16,
        }
    )


@given(texts=st.lists(st.text(max_size=30), min_size=1, max_size=20), length=st.integers(2, 16))
@settings(max_examples=30, deadline=None)
def test_nothing_is_lost(tokenizer, texts, length):
    preprocessor = preprocessor_of(tokenizer, length)
    blocks = cut_blocks(samples_of(texts), preprocessor)
    rows = blocks.fetch(np.arange(len(blocks), dtype=np.int64))["input_ids"]
    stream = [token for row in rows for token in row]
    assert all(len(row) == length for row in rows[:-1])
    assert 1 <= len(rows[-1]) <= length
    assert tokenizer.decode(stream) == "".join(text + END for text in texts)


def test_batches_of_blocks(spec):
    data = load_data(spec, task=TASK, labels=(), seed=0)
    with pytest.raises(TypeError, match="depends on a preprocessor"):
        data.size("train")
    preprocessor = load_preprocessor(None, task=TASK, spec=spec, texts=data.texts("train"))
    size = len(preprocessor.tokenizer)
    said = f"trained on the train split, {size} tokens (of 320 asked for; the texts give no more)"
    assert preprocessor.notes[0] == f"tokenizer: {said}."
    assert "pads the last block" in preprocessor.notes[1]
    bound = data.bound(preprocessor)
    assert bound.fingerprint != data.fingerprint
    size = bound.size("train")
    batches = list(bound.loader("train", preprocessor, batch_size=4, sample_ids=True))
    ids = torch.cat([batch["sample_ids"] for batch in batches])
    assert ids.tolist() == list(range(size))
    assert len(batches) == -(-size // 4)
    last = batches[-1]
    assert last["attention_mask"][-1].sum() < last["attention_mask"].shape[1], "it is padded"
    for batch in batches:
        counted = batch["attention_mask"] == 1
        assert torch.equal(batch["labels"][counted], batch["input_ids"][counted])
        assert (batch["labels"][~counted] == -100).all()
    ends = sum(
        int((batch["labels"] == preprocessor.tokenizer.eos_token_id).sum()) for batch in batches
    )
    assert ends == len(data.splits["train"]), "a text's own end counts, padding doesn't"
    limited = bound.loader("train", preprocessor, batch_size=4, limit=3)
    assert sum(len(batch["input_ids"]) for batch in limited) == 3
    fixed = next(iter(bound.loader("test", preprocessor, batch_size=1, fixed_length=True)))
    assert fixed["input_ids"].shape == (1, 16)


def test_shuffled_blocks_are_all_of_them(spec):
    data = load_data(spec, task=TASK, labels=(), seed=0)
    preprocessor = load_preprocessor(None, task=TASK, spec=spec, texts=data.texts("train"))
    loader = data.bound(preprocessor).loader(
        "train", preprocessor, batch_size=4, shuffle_seed=1, sample_ids=True
    )
    first, second = ([i for b in loader for i in b["sample_ids"].tolist()] for _ in range(2))
    assert first != second
    assert sorted(first) == sorted(second) == list(range(len(first)))


def test_the_same_texts_train_the_same_tokenizer():
    first, again, other = (
        preprocessor_of(
            train_tokenizer(texts, Vocabulary(vocab_size=320), generates=True, max_length=16)
        ).fingerprint
        for texts in (TEXTS, TEXTS, TEXTS[:10])
    )
    assert first == again != other


def test_a_trained_tokenizer_is_loaded_from_where_it_was_saved(spec, tmp_path):
    trained = load_preprocessor(None, task=TASK, spec=spec, texts=TEXTS)
    trained.save(tmp_path)
    loaded = load_preprocessor(str(tmp_path), task=TASK, spec=spec)
    assert loaded.fingerprint == trained.fingerprint
    with pytest.raises(DataError, match="let one be trained"):
        load_preprocessor(None, task=TASK, spec=spec)


def test_a_tokenizer_of_other_tasks_frames_texts():
    tokenizer = train_tokenizer(TEXTS, Vocabulary(vocab_size=320), generates=False, max_length=16)
    tokens = tokenizer.convert_ids_to_tokens(tokenizer("text", "words")["input_ids"])
    assert tokens[0] == "[CLS]"
    assert tokens.count("[SEP]") == 2
    assert tokenizer.pad_token_id == 0
    assert tokenizer.mask_token_id == 3


def test_documents_need_an_end(tokenizer_folder):
    spec = DataSpec.model_validate({"sklearn": "digits", "tokenizer": str(tokenizer_folder)})
    preprocessor = load_preprocessor(None, task=TASK, spec=spec)
    with pytest.raises(DataError, match="no end-of-text token"):
        cut_blocks(samples_of(["a"]), preprocessor)
