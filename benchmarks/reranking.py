"""Makes data for rerankers of a table of texts, and says what needs no model.

    python benchmarks/reranking.py DATA FOLDER [--train 4000] [--validation 500] [--test 1000]
        [--train-negatives 9] [--bundle RUN]

DATA holds train, validation and test.parquet with a column `text`. A query is a text up to its
first ". ", and its document the rest. Each query gets its document and the nine others of the train
split that BM25 finds best for it, in an order drawn by a seed. FOLDER gets the splits as parquet
with the columns query, documents and label, which recipes/reranking.yaml reads. Prints NDCG@10 and
MRR@10 of BM25 and of TF-IDF on the test split.

With --bundle it says what the model of a run's folder makes of the test split, and of the same with
each query replaced by the next one. The negatives are train documents, which the model may have
seen, and the right document isn't: were documents alone told apart, the latter would be above the
figure of an order by chance.

With fewer --train-negatives a train query keeps so many of its nine, drawn by the seed: a training
of one length then sees more queries. Validation and test keep all nine.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from scipy.sparse import csr_matrix
from sklearn.feature_extraction.text import TfidfVectorizer

from compress.measurement.baseline.bm25 import BM25
from compress.tasks.ranking_metrics import ndcg, placed, reciprocal_rank

NEGATIVES = 9
BLOCK = 200


def pairs_of(path: Path, count: int) -> list[tuple[str, str]]:
    """The first queries of a split with their documents; texts without a second part are left
    out."""
    parts = (text.partition(". ") for text in pd.read_parquet(path)["text"])
    found = [(query.strip(), rest.strip()) for query, _, rest in parts]
    return [pair for pair in found if all(pair)][:count]


def with_negatives(
    pairs: Sequence[tuple[str, str]],
    documents: Sequence[str],
    bm25: BM25,
    weights: csr_matrix,
    *,
    seed: int,
) -> pd.DataFrame:
    """A row for each query: its documents, and the place of the right one among them."""
    columns = weights.T.tocsr()
    random = np.random.default_rng(seed)
    rows = []
    for start in range(0, len(pairs), BLOCK):
        some = pairs[start : start + BLOCK]
        scores = (bm25.queries([query for query, _ in some]) @ columns).toarray()
        best = np.argsort(-scores, axis=1, kind="stable")
        for (query, right), order in zip(some, best[:, : 4 * NEGATIVES], strict=True):
            others = list(dict.fromkeys(documents[at] for at in order if documents[at] != right))
            given = [right, *others[:NEGATIVES]]
            places = random.permutation(len(given))
            rows.append(
                {
                    "query": query,
                    "documents": [given[at] for at in places],
                    "label": int(np.flatnonzero(places == 0)[0]),
                }
            )
    return pd.DataFrame(rows)


def with_fewer(table: pd.DataFrame, count: int, *, seed: int) -> pd.DataFrame:
    """The same queries with their document and `count` of the others, in the order that they
    have."""
    random = np.random.default_rng(seed)
    rows = []
    for query, given, label in table.itertuples(index=False):
        others = [at for at in range(len(given)) if at != label]
        drawn = random.choice(others, min(count, len(others)), replace=False)
        kept = sorted([label, *map(int, drawn)])
        documents = [given[at] for at in kept]
        rows.append({"query": query, "documents": documents, "label": kept.index(label)})
    return pd.DataFrame(rows)


def without_a_model(table: pd.DataFrame, documents: Sequence[str], bm25: BM25) -> dict[str, Any]:
    """NDCG@10 and MRR@10 of BM25 and TF-IDF; both know the words of the train documents."""
    vectors = TfidfVectorizer(sublinear_tf=True).fit(documents)
    found: dict[str, list[tuple[float, float]]] = {"BM25": [], "TF-IDF": []}
    for query, given, label in table.itertuples(index=False):
        gains = np.eye(len(given))[label]
        similar = (vectors.transform([query]) @ vectors.transform(given).T).toarray()[0]
        matching = (bm25.queries([query]) @ bm25.documents(given).T).toarray()[0]
        for name, scores in (("BM25", matching), ("TF-IDF", similar)):
            at = placed(scores, gains)
            found[name].append((ndcg(at, most=10), reciprocal_rank(at, most=10)))
    return {name: np.mean(values, axis=0) for name, values in found.items()}


def of_a_bundle(table: pd.DataFrame, bundle: Path, folder: Path) -> float:
    """NDCG@10 of a bundle's own script; its input is kept in the folder."""
    rows = folder / "asked.jsonl"
    table.drop(columns="label").to_json(rows, orient="records", lines=True)
    command = [sys.executable, str(bundle / "infer.py"), "--jsonl", str(rows)]
    said = subprocess.run(command, check=True, capture_output=True, text=True).stdout
    found = []
    for label, line in zip(table["label"], said.splitlines(), strict=True):
        ranking = json.loads(line)
        gains = np.array([float(one["document"] == label) for one in ranking])
        scores = np.array([one["score"] for one in ranking])
        found.append(ndcg(placed(scores, gains), most=10))
    return float(np.mean(found))


def main() -> None:
    """Write the splits; print a table of what needs no model."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("data", type=Path)
    parser.add_argument("folder", type=Path)
    for split, count in (("train", 4000), ("validation", 500), ("test", 1000)):
        parser.add_argument(f"--{split}", type=int, default=count)
    parser.add_argument("--train-negatives", type=int, default=NEGATIVES)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--bundle", type=Path)
    given = parser.parse_args()
    everything = pairs_of(given.data / "train.parquet", 10**9)
    documents = list(dict.fromkeys(document for _, document in everything))
    bm25 = BM25()
    weights = bm25.fit(documents)
    given.folder.mkdir(parents=True, exist_ok=True)
    for split in ("train", "validation", "test"):
        pairs = pairs_of(given.data / f"{split}.parquet", getattr(given, split))
        table = with_negatives(pairs, documents, bm25, weights, seed=given.seed)
        count = given.train_negatives if split == "train" else NEGATIVES
        if count < NEGATIVES:
            table = with_fewer(table, count, seed=given.seed)
        table.to_parquet(given.folder / f"{split}.parquet")
        print(f"{split}: {len(table)} queries of {1 + count} documents")
    print("| without a model | NDCG@10 | MRR@10 |\n|---|---|---|")
    for name, (gain, rank) in without_a_model(table, documents, bm25).items():
        print(f"| {name} | {gain:.4f} | {rank:.4f} |")
    if given.bundle is not None:
        others = table.assign(query=np.roll(table["query"], -1))
        chance = np.mean([ndcg(placed(np.zeros(10), gains), most=10) for gains in np.eye(10)])
        print(f"the bundle: {of_a_bundle(table, given.bundle, given.folder):.4f}")
        print(f"with other queries: {of_a_bundle(others, given.bundle, given.folder):.4f}")
        print(f"an order by chance: {chance:.4f}")


if __name__ == "__main__":
    main()
