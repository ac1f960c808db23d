"""Inputs made for any file, and files timed side by side."""

import json

import numpy as np
import pytest
from onnx import TensorProto

from compress.errors import DataError, InputError
from compress.measurement.bench import compare as module
from compress.measurement.bench.compare import MadeInputs, bench
from compress.measurement.bench.inputs import assumed, declared, fixed_batch, make_inputs
from compress.measurement.session import run, session
from tests.measurement.bench.onnx_writer import FLOAT, INT, generating_model, text_model, write

QUICK = {"seconds": 0.01}


def made(path, *, batch=2, **options):
    return make_inputs(declared(path), batch=batch, **options)


def test_token_numbers_stay_within_the_table(tmp_path):
    path = text_model(tmp_path / "text.onnx", words=7)
    arrays = made(path, batch=3, length=200)
    assert {name: (x.shape, x.dtype) for name, x in arrays.items()} == {
        "input_ids": ((3, 200), np.int64),
        "attention_mask": ((3, 200), np.int64),
    }
    assert set(np.unique(arrays["input_ids"])) == set(range(7))
    assert (arrays["attention_mask"] == 1).all()
    assert run(session(path, threads=1), arrays)["y"].shape == (3, 4)
    assert assumed(declared(path), length=16, sizes={}) == (
        "input_ids 16 int64 (0 to 6); attention_mask 16 int64 (ones)"
    )


def test_images_get_a_usual_size_that_can_be_set(tmp_path):
    path = write(tmp_path / "a.onnx", [("x", FLOAT, ["n", None, "height", "width"])])
    assert made(path)["x"].shape == (2, 3, 224, 224)
    sizes = {"height": 8, "width": 9, "x:1": 1}
    assert made(path, sizes=sizes)["x"].shape == (2, 1, 8, 9)
    fixed = write(tmp_path / "b.onnx", [("x", TensorProto.FLOAT16, [None, 1, 28, 28])])
    array = made(fixed)["x"]
    assert (array.shape, array.dtype) == ((2, 1, 28, 28), np.float16)
    assert 0.8 < array.std() < 1.2


@pytest.mark.parametrize(
    ("name", "values"),
    [
        ("position_ids", [0, 1, 2, 3]),
        ("token_type_ids", [0, 0, 0, 0]),
        ("decoder_attention_mask", [1, 1, 1, 1]),
    ],
)
def test_integers_by_the_name_of_their_input(tmp_path, name, values):
    path = write(tmp_path / "a.onnx", [(name, INT, ["b", "s"])])
    assert made(path, length=4)[name].tolist() == [values, values]


def test_integers_of_unknown_range_are_0_and_1_and_said_to_be(tmp_path):
    path = write(tmp_path / "a.onnx", [("codes", INT, ["b", "s"])])
    assert set(np.unique(made(path)["codes"])) == {0, 1}
    assert "the graph doesn't tell the range" in assumed(declared(path), length=4, sizes={})


def test_an_axis_whose_size_nothing_tells_has_to_be_said(tmp_path):
    path = write(tmp_path / "a.onnx", [("x", FLOAT, ["n", "features"])])
    with pytest.raises(DataError, match=r"--set features=SIZE"):
        made(path)
    assert made(path, sizes={"features": 5})["x"].shape == (2, 5)


def test_a_fixed_batch_is_the_only_one(tmp_path):
    path = write(tmp_path / "a.onnx", [("x", FLOAT, [4, 3])])
    assert fixed_batch(declared(path)) == 4
    assert {each.batch_size for each in bench([path], **QUICK).timings} == {4}
    with pytest.raises(DataError, match=r"fixed at 4\. Got 2"):
        bench([path], batch_sizes=[2], **QUICK)


def test_inputs_that_arent_numbers_are_refused(tmp_path):
    path = write(tmp_path / "a.onnx", [("words", TensorProto.STRING, ["n"])])
    with pytest.raises(DataError, match="must hold numbers"):
        declared(path)


def test_caches_are_empty_or_as_long_as_was_said(tmp_path):
    path = generating_model(tmp_path / "a.onnx")
    found = bench([path], batch_sizes=[2], made=MadeInputs(length=6), **QUICK)
    assert "input_ids 6 int64" in found.inputs
    assert "attention_mask 6 int64 (ones)" in found.inputs
    step = MadeInputs(length=1, sizes={"past_sequence_length": 9})
    arrays = step.arrays(declared(path, caches=True), batch=2)
    assert arrays["past_key_values.0.key"].shape == (2, 2, 9, 4)
    assert arrays["attention_mask"].shape == (2, 10)
    assert run(session(path, threads=1), arrays)["present.0.key"].shape == (2, 2, 10, 4)
    assert bench([path], batch_sizes=[2], made=step, **QUICK).timings


