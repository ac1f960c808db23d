"""Labels that are sets of classes, or a class for each word; and data without labels."""

import numpy as np
import pytest
import torch

from compress.data.dataset import load_data
from compress.data.preprocess import load_preprocessor
from compress.data.spec import DataSpec
from compress.errors import DataError
from compress.tasks.task import task

SETS, WORDS = task("multi-label-text-classification"), task("token-classification")
TEXTS = task("text-classification")


def load(what, samples, labels=(), columns=None, monkeypatch=None):
    from tests.data import entries as data_sources

    monkeypatch.setattr(data_sources, "SAMPLES", samples)
    spec = DataSpec.model_validate(
        {"python": "tests.data.entries:load", "columns": columns or {}, "test_fraction": 0.2}
    )
    return load_data(spec, task=what, labels=labels, seed=0)


@pytest.fixture
def loaded(monkeypatch):
    def call(what, samples, labels=(), columns=None):
        return load(what, samples, labels, columns, monkeypatch)

    return call


def sets(*labels):
    return {"train": [{"text": f"a b {at}", "label": label} for at, label in enumerate(labels)]}


def in_order(data):
    """Targets of all samples, in the order of the source's rows."""
    splits = [data.splits[name] for name in ("train", "validation", "test")]
    rows = np.concatenate([samples.indices for samples in splits])
    targets = np.concatenate([samples.targets for samples in splits])
    return targets[np.argsort(rows)]


@pytest.mark.parametrize(
    "labels",
    [
        [["b"], ["a", "c"], [], ["c"], ["a"]],
        [[1], [0, 2], [], [2], [0]],
        [[0.0, 1.0, 0.0], [1.0, 0.0, 1.0], [0.0] * 3, [0.0, 0.0, 1.0], [1.0, 0.0, 0.0]],
        [np.array(row, bool) for row in ([0, 1, 0], [1, 0, 1], [0, 0, 0], [0, 0, 1], [1, 0, 0])],
    ],
    ids=["names", "numbers", "floats", "booleans"],
)
def test_sets_of_classes(loaded, labels):
    wanted = [[0, 1, 0], [1, 0, 1], [0, 0, 0], [0, 0, 1], [1, 0, 0]]
    data = loaded(SETS, sets(*labels), labels=("a", "b", "c"))
    assert in_order(data).tolist() == wanted
    found = loaded(SETS, sets(*labels))
    assert in_order(found).tolist() == wanted
    assert found.labels in (("a", "b", "c"), ("0", "1", "2"))


def test_the_binary_head(loaded):
    data = loaded(SETS, sets(0, 1, True, 1.0, False))
    assert data.labels == ("positive",)
    assert in_order(data).tolist() == [[0], [1], [1], [1], [0]]
    data = loaded(SETS, sets([0.0], [1.0], [], ["x"], [0]), labels=("x",))
    assert in_order(data).tolist() == [[0], [1], [0], [1], [1]]


@pytest.mark.parametrize(
    ("label", "match"),
    [
        ([0, 1, 0], "row 1 of split 'train': a class stands twice.*floats or booleans"),
        ([0.0, 1.0], "row 1 of split 'train'.*must be 3 times 0 or 1"),
        ([0.0, 0.5, 1.0], "must be 3 times 0 or 1"),
        (["d"], "row 1 of split 'train': the label must be one of the model's 3 labels"),
        ("a", "row 1 of split 'train': a label must be a list of classes. Got 'a'"),
        (None, "a label must be a list of classes. Got nothing"),
    ],
)
def test_sets_that_are_wrong_name_their_row(loaded, label, match):
    with pytest.raises(DataError, match=match):
        loaded(SETS, sets(["a"], label, ["b"], ["c"]), labels=("a", "b", "c"))


def words(*rows):
    return {"train": [{"tokens": list(tokens), "label": tags} for tokens, tags in rows]}


TAGGED = [("abab", "xyxy"), ("cd", [*"yx"]), ("e", ["x"]), ("ab", [*"yy"]), ("bad", [*"xyx"])]


def _preprocessor(folder, what, **keys):
    spec = DataSpec.model_validate(
        {"python": "tests.data.entries:load", "tokenizer": str(folder), "max_length": 6} | keys
    )
    return load_preprocessor(None, task=what, spec=spec)


@pytest.mark.parametrize("side", ["right", "left"])
def test_a_tag_stands_at_its_words_first_token(loaded, tokenizer_folder, side):
    # "ab" is two tokens of the tokenizer, "a" is one.
    rows = [(["ab", "c"], ["x", "y"]), (["a"], ["y"]), (["c"] * 9, ["x"] * 9), (["a"], ["x"])]
    data = loaded(WORDS, words(*rows), labels=("x", "y"))
    preprocessor = _preprocessor(tokenizer_folder, WORDS)
    preprocessor.tokenizer.padding_side = side
    found = {}
    for split in ("train", "validation", "test"):
        for batch in data.loader(split, preprocessor, batch_size=2, sample_ids=True):
            assert batch["labels"].shape == batch["input_ids"].shape
            assert (batch["labels"][batch["attention_mask"] == 0] == -100).all()
            for row, ids in zip(batch["labels"], batch["input_ids"], strict=True):
                tokens = preprocessor.tokenizer.convert_ids_to_tokens(ids.tolist())
                kept = [at for at, word in enumerate(tokens) if word != "[PAD]"]
                found[" ".join(tokens[at] for at in kept)] = row[kept].tolist()
    unknown = {key: value for key, value in found.items() if "[UNK]" in key}
    assert found["[CLS] a [SEP]"] in ([-100, 1, -100], [-100, 0, -100])
    assert found["[CLS] c c c c [SEP]"] == [-100, 0, 0, 0, 0, -100], "cut to six tokens"
    assert list(unknown.values()) == [[-100, 0, 1, -100]]


