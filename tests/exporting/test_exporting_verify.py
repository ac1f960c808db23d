"""A bundle holds; whatever is changed in it is told."""

import json
import shutil

import numpy as np
import onnx
import pytest
from bundle_maker import DIGITS, digits_bundle, entry, published
from exporting_samples import LABELS, texts
from onnx import numpy_helper

from compress.errors import InputError
from compress.exporting import verify
from compress.exporting.verify import verify_bundle
from compress.measurement.cpu import TARGET_KEY, FoundCpu
from compress.measurement.graph import load_graph
from compress.quantization.dynamic import quantize_dynamic
from compress.quantization.integers import Integers
from compress.quantization.selection import select
from compress.quantization.write import move
from compress.tasks.task import TASKS

OLD_CPU = FoundCpu("x86-avx2", "it has AVX2, but no VNNI")
NEW_CPU = FoundCpu("x86-vnni", "it has avx512_vnni")


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    return digits_bundle(tmp_path_factory.mktemp("digits") / "run")


@pytest.fixture
def bundle(made, tmp_path, monkeypatch):
    monkeypatch.setattr(verify, "this_cpu", lambda: NEW_CPU)
    return shutil.copytree(made, tmp_path / "run")


@pytest.fixture(scope="module", params=[False, True], ids=["8 bits", "7 bits"])
def int8(request, lowered_bert, tmp_path_factory):
    """A text model's INT8 bundle: (7 bits, folder)."""
    _, path = lowered_bert
    folder = tmp_path_factory.mktemp("int8")
    quantize_dynamic(
        path,
        path=folder / "int8.onnx",
        selection=select(load_graph(path).graph, method="dynamic"),
        integers=Integers(reduce_range=request.param),
    )
    model = folder / "model.onnx"
    target = "x86-avx2" if request.param else "x86-vnni"
    move(folder / "int8.onnx", model, metadata={TARGET_KEY: target})
    task = TASKS["text-classification"]
    run = published(folder / "run", model=model, batch=texts(8, 10, padding=2), task=task)
    return request.param, run


def found(folder):
    return [(check.name, check.status, check.text) for check in verify_bundle(folder)]


def failures(folder):
    return [(name, text) for name, status, text in found(folder) if status == "failed"]


def published_again(folder):
    """The manifest as if the files now there had been published."""
    manifest = json.loads((folder / "manifest.json").read_text())
    manifest["files"] = {name: entry(folder / name) for name in manifest["files"]}
    (folder / "manifest.json").write_text(json.dumps(manifest))


def test_a_whole_bundle_holds(bundle):
    checks = found(bundle)
    assert [(name, status) for name, status, _ in checks] == [
        (name, "ok") for name in ("files", "model", "answers", "labels", "shapes", "CPU")
    ]
    said = {name: text for name, _, text in checks}
    count = len(json.loads((bundle / "manifest.json").read_text())["files"])
    assert said["files"] == f"{count} of {count} have the size and SHA-256 they had"
    assert said["answers"].startswith("8 stored samples: largest difference 0.0e+00 (at most ")
    assert "100% as the uncompressed model's (100% when published)" in said["answers"]
    assert said["labels"] == "10 names for answers of width 10"
    assert said["shapes"] == "runs at batch 1, batch 3"


def test_files_that_arent_as_they_were(bundle):
    (bundle / "infer.py").unlink()
    (bundle / "labels.json").write_text((bundle / "labels.json").read_text() + " ")
    lock = bundle / "recipe.lock.yaml"
    lock.write_bytes(lock.read_bytes().replace(b"small", b"smalL"))
    (bundle / "notes.txt").write_text("mine")
    checks = [(status, text) for name, status, text in found(bundle) if name == "files"]
    assert ("failed", "infer.py is missing") in checks
    assert any("labels.json has " in text and "bytes, and had" in text for _, text in checks)
    assert any("recipe.lock.yaml has other contents" in text for _, text in checks)
    assert checks[-1] == ("warning", "not in the manifest: notes.txt")
    assert sum(status == "failed" for status, _ in checks) == 3


def test_a_broken_model_ends_it(bundle):
    model = bundle / "model.onnx"
    model.write_bytes(model.read_bytes()[:-2000])
    names = [name for name, _ in failures(bundle)]
    assert names == ["files", "model", "answers"]


def test_a_missing_model_ends_it(bundle):
    (bundle / "model.onnx").unlink()
    assert failures(bundle) == [
        ("files", "model.onnx is missing"),
        ("answers", "not tried: the model can't be loaded"),
    ]


