"""Runs that begin with an ONNX file: measured, quantized and put into a bundle that answers."""

import json
import re
import shutil
import tempfile
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnxruntime
import pytest
from onnx import helper, numpy_helper
from onnxruntime.transformers.float16 import convert_float_to_float16

import compress
from compress.core.artifact import Format
from compress.core.batch import model_inputs
from compress.core.progress import Silent
from compress.errors import ModelError, StageError
from compress.exporting.parity.compare import onnx_answers
from compress.exporting.verify.bundle import verify_bundle
from compress.onnx_graph.files import load_graph
from compress.onnx_graph.metadata import metadata_of
from compress.recipe.load import recipe_from_dict
from compress.report.document import Report, Row
from compress.runner.preview.look import look
from tests import given_files

DOCUMENT = Path(__file__).parents[2] / "docs" / "onnx.md"
QUICK = {"batch_sizes": [1, 4], "rounds": 5, "warmup": 1, "seconds": 0.01, "samples": 60}
TRIALS = {"samples": 60, "rounds": 5, "seconds": 0.01, "batch_sizes": [1, 4]}
QUANTIZE: dict[str, Any] = {
    "use": "quantize",
    "calibration": {"samples": 16},
    "evaluation": TRIALS,
}
DIGITS = {"sklearn": "digits", "limit": {"train": 200}, "calibration_samples": 16}


class Lines(Silent):
    """Keeps what is said."""

    def __init__(self) -> None:
        self.lines: list[str] = []

    def say(self, line: str) -> None:
        self.lines.append(line)


def go(
    path: Path,
    *stages: dict[str, Any],
    output: Path,
    task: str | dict[str, Any] = "image-classification",
    data: dict[str, Any] | None = None,
    progress: Lines | None = None,
    **model: Any,
) -> Report:
    recipe = recipe_from_dict(
        {
            "version": 1,
            "name": "given",
            "model": {"onnx": str(path), **model},
            "task": task,
            "data": data or DIGITS,
            "measure": QUICK,
            "stages": list(stages) or [{"use": "export"}],
        }
    )
    return compress.run(recipe, output=output, threads=1, progress=progress)


def row(report: Report, name: str) -> Row:
    return next(each for each in report.stages if each.name == name)


def statuses(folder: Path) -> set[str]:
    return {check.status for check in verify_bundle(folder)}


def with_softmax(**changes: Any) -> onnx.ModelProto:
    ending = [helper.make_node("Softmax", ["scores"], ["p"], axis=-1)]
    outputs = [helper.make_tensor_value_info("p", 1, ["N", 10])]
    return given_files.digits(ending=ending, outputs=outputs, **changes)


@pytest.fixture(scope="module")
def documented(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Report]:
    """The run of the document's own recipe, in a folder beside digits.onnx."""
    folder = tmp_path_factory.mktemp("documented")
    given_files.save(with_softmax(opset=13), folder / "digits.onnx")
    (found,) = re.findall(r"^```yaml\n(.*?)^```$", DOCUMENT.read_text(), re.MULTILINE | re.DOTALL)
    (folder / "recipe.yaml").write_text(found, encoding="utf-8")
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        overrides = [
            f"stages.quantize.evaluation.{key}={value}"
            for key, value in (("rounds", 5), ("seconds", 0.01), ("samples", 60))
        ]
        overrides += ["measure.rounds=5", "measure.seconds=0.01", "data.limit.train=300"]
        report = compress.run("recipe.yaml", overrides=overrides, threads=1)
    return folder, report


@pytest.mark.slow
def test_the_documents_recipe_gives_a_measured_bundle(documented: tuple[Path, Report]) -> None:
    folder, report = documented
    assert report.status == "passed"
    original, quantize, export = report.stages
    sizes = [array.size for array in given_files.weights().values()]
    assert original.params == quantize.params == export.params == sum(sizes)
    assert original.macs == quantize.macs == 8 * 64 * 9 + 512 * 10
    assert original.quality.metric == "accuracy"
    assert original.quality.value > 0.9
    assert original.quality.ci95[0] < original.quality.value
    assert quantize.size_bytes < original.size_bytes / 2
    assert set(export.latency_ms) == {"1", "8"}
    first = original.notes[0]
    assert first.startswith("the reference is the given file digits.onnx (opset 13, written by ano")
    bundle = folder / "exports" / "digits-from-onnx"
    assert statuses(bundle) == {"ok"}
    manifest = json.loads((bundle / "manifest.json").read_text())
    origin = manifest["made_from"]["model"]
    assert (origin["kind"], origin["name"]) == ("onnx", "digits.onnx")
    assert json.loads((bundle / "labels.json").read_text()) == [str(n) for n in range(10)]


