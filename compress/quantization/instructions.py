"""Whether this CPU multiplies 8-bit integers without saturating."""

from __future__ import annotations

import platform
from dataclasses import dataclass
from pathlib import Path

_VNNI = ("avx512_vnni", "avx_vnni", "amx_int8")
_X86 = ("x86_64", "amd64", "i386", "i686")


@dataclass(frozen=True)
class Instructions:
    """What was found, and what follows from it.

    Attributes
    ----------
    reduce_range : whether weights should have 7 bits.
    reason : half a sentence.
    """

    reduce_range: bool
    reason: str


def int8_instructions(
    *, machine: str | None = None, cpuinfo: Path = Path("/proc/cpuinfo")
) -> Instructions:
    """Read the CPU's flags.

    x86 CPUs without VNNI add two products in 16 bits, which saturate with 8-bit weights: accuracy
    right on a newer CPU is then wrong on them. ARM's dot product doesn't saturate.

    Parameters
    ----------
    machine : such as "x86_64"; None for this one.
    cpuinfo : Linux's file of CPU flags.
    """
    machine = (machine or platform.machine()).lower()
    if machine not in _X86:
        return Instructions(False, f"full 8-bit weights: {machine} doesn't saturate")
    try:
        words = cpuinfo.read_text(encoding="utf-8", errors="replace").split()
    except OSError:
        return Instructions(True, "7-bit weights: the CPU's flags can't be read here")
    found = next((flag for flag in _VNNI if flag in words), None)
    if found is None:
        return Instructions(True, "7-bit weights: this CPU lacks VNNI and would saturate")
    return Instructions(False, f"full 8-bit weights: the CPU has {found}")
