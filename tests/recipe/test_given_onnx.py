"""What `compress check` says of a recipe that begins with an ONNX file."""

import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
from onnx import ModelProto, TensorProto, helper

from compress.core.artifact import Format
from compress.errors import RecipeError
from compress.models.onnx_file.problems import WITH_WEIGHTS
from compress.quantization import selection
from compress.quantization.storage import channels
from compress.quantization.weight_only import graph as weight_only
from compress.recipe.load import load_recipe
from compress.recipe.order import first_format
from compress.recipe.plan import describe
from tests import given_files

RECIPE = """\
version: 1
name: given
model: {{onnx: {path}{more}}}
task: {task}
data: {{{data}}}
stages:
{stages}
"""
EXPORT = "  - use: export"
TABLE = {"task": "tensor-classification", "data": "arrays: table.npz"}
TEXTS = "python: 'tests.runner.sources:is_red', tokenizer: ./words"


def problems(
    path: Path,
    *,
    stages: str = EXPORT,
    task: str = "image-classification",
    data: str = "sklearn: digits",
    more: str = "",
) -> list[str]:
    recipe = path.parent / "r.yaml"
    text = RECIPE.format(path=path, stages=stages, task=task, data=data, more=more)
    recipe.write_text(text, encoding="utf-8")
    try:
        load_recipe(recipe)
    except RecipeError as error:
        return [line.replace(str(path.parent), "") for line in error.problems]
    return []


@pytest.fixture
def digits(tmp_path: Path) -> Path:
    return given_files.save(given_files.digits(), tmp_path / "a.onnx")


def test_every_stage_that_needs_torch_is_refused_at_its_line(digits: Path) -> None:
    stages = "\n".join(
        [
            "  - {use: train, training: {epochs: 1}}",
            "  - {use: distill}",
            "  - {use: prune, target: {macs: 0.5}}",
            "  - {use: quantize, improve: [smoothquant], recovery: {}}",
            "  - {use: low_bit}",
            "  - {use: export}",
        ]
    )
    found = problems(digits, stages=stages)
    needs = "works on a PyTorch module, and 'model' is an ONNX file."
    assert [line for line in found if needs in line] == [
        f"/r.yaml:7 stages[0] (train): 'train' {needs}",
        f"/r.yaml:8 stages[1] (distill): 'distill' {needs}",
        f"/r.yaml:9 stages[2] (prune): 'prune' {needs}",
        f"/r.yaml:11 stages[4] (low_bit): 'low_bit' {needs}",
    ]
    assert [line.split(": ", 1)[1] for line in found if "r.yaml:10" in line] == [
        "'recovery' needs a PyTorch teacher, and 'model' is an ONNX file.",
        "'improve.smoothquant' is folded into a PyTorch module, and 'model' is an ONNX file.",
    ]


def test_a_right_recipe_has_a_plan_that_begins_with_onnx(digits: Path, tmp_path: Path) -> None:
    assert problems(digits, stages="  - {use: quantize}\n  - {use: export}") == []
    lines = describe(load_recipe(tmp_path / "r.yaml"))
    assert f"  model    onnx {digits}" in lines
    assert any("quantize" in line and "onnx -> onnx-int8" in line for line in lines)


def test_a_quantized_file_is_not_quantized_again(tmp_path: Path) -> None:
    model = given_files.digits(
        ending=[helper.make_node("DequantizeLinear", ["whole", "scale"], ["zeros"])],
        initializers=[
            helper.make_tensor("whole", TensorProto.INT8, [2], [1, 2]),
            helper.make_tensor("scale", TensorProto.FLOAT, [], [1.0]),
        ],
    )
    path = given_files.save(model, tmp_path / "a.onnx")
    assert problems(path) == []
    assert first_format(load_recipe(tmp_path / "r.yaml").model) is Format.ONNX_INT8
    assert problems(path, stages="  - {use: quantize}") == [
        "/r.yaml:7 stages[0] (quantize): 'quantize' takes torch or onnx and would be given "
        "onnx-int8 (the model itself)."
    ]