@pytest.mark.slow
def test_a_bundle_can_be_the_beginning(documented: tuple[Path, Report], tmp_path: Path) -> None:
    bundle = documented[0] / "exports" / "digits-from-onnx"
    report = go(bundle / "model.onnx", output=tmp_path / "run")
    assert {each.name for each in report.stages} == {"original", "export"}
    assert report.stages[0].params == documented[1].stages[0].params
    assert statuses(tmp_path / "run") == {"ok"}
    assert metadata_of(tmp_path / "run" / "model.onnx")["task"] == "image-classification"


def test_a_changed_file_is_computed_again_and_an_unchanged_one_is_not(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path, output = tmp_path / "a.onnx", tmp_path / "run"
    options = {"save_as_external_data": True, "location": "a.bin", "size_threshold": 0}
    model = given_files.digits()
    given_files.save(given_files.digits(), path, **options)
    half = {"use": "export", "precision": "fp16"}
    aside = tmp_path / "aside"
    aside.mkdir()
    monkeypatch.setattr(tempfile, "tempdir", str(aside))
    first = go(path, half, output=output)
    assert not list(aside.glob("compress-*")), "what was written aside is gone"
    assert any(note.startswith("fp16, with float32 inputs") for note in first.stages[1].notes)
    said = Lines()
    assert go(path, half, output=output, progress=said).stages == first.stages
    assert sum("taken from disk" in line for line in said.lines) == 2
    held = {tensor.name: tensor for tensor in model.graph.initializer}
    changed = numpy_helper.to_array(held["shift"]) + np.float32(1)
    held["shift"].CopyFrom(numpy_helper.from_array(changed, "shift"))
    before = path.read_bytes()
    (tmp_path / "a.bin").unlink()  # onnx would append to it
    given_files.save(model, path, **options)
    assert path.read_bytes() == before, "the weights lie in a file of their own"
    said = Lines()
    go(path, half, output=output, progress=said)
    assert not any("taken from disk" in line for line in said.lines)


@pytest.mark.slow
def test_a_batch_of_one_is_run_one_by_one_in_the_bundle_too(tmp_path: Path) -> None:
    held = [
        numpy_helper.from_array(np.ones((1, 1), np.float32), "one"),
        numpy_helper.from_array(np.array([0]), "from"),
        numpy_helper.from_array(np.array([10]), "to"),
        numpy_helper.from_array(np.array([1]), "axis"),
    ]
    ending = [
        helper.make_node("Concat", ["scores", "one"], ["wide"], axis=1),
        helper.make_node("Slice", ["wide", "from", "to", "axis"], ["kept"]),
    ]
    outputs = [helper.make_tensor_value_info("kept", 1, [1, 10])]
    model = given_files.digits(batch=1, ending=ending, outputs=outputs, initializers=held)
    path = given_files.save(model, tmp_path / "a.onnx")
    static = {**QUANTIZE, "method": "static"}
    report = go(path, static, {"use": "export"}, output=tmp_path / "run")
    original = report.stages[0]
    assert any("it takes 1 sample at a time" in note for note in original.notes)
    assert original.quality.value > 0.9
    assert original.latency_ms["4"].p50 > original.latency_ms["1"].p50
    assert statuses(tmp_path / "run") == {"ok"}
    (shape,) = [value.type.tensor_type.shape for value in load_graph(path).inputs.values()]
    assert shape.dim[0].dim_value == 1


def texts(folder: Path, **changes: Any) -> tuple[Path, dict[str, Any]]:
    """A file in the layout of the hub, with its tokenizer in the folder above."""
    given_files.tokenizer(folder)
    (folder / "onnx").mkdir()
    path = given_files.save(given_files.texts(**changes), folder / "onnx" / "model.onnx")
    return path, {"python": "tests.runner.sources:is_red", "calibration_samples": 16}


@pytest.mark.slow
@pytest.mark.parametrize(("method", "inside"), [("auto", ""), ("weight_only", ""), (None, "If")])
def test_texts_are_quantized_and_answer_from_the_bundle(
    method: str | None, inside: str, tmp_path: Path
) -> None:
    path, data = texts(tmp_path, element=onnx.TensorProto.INT32, inside=inside)
    stages: list[dict[str, Any]] = [{"use": "export"}]
    if method is not None:  # no method quantizes a matmul inside an If
        stages.insert(0, {**QUANTIZE, "method": method, "budget": 0.1})
    report = go(path, *stages, output=tmp_path / "run", task="text-classification", data=data)
    assert report.stages[0].quality.value == 1
    assert report.stages[-1].quality.value > 0.9
    assert statuses(tmp_path / "run") == {"ok"}
    assert (tmp_path / "run" / "tokenizer.json").is_file()
    if not inside:
        assert report.stages[1].size_bytes < 0.6 * report.stages[0].size_bytes


@pytest.mark.slow
def test_without_labels_a_transformer_is_compared_with_the_given_file(
    exported_model: Any, tmp_path: Path
) -> None:
    _, exported = exported_model("bert")
    given_files.tokenizer(tmp_path)
    path = tmp_path / "model.onnx"
    shutil.copyfile(exported, path)
    data = {
        "python": "tests.runner.sources:is_red",
        "columns": {"label": None},
        "calibration_samples": 16,
    }
    report = go(
        path,
        {**QUANTIZE, "method": "dynamic", "graph": "attention"},
        {"use": "export"},
        output=tmp_path / "run",
        task="text-classification",
        data=data,
    )
    original, quantize, _ = report.stages
    assert original.quality.metric == "agreement"
    assert original.quality.value == 1
    assert quantize.quality.value <= 1
    assert any("attentions as one operator" in note for note in quantize.notes)
    assert "failed" not in statuses(tmp_path / "run")


@pytest.mark.slow
def test_tensors_go_to_several_outputs(tmp_path: Path) -> None:
    path = given_files.save(given_files.two_and_two(), tmp_path / "a.onnx")
    generator = np.random.default_rng(5)
    table = generator.normal(size=(200, 3)).astype(np.float32)
    age = generator.integers(0, 5, 200)
    opened = onnxruntime.InferenceSession(str(path), providers=["CPUExecutionProvider"])
    own = {"table": table, "age": age[:, None].astype(np.float32)}
    box, probability = opened.run(None, own)
    arrays = {"table": table, "age": age, "kind": probability.argmax(-1), "box": box}
    np.savez(tmp_path / "data.npz", **arrays)
    outputs = {"kind": "classes", "box": "values"}
    report = go(
        path,
        {**QUANTIZE, "method": "dynamic"},
        {"use": "export"},
        output=tmp_path / "run",
        task={"name": "tensor-classification", "arguments": {"outputs": outputs}},
        data={
            "arrays": str(tmp_path / "data.npz"),
            "columns": {"targets": {"kind": "kind", "box": "box"}},
            "calibration_samples": 16,
        },
    )
    original, _, export = report.stages
    assert original.quality.metric == "kind_accuracy"
    assert original.quality.value == 1
    assert export.quality.value > 0.8
    assert "its input 'age' takes a column: single numbers become rows of one" in original.notes
    assert statuses(tmp_path / "run") == {"ok"}


def test_a_model_with_its_parameters_in_nodes_is_measured(tmp_path: Path) -> None:
    """As a forest: no parameters are counted, which is no change to the original."""
    path = given_files.save(given_files.linear(), tmp_path / "a.onnx")
    generator = np.random.default_rng(0)
    values = generator.normal(size=(120, 3)).astype(np.float32)
    labels = (values @ [1, 2, -3] < 0).astype(np.int64)
    np.savez(tmp_path / "table.npz", x=values, label=labels)
    report = go(
        path,
        output=tmp_path / "run",
        task="tensor-classification",
        data={"arrays": str(tmp_path / "table.npz"), "calibration_samples": 8},
    )
    export = row(report, "export")
    assert export.params == 0
    assert export.delta.params == 0
    assert export.quality.value > 0.7
    assert statuses(tmp_path / "run") == {"ok"}


def test_a_look_compares_names_with_a_task_whose_code_a_check_does_not_run(tmp_path: Path) -> None:
    values = np.zeros((40, 3), np.float32)
    np.savez(tmp_path / "table.npz", features=values, age=values, label=values)
    inputs = [helper.make_tensor_value_info(name, 1, ["N", 3]) for name in ("features", "height")]
    node = helper.make_node("Add", ["features", "height"], ["values"])
    output = helper.make_tensor_value_info("values", 1, ["N", 3])
    graph = helper.make_graph([node], "two", inputs, [output])
    path = tmp_path / "a.onnx"
    onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)]), path)
    recipe: dict[str, Any] = {
        "version": 1,
        "name": "given",
        "model": {"onnx": str(path)},
        "task": {"python": "tests.tasks.wrong:TwoOutputs"},
        "data": {"arrays": str(tmp_path / "table.npz")},
        "stages": [{"use": "export"}],
    }
    said = r"its input 'height' \(float32, N x 3\) has no value: the task gives features\."
    with pytest.raises(ModelError, match=said):
        look(recipe_from_dict(recipe))
    recipe["task"] = {"python": "tests.tasks.wrong:OtherInput"}
    assert look(recipe_from_dict(recipe)).model == "model.onnx"  # one is left for one


