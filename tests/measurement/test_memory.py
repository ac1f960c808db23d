import numpy as np
import pytest

from compress.measurement import memory
from compress.measurement.memory import PeakMemory

HUNDRED_MB = 100 * 1024 * 1024


def rss():
    import psutil

    return psutil.Process().memory_info().rss


@pytest.fixture(params=["kernel", "sampling"])
def way(request, monkeypatch, tmp_path):
    """Both ways of measuring; the second is what other systems than Linux use."""
    if request.param == "sampling":
        monkeypatch.setattr(memory, "CLEAR_REFS", tmp_path / "absent" / "clear_refs")


@pytest.mark.usefixtures("way")
def test_an_allocation_is_seen_after_it_is_freed():
    before = rss()
    with PeakMemory() as peak:
        block = np.ones(HUNDRED_MB, dtype=np.uint8)
        held = rss()
        memory.threading.Event().wait(0.1)  # time for the sampler
        del block
    assert held - before > 0.9 * HUNDRED_MB
    assert peak.bytes > 0.99 * held


@pytest.mark.usefixtures("way")
def test_a_peak_from_before_does_not_count():
    block = np.ones(HUNDRED_MB, dtype=np.uint8)
    high = rss()
    del block
    with PeakMemory() as peak:
        pass
    assert 0 < peak.bytes < high - 0.9 * HUNDRED_MB


@pytest.mark.usefixtures("way")
def test_an_inner_context_does_not_hide_the_outer_peak():
    with PeakMemory() as outer:
        block = np.ones(HUNDRED_MB, dtype=np.uint8)
        memory.threading.Event().wait(0.1)
        del block
        with PeakMemory() as inner:
            pass
    assert outer.bytes - inner.bytes > 0.9 * HUNDRED_MB


@pytest.mark.usefixtures("way")
def test_an_error_ends_the_context():
    with pytest.raises(KeyError), PeakMemory() as peak:
        raise KeyError
    assert peak.bytes > 0
    assert PeakMemory._open == []
