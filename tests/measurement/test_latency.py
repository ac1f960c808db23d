import gc
import os
import sys
import time
import weakref
from types import SimpleNamespace

import numpy as np
import pytest
from scipy.stats import ttest_1samp

from compress.errors import DataError, StageError
from compress.measurement.affinity import pinned
from compress.measurement.latency import measure as module
from compress.measurement.latency.clocks import own_clock, process_clock
from compress.measurement.latency.measure import measure_latency, no_collection
from compress.measurement.latency.sittings import MOST_IN_A_SITTING, MOST_SITTINGS
from compress.measurement.latency.times import PILOT, Latencies
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
        assert latency.p95 <= latency.p99
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
    sittings = len(np.unique(measured.sittings[1]))
    assert len(rounds) == 2 * sittings + len(measured.runs_ms[1]["a"])


def test_orders_are_decided_by_the_seed(calls):
    fixed = (QUICK.warmup + 1) * 4
    orders = []
    for seed in (0, 0, 1):
        calls.clear()
        measure_latency({n: n for n in "abcd"}, {1: {}, 4: {}}, spec=QUICK, seed=seed)
        orders.append([name for name, *_ in calls[:fixed]])
    assert orders[0] == orders[1] != orders[2]


def test_every_measurement_has_its_sittings_and_its_rounds(calls):
    spec = MeasureSpec(batch_sizes=(1, 4), rounds=20, seconds=1e-6)
    measured = measure_latency({"a": "a", "b": "b"}, {1: {}, 4: {}}, spec=spec)
    for of in measured.sittings.values():
        assert np.bincount(of).tolist() == [4] * PILOT  # at least 20, the same in each
    assert measured.conditions.sittings == {"1": PILOT, "4": PILOT}
    assert measured.conditions.rounds == {"1": 24, "4": 24}


def test_without_a_precision_rounds_follow_until_there_are_enough(calls):
    spec = MeasureSpec(batch_sizes=(1,), rounds=5, seconds=3600, precision=0)
    of = measure_latency({"a": "a", "b": "b"}, {1: {}}, spec=spec).sittings[1]
    assert np.bincount(of).tolist() == [MOST_IN_A_SITTING] * MOST_SITTINGS


def paced(*models):
    """A clock by which each model takes its nanoseconds, and the models."""
    now = [0]

    def model(take):
        def call():
            now[0] += take()

        return lambda inputs: call

    return {name: model(take) for name, take in models}, lambda: now[0]


def test_a_narrow_interval_ends_the_sittings_and_a_wide_one_does_not():
    generator = np.random.default_rng(0)
    for noise, ended in ((0.01, True), (1.0, False)):

        def take(noise=noise):
            return int(1e6 * np.exp(generator.normal(0, noise)))

        models, clock = paced(("a", lambda: 1_000_000), ("b", take))
        spec = MeasureSpec(batch_sizes=(1,), rounds=5, seconds=0.5, precision=0.02)
        measured = measure_latency(models, {1: {}}, spec=spec, clock=clock)
        assert (measured.half_width(1) <= 0.02) == ended
        assert (len(np.unique(measured.sittings[1])) == PILOT) == ended
        assert measured.conditions.too_noisy == (() if ended else ("1",))


def test_a_model_alone_is_compared_with_nothing_and_ends_with_the_pilot(calls):
    spec = MeasureSpec(batch_sizes=(1,), rounds=5, seconds=3600)
    measured = measure_latency({"a": "a"}, {1: {}}, spec=spec)
    assert len(np.unique(measured.sittings[1])) == PILOT
    assert measured.half_width(1) == 0


def test_files_are_loaded_for_each_sitting_in_orders_drawn_anew(monkeypatch):
    loaded = []

    def session(path, *, threads):
        loaded.append(path)
        return Recorder(path, [])

    monkeypatch.setattr(module, "session", session)
    spec = MeasureSpec(batch_sizes=(1,), rounds=5, seconds=5)
    measured = measure_latency({n: n for n in "abc"}, {1: {}}, spec=spec)
    orders = [tuple(loaded[i : i + 3]) for i in range(0, len(loaded), 3)]
    assert len(orders) == len(np.unique(measured.sittings[1])) >= PILOT
    assert all(sorted(each) == ["a", "b", "c"] for each in orders)
    assert len(set(orders)) > 1
    assert measured.notes == ()


def test_no_file_is_in_memory_twice(monkeypatch):
    alive, most = set(), []

    class Held(Recorder):
        def __init__(self, path):
            super().__init__(path, [])
            alive.add(id(self))
            most.append(len(alive))
            weakref.finalize(self, alive.discard, id(self))

    monkeypatch.setattr(module, "session", lambda path, *, threads: Held(path))
    spec = MeasureSpec(batch_sizes=(1, 4), rounds=5, seconds=5)
    measure_latency({n: n for n in "abc"}, {1: {}, 4: {}}, spec=spec)
    assert len(most) >= 3 * PILOT
    assert max(most) == 3


