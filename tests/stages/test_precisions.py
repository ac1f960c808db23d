"""Several precisions in one bundle: how they are made, measured, chosen and verified."""

import io
import json
import shutil
from contextlib import redirect_stderr
from dataclasses import replace
from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import numpy_helper

from compress.core.artifact import Format
from compress.errors import StageError
from compress.exporting.bundle.manifest import entry, manifest_text
from compress.exporting.bundle.precisions import INT8_WORDS, PATHS, chosen, table
from compress.exporting.verify.bundle import verify_bundle
from compress.measurement.cpu import TARGET_KEY
from compress.measurement.session import run, session
from compress.onnx_graph.metadata import metadata_of
from compress.report.candidates import read_candidates
from compress.stages.export import Export
from compress.testing import digits_problem

ALL = ("fp32", "fp16", "int8", "storage", "q4")
QUICK = {"samples": 64, "rounds": 5, "seconds": 0.01, "batch_sizes": [1]}
VNNI = "flags : sse2 avx2 avx512f avx512_vnni"
AVX2 = "flags : sse2 avx2"
DOTPROD = "Features : fp asimd asimddp"


@pytest.fixture(scope="module")
def problem(tmp_path_factory):
    return digits_problem(tmp_path_factory.mktemp("problem"))


@pytest.fixture(scope="module")
def exported(problem, tmp_path_factory):
    """All precisions of a CNN: (artifact, the stage's folder)."""
    artifact, context = problem
    folder = tmp_path_factory.mktemp("stage")
    stage = Export(precisions=ALL, evaluation=QUICK)
    return stage.apply(artifact, replace(context, directory=folder)), folder


@pytest.fixture
def bundle(exported, tmp_path):
    """A published bundle, which may be changed."""
    folder = shutil.copytree(exported[0].bundle, tmp_path / "bundle")
    seal(folder)
    return folder


def seal(folder):
    """Write the manifest of the files that are there."""
    names = [str(path.relative_to(folder)) for path in folder.rglob("*") if path.is_file()]
    files = {name: entry(folder / name) for name in names if name != "manifest.json"}
    manifest = {"name": "small", "task": "image-classification", "files": files}
    (folder / "manifest.json").write_text(manifest_text(manifest))


def test_each_precision_has_its_file_and_the_first_is_the_model(exported):
    artifact, _ = exported
    files = {path: artifact.bundle / path for path in PATHS.values()}
    assert sorted(path.name for path in (artifact.bundle / "onnx").iterdir()) == sorted(
        path.name for path in files.values()
    )
    assert artifact.format is Format.ONNX
    assert artifact.onnx.samefile(files[PATHS["fp32"]])
    kinds = {
        name: {each.data_type for each in onnx.load(artifact.bundle / path).graph.initializer}
        for name, path in PATHS.items()
    }
    assert onnx.TensorProto.FLOAT16 in kinds["fp16"]
    assert onnx.TensorProto.INT8 in kinds["int8"]
    assert onnx.TensorProto.INT8 in kinds["storage"]
    assert onnx.TensorProto.UINT8 in kinds["q4"]
    assert kinds["fp32"] <= {onnx.TensorProto.FLOAT, onnx.TensorProto.INT64}
    targets = {name: metadata_of(artifact.bundle / path) for name, path in PATHS.items()}
    assert {name for name in ALL if TARGET_KEY in targets[name]} == {"int8"}


def test_each_precision_is_a_candidate_that_was_measured(exported):
    artifact, folder = exported
    found = read_candidates(folder)
    assert [each.name.split(":")[0] for each in found] == ["float", "fp16", "int8", "storage", "q4"]
    assert [each.name for each in found if each.chosen] == ["float"]
    sizes = {name: (artifact.bundle / path).stat().st_size for name, path in PATHS.items()}
    assert [each.size_bytes for each in found] == [sizes[name] for name in ALL]
    assert all(each.quality.samples == 64 and "1" in each.speedup for each in found)
    for name in ALL:
        assert any(
            note.startswith(f"{name}: infer.py on 8 raw samples: ") for note in artifact.notes
        )
    assert not (folder / "precisions").exists()


