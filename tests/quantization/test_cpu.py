"""The types chosen for a CPU, and that they hold what is said of them on real files."""

import pytest

from compress.measurement.cpu import SATURATING, TARGETS
from compress.quantization.cpu import integers_for, reason
from compress.quantization.integers import Integers


@pytest.mark.parametrize("method", ["dynamic", "static"])
@pytest.mark.parametrize("cpu", TARGETS)
def test_what_is_chosen_cant_saturate(cpu, method):
    chosen = integers_for(cpu, method=method)
    assert chosen
    for integers in chosen:
        if cpu in SATURATING:
            assert integers.activations == "uint8"
            assert integers.reduce_range or integers.weights == "uint8"
        else:
            assert not integers.reduce_range
        assert str(integers) in reason(cpu, integers)
        assert cpu in reason(cpu, integers)


def test_the_first_choices():
    assert str(integers_for("x86-vnni", method="static")[0]) == "U8S8"
    assert [str(each) for each in integers_for("x86-avx2", method="dynamic")] == [
        "U8S8, 7-bit weights",
        "U8U8",
    ]
    assert [str(each) for each in integers_for("arm-dotprod", method="static")] == ["S8S8", "U8S8"]
    assert [str(each) for each in integers_for("arm-dotprod", method="dynamic")] == ["U8S8"]


def test_a_bad_choice_is_said_to_be_one():
    assert "can saturate" in reason("x86-avx2", Integers())
