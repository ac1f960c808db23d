"""Work that takes too long is stopped, wherever it loops."""

import contextlib
import sys
import threading
import time

import pytest
import torch
from torch import Tensor, nn

from compress.errors import StageError
from compress.models.structure.tracing import deadline
from compress.models.structure.tracing.deadline import within
from compress.models.structure.tracing.labels import Labels
from compress.models.structure.tracing.trace import channel_groups
from tests.models.structure.small_models import IMAGE


def what():
    return "counting"


def spin():
    while True:
        pass


def stopped(limit_s, work):
    start, threads = time.monotonic(), threading.active_count()
    with pytest.raises(StageError, match=rf"^counting took longer than {limit_s:g} s and was"):
        within(limit_s, work, what=what)
    assert time.monotonic() - start < limit_s + 5
    assert threading.active_count() == threads


def test_results_and_errors_come_through():
    threads = threading.active_count()
    assert within(60, lambda: 7, what=what) == 7
    with pytest.raises(KeyError):
        within(60, lambda: {}["no"], what=what)
    assert threading.active_count() == threads


def test_a_loop_without_calls_is_stopped():
    stopped(0.1, spin)


def test_tidying_is_done():
    tidied = []

    def work():
        try:
            spin()
        finally:
            tidied.append(sum(range(1000)))

    stopped(0.1, work)
    assert tidied == [499500]


def test_a_loop_that_swallows_everything_is_stopped(monkeypatch):
    monkeypatch.setattr(deadline, "AGAIN_S", 0.05)
    swallowed = []

    def work():
        while len(swallowed) < 3:
            try:
                spin()
            except BaseException as error:  # noqa: BLE001
                swallowed.append(error)
        spin()

    stopped(0.1, work)
    assert len(swallowed) == 3


def test_any_thread_can_be_stopped_and_no_other_is():
    done = []

    def elsewhere():
        stopped(0.1, spin)
        done.append(True)

    thread = threading.Thread(target=elsewhere)
    thread.start()
    waited = 0
    while thread.is_alive():
        waited += 1
        time.sleep(0.01)
    assert done == [True]
    assert waited > 1


def test_deadlines_nest():
    def work():
        stopped(0.1, spin)
        spin()

    with pytest.raises(StageError, match=r"^outer took longer than 0\.3 s"):
        within(0.3, work, what=lambda: "outer")


def test_profilers_and_tracers_stay():
    calls = []

    def profile(frame, event, argument):
        calls.append(event)

    trace = sys.gettrace()
    sys.setprofile(profile)
    try:
        stopped(0.1, spin)
        assert sys.getprofile() is profile
    finally:
        sys.setprofile(None)
    assert sys.gettrace() is trace
    assert calls


def test_nothing_comes_late():
    ended = 0
    for _ in range(200):
        with contextlib.suppress(StageError):
            ended += within(0.001, lambda: time.sleep(0.001) or 1, what=what)
    time.sleep(0.05)  # what would still be on its way would be raised here
    assert 0 <= ended <= 200
    assert within(60, lambda: 7, what=what) == 7


class Endless(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.conv, self.slow, self.out = nn.Conv2d(1, 4, 1), nn.Identity(), nn.Linear(4, 3)
        self.slow.forward = self.never

    def never(self, hidden: Tensor) -> Tensor:
        while torch.is_grad_enabled():  # a first run without gradients ends
            hidden = hidden * 1
        return hidden

    def forward(self, images: Tensor) -> Tensor:
        answer: Tensor = self.out(self.slow(self.conv(images)).mean((2, 3)))
        return answer


IMAGES = {"pixel_values": torch.rand(1, 1, 4, 4)}


def test_the_model_and_the_layer_are_named():
    torch.set_grad_enabled(False)
    try:
        with pytest.raises(
            StageError, match=r"tracing Endless for pruning, in 'slow', took longer than 0\.2 s"
        ):
            channel_groups(Endless(), task=IMAGE, inputs=IMAGES, limit_s=0.2)
        assert not torch.is_grad_enabled()
    finally:
        torch.set_grad_enabled(True)


def test_the_layer_whose_channels_were_followed_is_named(monkeypatch):
    def endless(self, port):
        while True:
            len(port.path)

    monkeypatch.setattr(Labels, "spread", endless)
    module = nn.Sequential(nn.Conv2d(1, 4, 1), nn.AdaptiveAvgPool2d(1), nn.Flatten())
    message = r"tracing Sequential for pruning, following the channels of '0', took longer"
    with pytest.raises(StageError, match=message):
        channel_groups(module, task=IMAGE, inputs=IMAGES, limit_s=0.2)
