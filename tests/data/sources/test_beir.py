"""Folders as BEIR has them: what belongs together, and what is wrong in them."""

import json

import numpy as np
import pytest

from compress.core.batch import PAIRS
from compress.data.dataset import load_data
from compress.data.preprocess import load_preprocessor
from compress.data.spec import DataSpec
from compress.errors import DataError, InputError
from compress.measurement.baseline.corpus import has_corpus
from compress.measurement.metrics.registry import metric_named
from compress.measurement.metrics.retrieval import Pairs, searched
from compress.tasks.task import TASKS

FEATURES = TASKS["feature-extraction"]
CORPUS = {"d0": ("A", "b"), "d1": ("", "b b"), "d2": ("", "c a"), "d3": ("C", "c"), "d4": ("", "a")}
QUERIES = {"q0": "a b", "q1": "c", "q2": "b", "q3": "a"}
TEST = [("q0", "d0", 2), ("q0", "d1", 1), ("q1", "d1", 1), ("q1", "d0", 1), ("q1", "d3", 0)]
TRAIN = [("q2", "d4", 1), ("q2", "d2", 0), ("q3", "d2", -1)] * 4


def write(folder, **qrels):
    (folder / "qrels").mkdir(parents=True, exist_ok=True)
    corpus = [{"_id": key, "title": one, "text": two} for key, (one, two) in CORPUS.items()]
    queries = [{"_id": key, "text": text} for key, text in QUERIES.items()]
    for name, rows in (("corpus", corpus), ("queries", queries)):
        text = "".join(json.dumps(row) + "\n" for row in rows)
        (folder / f"{name}.jsonl").write_text(text, encoding="utf-8")
    for name, rows in qrels.items():
        lines = ["query-id\tcorpus-id\tscore", *("\t".join(map(str, row)) for row in rows)]
        (folder / "qrels" / f"{name}.tsv").write_text("\n".join(lines) + "\n", encoding="utf-8")
    return folder


def loaded(folder, task=FEATURES, **more):
    return load_data(DataSpec(beir=folder, **more), task=task, labels=(), seed=0)


def test_queries_of_test_search_the_whole_corpus_and_no_text_is_repeated_without_need(tmp_path):
    data = loaded(write(tmp_path, test=TEST, train=TRAIN))
    # The last relation has a query and a document that have come before.
    assert list(data.texts("test")) == [
        "a b", "A b", "b b", "c", "c", "c a", "C c", "a",
    ]  # fmt: skip
    pairs = Pairs()
    pairs.add(data.splits["test"].targets)
    relevance, corpus = searched(pairs)
    every = list(data.texts("test"))
    assert [every[place] for place in corpus] == ["A b", "b b", "c a", "C c", "a"]
    found = {
        (every[query], every[corpus[document]], gain)
        for query, document, gain in zip(*relevance, strict=True)
    }
    assert found == {("a b", "A b", 2), ("a b", "b b", 1), ("c", "b b", 1), ("c", "A b", 1)}
    assert len(relevance.gains) == 4
    assert data.labelled
    assert has_corpus(data, metric_named("ndcg_at_10", task=FEATURES))


def test_train_has_its_judged_pairs(tmp_path):
    data = loaded(write(tmp_path, test=TEST, train=TRAIN, dev=TRAIN[:3]))
    assert list(data.texts("validation")) == ["b", "a", "b", "c a", "a", "c a"]
    targets = data.splits["train"].targets
    assert len(targets) == 24
    assert targets[1::2, 3].tolist() == [1, 0, 0] * 4
    assert data.raw("train", limit=2).values == ("b", "a")


