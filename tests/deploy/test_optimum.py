"""Optimum's ORTModelFor… classes, in an environment of their own with transformers 4."""

from tests.deploy.places import python_of, run_program, run_script

PROMPTS = ["Return the", "Open a", "This is"]


def answers(kind, folder, inputs, tmp_path, *, file="model.onnx"):
    """Optimum's answers to the inputs of a bundle."""
    given = {"kind": kind, "folder": str(folder), "file": file, "inputs": list(inputs)}
    return run_script(python_of("optimum"), "in_optimum.py", given, tmp_path)


def test_texts(text_bundle, tmp_path):
    found = answers("texts", text_bundle.folder, text_bundle.inputs, tmp_path)
    text_bundle.require_same(found)


def test_images(vit_bundle, tmp_path):
    found = answers("images", vit_bundle.folder, vit_bundle.inputs, tmp_path)
    vit_bundle.require_same(found)


def test_text_that_goes_on(generation_bundle, tmp_path):
    program = [python_of("plain"), "-I", generation_bundle / "infer.py", "--tokens", 12]
    ours = run_program([*program, *PROMPTS], folder=tmp_path)
    theirs = answers("generation", generation_bundle, PROMPTS, tmp_path)
    assert theirs == ours.splitlines()
