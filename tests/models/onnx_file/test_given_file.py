"""Files of other exporters, taken into the form of our own: their answers stay."""

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnxruntime
import pytest
from numpy.typing import NDArray
from onnx import ModelProto, TensorProto, helper, numpy_helper
from onnxruntime.transformers.float16 import convert_float_to_float16

from compress.core.context import Target
from compress.errors import ModelError
from compress.measurement.session import run, session
from compress.models.onnx_file.load import GivenFile, take
from compress.models.onnx_file.matching import Activation, Wanted
from compress.onnx_graph.files import check_file, load_graph
from compress.onnx_graph.types import declared_type
from tests import given_files

Array = NDArray[Any]
ACTIVATIONS: Mapping[str, Activation] = {"class": "softmax", "class-set": "sigmoid"}
LINE = [f"digit {index}" for index in range(10)]


def images(count: int = 4) -> dict[str, Array]:
    generator = np.random.default_rng(1)
    return {"pixel_values": generator.random((count, 1, 8, 8)).astype(np.float32)}


def tokens(length: int = 6) -> dict[str, Array]:
    """Texts of several lengths, padded; the last one is full."""
    ids = np.zeros((4, length), np.int64)
    mask = np.zeros((4, length), np.int64)
    for row, own in enumerate((3, 4, 5, length)):
        ids[row, :own] = [2, *range(9, 9 + own - 2), 3]
        mask[row, :own] = 1
    return {"input_ids": ids, "attention_mask": mask}


def taken(
    path: Path,
    batch: Mapping[str, Array],
    *,
    texts: bool = False,
    target: Target = "class",
    inputs: Mapping[str, str] | None = None,
    outputs: Mapping[str, str] | None = None,
    wanted: Sequence[Wanted] = (),
) -> tuple[Path, tuple[str, ...]]:
    given = GivenFile(
        path,
        wanted or (Wanted("logits", ACTIVATIONS.get(target), 3 if target == "next-token" else 2),),
        target=target,
        texts=texts,
        inputs=inputs or {},
        outputs=outputs or {},
    )
    to = path.parent / "taken.onnx"
    notes = take(given, batch, to=to, metadata={"task": "a task"})  # type: ignore[arg-type]
    check_file(to, types=False)
    return to, notes


def scores(path: Path, batch: Mapping[str, Array]) -> Array:
    return run(session(path, threads=1), batch)["logits"]


def own_answers(path: Path, inputs: Mapping[str, Array], *, at: int = 0) -> Any:
    """What ONNX Runtime says of the given file itself."""
    opened = onnxruntime.InferenceSession(str(path), providers=["CPUExecutionProvider"])
    return opened.run(None, dict(inputs))[at]


def softmax(values: Array) -> Array:
    powers = np.exp(values - values.max(-1, keepdims=True))
    return np.asarray(powers / powers.sum(-1, keepdims=True))


def shape_of(path: Path) -> Sequence[object]:
    (value,) = load_graph(path).inputs.values()
    return declared_type(value).shape or ()


def out(name: str, *axes: int | str, element: int = TensorProto.FLOAT) -> Any:
    return helper.make_tensor_value_info(name, element, axes or ("N", 10))


@pytest.mark.parametrize("opset", [11, 13, 17, 20, 23])
def test_files_of_each_opset_answer_as_before(opset: int, tmp_path: Path) -> None:
    path = given_files.save(given_files.digits(opset=opset), tmp_path / "a.onnx")
    to, notes = taken(path, images())
    wanted = own_answers(path, {"images": images()["pixel_values"]})
    np.testing.assert_allclose(scores(to, images()), wanted, rtol=1e-5, atol=1e-5)
    assert load_graph(to).opset == max(opset, 18)
    assert ("opset 11 is raised to 18" in notes) == (opset == 11)
    assert "its input 'images' is named 'pixel_values', as the task names it" in notes
    assert shape_of(to) == ("batch_size", 1, 8, 8)