def test_names_of_classes_come_from_the_file(tmp_path: Path) -> None:
    """Their order is the file's, which isn't that of the data's own names."""
    names = ["setosa", "virginica", "versicolor"]
    held = [numpy_helper.from_array(np.eye(3, dtype=np.float32) * 9, "w")]
    entry = helper.make_map_type_proto(
        onnx.TensorProto.STRING, helper.make_tensor_type_proto(onnx.TensorProto.FLOAT, None)
    )
    nodes = [
        helper.make_node("MatMul", ["X", "w"], ["s"]),
        helper.make_node("Softmax", ["s"], ["p"], axis=1),
        helper.make_node("ZipMap", ["p"], ["m"], domain="ai.onnx.ml", classlabels_strings=names),
    ]
    graph = helper.make_graph(
        nodes,
        "classifier",
        [helper.make_tensor_value_info("X", 1, [None, 3])],
        [helper.make_value_info("m", helper.make_sequence_type_proto(entry))],
        held,
    )
    opsets = [helper.make_opsetid("", 17), helper.make_opsetid("ai.onnx.ml", 1)]
    path = tmp_path / "a.onnx"
    onnx.save(helper.make_model(graph, opset_imports=opsets, ir_version=8), path)
    table = np.eye(3, dtype=np.float32).repeat(20, 0)
    np.savez(tmp_path / "data.npz", x=table, label=np.array(names).repeat(20))
    artifact, context = compress.load(
        {"onnx": path},
        "tensor-classification",
        {"arrays": str(tmp_path / "data.npz")},
        threads=1,
    )
    assert artifact.labels == tuple(names)
    batch = next(iter(context.data.loader("train", artifact.require_preprocessor(), batch_size=48)))
    answers = onnx_answers(artifact.require_onnx())(model_inputs(batch))
    np.testing.assert_array_equal(answers.argmax(-1), batch["labels"].numpy())


