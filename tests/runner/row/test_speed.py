"""What follows from timed rounds: throughput, and a note on a machine that is too noisy."""

import numpy as np
import pytest

from compress.measurement.latency.results import Conditions, Throughput
from compress.measurement.latency.times import Latencies
from compress.measurement.results import Latency
from compress.measurement.spec import MeasureSpec
from compress.runner.row import speed as module


def test_throughput_is_that_of_the_best_batch_size() -> None:
    latency = {"1": Latency(2.0, 3.0), "8": Latency(4.0, 5.0), "32": Latency(64.0, 70.0)}
    assert module._best(latency) == Throughput(2000.0, 8)


@pytest.mark.parametrize("noise", [0.001, 0.2])
def test_a_machine_that_is_too_noisy_is_named(noise: float) -> None:
    generator = np.random.default_rng(0)
    runs = {name: np.exp(generator.normal(0, noise, 60)) for name in ("this", "original")}
    conditions = Conditions(1.0, {"1": 60}, {"1": 6}, 2.0, 0.4, 1.9, ("1",) if noise > 0.01 else ())
    times = Latencies({1: runs}, {1: np.repeat(np.arange(6), 10)}, conditions=conditions)
    notes = module._noise_notes(times, MeasureSpec(seconds=2))
    if noise < 0.01:
        assert notes == []
    else:
        said = f"to ±2.0% in 2 s; they are known to ±{times.half_width(1):.1%} at 1"
        assert said in notes[0]
        assert "used 40% of its CPU time; its pace changed by up to 1.9x" in notes[0]