def test_every_node_gets_a_name_and_constants_become_weights(tmp_path: Path) -> None:
    model = given_files.digits(named=False, constants=True)
    to, _ = taken(given_files.save(model, tmp_path / "a.onnx"), images())
    graph = load_graph(to)
    names = [node.name for node in graph.nodes]
    assert all(names)
    assert len(set(names)) == len(names)
    assert {"kernel", "dense"} <= graph.initializers.keys()


def test_weights_that_are_declared_as_inputs_are_constants(tmp_path: Path) -> None:
    model = given_files.digits()
    model.graph.input.append(helper.make_tensor_value_info("bias", TensorProto.FLOAT, [8]))
    to, _ = taken(given_files.save(model, tmp_path / "a.onnx"), images())
    assert list(load_graph(to).inputs) == ["pixel_values"]


@pytest.mark.parametrize("opset", [11, 18])
def test_a_last_softmax_is_left_to_the_bundle(opset: int, tmp_path: Path) -> None:
    axis = {} if opset < 13 else {"axis": -1}
    ending = [helper.make_node("Softmax", ["scores"], ["p"], **axis)]
    model = given_files.digits(opset=opset, ending=ending, outputs=[out("p")])
    path = given_files.save(model, tmp_path / "a.onnx")
    to, notes = taken(path, images())
    wanted = own_answers(path, {"images": images()["pixel_values"]})
    np.testing.assert_allclose(softmax(scores(to, images())), wanted, atol=1e-6)
    assert "Softmax" not in {node.op_type for node in load_graph(to).nodes}
    assert "its last softmax is left to the bundle, whose infer.py applies it" in notes


def test_probabilities_that_no_softmax_made_become_their_logarithms(tmp_path: Path) -> None:
    """Such as a forest's; a bundle would take a softmax of them."""
    ends = [numpy_helper.from_array(np.array(x, np.float32), n) for n, x in (("a", 0), ("b", 1))]
    ending = [
        helper.make_node("Softmax", ["scores"], ["q"], axis=-1),
        helper.make_node("Clip", ["q", "a", "b"], ["p"]),
    ]
    model = given_files.digits(ending=ending, outputs=[out("p")], initializers=ends)
    path = given_files.save(model, tmp_path / "a.onnx")
    to, notes = taken(path, images())
    wanted = own_answers(path, {"images": images()["pixel_values"]})
    np.testing.assert_allclose(softmax(scores(to, images())), wanted, atol=1e-5)
    assert "its answers are probabilities: their logarithms are its scores" in notes


@pytest.mark.parametrize("plain", [True, False])
def test_probabilities_of_sets_of_classes_become_scores(plain: bool, tmp_path: Path) -> None:
    more = [] if plain else [helper.make_node("Abs", ["q"], ["p"])]
    ending = [helper.make_node("Sigmoid", ["scores"], ["p" if plain else "q"]), *more]
    model = given_files.digits(ending=ending, outputs=[out("p")])
    path = given_files.save(model, tmp_path / "a.onnx")
    to, _ = taken(path, images(), target="class-set")
    wanted = own_answers(path, {"images": images()["pixel_values"]})
    np.testing.assert_allclose(1 / (1 + np.exp(-scores(to, images()))), wanted, atol=1e-5)


def zipmap(**classes: Any) -> ModelProto:
    """As scikit-learn's converter writes classifiers: a label, and a dictionary for each sample."""
    key = TensorProto.STRING if "classlabels_strings" in classes else TensorProto.INT64
    entry = helper.make_map_type_proto(key, helper.make_tensor_type_proto(TensorProto.FLOAT, None))
    maps = helper.make_value_info("maps", helper.make_sequence_type_proto(entry))
    ending = [
        helper.make_node("Softmax", ["scores"], ["p"], axis=-1),
        helper.make_node("ArgMax", ["p"], ["label"], axis=1, keepdims=0),
        helper.make_node("ZipMap", ["p"], ["maps"], domain="ai.onnx.ml", **classes),
    ]
    label = out("label", "N", element=TensorProto.INT64)
    domains = [("ai.onnx.ml", 2)]
    return given_files.digits(ending=ending, outputs=[label, maps], domains=domains, opset=13)


