"""Texts with classes, out of Python's standard library: sentences, imports, and other code."""

from collections import defaultdict

import numpy as np

from compress.data.sources.docstrings import docstrings_of, first_sentence
from compress.data.sources.library import library_files

LABELS = ("code", "import", "sentence")
_PER_FILE = 8
_LENGTHS = range(12, 120)


def load_lines() -> dict[str, list[dict[str, str]]]:
    """{split: [{"text", "label"}, …]}: what a line of a library's source is."""
    splits: dict[str, list[dict[str, str]]] = {"train": [], "validation": [], "test": []}
    for split, file in library_files():
        found = defaultdict(list)
        for line in file.read_text(encoding="utf-8", errors="replace").splitlines():
            stripped = line.strip()
            if stripped.startswith(("import ", "from ")) and " import" in f" {stripped}":
                found["import"].append(stripped)
            elif stripped.endswith((":", ")", "]")) and '"""' not in stripped:
                found["code"].append(stripped)
        found["sentence"] = [first_sentence(text) for text in docstrings_of(file)]
        for label in LABELS:
            texts = [text for text in dict.fromkeys(found[label]) if len(text) in _LENGTHS]
            splits[split] += [{"text": text, "label": label} for text in texts[:_PER_FILE]]
    return splits


def load_rankings() -> dict[str, list[dict[str, object]]]:
    """{split: [{"query", "documents", "label"}, …]}: which line is of the kind that is asked."""
    random = np.random.default_rng(0)
    found: dict[str, list[dict[str, object]]] = {}
    for split, rows in load_lines().items():
        by_label = {
            label: [row["text"] for row in rows if row["label"] == label] for label in LABELS
        }
        found[split] = []
        for _ in range(min(len(rows), 800)):
            asked, *others = random.permutation(LABELS).tolist()
            right, *wrong = (
                by_label[label][random.integers(len(by_label[label]))]
                for label in (asked, *others, *others)
            )
            places = random.permutation(1 + len(wrong)).tolist()
            documents = [[right, *wrong][place] for place in places]
            found[split].append({"query": asked, "documents": documents, "label": places.index(0)})
    return found
