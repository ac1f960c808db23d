import gc
import os
import sys

import numpy as np
import pytest

from compress.errors import DataError, StageError
from compress.measurement.affinity import pinned
from compress.measurement.latency import measure as module
from compress.measurement.latency.measure import Latencies, measure_latency, no_collection
from compress.measurement.results import Latency
from compress.measurement.spec import MeasureSpec

QUICK = MeasureSpec(batch_sizes=(1, 4), rounds=5, warmup=2, seconds=0.001)
on_linux = pytest.mark.skipif(sys.platform != "linux", reason="only Linux pins threads")


class Recorder:
    """Stands for a session and notes when it is called, and under what conditions."""

    def __init__(self, name, calls):
        self.name, self.calls = name, calls

    def get_inputs(self):
        return []

    def run(self, names, inputs):
        cpus = len(os.sched_getaffinity(0)) if sys.platform == "linux" else None
        self.calls.append((self.name, gc.isenabled(), cpus))


@pytest.fixture
def calls(monkeypatch):
    """Calls, in order, of sessions that measure_latency makes."""
    made = []
    monkeypatch.setattr(module, "session", lambda path, *, threads: Recorder(path, made))
    return made


def test_two_copies_of_a_model_are_about_as_fast(cnn_onnx, images):
    inputs = {size: images(size) for size in (1, 4)}
    spec = MeasureSpec(batch_sizes=(1, 4), rounds=30, seconds=0.3)
    measured = measure_latency({"a": cnn_onnx, "b": cnn_onnx}, inputs, spec=spec)
    assert list(measured.runs_ms) == [1, 4]
    for size in (1, 4):
        assert len(measured.runs_ms[size]["a"]) == len(measured.runs_ms[size]["b"]) >= 30
        latency = measured.latency(size, "a")
        assert 0 < latency.p50 <= latency.p95
        assert measured.speedup(size, "a", over="a") == (1.0, (1.0, 1.0))
        value, (low, high) = measured.speedup(size, "a", over="b")
        assert 0.2 < low <= value <= high < 5


def test_every_round_runs_every_model_in_orders_drawn_anew(calls):
    names = ["a", "b", "c"]
    spec = MeasureSpec(batch_sizes=(1,), rounds=40, warmup=2, seconds=0.001)
    measured = measure_latency({n: n for n in names}, {1: {}}, spec=spec)
    rounds = [tuple(n for n, *_ in calls[i : i + 3]) for i in range(0, len(calls), 3)]
    assert all(sorted(each) == names for each in rounds)
    assert len(set(rounds)) == 6
    assert len(rounds) == 2 + len(measured.runs_ms[1]["a"])


def test_orders_are_decided_by_the_seed(calls):
    fixed = (QUICK.warmup + QUICK.rounds) * 4
    orders = []
    for seed in (0, 0, 1):
        calls.clear()
        measure_latency({n: n for n in "abcd"}, {1: {}, 4: {}}, spec=QUICK, seed=seed)
        orders.append([name for name, *_ in calls[:fixed]])
    assert orders[0] == orders[1] != orders[2]


@pytest.mark.parametrize(("seconds", "rounds"), [(1e-6, 5), (3600, module.MOST_ROUNDS)])
def test_rounds_follow_the_time_there_is(calls, seconds, rounds):
    spec = MeasureSpec(batch_sizes=(1,), rounds=5, seconds=seconds)
    assert len(measure_latency({"a": "a"}, {1: {}}, spec=spec).runs_ms[1]["a"]) == rounds


def test_nothing_is_collected_while_timing(calls):
    measure_latency({"a": "a"}, {1: {}, 4: {}}, spec=QUICK)
    assert not any(collecting for _, collecting, _ in calls)
    assert gc.isenabled()


def test_collection_comes_back_after_an_error():
    with pytest.raises(KeyError), no_collection():
        raise KeyError
    assert gc.isenabled()


@on_linux
def test_timing_is_pinned_and_the_affinity_restored(calls):
    before = os.sched_getaffinity(0)
    measure_latency({"a": "a"}, {1: {}, 4: {}}, spec=QUICK)
    assert {cpus for *_, cpus in calls} == {1}
    assert os.sched_getaffinity(0) == before


@on_linux
def test_affinity_is_restored_after_an_error(cnn_onnx, tmp_path):
    before = os.sched_getaffinity(0)
    with pytest.raises(StageError):
        measure_latency({"a": tmp_path / "absent.onnx"}, {1: {}, 4: {}}, spec=QUICK)
    with pytest.raises(DataError, match="pixel_values"):
        measure_latency({"a": cnn_onnx}, {1: {}, 4: {}}, spec=QUICK)
    assert os.sched_getaffinity(0) == before
    assert gc.isenabled()


@on_linux
def test_pinning_takes_the_first_cpus_and_notes_when_they_are_too_few():
    before = os.sched_getaffinity(0)
    with pinned(1) as notes:
        assert os.sched_getaffinity(0) == {min(before)}
        assert notes == ()
    with pinned(len(before) + 1) as notes:
        assert os.sched_getaffinity(0) == before
        assert "share" in notes[0]
    assert os.sched_getaffinity(0) == before


def test_where_threads_cannot_be_pinned_a_note_says_so(monkeypatch):
    monkeypatch.setattr(sys, "platform", "darwin")
    with pinned(1) as notes:
        assert notes == ("threads aren't pinned to CPUs: darwin can't.",)


def test_a_model_that_fails_while_timed_is_named(cnn_onnx):
    inputs = {size: {"pixel_values": np.zeros((size, 9, 8, 8), np.float32)} for size in (1, 4)}
    with pytest.raises(StageError, match="timing 'wide'"):
        measure_latency({"wide": cnn_onnx}, inputs, spec=QUICK)


def test_inputs_for_every_batch_size_are_needed(cnn_onnx, images):
    with pytest.raises(StageError, match="unknown batch size of latency inputs '4'"):
        measure_latency({"a": cnn_onnx}, {1: images(1)}, spec=QUICK)


def test_summaries_of_fixed_runs():
    measured = Latencies({1: {"slow": np.arange(10.0, 111.0), "fast": np.arange(5.0, 106.0)}})
    every = tuple(10.0 + 5 * step for step in range(21))
    assert measured.latency(1, "slow") == Latency(p50=60.0, p95=105.0, quantiles=every)
    value, (low, high) = measured.speedup(1, "fast", over="slow")
    assert value == 60 / 55
    assert 1 < low < value < high
    assert measured.speedup(1, "fast", over="slow") == (value, (low, high))


def test_functions_are_timed_as_files_are_with_their_inputs_prepared_once():
    prepared, called = [], []

    def model(name):
        def prepare(inputs):
            prepared.append((name, sorted(inputs)))
            return lambda: called.append(name)

        return prepare

    inputs = {size: {"x": np.zeros((size, 2), np.float32)} for size in (1, 4)}
    measured = measure_latency({n: model(n) for n in "ab"}, inputs, spec=QUICK)
    assert prepared == [("a", ["x"]), ("b", ["x"])] * 2
    runs = [len(measured.runs_ms[size]["a"]) for size in (1, 4)]
    assert len(called) == 2 * (sum(runs) + 2 * QUICK.warmup)
    assert set(called) == {"a", "b"}
