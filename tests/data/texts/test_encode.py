import json
import shutil

import pytest
import torch

from compress.data.preprocess import load_preprocessor
from compress.data.spec import DataSpec
from compress.data.texts.encode import TextPreprocessor
from compress.errors import DataError
from compress.tasks.task import task

TEXTS = task("text-classification")


def load(folder, **keys):
    spec = DataSpec(huggingface="some/data", **keys)
    return load_preprocessor(None if folder is None else str(folder), task=TEXTS, spec=spec)


def test_a_batch_is_padded_to_its_longest(tokenizer_folder):
    preprocess = load(tokenizer_folder, max_length=6)
    batch = preprocess(["a b", "a b c d e f g h"])
    assert tuple(batch) == preprocess.input_names
    assert tuple(batch) == ("input_ids", "attention_mask", "token_type_ids")
    assert batch["input_ids"].shape == (2, 6)
    assert batch["input_ids"][0].tolist() == [2, 5, 6, 3, 0, 0]
    assert batch["attention_mask"].sum(1).tolist() == [4, 6]
    assert {tensor.dtype for tensor in batch.values()} == {torch.int64}
    assert preprocess(["a"])["input_ids"].shape == (1, 3)
    assert preprocess(["a"], fixed_length=True)["input_ids"].shape == (1, 6)


def test_pairs_get_token_types(tokenizer_folder):
    batch = load(tokenizer_folder)(["a"], ["b c"])
    assert batch["token_type_ids"].tolist() == [[0, 0, 0, 1, 1, 1]]


def test_padding_on_the_left(tokenizer_folder):
    preprocess = load(tokenizer_folder)
    preprocess.tokenizer.padding_side = "left"
    assert preprocess(["a", "b c"])["attention_mask"].tolist() == [[0, 1, 1, 1], [1, 1, 1, 1]]


def test_length_limits(tokenizer_folder):
    assert load(tokenizer_folder).max_length == 24
    with pytest.raises(DataError, match=r"'max_length' must be at most 24.* Got 25"):
        load(tokenizer_folder, max_length=25)


def test_the_fingerprint_is_of_settings_not_of_use(tokenizer_folder, tmp_path):
    one, other = load(tokenizer_folder), load(tokenizer_folder)
    other(["a b c"])
    assert TextPreprocessor(other.tokenizer).fingerprint == one.fingerprint
    assert load(tokenizer_folder, max_length=8).fingerprint != one.fingerprint

    other.save(tmp_path)
    constants = json.loads((tmp_path / "preprocessing.json").read_text())
    assert constants["max_length"] == 24
    assert constants["input_names"] == ["input_ids", "attention_mask", "token_type_ids"]
    assert json.loads((tmp_path / "tokenizer.json").read_text())["truncation"] is None
    again = load(tmp_path)
    assert again.fingerprint == one.fingerprint
    assert torch.equal(again(["j a"])["input_ids"], one(["j a"])["input_ids"])


def test_a_missing_tokenizer_is_one_sentence(tokenizer_folder, tmp_path):
    with pytest.raises(DataError, match=r"texts need a tokenizer.*data\.tokenizer"):
        load(None)
    assert load(None, tokenizer=str(tokenizer_folder)).max_length == 24
    with pytest.raises(DataError, match=r"the tokenizer of .* can't be loaded"):
        load(tmp_path)
    # transformers makes an empty tokenizer of such a folder.
    (tmp_path / "config.json").write_text(json.dumps({"model_type": "bert"}))
    with pytest.raises(DataError, match="holds no tokenizer"):
        load(tmp_path)
    shutil.copytree(tokenizer_folder, tmp_path, dirs_exist_ok=True)
    assert load(tmp_path).max_length == 24


def test_a_tokenizer_without_padding_is_refused(tokenizer_folder):
    tokenizer = load(tokenizer_folder).tokenizer
    tokenizer.pad_token = None
    with pytest.raises(DataError, match="no padding token"):
        TextPreprocessor(tokenizer)
