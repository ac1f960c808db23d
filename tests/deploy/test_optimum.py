"""Optimum's ORTModelFor… classes, in an environment of their own with transformers 4."""

from tests.deploy.places import python_of, run_program, run_script

PROMPTS = ["Return the", "Open a", "This is"]


def _answers(kind, folder, inputs, tmp_path):
    given = {"kind": kind, "folder": str(folder), "inputs": list(inputs)}
    return run_script(python_of("optimum"), "in_optimum.py", given, tmp_path)


def test_texts(text_bundle, tmp_path):
    found = _answers("texts", text_bundle.folder, text_bundle.inputs, tmp_path)
    text_bundle.require_same(found)


def test_images(vit_bundle, tmp_path):
    found = _answers("images", vit_bundle.folder, vit_bundle.inputs, tmp_path)
    vit_bundle.require_same(found)


def test_text_that_goes_on(generation_bundle, tmp_path):
    program = [python_of("plain"), "-I", generation_bundle / "infer.py", "--tokens", 12]
    ours = run_program([*program, *PROMPTS], folder=tmp_path)
    theirs = _answers("generation", generation_bundle, PROMPTS, tmp_path)
    assert theirs == ours.splitlines()