def test_another_first_precision_is_the_model_and_is_chosen(problem, tmp_path):
    artifact, context = problem
    stage = Export(target_cpu="any", evaluation=QUICK)
    made = stage.apply(artifact, replace(context, directory=tmp_path))
    assert made.onnx.samefile(made.bundle / PATHS["storage"])
    assert sorted(file.name for file in (made.bundle / "onnx").iterdir()) == [
        "model_quantized.onnx",
        "model_storage.onnx",
    ]
    (chosen_one,) = [each for each in read_candidates(tmp_path) if each.chosen]
    assert chosen_one.name.startswith("storage: ")
    rules = json.loads((made.bundle / "precisions.json").read_text())
    assert chosen(rules, provider="cpu", words={"avx512_vnni"}) == "int8"
    assert chosen(rules, provider="cpu", words={"avx2"}) == "storage"


@pytest.mark.parametrize(
    ("precisions", "provider", "words", "wanted"),
    [
        (ALL, "cpu", {"avx2"}, "storage"),
        (ALL, "cpu", set(), "storage"),
        *((ALL, "cpu", {word}, "int8") for word in INT8_WORDS),
        (ALL, "gpu", {"CUDAExecutionProvider"}, "fp16"),
        (ALL, "gpu", {"shader-f16"}, "fp16"),
        (ALL, "gpu", {"webgpu"}, "fp32"),
        (("fp32", "int8"), "cpu", {"avx2"}, "fp32"),
        (("fp32", "fp16"), "cpu", {"avx_vnni"}, "fp32"),
        (("int8", "storage"), "gpu", {"shader-f16"}, "storage"),
        (("fp16",), "cpu", {"avx2"}, "fp16"),
    ],
)
def test_the_rules_choose_by_flags_and_provider(precisions, provider, words, wanted):
    assert chosen(table(precisions), provider=provider, words=words) == wanted


def script_of(folder, monkeypatch, cpuinfo, machine="x86_64"):
    """The bundle's infer.py, on a CPU that says of itself what is given."""
    read = Path.read_text

    def read_text(self, *args, **kwargs):
        return cpuinfo if str(self) == "/proc/cpuinfo" else read(self, *args, **kwargs)

    monkeypatch.setattr(Path, "read_text", read_text)
    given = {"__name__": "infer", "__file__": str(folder / "infer.py")}
    exec((folder / "infer.py").read_text(), given)  # noqa: S102 (the package's own text)
    monkeypatch.setattr(given["platform"], "machine", lambda: machine)
    return given


def opened(script):
    """The session's file and the line that tells of it."""
    with redirect_stderr(io.StringIO()) as said:
        model = script["open_session"]()
    return Path(model._model_path).name, said.getvalue()


@pytest.mark.parametrize(
    ("cpuinfo", "machine", "precision"),
    [
        (VNNI, "x86_64", "int8"),
        (AVX2, "x86_64", "storage"),
        (DOTPROD, "aarch64", "int8"),
        ("Features : fp asimd", "aarch64", "storage"),
    ],
)
def test_the_script_takes_a_precision_by_flags(cpuinfo, machine, precision, bundle, monkeypatch):
    file, said = opened(script_of(bundle, monkeypatch, cpuinfo, machine))
    assert file == Path(PATHS[precision]).name
    path = PATHS[precision]
    assert said == (f"precision: {precision} ({path}, CPUExecutionProvider), chosen for this CPU\n")


def test_a_gpu_that_fails_is_told_by_its_absence(bundle, monkeypatch):
    script = script_of(bundle, monkeypatch, AVX2)
    runtime = script["onnxruntime"]
    real, tried = runtime.InferenceSession, []

    def without_gpu(path, options, providers):
        tried.append((Path(path).name, providers[0]))
        return real(path, options, providers=["CPUExecutionProvider"])

    monkeypatch.setattr(runtime, "InferenceSession", without_gpu)
    here = ["CUDAExecutionProvider", "CPUExecutionProvider"]
    monkeypatch.setattr(runtime, "get_available_providers", lambda: here)
    file, said = opened(script)
    assert tried[0] == ("model_fp16.onnx", "CUDAExecutionProvider")
    assert file == "model_storage.onnx"
    assert "chosen for this CPU" in said


def test_the_script_takes_the_precision_that_is_asked_for(bundle, monkeypatch):
    script = script_of(bundle, monkeypatch, AVX2)
    monkeypatch.setattr("sys.argv", ["infer.py", "--precision", "q4", "--npz", "inputs.npz"])
    monkeypatch.chdir(bundle)
    images = dict(np.load(bundle / "samples.npz"))["pixel_values"]
    np.savez(bundle / "inputs.npz", pixel_values=images)
    with redirect_stderr(io.StringIO()) as said:
        script["main"]()
    assert said.getvalue().startswith("precision: q4 (onnx/model_q4.onnx, ")
    script = script_of(bundle, monkeypatch, AVX2)
    script["PRECISION"] = "q8"
    with pytest.raises(SystemExit, match=r"no precision 'q8' in this folder\. It has: fp32, fp16"):
        script["open_session"]()


