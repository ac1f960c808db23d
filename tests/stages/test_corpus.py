"""A whole run on a folder as BEIR has it: MRR over the corpus, in-batch negatives, BM25."""

import json

import compress
from compress.recipe.load import recipe_from_dict
from tests.tasks import texts


def folder(path):
    """Queries, their documents, and as many documents that are relevant to none."""
    rows = texts.rows_of("sought", 150)
    (path / "qrels").mkdir(parents=True)
    lines = {"queries": [], "corpus": [], "train": [], "test": []}
    for number, row in enumerate(rows):
        lines["corpus"].append({"_id": f"d{number}", "title": "", "text": row["document"]})
        if number < 100:
            lines["queries"].append({"_id": f"q{number}", "text": row["query"]})
            lines["test" if number < 20 else "train"].append(f"q{number}\td{number}\t1")
    for name in ("queries", "corpus"):
        content = "".join(json.dumps(line) + "\n" for line in lines[name])
        (path / f"{name}.jsonl").write_text(content, encoding="utf-8")
    for name in ("train", "test"):
        content = "\n".join(["query-id\tcorpus-id\tscore", *lines[name]])
        (path / "qrels" / f"{name}.tsv").write_text(content, encoding="utf-8")
    return path


def test_a_corpus_is_searched_and_learned_from(tmp_path):
    losses = {"response": None, "labels": None, "in_batch_negatives": {"temperature": 0.1}}
    training = {"epochs": 5, "batch_size": 32, "learning_rate": 1e-2}
    values = {
        "version": 1,
        "name": "corpus",
        "task": "feature-extraction",
        "model": {"config": texts.CONFIG},
        "data": {
            "beir": str(folder(tmp_path / "data")),
            "tokenizer": {"train": {"vocab_size": 400}},
            "max_length": 24,
        },
        "measure": {
            "batch_sizes": [1],
            "rounds": 5,
            "warmup": 1,
            "seconds": 0.01,
            "metric": "ndcg_at_10",
        },
        "stages": [{"use": "distill", "losses": losses, "training": training}, {"use": "export"}],
    }
    report = compress.run(recipe_from_dict(values), output=tmp_path / "run", threads=1)
    original, student, _ = report.stages
    assert original.quality.samples == 20
    assert student.quality.value > original.quality.value
    assert report.baseline.quality.samples == 20
    assert any("ranks all 150 documents" in note for note in report.baseline.notes)
    found = (tmp_path / "run" / "model.onnx").exists()
    assert found