def test_a_file_without_weights_as_tensors_is_not_quantized(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = given_files.save(given_files.linear(), tmp_path / "a.onnx")
    monkeypatch.chdir(tmp_path)
    table = np.zeros((4, 3), np.float32)
    np.savez("table.npz", x=table, label=np.array([0, 1, 0, 1]))
    assert problems(path, **TABLE) == []
    assert problems(path, stages="  - {use: quantize}", **TABLE) == [
        "/r.yaml:7 stages[0] (quantize): 'use': nothing in the ONNX file of 'model' can be "
        "quantized: its operators are LinearClassifier, and none has weights as tensors. Leave "
        "'quantize' out."
    ]


def test_every_operator_with_weights_is_known_to_the_check() -> None:
    for table in (selection.WEIGHT_INPUT, weight_only.WEIGHT_INPUT, channels.WEIGHTS):
        assert table.keys() - {"Transpose"} <= WITH_WEIGHTS  # which only hands a weight on


def test_what_a_file_declares_is_compared_with_the_task(tmp_path: Path) -> None:
    def said(model: object, **keys: str) -> str:
        path = given_files.save(model, tmp_path / "a.onnx")  # type: ignore[arg-type]
        (line,) = problems(path, **keys)
        assert line.startswith("/r.yaml:3 ")
        return line

    given_files.tokenizer(tmp_path / "words")
    data = TEXTS.replace("./words", str(tmp_path / "words"))
    texts = {"task": "text-classification", "data": data}
    odd = [helper.make_node("Odd", ["scores"], ["p"], domain="mine")]
    assert "its node 'net/Odd_4' (Odd of domain 'mine') can't run" in said(
        given_files.digits(
            ending=odd,
            outputs=[helper.make_tensor_value_info("p", 1, ["N", 10])],
            domains=[("mine", 1)],
        )
    )
    assert "its input 'a' (int64, N x S) has no value: the task gives input_ids" in said(
        given_files.texts(names=("a", "b")), **texts
    )
    assert "takes texts as they are" in said(given_files.texts(element=TensorProto.STRING), **texts)
    assert "unknown input 'c'" in said(
        given_files.texts(names=("a", "b")), more=", inputs: {c: input_ids}", **texts
    )
    assert "unknown output 'x'. Known: scores." in said(
        given_files.digits(), more=", outputs: {x: logits}"
    )
    assert "must be 7 or later. Got 6" in said(given_files.digits(opset=6))


def two(*inputs: str) -> ModelProto:
    """Return a sum of two rows of numbers, and their product."""
    nodes = [helper.make_node(kind, list(inputs), [kind]) for kind in ("Add", "Mul")]
    ends = [
        [helper.make_tensor_value_info(name, TensorProto.FLOAT, ["N", 3]) for name in names]
        for names in (inputs, ("Add", "Mul"))
    ]
    graph = helper.make_graph(nodes, "two", *ends)
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=8)