def test_other_weights_give_other_answers(bundle):
    model = onnx.load(bundle / "model.onnx")
    tensor = next(t for t in model.graph.initializer if len(t.dims) == 4)
    tensor.CopyFrom(numpy_helper.from_array(numpy_helper.to_array(tensor) * 1.1, tensor.name))
    onnx.save(model, bundle / "model.onnx")
    published_again(bundle)
    ((name, text),) = failures(bundle)
    assert name == "answers"
    assert "largest difference" in text


def test_labels_that_dont_fit(bundle):
    for names, said in (
        ([*DIGITS, "ten"], "labels.json has 11 names, and the model's metadata others"),
        ({"0": "zero"}, "'labels.json' must be a list of names. Got {'0': 'zero'}."),
    ):
        (bundle / "labels.json").write_text(json.dumps(names))
        published_again(bundle)
        assert failures(bundle) == [("labels", said)]


def test_samples_that_cant_be_read_or_arent_there(bundle):
    (bundle / "samples.npz").write_bytes(b"nothing")
    published_again(bundle)
    names = [name for name, text in failures(bundle) if "can't read the samples" in text]
    assert "answers" in names
    manifest = json.loads((bundle / "manifest.json").read_text())
    del manifest["files"]["samples.npz"]
    (bundle / "manifest.json").write_text(json.dumps(manifest))
    (bundle / "samples.npz").unlink()
    checks = {name: (status, text) for name, status, text in found(bundle)}
    assert checks["answers"] == ("warning", "not compared: the bundle has no samples.npz")
    assert checks["shapes"] == ("ok", "runs at batch 1, batch 3")


def test_a_text_model_runs_at_another_length(int8):
    _, folder = int8
    checks = {name: (status, text) for name, status, text in found(folder)}
    assert checks["shapes"] == ("ok", "runs at batch 1, batch 3, length 6")
    assert "answers differ by 0.0% (at most 2%)" in checks["answers"][1]
    assert checks["labels"][1] == f"{len(LABELS)} names for answers of width {len(LABELS)}"


def test_full_range_weights_are_a_warning_on_a_cpu_that_can_saturate(int8, monkeypatch):
    seven_bits, folder = int8
    monkeypatch.setattr(verify, "this_cpu", lambda: OLD_CPU)
    *others, (name, status, text) = found(folder)
    assert name == "CPU"
    assert not [status for _, status, _ in others if status == "failed"]
    if seven_bits:
        assert status == "ok"
        assert text.startswith("quantized for x86-avx2; this CPU is x86-avx2")
    else:
        assert status == "warning"
        assert text.startswith("quantized for x86-vnni; this CPU is x86-avx2 (it has AVX2")
        assert "can saturate" in text
    monkeypatch.setattr(verify, "this_cpu", lambda: NEW_CPU)
    assert found(folder)[-1][1] == "ok"


@pytest.mark.parametrize(
    ("factor", "status", "part"),
    [(1.01, "ok", "1.0"), (1.04, "warning", "3.8"), (1.1, "failed", "9.1")],
)
def test_int8_answers_that_rounding_doesnt_explain(int8, tmp_path, factor, status, part):
    """Stored answers stand for another CPU's."""
    folder = shutil.copytree(int8[1], tmp_path / "run")
    with np.load(folder / "samples.npz") as file:
        arrays = {name: file[name] for name in file.files}
    arrays["answers/logits"] = arrays["answers/logits"] * factor
    np.savez(folder / "samples.npz", **arrays)
    published_again(folder)
    (said,) = [(status, text) for name, status, text in found(folder) if name == "answers"]
    assert said[0] == status
    assert f"answers differ by {part}%" in said[1]


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (None, "it has no manifest.json that can be read"),
        ("{", "is no JSON"),
        ("[]", "names no model.onnx"),
        ('{"files": {"a": {}}}', "names no model.onnx"),
    ],
)
def test_what_is_no_bundle(tmp_path, content, said):
    if content is not None:
        (tmp_path / "manifest.json").write_text(content)
    with pytest.raises(InputError, match="is no bundle") as error:
        list(verify_bundle(tmp_path))
    assert said in str(error.value)


def test_names_that_lead_out_of_the_bundle_are_refused(bundle):
    manifest = json.loads((bundle / "manifest.json").read_text())
    manifest["files"]["../outside"] = {"bytes": 1, "sha256": ""}
    (bundle / "manifest.json").write_text(json.dumps(manifest))
    (bundle.parent / "outside").write_text("x")
    assert failures(bundle) == [("files", "../outside lies outside the bundle")]
