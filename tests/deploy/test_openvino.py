"""OpenVINO reads the same model.onnx."""

import numpy as np

from tests.deploy.bundles import preprocessed, softmax
from tests.deploy.places import HERE, python_of, run_program


def answers(bundle, folder, *, file="model.onnx"):
    """OpenVINO's answers to the inputs of a bundle, {label: probability} of each."""
    arrays = {
        f"{number}.{name}": value.numpy()
        for number, inputs in enumerate(preprocessed(bundle.folder, bundle.inputs))
        for name, value in inputs.items()
    }
    np.savez(folder / "inputs.npz", **arrays)
    command = [python_of("openvino"), HERE / "in_openvino.py", bundle.folder / file]
    run_program([*command, "inputs.npz", "logits.npy"], folder=folder)
    rows = softmax(np.load(folder / "logits.npy"))
    return [dict(zip(bundle.labels, row.tolist(), strict=True)) for row in rows]


def test_texts(text_bundle, tmp_path):
    text_bundle.require_same(answers(text_bundle, tmp_path))


def test_images(image_bundle, tmp_path):
    image_bundle.require_same(answers(image_bundle, tmp_path))


def test_a_vision_transformer(vit_bundle, tmp_path):
    vit_bundle.require_same(answers(vit_bundle, tmp_path))