@pytest.mark.parametrize("kind", ["npz", "npy", "csv"])
def test_names_are_compared_with_those_of_a_task_on_tensors(
    kind: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    columns = {name: np.zeros(8, np.float32) for name in ("left", "right", "y")}
    if kind == "npz":
        np.savez("data.npz", **columns)
        data = "arrays: data.npz, columns: {label: y}"
    elif kind == "npy":
        for name, values in columns.items():
            np.save(f"{name}.npy", values)
        data = "arrays: ., columns: {label: y}"
    else:
        Path("data.csv").write_text("left,right,y\n" + "0.5,1,1\n" * 8)
        data = "huggingface: csv, files: {train: data.csv}, columns: {label: y}"
    outputs = "{sum: values, product: values}"
    task = f"{{name: tensor-regression, arguments: {{outputs: {outputs}}}}}"
    keys = {"task": task, "data": data}
    named = ", outputs: {Add: sum, Mul: product}"
    right = given_files.save(two("left", "right"), tmp_path / "right.onnx")
    assert problems(right, more=named, **keys) == []
    (line,) = problems(right, **keys)
    assert line.startswith(
        "/r.yaml:3 'model.onnx': '/right.onnx': several of its outputs can be th"
    )
    other = given_files.save(two("a", "b"), tmp_path / "other.onnx")
    (line,) = problems(other, more=named, **keys)
    said = "its input 'a' (float32, N x 3) has no value: the task gives left, right. Say which"
    assert said in line
    assert problems(other, more=f"{named}, inputs: {{a: left, b: right}}", **keys) == []


def test_what_the_data_says_is_compared_with_the_file(tmp_path: Path) -> None:
    path = given_files.save(given_files.digits(), tmp_path / "a.onnx")
    assert problems(path, data="sklearn: digits, image: {size: [8, 8]}") == []
    (line,) = problems(path, data="sklearn: digits, image: {size: [16, 16]}")
    assert "'data.image.size' must be [8, 8], the only size that the ONNX file takes" in line
    path = given_files.save(given_files.texts(), tmp_path / "a.onnx")
    trained = "python: 'tests.runner.sources:is_red', tokenizer: {train: {vocab_size: 300}}"
    (line,) = problems(path, task="text-classification", data=trained)
    assert "a new tokenizer's tokens aren't those that the ONNX file of 'model' knows" in line


def test_missing_weights_are_named(tmp_path: Path) -> None:
    path = tmp_path / "a.onnx"
    options = {"save_as_external_data": True, "location": "a.bin", "size_threshold": 0}
    given_files.save(given_files.digits(), path, **options)
    assert problems(path) == []
    (tmp_path / "a.bin").unlink()
    (line,) = problems(path)
    assert "its weights are missing: there is no file 'a.bin'" in line


@pytest.mark.parametrize(
    ("more", "message"),
    [
        (", arguments: {a: 1}", "'model.arguments' doesn't go with 'onnx'"),
        (", weights: a.bin", "'model.weights' goes with 'python'"),
        (", preprocessing: ./nowhere", "there is no folder './nowhere'"),
    ],
)
def test_keys_that_do_not_go_together_are_refused(more: str, message: str, digits: Path) -> None:
    (line,) = problems(digits, more=more)
    assert message in line


def test_keys_of_an_onnx_file_are_its_alone(digits: Path) -> None:
    recipe = digits.parent / "r.yaml"
    text = RECIPE.format(
        path="x", more="", task="image-classification", data="sklearn: digits", stages=EXPORT
    )
    text = text.replace("{onnx: x}", "{python: 'a:b', outputs: {c: d}}")
    recipe.write_text(text, encoding="utf-8")
    with pytest.raises(RecipeError, match=r"'model.outputs' goes with 'onnx'"):
        load_recipe(recipe)


def test_a_check_reads_a_large_file_in_a_moment_and_without_onnx(tmp_path: Path) -> None:
    model = given_files.digits()
    zeros = b"\0" * 100_000_000
    model.graph.initializer.add(
        name="unread", data_type=TensorProto.FLOAT, dims=[25_000_000], raw_data=zeros
    )
    path = tmp_path / "a.onnx"
    path.write_bytes(model.SerializeToString())
    assert problems(path) == []
    program = (
        "import sys; from pathlib import Path; from compress.recipe.load import load_recipe\n"
        f"load_recipe(Path({str(tmp_path / 'r.yaml')!r}))\n"
        "print([name for name in ('onnx', 'numpy', 'torch') if name in sys.modules])"
    )
    start = time.process_time()
    load_recipe(tmp_path / "r.yaml")
    assert time.process_time() - start < 1
    ended = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True)
    assert ended.stdout.strip() == "[]", ended.stderr
