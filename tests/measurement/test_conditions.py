import os
import time

import pytest

from compress.measurement.latency import conditions as module
from compress.measurement.latency.conditions import MachineWatch


def patched(monkeypatch, *, busy, own, wall, cores):
    monkeypatch.setattr(module, "_busy_seconds", iter(busy).__next__)
    monkeypatch.setattr(time, "process_time", iter(own).__next__)
    monkeypatch.setattr(time, "monotonic", iter(wall).__next__)
    monkeypatch.setattr(os, "cpu_count", lambda: cores)


def test_the_time_of_others_is_all_but_this_process(monkeypatch):
    patched(monkeypatch, busy=[10, 14], own=[1, 2], wall=[0, 4], cores=2)
    monkeypatch.setattr(os, "getloadavg", lambda: (3.0, 2.0, 1.0))
    watch = MachineWatch.begin()
    assert watch.load == 1.5
    assert watch.others() == pytest.approx(3 / 8)


@pytest.mark.parametrize(("busy", "found"), [([5, 5.5], 0.0), ([5, 99], 1.0)])
def test_coarse_clocks_give_no_more_than_all_and_no_less_than_nothing(monkeypatch, busy, found):
    patched(monkeypatch, busy=busy, own=[0, 1], wall=[0, 1], cores=1)
    assert MachineWatch.begin().others() == found


def test_a_system_without_a_load_has_none(monkeypatch):
    monkeypatch.delattr(os, "getloadavg")
    assert MachineWatch.begin().load is None


def test_this_process_alone_is_no_other():
    watch = MachineWatch.begin()
    end = time.monotonic() + 0.1
    while time.monotonic() < end:
        pass
    assert 0 <= watch.others() <= 1
