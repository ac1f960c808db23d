"""The bundle's script prints what the session answers, in a process that knows nothing of us."""

import json
import subprocess
import sys

import numpy as np
import onnx
import pytest
from PIL import Image

from compress.data.images.transform import ImagePreprocessor, Transform
from compress.data.texts.encode import TextPreprocessor
from compress.exporting.bundle.write import write_bundle
from compress.exporting.to_onnx import export_module
from compress.measurement.session import run, session
from compress.tasks.task import TASKS
from tests.exporting.samples import LABELS, images

WORDS = ("[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", "good", "bad", "film", "a", "very")


@pytest.fixture
def tokenizer():
    from tokenizers import Tokenizer, models, pre_tokenizers, processors
    from transformers import PreTrainedTokenizerFast

    backend = Tokenizer(models.WordLevel({w: i for i, w in enumerate(WORDS)}, "[UNK]"))
    backend.pre_tokenizer = pre_tokenizers.Whitespace()
    backend.post_processor = processors.TemplateProcessing(
        single="[CLS] $A [SEP]", special_tokens=[("[CLS]", 2), ("[SEP]", 3)]
    )
    return PreTrainedTokenizerFast(
        tokenizer_object=backend,
        model_max_length=8,
        model_input_names=["input_ids", "token_type_ids", "attention_mask"],
        **{"pad_token": "[PAD]", "unk_token": "[UNK]", "cls_token": "[CLS]", "sep_token": "[SEP]"},
    )


def _printed(folder, *arguments):
    """{sample: {label: probability}} as infer.py prints it."""
    ended = subprocess.run(
        [sys.executable, "-I", str(folder / "infer.py"), *arguments],
        capture_output=True,
        text=True,
        cwd=folder.parent,
        check=False,
    )
    assert ended.returncode == 0, ended.stderr
    found = {}
    sample = ""
    for line in ended.stdout.splitlines():
        if line.startswith("  "):
            value, label = line.split()
            found[sample][label] = float(value)
        else:
            sample = line
            found[sample] = {}
    return found


def _wanted(model, inputs):
    logits = run(session(model, threads=1), inputs)["logits"].astype(np.float64)
    shifted = np.exp(logits - logits.max(-1, keepdims=True))
    rows = shifted / shifted.sum(-1, keepdims=True)
    return [dict(zip(LABELS, row, strict=True)) for row in rows]


def _same(printed, wanted):
    assert printed.keys() == wanted.keys()
    for label, value in wanted.items():
        assert printed[label] == pytest.approx(value, abs=6e-5)


def test_a_text_bundle_answers_as_the_session(exported_bert, tokenizer, tmp_path):
    _, path = exported_bert
    preprocessor = TextPreprocessor(tokenizer)
    folder = tmp_path / "bundle"
    model = write_bundle(
        path,
        directory=folder,
        preprocessor=preprocessor,
        labels=LABELS,
        task=TASKS["text-classification"],
    )
    assert model == folder / "model.onnx"
    samples = ["a very good film", "bad", "good bad film a very good bad film film"]
    printed = _printed(folder, *samples)
    for sample, wanted in zip(samples, _wanted(model, preprocessor(samples)), strict=True):
        _same(printed[sample], wanted)


def test_an_image_bundle_answers_as_the_session(cnn, tmp_path):
    task = TASKS["image-classification"]
    cnn.fc.weight.data *= 5
    transform = Transform(size=(8, 8), channels=1, mean=(0.4,), std=(0.3,))
    preprocessor = ImagePreprocessor(transform)
    folder = tmp_path / "bundle"
    folder.mkdir()
    export_module(cnn, task=task, example=images(), path=folder / "model.onnx", labels=LABELS)
    model = write_bundle(
        folder / "model.onnx",
        directory=folder,
        preprocessor=preprocessor,
        labels=LABELS,
        task=TASKS["image-classification"],
    )
    pixels = np.random.default_rng(0).integers(0, 256, (13, 10, 3), np.uint8)
    picture = tmp_path / "picture.png"
    Image.fromarray(pixels).save(picture)
    inputs = preprocessor([Image.open(picture)])
    _same(_printed(folder, str(picture))[str(picture)], _wanted(model, inputs)[0])
    arrays = tmp_path / "inputs.npz"
    np.savez(arrays, pixel_values=inputs["pixel_values"].numpy())
    _same(_printed(folder, "--npz", str(arrays))["sample 0"], _wanted(model, inputs)[0])


@pytest.mark.parametrize("size", [(40, 31), (31, 40)])
def test_the_image_script_crops_as_the_preprocessor(size, tmp_path):
    from importlib.resources import files

    transform = Transform(size=(12, 14), resize_shortest_edge=20, channels=3, resample="bicubic")
    ImagePreprocessor(transform).save(tmp_path)
    source = (
        files("compress.exporting.examples").joinpath("templates/infer_image.py.txt").read_text()
    )
    script = tmp_path / "infer.py"
    script.write_text(source)
    module = {"__name__": "infer", "__file__": str(script)}
    exec(compile(source, str(script), "exec"), module)  # noqa: S102
    picture = tmp_path / "picture.png"
    Image.fromarray(np.random.default_rng(0).integers(0, 256, (*size, 3), np.uint8)).save(picture)
    wanted = transform([Image.open(picture)]).numpy()
    np.testing.assert_allclose(module["preprocess"]([picture])["pixel_values"], wanted, atol=1e-6)


def test_the_bundle_holds_config_and_labels(exported_bert, tokenizer, tmp_path):
    _, path = exported_bert
    folder = tmp_path / "bundle"
    write_bundle(
        path,
        directory=folder,
        preprocessor=TextPreprocessor(tokenizer),
        labels=LABELS,
        task=TASKS["text-classification"],
    )
    config = json.loads((folder / "config.json").read_text())
    assert config["model_type"] == "bert"
    assert config["id2label"] == {"0": "red", "1": "green", "2": "blue"}
    assert json.loads((folder / "labels.json").read_text()) == list(LABELS)
    names = {file.name for file in folder.iterdir()}
    assert {"model.onnx", "infer.py", "tokenizer.json", "preprocessing.json"} <= names


def test_external_data_come_along(cnn_file, tmp_path):
    path = tmp_path / "from" / "big.onnx"
    path.parent.mkdir()
    model = onnx.load(cnn_file)
    onnx.save_model(
        model, path, save_as_external_data=True, location="big.onnx.data", size_threshold=100
    )
    folder = tmp_path / "bundle"
    copied = write_bundle(
        path,
        directory=folder,
        preprocessor=ImagePreprocessor(),
        labels=LABELS,
        task=TASKS["image-classification"],
    )
    assert (folder / "model.onnx.data").stat().st_size > 0
    batch = images(2)
    np.testing.assert_array_equal(
        run(session(copied, threads=1), batch)["logits"],
        run(session(path, threads=1), batch)["logits"],
    )
