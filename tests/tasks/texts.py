"""Small data sets of texts, made from a seed, and a model of one layer for them."""

from pathlib import Path
from typing import Any

import numpy as np

from tests.tasks.test_tensors import MEASURE

COLOURS = ("red", "blue", "green", "white")
THINGS = ("house", "tree", "boat", "bird", "stone", "lamp")
PLACES = ("hill", "lake", "road", "shore", "field", "wood")

CONFIG: dict[str, Any] = {
    "model_type": "bert",
    "vocab_size": 400,
    "hidden_size": 32,
    "num_hidden_layers": 1,
    "num_attention_heads": 4,
    "intermediate_size": 48,
    "max_position_embeddings": 48,
    "hidden_dropout_prob": 0.0,
    "attention_probs_dropout_prob": 0.0,
}


def rows_of(kind: str, count: int, seed: int = 0) -> list[dict[str, Any]]:
    """Samples of a kind of data, one after another."""
    random = np.random.default_rng(seed)
    return [_ROWS[kind](random) for _ in range(count)]


def write_splits(folder: Path, kind: str, count: int = 240) -> dict[str, Any]:
    """Write the splits of a kind of data as files; return the recipe's `data`."""
    import json

    folder.mkdir(exist_ok=True, parents=True)
    rows = rows_of(kind, count)
    parts = {"train": rows[: -count // 3], "test": rows[-count // 3 :]}
    files = {}
    for split, some in parts.items():
        path = folder / f"{split}.jsonl"
        path.write_text("".join(json.dumps(row) + "\n" for row in some), encoding="utf-8")
        files[split] = str(path)
    return {
        "huggingface": "json",
        "files": files,
        "tokenizer": {"train": {"vocab_size": 400}},
        "max_length": 40,
        "calibration_samples": 32,
    }


def recipe(folder: Path, kind: str, **keys: Any) -> dict[str, Any]:
    """A recipe on a kind of data; `keys` are added to it, those of `data` to its data."""
    data = {**write_splits(folder, kind), **keys.pop("data", {})}
    return {
        "version": 1,
        "name": "small",
        "measure": MEASURE,
        "model": {"config": CONFIG},
        "data": data,
        **keys,
    }


def _words(random: np.random.Generator, of: tuple[str, ...], count: int) -> list[str]:
    return [of[at] for at in random.integers(0, len(of), count)]


def _scored(random: np.random.Generator) -> dict[str, Any]:
    words = _words(random, COLOURS, int(random.integers(2, 9)))
    return {"text": " ".join(words), "label": words.count("red") - words.count("blue")}


def _pair(random: np.random.Generator) -> dict[str, Any]:
    one, two = _words(random, COLOURS, 3), _words(random, COLOURS, 3)
    same = len(set(one) & set(two)) / len(set(one) | set(two))
    return {"one": " ".join(one), "two": " ".join(two), "score": [same, len(set(one))]}


def _question(random: np.random.Generator) -> dict[str, Any]:
    words = _words(random, THINGS, int(random.integers(3, 7)))
    asked = {"colour": _words(random, COLOURS, 1)[0], "place": _words(random, PLACES, 1)[0]}
    for word in asked.values():
        words.insert(int(random.integers(0, len(words) + 1)), word)
    kind = ("colour", "place")[int(random.integers(2))]
    context = " ".join(words)
    return {
        "question": f"what {kind}",
        "context": context,
        "answers": {"text": [asked[kind]], "answer_start": [context.index(asked[kind])]},
    }


def _unsure(random: np.random.Generator) -> dict[str, Any]:
    """A question as above; every second context lacks what is asked for."""
    row = _question(random)
    if random.random() < 0.5:
        return row
    right = row["answers"]["text"][0]
    words = [word for word in row["context"].split() if word != right]
    return {**row, "context": " ".join(words), "answers": {"text": [], "answer_start": []}}


def _choice(random: np.random.Generator) -> dict[str, Any]:
    choices = _words(random, (*THINGS, *PLACES), int(random.integers(1, 4)))
    right = int(random.integers(0, len(choices) + 1))
    choices.insert(right, _words(random, COLOURS, 1)[0])
    return {
        "question": " ".join(_words(random, THINGS, 2)),
        "choices": choices,
        "label": right,
    }


def _ranking(random: np.random.Generator) -> dict[str, Any]:
    """A colour is relevant, a place somewhat, and a thing not at all."""
    of = (THINGS, PLACES, COLOURS)
    gains = [*(int(gain) for gain in random.integers(0, 3, random.integers(1, 5))), 2]
    random.shuffle(gains)
    documents = [
        " ".join((*_words(random, of[gain], 1), *_words(random, THINGS, 1))) for gain in gains
    ]
    return {"query": " ".join(_words(random, THINGS, 2)), "documents": documents, "label": gains}


def _sought(random: np.random.Generator) -> dict[str, Any]:
    """A query names a colour and a thing; its document has both among other words."""
    colour, thing = _words(random, COLOURS, 1)[0], _words(random, THINGS, 1)[0]
    document = [colour, *_words(random, PLACES, 3), f"{thing}s", *_words(random, PLACES, 1)]
    score = float(random.integers(0, 4))
    return {"query": f"{colour} {thing}", "document": " ".join(document), "score": score}


def _plain(random: np.random.Generator) -> dict[str, Any]:
    return {"text": " ".join((*_words(random, COLOURS, 1), *_words(random, THINGS, 1)) * 3)}


_ROWS = {
    "scored": _scored,
    "pair": _pair,
    "question": _question,
    "unsure": _unsure,
    "choice": _choice,
    "ranking": _ranking,
    "sought": _sought,
    "plain": _plain,
}


def broken(folder: Path, kind: str, **change: Any) -> dict[str, Any]:
    """The recipe's `data` for a kind of data whose fourth training sample is changed."""
    import json

    data = write_splits(folder, kind, count=24)
    path = Path(data["files"]["train"])
    rows = [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]
    rows[3] = {name: value for name, value in {**rows[3], **change}.items() if value is not ...}
    path.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    return data


def preprocessor(length: int = 40) -> Any:
    """A preprocessor of such texts, with a tokenizer that was trained on them."""
    from compress.data.spec import Vocabulary
    from compress.data.texts.encode import TextPreprocessor
    from compress.data.vocabulary.train import train_tokenizer

    given = [" ".join((*COLOURS, *THINGS, *PLACES, "what colour place"))] * 3
    options = Vocabulary(vocab_size=400)
    tokenizer = train_tokenizer(given, options, generates=False, max_length=length)
    return TextPreprocessor(tokenizer, length)


def module(auto_class: str, **changes: Any) -> Any:
    """A model of one layer, of a class of transformers."""
    import torch
    import transformers

    torch.manual_seed(0)
    config = transformers.BertConfig(**{**CONFIG, **changes})
    return getattr(transformers, auto_class).from_config(config).eval()