@pytest.mark.parametrize(
    "classes", [{"classlabels_strings": LINE}, {"classlabels_int64s": list(range(10))}]
)
def test_dictionaries_of_a_zipmap_become_scores(classes: Any, tmp_path: Path) -> None:
    path = given_files.save(zipmap(**classes), tmp_path / "a.onnx")
    to, notes = taken(path, images())
    maps = own_answers(path, {"images": images()["pixel_values"]}, at=1)
    wanted = [list(one.values()) for one in maps]
    np.testing.assert_allclose(softmax(scores(to, images())), wanted, atol=1e-6)
    assert "its dictionaries of probabilities (maps) are left to 'labels.json'" in notes
    assert "its outputs label are left out" in notes
    assert "opset 13 is raised to 18" in notes
    assert {node.domain for node in load_graph(to).nodes} == {""}


def test_a_classifier_of_classic_machine_learning_is_taken(tmp_path: Path) -> None:
    held = given_files.weights()
    ending = [
        helper.make_node(
            "LinearClassifier",
            ["flat"],
            ["label", "p"],
            domain="ai.onnx.ml",
            coefficients=held["dense"].T.ravel().tolist(),
            intercepts=held["shift"].tolist(),
            classlabels_ints=list(range(10)),
            multi_class=1,
            post_transform="SOFTMAX",
        )
    ]
    outputs = [out("label", "N", element=TensorProto.INT64), out("p")]
    model = given_files.digits(ending=ending, outputs=outputs, domains=[("ai.onnx.ml", 1)])
    path = given_files.save(model, tmp_path / "a.onnx")
    to, _ = taken(path, images())
    wanted = own_answers(path, {"images": images()["pixel_values"]}, at=1)
    np.testing.assert_allclose(softmax(scores(to, images())), wanted, atol=1e-5)


def channels_last() -> ModelProto:
    """As Keras and TensorFlow have images."""
    model = given_files.digits(name="turned", opset=13)
    turn = helper.make_node("Transpose", ["input:0"], ["turned"], perm=[0, 3, 1, 2])
    model.graph.node.insert(0, turn)
    model.graph.input[0].CopyFrom(out("input:0", "N", 8, 8, 1))
    return model


def test_a_file_with_operators_of_classic_machine_learning_alone_is_taken(tmp_path: Path) -> None:
    path = given_files.save(given_files.linear(), tmp_path / "a.onnx")
    batch = {"x": np.random.default_rng(0).normal(size=(4, 3)).astype(np.float32)}
    to, _ = taken(path, batch)
    wanted = own_answers(path, batch, at=1)
    np.testing.assert_allclose(softmax(scores(to, batch)), wanted, atol=1e-5)


@pytest.mark.parametrize("mode", ["linear", "nearest"])
def test_an_opset_whose_conversion_changes_answers_stays(mode: str, tmp_path: Path) -> None:
    """onnx turns Upsample of opset 9 into a Resize that takes other places, if it is linear."""
    model = given_files.digits(opset=9)
    del model.graph.node[2:]
    scales = np.array([1, 1, 2, 2], np.float32)
    model.graph.initializer.append(numpy_helper.from_array(scales, "scales"))
    pooled = {"kernel_shape": [3, 3], "strides": [2, 2]}
    model.graph.node.extend(
        [
            helper.make_node("Upsample", ["relu", "scales"], ["larger"], "up", mode=mode),
            helper.make_node("MaxPool", ["larger"], ["pool"], "pool", pads=[0, 0, 1, 1], **pooled),
            helper.make_node("Flatten", ["pool"], ["flat"], "flat", axis=1),
            helper.make_node("Gemm", ["flat", "dense", "shift"], ["scores"], "last"),
        ]
    )
    path = given_files.save(model, tmp_path / "a.onnx")
    to, notes = taken(path, images())
    wanted = own_answers(path, {"images": images()["pixel_values"]})
    np.testing.assert_allclose(scores(to, images()), wanted, rtol=1e-4, atol=1e-4)
    stays = [note for note in notes if note.startswith("opset 9 stays, as onnx's conversion")]
    assert bool(stays) == (load_graph(to).opset == 9)
    assert bool(stays) == (mode == "linear")


