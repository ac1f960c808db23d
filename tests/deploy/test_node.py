"""infer.mjs with onnxruntime-node."""

import json

import numpy as np
import pytest
from PIL import Image

from compress.exporting.examples.write import NPM_VERSIONS
from tests.deploy.places import (
    HERE,
    NODE_MODULES,
    node,
    printed,
    python_of,
    run_program,
    run_script,
)

WORDS = ["def run ( self ) :", 'return "a" + 1  # why', "x = [ ]"]
SENTENCES = ["Return a copy of it.", "Return it.", "Open a file and read all of it at once."]
PROMPTS = ["Return the", "Open a", "This is"]


def _answers(bundle, folder):
    program = [node(), bundle.folder / "infer.mjs", "--top", len(bundle.labels)]
    return printed(run_program([*program, *bundle.inputs], folder=folder))


def test_the_bundles_name_the_packages_that_are_tested():
    ours = json.loads((HERE / "package.json").read_text())["dependencies"]
    assert NPM_VERSIONS.items() <= ours.items()
    for name, version in NPM_VERSIONS.items():
        installed = json.loads((NODE_MODULES / name / "package.json").read_text())["version"]
        assert installed == version


def test_texts(text_bundle, tmp_path):
    text_bundle.require_same(_answers(text_bundle, tmp_path))


def test_images(image_bundle, tmp_path):
    image_bundle.require_same(_answers(image_bundle, tmp_path))


def test_images_that_are_resized(vit_bundle, tmp_path):
    vit_bundle.require_same(_answers(vit_bundle, tmp_path))


@pytest.mark.parametrize("kernel", ["nearest", "box", "bilinear", "hamming", "bicubic", "lanczos"])
def test_it_resizes_as_pillow_does(kernel, image_bundle, tmp_path):
    random = np.random.default_rng(0)
    for channels, size, wanted in ((1, (13, 9), (26, 18)), (3, (61, 43), (24, 16))):
        pixels = random.integers(0, 256, (*size, channels), np.uint8)
        picture = Image.fromarray(pixels[..., 0] if channels == 1 else pixels)
        theirs = np.asarray(picture.resize(wanted[::-1], Image.Resampling[kernel.upper()]))
        given = {
            "module": str(image_bundle.folder / "pixels.mjs"),
            "image": {
                "width": size[1],
                "height": size[0],
                "channels": channels,
                "data": pixels.ravel().tolist(),
            },
            "wide": wanted[1],
            "high": wanted[0],
            "kernel": kernel,
        }
        ours = run_script(node(), "node/resize.mjs", given, tmp_path)
        assert ours == theirs.ravel().tolist()


def test_classes_of_words(tokens_bundle, tmp_path):
    ours = run_program(
        [python_of("plain"), "-I", tokens_bundle / "infer.py", *WORDS], folder=tmp_path
    )
    theirs = run_program([node(), tokens_bundle / "infer.mjs", *WORDS], folder=tmp_path)
    tagged = [line.strip() for line in theirs.splitlines() if line.startswith("  ")]
    assert tagged == [line for line in ours.splitlines() if line]


def test_vectors_of_texts(embeddings_bundle, tmp_path):
    program = [python_of("plain"), "-I", embeddings_bundle / "infer.py", "--save", "vectors.npy"]
    run_program([*program, *SENTENCES], folder=tmp_path)
    vectors = np.load(tmp_path / "vectors.npy")
    text = run_program([node(), embeddings_bundle / "infer.mjs", *SENTENCES], folder=tmp_path)
    for row, answer in zip(vectors @ vectors.T, printed(text), strict=True):
        assert [answer[sentence] for sentence in SENTENCES] == pytest.approx(row, abs=1e-3)


def test_text_that_goes_on(generation_bundle, tmp_path):
    ours = run_program(
        [python_of("plain"), "-I", generation_bundle / "infer.py", "--tokens", 12, *PROMPTS],
        folder=tmp_path,
    )
    theirs = run_program(
        [node(), generation_bundle / "infer.mjs", "--tokens", 12, *PROMPTS], folder=tmp_path
    )
    assert theirs.splitlines() == ours.splitlines()
