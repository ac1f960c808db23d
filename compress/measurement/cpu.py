"""Finds a CPU's instructions for 8-bit products, which decide how to quantize a model for it."""

from __future__ import annotations

import platform
import sys
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

from compress.measurement.environment import cpu_flags, cpu_name

if TYPE_CHECKING:
    from collections.abc import Mapping, Set

TargetCpu = Literal["x86-vnni", "x86-avx2", "x86-sse", "arm-dotprod", "arm", "other"]

TARGETS: Mapping[TargetCpu, str] = {
    "x86-vnni": "x86 with VNNI, which adds 8-bit products in 32 bits",
    "x86-avx2": "x86 with AVX2 or AVX-512 and no VNNI, which adds two 8-bit products in 16 bits",
    "x86-sse": "x86 without AVX2, which adds two 8-bit products in 16 bits on some systems",
    "arm-dotprod": "64-bit ARM with dot products, which adds 8-bit products in 32 bits",
    "arm": "ARM without dot products, which widens 8-bit numbers before it adds their products",
    "other": "no x86 and no ARM; 8-bit products are added in 32 bits",
}
"""The kinds of CPU that a model can be quantized for, each with a description."""

SATURATING: frozenset[TargetCpu] = frozenset({"x86-avx2", "x86-sse"})
"""Kinds of CPU that may clip a sum of two products of unsigned and signed bytes to 16 bits."""

TARGET_KEY = "target_cpu"
"""The entry of an ONNX file's metadata that names the kind of CPU it was quantized for."""

_X86 = ("x86_64", "amd64", "i386", "i686", "x86")
_ARM = ("aarch64", "arm64", "armv8l", "armv7l")


@dataclass(frozen=True)
class FoundCpu:
    """A CPU's kind, and how it was recognised.

    Attributes
    ----------
    target : the kind.
    reason : why it is of this kind, such as "it has avx512_vnni".
    """

    target: TargetCpu
    reason: str

    def __str__(self) -> str:
        return f"{self.target} ({self.reason})"


def this_cpu() -> FoundCpu:
    """The kind of the CPU that this process runs on.

    The flags are read from the system if it tells them (Linux). Elsewhere an x86 CPU is taken for
    one without VNNI, since a model quantized for that is right on every x86 CPU. Apple's own CPUs
    all have dot products.
    """
    return find_cpu(platform.machine(), cpu_flags(), system=sys.platform)


def find_cpu(machine: str, flags: Set[str] | None, *, system: str = "linux") -> FoundCpu:
    """The kind of a CPU.

    Parameters
    ----------
    machine : as `platform.machine` gives it, such as "x86_64".
    flags : those of `environment.FLAGS` that the CPU has; None if the system doesn't tell.
    system : as `sys.platform` gives it.
    """
    machine = machine.lower()
    if machine in _X86:
        return _x86(flags)
    if machine in _ARM:
        return _arm(flags, system)
    return FoundCpu("other", f"the machine is {machine or 'of an unknown kind'}")


def cpu_record(target: str | None) -> dict[str, Any]:
    """A manifest's record of CPUs: the target of quantization, and the one measured on.

    Parameters
    ----------
    target : the ONNX file's `target_cpu`; None for a float model, which suits all CPUs.

    Returns
    -------
    target_cpu, and measured_on: kind, name and flags (None if the system doesn't tell).
    """
    flags = cpu_flags()
    return {
        "target_cpu": target,
        "measured_on": {
            "kind": this_cpu().target,
            "name": cpu_name(),
            "flags": None if flags is None else sorted(flags),
        },
    }


def _x86(flags: Set[str] | None) -> FoundCpu:
    if flags is None:
        return FoundCpu("x86-avx2", "its flags can't be read here: taken for one without VNNI")
    # On AVX-512 CPUs ONNX Runtime uses its AVX-512 kernels, which need AVX-512's own VNNI.
    usable = ("avx512_vnni",) if "avx512f" in flags else ("avx512_vnni", "avx_vnni")
    found = next((flag for flag in usable if flag in flags), None)
    if found is not None:
        return FoundCpu("x86-vnni", f"it has {found}")
    if "avx512f" in flags:
        return FoundCpu("x86-avx2", "it has AVX-512, but not its VNNI")
    if "avx2" in flags:
        return FoundCpu("x86-avx2", "it has AVX2, but no VNNI")
    return FoundCpu("x86-sse", "it has no AVX2")


def _arm(flags: Set[str] | None, system: str) -> FoundCpu:
    if flags is None:
        if system == "darwin":
            return FoundCpu("arm-dotprod", "all of Apple's CPUs have dot products")
        return FoundCpu("arm", "its flags can't be read here: taken for one without dot products")
    if "i8mm" in flags:
        return FoundCpu("arm-dotprod", "it has i8mm and dot products")
    if "dotprod" in flags:
        return FoundCpu("arm-dotprod", "it has dot products")
    return FoundCpu("arm", "it has no dot products")
