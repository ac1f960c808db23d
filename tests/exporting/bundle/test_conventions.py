"""What Transformers, Optimum and Transformers.js find beside the model says what ours says."""

import json

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper
from PIL import Image

from compress.data.images.transform import ImagePreprocessor, Transform
from compress.exporting.bundle.conventions import write_conventions
from compress.exporting.bundle.layout import suffix
from compress.exporting.bundle.write import postprocessing
from compress.tasks.task import TASKS


def _model(path, *, node, kind=TensorProto.FLOAT, config=None, domain="", **attributes):
    weight = helper.make_tensor("w", kind, [1], [1])
    made = helper.make_node(node, ["x", "w"], ["y"], domain=domain, **attributes)
    graph = helper.make_graph([made], "g", [], [], [weight])
    model = helper.make_model(graph)
    if config is not None:
        helper.set_model_props(model, {"config": json.dumps(config)})
    onnx.save(model, str(path))
    return path


@pytest.mark.parametrize(
    ("wanted", "given"),
    [
        ("", {"node": "MatMul"}),
        ("_fp16", {"node": "MatMul", "kind": TensorProto.FLOAT16}),
        ("_quantized", {"node": "MatMulInteger", "kind": TensorProto.INT8}),
        ("_quantized", {"node": "DequantizeLinear", "kind": TensorProto.INT8}),
        ("_quantized", {"node": "MatMulNBits", "domain": "com.microsoft", "bits": 8}),
        ("_q4", {"node": "MatMulNBits", "domain": "com.microsoft", "bits": 4}),
    ],
)
def test_a_files_name_says_its_precision(wanted, given, tmp_path):
    assert suffix(_model(tmp_path / "model.onnx", **given)) == wanted


@pytest.mark.parametrize("size", [None, (12, 10)])
def test_the_image_processor_gives_the_same_pixels(size, tmp_path):
    from transformers import AutoImageProcessor

    transform = Transform(
        size=size, channels=3, mean=(0.4, 0.5, 0.6), std=(0.2, 0.3, 0.4), resample="bicubic"
    )
    ours = ImagePreprocessor(transform)
    ours.save(tmp_path)
    model = _model(tmp_path / "model.onnx", node="MatMul", config={"model_type": "vit"})
    write_conventions(model, labels=("a", "b"), task=TASKS["image-classification"])
    pixels = np.random.default_rng(0).integers(0, 256, (17, 23, 3), np.uint8)
    theirs = AutoImageProcessor.from_pretrained(tmp_path, use_fast=False)
    wanted = ours([pixels])["pixel_values"].numpy()
    made = theirs(Image.fromarray(pixels), return_tensors="np")["pixel_values"]
    np.testing.assert_allclose(made, wanted, atol=0.03)  # a step of 255 in what was resized
    assert json.loads((tmp_path / "config.json").read_text())["id2label"] == {"0": "a", "1": "b"}


@pytest.mark.parametrize(
    ("task", "kind"),
    [
        ("multi-label-text-classification", "multi_label_classification"),
        ("text-classification", None),
    ],
)
def test_the_config_says_that_classes_are_decided_one_by_one(task, kind, tmp_path):
    (tmp_path / "preprocessing.json").write_text('{"max_length": 32}')
    model = _model(tmp_path / "model.onnx", node="MatMul", config={"model_type": "bert"})
    write_conventions(model, labels=("a", "b"), task=TASKS[task])
    assert json.loads((tmp_path / "config.json").read_text()).get("problem_type") == kind


def test_what_a_processor_cant_say_isnt_written(tmp_path):
    transform = Transform(size=(8, 8), resize_shortest_edge=9, channels=3)
    ImagePreprocessor(transform).save(tmp_path)
    model = _model(tmp_path / "model.onnx", node="MatMul", config={"model_type": "vit"})
    write_conventions(model, labels=(), task=TASKS["image-classification"])
    assert not (tmp_path / "preprocessor_config.json").exists()


@pytest.mark.parametrize(
    ("task", "length"), [("text-classification", 32), ("text-generation", 512)]
)
def test_the_tokenizer_cuts_where_training_did(task, length, tmp_path):
    (tmp_path / "preprocessing.json").write_text('{"max_length": 32}')
    given = {"tokenizer_class": "TokenizersBackend", "model_max_length": 512, "pad_token": "a"}
    (tmp_path / "tokenizer_config.json").write_text(json.dumps(given))
    write_conventions(_model(tmp_path / "model.onnx", node="MatMul"), labels=(), task=TASKS[task])
    assert json.loads((tmp_path / "tokenizer_config.json").read_text()) == {
        "tokenizer_class": "PreTrainedTokenizerFast",
        "model_max_length": length,
        "pad_token": "a",
    }


@pytest.mark.parametrize(
    ("task", "activation", "pooling"),
    [
        ("image-classification", "softmax", None),
        ("multi-label-text-classification", "sigmoid", None),
        ("feature-extraction", None, "mean"),
        ("sentence-similarity", None, None),
    ],
)
def test_postprocessing_goes_by_the_task(task, activation, pooling):
    said = postprocessing(TASKS[task])
    assert (said["task"], said["activation"], said["pooling"]) == (task, activation, pooling)
    assert said["output"] == TASKS[task].output_names[0]