def test_without_judgements_to_train_on_all_else_is_text(tokenizer_folder, tmp_path):
    data = loaded(write(tmp_path, test=TEST))
    texts = {split: list(data.texts(split)) for split in ("train", "validation")}
    every = [*texts["train"], *texts["validation"]]
    assert len(every) == 7
    assert set(every) <= {"b", "a", "A b", "b b", "c a", "C c"}
    assert any("of which no judgements are known" in note for note in data.notes)
    given = DataSpec(beir=tmp_path)
    loader = data.loader(
        "train",
        load_preprocessor(str(tokenizer_folder), task=FEATURES, spec=given),
        batch_size=2,
        shuffle_seed=0,
    )
    rows = np.concatenate([batch[PAIRS].numpy() for batch in loader])
    assert ((rows[:, :2] == -1).sum(1) == 1).all()


def test_a_limit_keeps_pairs_and_leaves_out_other_documents(tmp_path):
    data = loaded(write(tmp_path, test=TEST, train=TRAIN), limit={"test": 6})
    assert list(data.texts("test")) == ["a b", "A b", "b b", "c", "c", "c a"]


def test_other_names_of_judgements(tmp_path):
    data = loaded(
        write(tmp_path, mine=TEST, train=TRAIN), splits={"train": "train", "test": "mine"}
    )
    assert len(data.splits["test"]) == 8
    with pytest.raises(DataError, match=r"has no test.tsv. Found: mine, train"):
        loaded(tmp_path)


def test_judgements_of_unknown_texts_are_noted(tmp_path):
    data = loaded(write(tmp_path, test=[*TEST, ("q9", "d0", 1), ("q0", "d9", 1)], train=TRAIN))
    assert any("test: 2 of 7 judgements name texts" in note for note in data.notes)
    with pytest.raises(DataError, match="no document is relevant"):
        loaded(write(tmp_path, test=[("q0", "d0", 0)], train=TRAIN))


def test_the_content_decides_the_fingerprint(tmp_path):
    one = loaded(write(tmp_path, test=TEST, train=TRAIN))
    again = loaded(write(tmp_path, test=TEST, train=TRAIN))
    other = loaded(write(tmp_path, test=TEST[:3], train=TRAIN))
    assert one.fingerprint == again.fingerprint != other.fingerprint
    assert one.identity("test") == again.identity("test") != other.identity("test")


@pytest.mark.parametrize(
    ("file", "text", "words"),
    [
        ("corpus.jsonl", "{", "line 1 of .*corpus.jsonl isn't JSON"),
        ("corpus.jsonl", "[1]", "must be an object"),
        ("corpus.jsonl", '{"_id": 3, "text": "a"}', "'_id' must be a text. Got 3"),
        ("corpus.jsonl", '{"_id": "d0", "text": "a"}\n' * 2, "has two records 'd0'"),
        ("corpus.jsonl", '{"_id": "d0", "text": 3}', "record 1 of .*: 'text' must be a text"),
        ("queries.jsonl", "", "is empty"),
        ("qrels/test.tsv", "q0\td0", "line 1 of .*test.tsv must be the ids"),
        ("qrels/test.tsv", "q0\td0\tnan", "line 1 of .*test.tsv must be the ids"),
        ("qrels/test.tsv", b"\xff\xfe", "can't read .*test.tsv"),
    ],
)
def test_a_damaged_file_is_named(file, text, words, tmp_path):
    folder = write(tmp_path, test=TEST)
    content = text if isinstance(text, bytes) else text.encode()
    (folder / file).write_bytes(content)
    with pytest.raises(DataError, match=words):
        list(loaded(folder).texts("test"))


def test_what_does_not_go_together_is_refused(tmp_path):
    [(key, problem)] = DataSpec(beir=tmp_path / "none").check()
    assert key == "beir"
    assert "there is no folder" in problem
    with pytest.raises(ValueError, match="'columns' is only for data but 'beir'"):
        DataSpec(beir=tmp_path, columns={"text": "a"})
    with pytest.raises(InputError, match="holds texts to be embedded"):
        loaded(write(tmp_path, test=TEST), task=TASKS["text-classification"])
