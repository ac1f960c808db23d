"""Pairs of queries and documents: each text is a sample, and what belongs together is known."""

import numpy as np
import pytest

from compress.core.batch import PAIRS
from compress.data.dataset import load_data
from compress.data.preprocess import load_preprocessor
from compress.data.spec import DataSpec
from compress.data.texts.pairs import pairs_of
from compress.data.unlabeled import with_unlabeled
from compress.errors import DataError
from compress.tasks.task import task

FEATURES = task("feature-extraction")
QUERIES = ["a b", "c", "a b", "b c a", "c c", "a"]
DOCUMENTS = ["c a", "b b b", "a", "b b b", "a c", "b"]


def write(path, **columns):
    import pyarrow as pa
    from pyarrow import parquet

    parquet.write_table(pa.table(columns), path)
    return path


@pytest.fixture
def spec(tmp_path):
    def make(**more):
        path = write(
            tmp_path / "pairs.parquet",
            query=QUERIES,
            document=DOCUMENTS,
            score=more.pop("scores", [float(number) for number in range(6)]),
        )
        files = {"train": path, "validation": path, "test": path}
        columns = {"text": "query", "text_pair": "document", **more.pop("columns", {})}
        return DataSpec(huggingface="parquet", files=files, columns=columns, **more)

    return make


def loaded(spec):
    return load_data(spec, task=FEATURES, labels=(), seed=0)


def preprocessor(folder, spec):
    return load_preprocessor(str(folder), task=FEATURES, spec=spec)


def test_each_text_is_a_sample_and_equal_texts_have_one_number(spec):
    data = loaded(spec())
    assert data.labelled
    assert data.size("test") == 12
    assert list(data.texts("test"))[:4] == ["a b", "c a", "c", "b b b"]
    assert data.raw("test", limit=2).values == ("a b", "c a")
    targets = data.splits["test"].targets
    assert targets[::2, 0].tolist() == [0, 1, 0, 3, 4, 5]
    assert targets[1::2, 1].tolist() == [0, 1, 2, 1, 4, 5]
    assert targets[:, 2].tolist() == [0, 1] * 6
    assert np.isnan(targets[:, 3]).all()


def test_scores_are_those_of_the_column_that_is_named(spec):
    targets = loaded(spec(columns={"label": "score"})).splits["test"].targets
    assert targets[:, 3].tolist() == [0, 0, 1, 1, 2, 2, 3, 3, 4, 4, 5, 5]
    with pytest.raises(DataError, match=r"row 2 of split 'train'.*at least 0\. Got -1"):
        loaded(spec(columns={"label": "score"}, scores=[0.0, 0, -1, 0, 0, 0]))


def test_a_limit_counts_pairs(spec):
    data = loaded(spec(limit={"test": 2}))
    assert list(data.texts("test")) == ["a b", "c a", "c", "b b b"]


def test_carved_splits_keep_pairs_whole(tmp_path):
    path = write(tmp_path / "train.parquet", text=list("abcdefghij"), other=list("ABCDEFGHIJ"))
    spec = DataSpec(huggingface="parquet", files={"train": path}, columns={"text_pair": "other"})
    data = loaded(spec)
    seen = []
    for split in ("train", "validation", "test"):
        texts = list(data.texts(split))
        assert [text.upper() for text in texts[::2]] == texts[1::2]
        seen += texts
    assert len(set(seen)) == 20


def test_a_batch_says_what_belongs_together_and_epochs_keep_pairs(tokenizer_folder, spec):
    given = spec()
    data, texts = loaded(given), preprocessor(tokenizer_folder, given)
    loader = data.loader("train", texts, batch_size=4, shuffle_seed=0, sample_ids=True)
    orders = []
    for _ in range(2):
        order = []
        for batch in loader:
            assert batch["input_ids"].ndim == 2
            pairs = batch[PAIRS].numpy()
            assert pairs[:, 2].tolist() == [0, 1] * (len(pairs) // 2)
            np.testing.assert_array_equal(pairs[::2, :2], pairs[1::2, :2])
            order += batch["sample_ids"].tolist()
        assert sorted(order) == list(range(12))
        orders.append(order)
    assert orders[0] != orders[1]


def test_the_pairs_can_be_had_again(spec):
    samples = loaded(spec()).splits["test"]
    again = pairs_of(samples).fetch(np.array([1, 3]))
    assert again == {"text": ["c", "b c a"], "text_pair": ["b b b", "b b b"]}


def test_an_empty_text_is_named_by_its_row(tokenizer_folder, tmp_path):
    path = write(tmp_path / "t.parquet", text=["a", "b", "c"], other=["a", " ", "c"])
    spec = DataSpec(
        huggingface="parquet",
        files=dict.fromkeys(("train", "validation", "test"), path),
        columns={"text_pair": "other"},
    )
    notes = loaded(spec).bound(preprocessor(tokenizer_folder, spec)).notes
    assert any(
        "1 of 3 samples have an empty text in 'other'; the first is row 1" in n for n in notes
    )


def test_unlabelled_texts_are_refused(spec, tmp_path):
    path = write(tmp_path / "more.parquet", text=["a"])
    more = DataSpec(huggingface="parquet", files={"train": path})
    with pytest.raises(DataError, match="can't be joined by unlabelled texts"):
        with_unlabeled(loaded(spec()), more, task=FEATURES, seed=0)
