"""infer.py in an environment with onnxruntime, numpy, tokenizers and pillow alone."""

from tests.deploy.places import printed, python_of, run_program

OURS = ("torch", "transformers", "compress")


def _answers(bundle, folder):
    program = [python_of("plain"), "-I", bundle.folder / "infer.py", "--top", len(bundle.labels)]
    return printed(run_program([*program, *bundle.inputs], folder=folder))


def test_the_environment_holds_nothing_of_ours(tmp_path):
    code = f"from importlib.util import find_spec; print([*map(find_spec, {OURS})])"
    said = run_program([python_of("plain"), "-I", "-c", code], folder=tmp_path)
    assert said.strip() == str([None] * len(OURS))


def test_texts(text_bundle, tmp_path):
    text_bundle.require_same(_answers(text_bundle, tmp_path))


def test_images(image_bundle, tmp_path):
    image_bundle.require_same(_answers(image_bundle, tmp_path))


def test_images_that_are_resized(vit_bundle, tmp_path):
    vit_bundle.require_same(_answers(vit_bundle, tmp_path))