def test_models_with_fewer_heads_are_timed_beside_others(tmp_path):
    files = [generating_model(tmp_path / f"{heads}.onnx", heads=heads) for heads in (2, 1)]
    found = bench(files, batch_sizes=[1], made=MadeInputs(length=3), **QUICK)
    assert [each.model for each in found.timings] == ["2.onnx", "1.onnx"]
    with pytest.raises(DataError, match="fixed at different sizes: 1, 2"):
        bench(files, made=MadeInputs(length=1, sizes={"past_sequence_length": 4}), **QUICK)


def test_the_slower_model_is_slower(tmp_path):
    files = [
        text_model(tmp_path / "slow.onnx", width=128, repeats=12),
        text_model(tmp_path / "fast.onnx", width=128, repeats=1),
    ]
    found = bench(files, batch_sizes=[1, 4], threads=[1, 2], seconds=0.05)
    assert len(found.timings) == 8
    for each in found.timings:
        assert each.p50_ci95[0] <= each.p50_ms <= each.p50_ci95[1]
        assert each.p50_ms <= each.p95_ms
        assert each.samples_per_second == pytest.approx(1000 * each.batch_size / each.p50_ms)
        low, high = each.samples_per_second_ci95
        assert low <= each.samples_per_second <= high
        if each.model == "slow.onnx":
            assert (each.speedup, each.speedup_ci95) == (1, (1, 1))
        elif each.threads == 1:
            assert each.speedup_ci95[0] > 1.1
    assert found.size_bytes["slow.onnx"] > 0


def test_real_inputs_are_repeated_to_a_batch(tmp_path, monkeypatch):
    seen = {}

    def measure(models, inputs, **options):
        seen.update(inputs)
        return real(models, inputs, **options)

    real = module.measure_latency
    monkeypatch.setattr(module, "measure_latency", measure)
    path = text_model(tmp_path / "a.onnx")
    given = {"input_ids": np.array([[1, 2], [3, 4]]), "attention_mask": np.ones((2, 2), np.int64)}
    found = bench([path], batch_sizes=[3], given=given, **QUICK)
    assert seen[3]["input_ids"].tolist() == [[1, 2], [3, 4], [1, 2]]
    assert found.inputs == "2 given samples, repeated to a batch"
    del given["attention_mask"]
    with pytest.raises(DataError, match=r"lack attention_mask\. They have: input_ids\."):
        bench([path], given=given, **QUICK)


def test_files_that_cant_be_compared_are_refused(tmp_path):
    text = text_model(tmp_path / "a.onnx")
    image = write(tmp_path / "b.onnx", [("x", FLOAT, ["n", 3, 8, 8])])
    with pytest.raises(DataError, match=r"b\.onnx takes x \(float32 of rank 4\)"):
        bench([text, image], **QUICK)
    with pytest.raises(InputError, match="there is no file"):
        bench([tmp_path / "c.onnx"], **QUICK)
    with pytest.raises(InputError, match="'models' must be different files"):
        bench([text, text], **QUICK)
    with pytest.raises(InputError, match="'threads' must be different whole numbers"):
        bench([text], threads=[1, 1], **QUICK)


def test_files_of_one_name_are_told_apart_by_their_folders(tmp_path):
    files = [tmp_path / name for name in ("a/model.onnx", "b/model.onnx", "b/other.onnx")]
    for file in files:
        file.parent.mkdir(exist_ok=True)
        text_model(file)
    assert list(bench(files[:2], **QUICK).models) == ["a", "b"]
    assert list(bench(files[1:], **QUICK).models) == ["model.onnx", "other.onnx"]
    assert list(bench(files, **QUICK).models) == ["a/model.onnx", "b/model.onnx", "b/other.onnx"]


def test_the_narrowest_table_decides_for_all(tmp_path):
    files = [text_model(tmp_path / f"{words}.onnx", words=words) for words in (50, 3)]
    assert "input_ids 5 int64 (0 to 2)" in bench(files, made=MadeInputs(length=5), **QUICK).inputs


def test_the_document_is_plain_json(tmp_path):
    from compress.report.bench import bench_document

    path = text_model(tmp_path / "a.onnx")
    found = bench([path], batch_sizes=[1], **QUICK)
    document = json.loads(json.dumps(bench_document(found)))
    (timing,) = document["timings"]
    assert timing["p50_ms"] == found.timings[0].p50_ms
    assert timing["speedup"] == 1
    assert document["models"]["a.onnx"]["size_bytes"] == path.stat().st_size
    assert document["environment"]["threads"] == 1