def test_all_precisions_answer_alike(bundle):
    images = dict(np.load(bundle / "samples.npz"))["pixel_values"]
    answers = {
        name: run(session(bundle / path, threads=1, exact=True), {"pixel_values": images})["logits"]
        for name, path in PATHS.items()
    }
    for name in ALL[1:]:
        apart = np.linalg.norm(answers[name] - answers["fp32"]) / np.linalg.norm(answers["fp32"])
        assert 0 < apart < 0.1, name


def found(folder):
    return [(check.name, check.status, check.text) for check in verify_bundle(folder)]


def test_every_precision_is_verified(bundle):
    checks = found(bundle)
    assert {status for _, status, _ in checks} == {"ok"}
    answers = [text for name, _, text in checks if name == "answers"]
    assert [text.split(":")[0] for text in answers[1:]] == ["fp16", "int8", "storage", "q4"]
    (choice,) = [text for name, _, text in checks if name == "choice"]
    assert choice.startswith("fp32, fp16, int8, storage, q4; on this CPU the examples take ")


@pytest.mark.parametrize("precision", ["fp16", "int8", "storage", "q4"])
def test_a_change_beyond_a_precisions_tolerance_is_found(precision, bundle):
    path = bundle / PATHS[precision]
    model = onnx.load(path)
    weight = max(model.graph.initializer, key=lambda tensor: len(tensor.raw_data))
    values = numpy_helper.to_array(weight).copy()
    values.reshape(-1)[::3] = values.reshape(-1)[1::3].max()
    weight.CopyFrom(numpy_helper.from_array(values, weight.name))
    onnx.save(model, path)
    seal(bundle)
    failed = [(name, text) for name, status, text in found(bundle) if status == "failed"]
    assert [name for name, _ in failed] == ["answers"]
    assert failed[0][1].startswith(f"{precision}: 8 stored samples: ")


def test_stored_weights_are_held_to_the_tolerance_of_float(bundle):
    (text,) = [text for name, _, text in found(bundle) if text.startswith("storage: ")]
    assert "largest difference" in text  # of INT8 a share is told, in percent


def test_a_table_that_isnt_ours_is_refused(bundle):
    path = bundle / "precisions.json"
    right = json.loads(path.read_text())
    wrong = (
        [],
        {"default": "fp32"},
        {**right, "files": {**right["files"], "fp16": "../elsewhere.onnx"}},
        {**right, "files": {**right["files"], "fp8": "onnx/model.onnx"}},
        {**right, "default": "bf16"},
        {**right, "rules": right["rules"][:1]},
    )
    for value in wrong:
        path.write_text(json.dumps(value))
        seal(bundle)
        assert ("choice", "failed") in [each[:2] for each in found(bundle)], value


def test_a_missing_file_and_another_model_are_told(bundle):
    (bundle / PATHS["q4"]).unlink()
    seal(bundle)
    assert ("choice", "failed", f"missing: {PATHS['q4']}") in found(bundle)
    (bundle / "model.onnx").unlink()
    shutil.copy(bundle / PATHS["storage"], bundle / "model.onnx")
    shutil.copy(bundle / PATHS["storage"], bundle / PATHS["q4"])
    seal(bundle)
    assert ("choice", "failed", "model.onnx isn't the file of fp32") in found(bundle)


def test_a_quantized_model_is_refused(problem, exported, tmp_path):
    artifact, context = problem
    quantized = artifact.with_onnx(exported[0].bundle / PATHS["int8"], format=Format.ONNX_INT8)
    with pytest.raises(StageError, match="'precisions' needs a float model"):
        Export(precisions=ALL).apply(quantized, replace(context, directory=tmp_path))


@pytest.mark.parametrize(
    ("fields", "said"),
    [
        ({"precisions": ["fp32", "fp32"]}, "names one twice. Got fp32, fp32"),
        ({"precisions": []}, "at least 1"),
        ({"precisions": ["fp32", "int8"], "target_cpu": "any"}, "Got 'precisions' too"),
        ({"precisions": ["fp32"], "precision": "fp16"}, "Name fp16 among the 'precisions'"),
        ({"target_cpu": "any", "precision": "fp16"}, "which are storage, int8"),
    ],
)
def test_options_that_contradict_one_another(fields, said):
    with pytest.raises(ValueError, match=said):
        Export.model_validate(fields)