def test_files_that_load_slowly_stay_loaded_and_a_note_says_so(monkeypatch):
    loaded = []

    def session(path, *, threads):
        loaded.append(path)
        time.sleep(0.02)
        return Recorder(path, [])

    monkeypatch.setattr(module, "session", session)
    spec = MeasureSpec(batch_sizes=(1,), rounds=5, seconds=0.1)
    measured = measure_latency({"a": "a", "b": "b"}, {1: {}}, spec=spec)
    assert loaded.count("a") == loaded.count("b") == 1
    assert "from sitting 1 on the models stayed in memory" in measured.notes[0]


def test_one_thread_is_timed_by_its_own_time():
    assert own_clock(1) is time.thread_time_ns
    assert process_clock(1) is time.process_time_ns
    assert own_clock(2) is process_clock(2) is time.perf_counter_ns


def test_a_coarse_clock_of_cpu_time_is_not_used(monkeypatch):
    coarse = SimpleNamespace(resolution=0.015625)
    monkeypatch.setattr(time, "get_clock_info", lambda name: coarse)
    assert own_clock(1) is process_clock(1) is time.perf_counter_ns


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
    assert measured.latency(1, "slow") == Latency(60.0, 105.0, 109.0, quantiles=every)
    value, (low, high) = measured.speedup(1, "fast", over="slow")
    assert value == pytest.approx(60 / 55)
    assert 1 < low < value < high
    assert measured.speedup(1, "fast", over="slow") == (value, (low, high))


def test_a_speedup_is_students_over_the_sittings_medians():
    ratios = np.array([1.2, 1.25, 1.3, 1.28, 1.22, 1.31])
    fast = np.tile([1.0, 2.0, 50.0], len(ratios))
    slow = fast * np.repeat(ratios, 3) * np.tile([1.0, 1.0, 9.0], len(ratios))  # interrupted thrice
    measured = Latencies(
        {1: {"fast": fast, "slow": slow}}, {1: np.repeat(np.arange(len(ratios)), 3)}
    )
    value, ends = measured.speedup(1, "fast", over="slow")
    logs = np.log(ratios)
    interval = ttest_1samp(logs, 0).confidence_interval(0.95)
    assert value == pytest.approx(np.exp(logs.mean()))
    assert ends == pytest.approx(np.exp(interval))
    assert measured.half_width(1) == pytest.approx(np.sqrt(ends[1] / ends[0]) - 1)


def test_a_machine_that_changes_its_pace_changes_no_ratio_of_a_round():
    """Two paces of the machine, as when a neighbour comes and goes on the same core."""
    generator = np.random.default_rng(0)
    count, places = 40, 20
    pace = np.where(generator.random(count * places) < 0.5, 1.0, 1.8)
    fast, slow = (
        pace * each * np.exp(generator.normal(0, 0.03, count * places)) for each in (1, 1.1)
    )
    measured = Latencies(
        {1: {"fast": fast, "slow": slow}}, {1: np.repeat(np.arange(places), count)}
    )
    value, (low, high) = measured.speedup(1, "fast", over="slow")
    assert value == pytest.approx(1.1, rel=0.005)
    assert low < 1.1 < high < low * 1.02
    assert measured.swing(1) > 1.2


def test_the_interval_of_a_median_is_that_of_its_sittings():
    medians = np.array([1.0, 1.1, 0.9, 1.05, 0.95, 1.0])
    runs = np.repeat(medians, 5)
    measured = Latencies({1: {"a": runs}}, {1: np.repeat(np.arange(6), 5)})
    low, high = measured.p50_ci95(1, "a")
    half = ttest_1samp(np.log(medians), 0).confidence_interval(0.95)
    assert (low, high) == pytest.approx((np.exp(-np.ptp(half) / 2), np.exp(np.ptp(half) / 2)))


def test_the_interval_of_two_equal_models_holds_1_in_95_of_100():
    """Sittings whose places in memory make one of the models 1.5 % faster."""
    generator = np.random.default_rng(0)
    held, tries, places, count = 0, 400, 8, 30
    of = np.repeat(np.arange(places), count)
    for _ in range(tries):
        place = np.repeat(generator.normal(0, 0.015, places), count)
        runs = {
            "a": np.exp(generator.normal(0, 0.1, places * count)),
            "b": np.exp(place + generator.normal(0, 0.1, places * count)),
        }
        _, (low, high) = Latencies({1: runs}, {1: of}).speedup(1, "a", over="b")
        held += low <= 1 <= high
    assert held / tries >= 0.92  # 0.95 less three standard errors


def test_functions_are_timed_as_files_are_with_their_inputs_prepared_for_a_sitting():
    prepared, called = [], []

    def model(name):
        def prepare(inputs):
            prepared.append((name, sorted(inputs)))
            return lambda: called.append(name)

        return prepare

    inputs = {size: {"x": np.zeros((size, 2), np.float32)} for size in (1, 4)}
    measured = measure_latency({n: model(n) for n in "ab"}, inputs, spec=QUICK)
    sittings = sum(len(np.unique(of)) for of in measured.sittings.values())
    assert prepared == [("a", ["x"]), ("b", ["x"])] * sittings
    runs = [len(measured.runs_ms[size]["a"]) for size in (1, 4)]
    assert len(called) == 2 * (sum(runs) + sittings * QUICK.warmup)
    assert set(called) == {"a", "b"}
