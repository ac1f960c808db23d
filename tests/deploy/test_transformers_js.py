"""Transformers.js on a local folder in which onnx/model.onnx or onnx/model_quantized.onnx lies."""

import itertools
import json

import numpy as np
import pytest
from tokenizers import Tokenizer

from tests.deploy.places import node, python_of, run_program, run_script

ROOT_FILE = {"subfolder": "", "model_file_name": "model", "dtype": "fp32"}
"""How model.onnx at the top of a bundle is loaded, whatever its precision."""


def use(folder, task, inputs, tmp_path, *, loading, **options):
    given = {
        "models": str(folder.parent),
        "name": folder.name,
        "task": task,
        "inputs": list(inputs),
        "loading": loading,
        "options": options,
    }
    return run_script(node(), "node/transformers.mjs", given, tmp_path)


def scores(found):
    flat = [one[0] if isinstance(one[0], list) else one for one in found]
    return [{entry["label"]: entry["score"] for entry in one} for one in flat]


def _dtype(bundle):
    return {"dtype": "q8" if bundle.quantized else "fp32"}


def _tokens(bundle):
    tokenizer = Tokenizer.from_file(str(bundle.folder / "tokenizer.json"))
    return [one.ids for one in tokenizer.encode_batch(list(bundle.inputs))]


def uncut(bundle):
    """Which texts fit: Transformers.js cuts a longer one without its last special token."""
    most = json.loads((bundle.folder / "preprocessing.json").read_text())["max_length"]
    found = [len(ids) <= most for ids in _tokens(bundle)]
    assert sum(found) > 150
    return found


def _layout(bundle):
    return sorted(path.name for path in (bundle.folder / "onnx").iterdir())


@pytest.mark.parametrize("place", ["onnx/", "top"])
def test_texts(place, text_bundle, tmp_path):
    assert _layout(text_bundle) == [
        "model_quantized.onnx" if text_bundle.quantized else "model.onnx"
    ]
    loading = _dtype(text_bundle) if place == "onnx/" else ROOT_FILE
    short = uncut(text_bundle)
    inputs = list(itertools.compress(text_bundle.inputs, short))
    found = use(
        text_bundle.folder, "text-classification", inputs, tmp_path, loading=loading, top_k=None
    )
    text_bundle.require_same(scores(found), only=short)


def test_images(sized_vit_bundle, tmp_path):
    found = use(
        sized_vit_bundle.folder,
        "image-classification",
        sized_vit_bundle.inputs,
        tmp_path,
        loading=_dtype(sized_vit_bundle),
        top_k=10,
    )
    sized_vit_bundle.require_same(scores(found))


def test_vectors_of_texts(embeddings_bundle, tmp_path):
    sentences = ["Return a copy of it.", "Return it.", "Open a file."]
    program = [python_of("plain"), "-I", embeddings_bundle / "infer.py", "--save", "vectors.npy"]
    run_program([*program, *sentences], folder=tmp_path)
    found = use(
        embeddings_bundle,
        "feature-extraction",
        sentences,
        tmp_path,
        loading={"dtype": _dtypes(embeddings_bundle)},
        **_pooling(embeddings_bundle),
    )
    assert np.allclose(np.squeeze(found, 1), np.load(tmp_path / "vectors.npy"), atol=1e-3)


def _dtypes(folder):
    (file,) = (folder / "onnx").iterdir()
    return {"model": "fp32", "model_quantized": "q8"}[file.stem]


def _pooling(folder):
    said = json.loads((folder / "postprocessing.json").read_text())
    said = said.get("in_graph", said)
    return {"pooling": said["pooling"], "normalize": said["normalize"]}