def test_sub_tokens_of_a_word_have_no_tag(loaded):
    from compress.data.spec import Vocabulary
    from compress.data.texts.encode import TextPreprocessor
    from compress.data.vocabulary.train import train_tokenizer

    rows = [(["xyz", "q"], ["A", "B"])] * 4
    data = loaded(WORDS, words(*rows), labels=("A", "B"))
    tokenizer = train_tokenizer(
        ["none"], Vocabulary(vocab_size=300), generates=False, max_length=16
    )
    batch = next(iter(data.loader("train", TextPreprocessor(tokenizer), batch_size=1)))
    # [CLS], the space and three letters of the first word, the space and the second, [SEP]
    assert batch["labels"][0].tolist() == [-100, 0, -100, -100, -100, 1, -100, -100]


@pytest.mark.parametrize(
    ("row", "match"),
    [
        ((["a", "b"], ["x"]), "row 1 of split 'train'.*one a word. Got 1 for 2 words"),
        ((["a"], "x"), "one a word. Got 'x'"),
        ((["a"], ["z"]), "row 1 of split 'train': the label must be one of the model's 2 labels"),
        (([], []), r"row 1 of split 'train': 'tokens' must be a list of words. Got \[\]"),
        (([1], ["x"]), "'tokens' must be a list of words"),
    ],
)
def test_tags_that_are_wrong_name_their_row(loaded, row, match):
    with pytest.raises(DataError, match=match):
        loaded(WORDS, words((["a"], ["x"]), row, (["b"], ["y"])), labels=("x", "y"))


def test_tags_without_a_class_and_found_names(loaded):
    data = loaded(WORDS, words((["a", "b"], [-100, 1]), (["c"], [0]), (["d"], [1]), (["e"], [0])))
    assert data.labels == ("0", "1")
    values = [row.tolist() for split in ("train", "validation", "test")
              for row in data.splits[split].targets.rows()]  # fmt: skip
    assert sorted(values) == [[-100, 1], [0], [0], [1]]


def test_tags_of_class_labels_in_a_saved_folder(tmp_path):
    import datasets

    features = datasets.Features(
        {
            "words": datasets.Sequence(datasets.Value("string")),
            "ner_tags": datasets.Sequence(datasets.ClassLabel(names=["O", "B-X"])),
        }
    )
    rows = {"words": [["a", "b"], ["c"]] * 4, "ner_tags": [[1, 0], [0]] * 4}
    data = datasets.Dataset.from_dict(rows, features=features)
    datasets.DatasetDict({"train": data, "test": data}).save_to_disk(tmp_path / "saved")
    spec = DataSpec.model_validate(
        {
            "huggingface": str(tmp_path / "saved"),
            "columns": {"tokens": "words", "label": "ner_tags"},
        }
    )
    loaded = load_data(spec, task=WORDS, labels=(), seed=0)
    assert loaded.labels == ("O", "B-X")
    assert [row.tolist() for row in loaded.splits["test"].targets.rows()][:2] == [[1, 0], [0]]
    turned = load_data(spec, task=WORDS, labels=("B-X", "O"), seed=0)
    assert [row.tolist() for row in turned.splits["test"].targets.rows()][:2] == [[0, 1], [1]]


def test_data_without_labels(loaded, tokenizer_folder):
    samples = {"train": [{"text": "a b"}] * 5}
    none = {"label": None}
    for what, wanted in ((TEXTS, -100), (SETS, -1)):
        data = loaded(what, samples, labels=("x", "y"), columns=none)
        assert not data.labelled
        assert "labels: the data has none." in data.notes
        preprocessor = _preprocessor(tokenizer_folder, what)
        batch = next(iter(data.loader("train", preprocessor, batch_size=2)))
        assert (batch["labels"] == wanted).all()
        assert batch["labels"].shape == ((2,) if what is TEXTS else (2, 2))
    tagged = loaded(WORDS, {"train": [{"tokens": ["a", "b"]}] * 5}, columns=none)
    preprocessor = _preprocessor(tokenizer_folder, WORDS)
    batch = next(iter(tagged.loader("train", preprocessor, batch_size=2)))
    assert batch["labels"].shape == batch["input_ids"].shape
    assert (batch["labels"] == -100).all()


def test_embeddings_have_no_labels_whatever_the_columns(loaded, tokenizer_folder):
    what = task("feature-extraction")
    data = loaded(what, {"train": [{"text": "a b"}] * 5})
    preprocessor = _preprocessor(tokenizer_folder, what)
    batch = next(iter(data.loader("train", preprocessor, batch_size=2, sample_ids=True)))
    assert "labels" not in batch
    assert batch["sample_ids"].dtype == torch.int64
    assert not data.labelled
