"""The 8-bit types that suit a CPU; see `measurement.saturation` for the reasons."""

from __future__ import annotations

from typing import Literal

from compress.measurement.cpu import SATURATING, TargetCpu
from compress.quantization.integers import Integers

Method = Literal["dynamic", "static"]

_U8S8 = Integers("uint8", "int8")
_U8S7 = Integers("uint8", "int8", reduce_range=True)
_U8U8 = Integers("uint8", "uint8")
_S8S8 = Integers("int8", "int8")


def integers_for(cpu: TargetCpu, *, method: Method) -> tuple[Integers, ...]:
    """The 8-bit types to quantize to for a CPU, best first.

    Parameters
    ----------
    cpu : the kind of CPU that will run the model.
    method : with "dynamic", activations are quantized at run time and are unsigned.
    """
    if cpu in SATURATING:
        return (_U8S7, _U8U8)
    if cpu in ("arm", "arm-dotprod") and method == "static":
        return (_S8S8, _U8S8)
    return (_U8S8,)


def reason(cpu: TargetCpu, integers: Integers) -> str:
    """The reason why these types suit that CPU or don't, as part of a sentence."""
    if cpu in SATURATING:
        if integers.weights == "uint8":
            return f"{integers}: exact on {cpu}, and slower than U8S8"
        if integers.reduce_range:
            return (
                f"{integers}: {cpu} adds two products in 16 bits, where 8-bit ones would saturate"
            )
        return f"{integers}: can saturate on {cpu}, which adds two products in 16 bits"
    if cpu in ("arm", "arm-dotprod") and integers.activations == "int8":
        return f"{integers}: {cpu} has its fastest kernels for signed by signed, and can't saturate"
    return f"{integers}: {cpu} adds products in 32 bits, so that full 8-bit weights can't saturate"