def test_large_weights_take_no_part_in_changes_by_onnx(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """onnx converts opsets and inlines functions in messages, which end at 2 GiB."""
    model = given_files.digits(opset=13)
    add = helper.make_node("Add", ["x", "x"], ["y"])
    opsets = [helper.make_opsetid("", 13)]
    twice = helper.make_function("own", "Twice", ["x"], ["y"], [add], opsets)
    model.functions.append(twice)
    model.opset_import.append(helper.make_opsetid("own", 1))
    model.graph.node.append(helper.make_node("Twice", ["scores"], ["double"], domain="own"))
    model.graph.output[0].name = "double"
    options = {"save_as_external_data": True, "location": "a.bin", "size_threshold": 0}
    path = given_files.save(model, tmp_path / "a.onnx", **options)
    monkeypatch.setattr("compress.onnx_graph.files.SINGLE_FILE_BYTES", 1000)
    seen: list[int] = []

    def sized(change: Callable[..., Any]) -> Callable[..., Any]:
        def changed(given: ModelProto, *more: Any) -> Any:
            seen.append(given.ByteSize())
            return change(given, *more)

        return changed

    converter = onnx.version_converter
    monkeypatch.setattr(converter, "convert_version", sized(converter.convert_version))
    inlined = sized(onnx.inliner.inline_local_functions)
    monkeypatch.setattr("compress.onnx_graph.tidy.inline_local_functions", inlined)
    to, notes = taken(path, images())
    assert len(seen) == 2
    assert max(seen) < 2000 < given_files.weights()["dense"].nbytes
    assert "opset 13 is raised to 18" in notes
    assert (to.parent / "taken.onnx.data").stat().st_size > 20_000
    wanted = own_answers(path, {"images": images()["pixel_values"]})
    np.testing.assert_allclose(scores(to, images()), wanted, rtol=1e-4, atol=1e-4)


def test_images_with_channels_last_are_turned(tmp_path: Path) -> None:
    path = given_files.save(channels_last(), tmp_path / "a.onnx")
    to, notes = taken(path, images())
    last = np.ascontiguousarray(images()["pixel_values"].transpose(0, 2, 3, 1))
    np.testing.assert_allclose(
        scores(to, images()), own_answers(path, {"input:0": last}), rtol=1e-5, atol=1e-5
    )
    assert shape_of(to) == ("batch_size", 1, 8, 8)
    assert "its input 'input:0' has its channels last: images are turned to that" in notes


def test_half_precision_keeps_its_weights_and_takes_float32(tmp_path: Path) -> None:
    model = convert_float_to_float16(given_files.digits())
    path = given_files.save(model, tmp_path / "a.onnx")
    to, notes = taken(path, images())
    half = images()["pixel_values"].astype(np.float16)
    wanted = own_answers(path, {"images": half})
    assert wanted.dtype == np.float16
    np.testing.assert_allclose(scores(to, images()), wanted, atol=1e-2)
    assert scores(to, images()).dtype == np.float32
    assert load_graph(to).initializers["kernel"].data_type == TensorProto.FLOAT16
    assert "its input 'images' takes float16: float32 is cast to it" in notes


def test_external_data_come_along(tmp_path: Path) -> None:
    path = tmp_path / "a.onnx"
    options = {"save_as_external_data": True, "location": "a.bin", "size_threshold": 0}
    given_files.save(given_files.digits(), path, **options)
    to, _ = taken(path, images())
    answers = scores(to, images())
    (tmp_path / "a.bin").unlink()
    np.testing.assert_array_equal(scores(to, images()), answers)


@pytest.mark.parametrize("batch", [1, 4, 8])
@pytest.mark.parametrize("reshape", [True, False])
def test_a_fixed_batch_is_freed(batch: int, reshape: bool, tmp_path: Path) -> None:
    model = given_files.digits(batch=batch, reshape=reshape)
    path = given_files.save(model, tmp_path / "a.onnx")
    to, notes = taken(path, images())
    whole = np.concatenate([images()["pixel_values"]] * 2)
    ones = [whole[at : at + batch] for at in range(0, 8, batch)]
    wanted = np.concatenate([own_answers(path, {"images": one}) for one in ones])
    for count in (1, 3, 8):
        found = scores(to, {"pixel_values": whole[:count]})
        np.testing.assert_allclose(found, wanted[:count], rtol=1e-5, atol=1e-5)
    assert shape_of(to) == ("batch_size", 1, 8, 8)
    assert f"its axes were fixed (a batch of {batch}) and may vary now: answers stay" in notes


def stuck(batch: int) -> ModelProto:
    """A graph in which something besides a shape holds the batch's size."""
    held = {
        "one": np.ones((batch, 1), np.float32),
        "from": np.array([0]),
        "to": np.array([10]),
        "axis": np.array([1]),
    }
    ending = [
        helper.make_node("Concat", ["scores", "one"], ["wide"], axis=1),
        helper.make_node("Slice", ["wide", "from", "to", "axis"], ["kept"]),
    ]
    return given_files.digits(
        batch=batch,
        ending=ending,
        outputs=[out("kept", batch, 10)],
        initializers=[numpy_helper.from_array(x, n) for n, x in held.items()],
    )


def test_a_batch_of_one_that_cannot_be_freed_is_run_one_by_one(
    tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    path = given_files.save(stuck(1), tmp_path / "a.onnx")
    to, notes = taken(path, images())
    ones = [own_answers(path, {"images": one[None]}) for one in images()["pixel_values"]]
    np.testing.assert_allclose(scores(to, images()), np.concatenate(ones), rtol=1e-5, atol=1e-5)
    assert shape_of(to) == (1, 1, 8, 8)
    assert any("it takes 1 sample at a time" in note for note in notes)
    assert capfd.readouterr().err == ""  # ONNX Runtime's words on what was only tried


def test_a_larger_batch_that_cannot_be_freed_is_refused(tmp_path: Path) -> None:
    path = given_files.save(stuck(4), tmp_path / "a.onnx")
    with pytest.raises(ModelError, match=r"it takes 4 samples at a time.*Export it"):
        taken(path, images())


def test_missing_shapes_are_those_of_the_data(tmp_path: Path) -> None:
    path = given_files.save(given_files.digits(shape=None), tmp_path / "a.onnx")
    to, _ = taken(path, images())
    assert shape_of(to) == ("batch_size", 1, None, None)


def test_int32_tokens_are_cast(tmp_path: Path) -> None:
    model = given_files.texts(element=TensorProto.INT32, names=("input_word_ids", "input_mask:0"))
    path = given_files.save(model, tmp_path / "a.onnx")
    to, notes = taken(path, tokens(), texts=True)
    narrow = [values.astype(np.int32) for values in tokens().values()]
    wanted = own_answers(path, dict(zip(("input_word_ids", "input_mask:0"), narrow, strict=True)))
    np.testing.assert_allclose(scores(to, tokens()), wanted, rtol=1e-5, atol=1e-5)
    assert "its input 'input_mask:0' takes int32: int64 is cast to it" in notes
    inputs = load_graph(to).inputs
    assert list(inputs) == ["input_ids", "attention_mask"]
    assert {declared_type(value).element for value in inputs.values()} == {TensorProto.INT64}
    assert {declared_type(value).shape for value in inputs.values()} == {
        ("batch_size", "sequence_length")
    }


@pytest.mark.parametrize("inside", ["If", "Loop"])
@pytest.mark.parametrize("opset", [13, 18])
def test_graphs_inside_nodes_stay(inside: str, opset: int, tmp_path: Path) -> None:
    path = given_files.save(given_files.texts(inside=inside, opset=opset), tmp_path / "a.onnx")
    to, _ = taken(path, tokens(), texts=True)
    np.testing.assert_allclose(
        scores(to, tokens()), own_answers(path, tokens()), rtol=1e-5, atol=1e-5
    )
    assert inside in {node.op_type for node in load_graph(to).nodes}


@pytest.mark.parametrize("flat", [True, False])
def test_a_fixed_length_of_texts_is_freed(flat: bool, tmp_path: Path) -> None:
    model = given_files.texts(length=6, batch=1, flat=flat)
    path = given_files.save(model, tmp_path / "a.onnx")
    to, notes = taken(path, tokens(), texts=True)
    ones = [{name: values[at : at + 1] for name, values in tokens().items()} for at in range(4)]
    wanted = np.concatenate([own_answers(path, one) for one in ones])
    np.testing.assert_allclose(scores(to, tokens()), wanted, rtol=1e-5, atol=1e-5)
    short = {name: values[:2, :4] for name, values in tokens().items()}
    np.testing.assert_allclose(scores(to, short), wanted[:2], rtol=1e-5, atol=1e-5)
    assert any("a batch of 1, 6 tokens" in note for note in notes)


def with_places(operator: str) -> ModelProto:
    """A model whose positions the exporter folded into a constant."""
    model = given_files.texts(length=6)
    model.graph.node[3].input[0] = "placed"
    model.graph.node.insert(1, helper.make_node(operator, ["words", "places"], ["placed"]))
    places = np.random.default_rng(4).random((1, 6, given_files.WIDTH)).astype(np.float32)
    model.graph.initializer.append(numpy_helper.from_array(places, "places"))
    return model


def test_folded_positions_are_cut_to_the_text(tmp_path: Path) -> None:
    path = given_files.save(with_places("Add"), tmp_path / "a.onnx")
    to, notes = taken(path, tokens(), texts=True)
    wanted = own_answers(path, tokens())
    np.testing.assert_allclose(scores(to, tokens()), wanted, rtol=1e-5, atol=1e-5)
    short = {name: values[:1, :3] for name, values in tokens().items()}
    np.testing.assert_allclose(scores(to, short), wanted[:1], rtol=1e-5, atol=1e-5)
    assert any("6 tokens" in note for note in notes)


def test_shapes_that_are_computed_from_constants_follow_the_text(tmp_path: Path) -> None:
    """As torch's older exporter expands masks; positions count from 0."""
    model = given_files.texts(length=6, batch=1)
    held = {
        "full": np.array([-1, 6]),
        "minus": np.array([-1, -1]),
        "ones": np.array([1, 1]),
        "count": np.arange(6)[None],
        "nothing": np.array([[-1]]),
    }
    model.graph.initializer.extend(numpy_helper.from_array(x, n) for n, x in held.items())
    nodes = [
        helper.make_node("Equal", ["full", "minus"], ["any"], name="a"),
        helper.make_node("Where", ["any", "ones", "full"], ["shape"], name="b"),
        helper.make_node("Expand", ["attention_mask", "shape"], ["wide"], name="c"),
        helper.make_node("Greater", ["count", "nothing"], ["all"], name="d"),
        helper.make_node("Cast", ["all"], ["numbers"], to=TensorProto.INT64, name="e"),
        helper.make_node("Mul", ["wide", "numbers"], ["kept"], name="f"),
    ]
    for place, node in enumerate(nodes, start=1):
        model.graph.node.insert(place, node)
    model.graph.node[7].input[0] = "kept"
    path = given_files.save(model, tmp_path / "a.onnx")
    to, notes = taken(path, tokens(), texts=True)
    ones = [{name: values[at : at + 1] for name, values in tokens().items()} for at in range(4)]
    wanted = np.concatenate([own_answers(path, one) for one in ones])
    np.testing.assert_allclose(scores(to, tokens()), wanted, rtol=1e-5, atol=1e-5)
    short = {name: values[:2, :4] for name, values in tokens().items()}
    np.testing.assert_allclose(scores(to, short), wanted[:2], rtol=1e-5, atol=1e-5)
    assert any("a batch of 1, 6 tokens" in note for note in notes)


def test_a_length_that_cannot_be_freed_is_refused(tmp_path: Path) -> None:
    path = given_files.save(with_places("Mul"), tmp_path / "a.onnx")
    with pytest.raises(ModelError, match=r"takes texts of 6 tokens alone.*dynamic axis"):
        taken(path, tokens(), texts=True)


@pytest.mark.parametrize(
    ("change", "batch", "message"),
    [
        (lambda: given_files.digits(shape=(3, 8, 8)), images, "'images' must be N x 3 x 8 x 8"),
        (
            lambda: given_files.digits(
                ending=[helper.make_node("Softmax", ["scores"], ["p"])],
                outputs=[out("p"), out("scores")],
            ),
            images,
            "several of its outputs can be the answer: 'p'",
        ),
        (
            lambda: given_files.digits(outputs=[out("scores", "N", 10, 1)]),
            images,
            "no output that can be the answer, a float tensor of 2 axes",
        ),
        (lambda: given_files.texts(names=("a", "b")), tokens, "its input 'a' .* has no value"),
        (
            lambda: given_files.texts(element=TensorProto.STRING),
            tokens,
            "'input_ids' .* takes texts as they are",
        ),
    ],
)
def test_what_does_not_fit_is_refused_by_name(
    change: Callable[[], ModelProto],
    batch: Callable[[], dict[str, Array]],
    message: str,
    tmp_path: Path,
) -> None:
    path = given_files.save(change(), tmp_path / "a.onnx")
    with pytest.raises(ModelError, match=message):
        taken(path, batch(), texts=batch is tokens)


def test_raw_pixels_are_refused(tmp_path: Path) -> None:
    model = given_files.digits(name="real")
    cast = helper.make_node("Cast", ["bytes"], ["real"], to=TensorProto.FLOAT)
    model.graph.node.insert(0, cast)
    model.graph.input[0].CopyFrom(out("bytes", "N", 1, 8, 8, element=TensorProto.UINT8))
    path = given_files.save(model, tmp_path / "a.onnx")
    with pytest.raises(ModelError, match="'bytes' takes uint8, and 'pixel_values' is float32"):
        taken(path, images())


def test_a_recipe_names_inputs_and_the_output(tmp_path: Path) -> None:
    model = given_files.texts(names=("input.1", "input.3"))
    path = given_files.save(model, tmp_path / "a.onnx")
    named = {"input.1": "input_ids", "input.3": "attention_mask"}
    to, _ = taken(path, tokens(), texts=True, inputs=named)
    wanted = own_answers(path, dict(zip(named, tokens().values(), strict=True)))
    np.testing.assert_allclose(scores(to, tokens()), wanted, rtol=1e-5, atol=1e-5)
    for wrong, message in (
        ({"input.2": "input_ids"}, "unknown input 'input.2'"),
        ({"input.1": "ids"}, "unknown value for input 'input.1' 'ids'"),
    ):
        with pytest.raises(ModelError, match=message):
            taken(path, tokens(), texts=True, inputs=wrong)
    with pytest.raises(ModelError, match="unknown output 'x'"):
        taken(path, tokens(), texts=True, inputs=named, outputs={"x": "logits"})


def test_a_name_that_the_graph_has_already_is_no_obstacle(tmp_path: Path) -> None:
    model = given_files.digits(
        ending=[
            helper.make_node("Relu", ["scores"], ["logits"]),
            helper.make_node("Neg", ["logits"], ["pixel_values"]),
        ],
        outputs=[out("pixel_values")],
    )
    path = given_files.save(model, tmp_path / "a.onnx")
    to, _ = taken(path, images())
    wanted = own_answers(path, {"images": images()["pixel_values"]})
    np.testing.assert_allclose(scores(to, images()), wanted, rtol=1e-5, atol=1e-5)


@pytest.mark.slow
def test_a_model_that_generates_text_keeps_its_cache(exported_model: Any, tmp_path: Path) -> None:
    _, exported = exported_model("gpt2")
    path = tmp_path / "a.onnx"
    path.write_bytes(exported.read_bytes())
    to, _ = taken(path, tokens(), texts=True, target="next-token")
    np.testing.assert_allclose(scores(to, tokens()), scores(path, tokens()), atol=1e-5)
    graph = load_graph(to)
    assert list(graph.outputs) == list(load_graph(path).outputs)
    assert sum(name.startswith("past_key_values.") for name in graph.inputs) == 2


def test_positions_are_supplied_to_no_other_model(tmp_path: Path) -> None:
    model = given_files.texts()
    model.graph.input.append(out("position_ids", "N", "S", element=TensorProto.INT64))
    path = given_files.save(model, tmp_path / "a.onnx")
    with pytest.raises(ModelError, match=r"its input 'position_ids' .* has no value"):
        taken(path, tokens(), texts=True)


def test_weights_that_are_no_numbers_are_named(tmp_path: Path) -> None:
    model = given_files.digits()
    for tensor in model.graph.initializer:
        if tensor.name == "shift":
            values = numpy_helper.to_array(tensor).copy()
            values[3] = np.nan
            tensor.CopyFrom(numpy_helper.from_array(values, "shift"))
    path = given_files.save(model, tmp_path / "a.onnx")
    with pytest.raises(ModelError, match="aren't finite: its weights shift hold NaN"):
        taken(path, images())


def test_several_inputs_and_outputs_come_in_the_tasks_order(tmp_path: Path) -> None:
    path = given_files.save(given_files.two_and_two(), tmp_path / "a.onnx")
    generator = np.random.default_rng(3)
    batch = {
        "table": generator.random((4, 3)).astype(np.float32),
        "age": generator.integers(0, 90, 4),  # single whole numbers, as a column of a CSV has
    }
    wanted = [Wanted("kind", "softmax"), Wanted("box")]
    to, notes = taken(path, batch, target="own", wanted=wanted)
    found = run(session(to, threads=1), batch)
    assert list(found) == ["kind", "box"]
    own = {"table": batch["table"], "age": batch["age"][:, None].astype(np.float32)}
    np.testing.assert_allclose(found["box"], own_answers(path, own), rtol=1e-5)
    np.testing.assert_allclose(softmax(found["kind"]), own_answers(path, own, at=1), atol=1e-6)
    assert "its input 'age' takes float32: int64 is cast to it" in notes
    assert "its input 'age' takes a column: single numbers become rows of one" in notes
    one = {name: values[:1] for name, values in batch.items()}
    np.testing.assert_allclose(run(session(to, threads=1), one)["box"], found["box"][:1], rtol=1e-5)


def test_outputs_that_could_be_either_are_named_by_the_recipe(tmp_path: Path) -> None:
    path = given_files.save(given_files.two_and_two(), tmp_path / "a.onnx")
    batch = {"table": np.ones((2, 3), np.float32), "age": np.ones(2, np.float32)}
    wanted = [Wanted("kind", "softmax"), Wanted("place")]
    with pytest.raises(ModelError, match=r"several of its outputs can be the task's 'kind': 'box'"):
        taken(path, batch, target="own", wanted=wanted)
    to, _ = taken(path, batch, target="own", wanted=wanted, outputs={"box": "place"})
    assert list(load_graph(to).outputs) == ["kind", "place"]


def test_a_table_of_another_width_is_refused(tmp_path: Path) -> None:
    path = given_files.save(given_files.two_and_two(), tmp_path / "a.onnx")
    batch = {"table": np.ones((2, 5), np.float32), "age": np.ones((2, 1), np.float32)}
    with pytest.raises(ModelError, match="'table' must be N x 3, and each sample's 'table' is 5"):
        taken(path, batch, target="own", wanted=[Wanted("kind", "softmax"), Wanted("box")])