@pytest.mark.slow
def test_half_precision_is_quantized_from_float32_values(tmp_path: Path) -> None:
    path = given_files.save(convert_float_to_float16(given_files.digits()), tmp_path / "a.onnx")
    artifact, context = compress.load(
        {"onnx": path}, "image-classification", DIGITS, directory=tmp_path / "work", threads=1
    )
    assert artifact.format is Format.ONNX
    assert artifact.onnx is not None
    made = compress.Quantize(method="static", calibration={"samples": 16}, evaluation=TRIALS).apply(
        artifact, context
    )
    assert "weights stored in float16 were quantized from float32" in made.notes
    trained = compress.Quantize(method="static", recovery={}, evaluation=TRIALS)
    again = replace(context, directory=tmp_path / "again")
    again.directory.mkdir()
    with pytest.raises(StageError, match="needs a PyTorch teacher, and the reference is an ONNX"):
        trained.apply(artifact, again)
    batch = next(iter(context.data.loader("test", artifact.require_preprocessor(), batch_size=16)))
    inputs = model_inputs(batch)
    wanted = onnx_answers(artifact.onnx)(inputs)
    opened = onnxruntime.InferenceSession(str(path), providers=["CPUExecutionProvider"])
    own = opened.run(None, {"images": inputs["pixel_values"].numpy().astype(np.float16)})[0]
    np.testing.assert_allclose(wanted, own, atol=1e-2)
    same = onnx_answers(made.require_onnx())(inputs).argmax(-1) == wanted.argmax(-1)
    assert same.mean() > 0.8


def test_what_the_data_shows_is_refused_before_anything_is_written(tmp_path: Path) -> None:
    path = given_files.save(given_files.digits(shape=(3, 8, 8)), tmp_path / "a.onnx")
    with pytest.raises(ModelError, match="'images' must be N x 3 x 8 x 8, and each sample's"):
        go(path, output=tmp_path / "run")
    assert not (tmp_path / "run").exists()


def test_a_tokenizer_with_more_tokens_than_the_table_is_refused(tmp_path: Path) -> None:
    path, data = texts(tmp_path)
    model = onnx.load(path)
    for tensor in model.graph.initializer:
        if tensor.name == "table":
            values = numpy_helper.to_array(tensor)[:12]
            tensor.CopyFrom(numpy_helper.from_array(values, "table"))
    onnx.save(model, path)
    with pytest.raises(ModelError, match=r"18 tokens, but model.onnx knows only 12: name the file"):
        go(path, output=tmp_path / "run", task="text-classification", data=data)
