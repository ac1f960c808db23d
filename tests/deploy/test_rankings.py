"""A reranker's scores and its order, in each runtime that takes a query and documents."""

import json

import pytest

from tests.deploy.lines import load_rankings
from tests.deploy.places import node, printed, python_of, run_program, run_script
from tests.deploy.test_browser import used

QUERIES = 20
CLOSE = {"fp32": 1e-3, "int8": 0.15}
"""Largest difference of a score, of about -6 to 6. Products of 8 bits differ between runtimes."""


def asked():
    """[(query, documents)] that no model was trained on; documents that differ, of one line."""
    rows = load_rankings()["test"][-2 * QUERIES :]
    some = [(row["query"], row["documents"]) for row in rows]
    found = [one for one in some if len(set(one[1])) == len(one[1])][:QUERIES]
    assert len(found) == QUERIES
    return found


def ours(folder, tmp_path):
    """[[(document, score), …], …] by infer.py, the best first."""
    rows = tmp_path / "rows.jsonl"
    lines = [json.dumps({"query": query, "documents": given}) for query, given in asked()]
    rows.write_text("\n".join(lines), encoding="utf-8")
    program = [python_of("plain"), "-I", folder / "infer.py", "--jsonl", rows]
    said = map(json.loads, run_program(program, folder=tmp_path).splitlines())
    return [[(one["text"], one["score"]) for one in ranking] for ranking in said]


def require_same(folder, found, wanted):
    """The same scores, and the same order as far as scores are apart."""
    close = CLOSE["int8" if "int8" in folder.name else "fp32"]
    assert len(found) == len(wanted) == QUERIES
    for one, other in zip(found, wanted, strict=True):
        assert dict(one) == pytest.approx(dict(other), abs=close)
        scores = [score for _, score in one]
        assert scores == sorted(scores, reverse=True)
    firsts = [one[0][0] == other[0][0] for one, other in zip(found, wanted, strict=True)]
    assert sum(firsts) >= 0.95 * QUERIES
    assert len({round(score, 2) for ranking in wanted for _, score in ranking}) > QUERIES


def test_node(rankings_bundle, tmp_path):
    found = []
    for query, documents in asked():
        program = [node(), rankings_bundle / "infer.mjs", query, *documents]
        text = run_program(program, folder=tmp_path)
        assert text.splitlines()[0] == query
        (answer,) = printed(text)
        found.append(list(answer.items()))
    require_same(rankings_bundle, found, ours(rankings_bundle, tmp_path))


def test_a_query_alone_is_refused(rankings_bundle, tmp_path):
    with pytest.raises(AssertionError, match="Give a query and a document, or more"):
        run_program([node(), rankings_bundle / "infer.mjs", "code"], folder=tmp_path)


def test_browser(rankings_bundle, tmp_path):
    wanted = ours(rankings_bundle, tmp_path)
    found = []
    for query, documents in asked()[:2]:
        ((name, rows),) = (
            (one["name"], one["rows"])
            for one in used(rankings_bundle, [query, *documents], tmp_path)
        )
        assert name == query
        found.append([(text, score) for text, score in rows])
    close = CLOSE["int8" if "int8" in rankings_bundle.name else "fp32"]
    for one, other in zip(found, wanted, strict=False):
        assert dict(one) == pytest.approx(dict(other), abs=close)
        assert [text for text, _ in one] == [text for text, _ in other]


def test_transformers_js(rankings_bundle, tmp_path):
    loading = {"dtype": "q8" if "int8" in rankings_bundle.name else "fp32"}
    given = {
        "models": str(rankings_bundle.parent),
        "name": rankings_bundle.name,
        "asked": asked(),
        "loading": loading,
    }
    found = run_script(node(), "node/rankings.mjs", given, tmp_path)
    require_same(rankings_bundle, found, ours(rankings_bundle, tmp_path))


def test_cross_encoder_of_sentence_transformers(rankings_bundle, tmp_path):
    length = json.loads((rankings_bundle / "preprocessing.json").read_text())["max_length"]
    given = {"folder": str(rankings_bundle), "asked": asked(), "length": length}
    found = run_script(python_of("optimum"), "in_cross_encoder.py", given, tmp_path)
    require_same(rankings_bundle, found, ours(rankings_bundle, tmp_path))
