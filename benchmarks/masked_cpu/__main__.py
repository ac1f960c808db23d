"""Runs a command as if this machine's x86 CPU had AVX2, and neither AVX-512 nor VNNI nor AMX.

    python benchmarks/masked_cpu FOLDER COMMAND …

ONNX Runtime and OpenVINO ask the CPU by its CPUID instruction, which can't be forbidden on most
machines. So the command gets copies of their libraries, in which each CPUID is replaced by an
instruction that doesn't exist; `cpuid.c` answers in its place. The copies lie over the real files,
and a /proc/cpuinfo without those flags over the real one, in mounts that the command alone sees.
The kernels that run are then those of a CPU with AVX2, at their true speed on this one. torch
trains as before, but for what `_VARIABLES` asks of it.

FOLDER keeps the copies, which take a minute to make. Needs Linux, gcc, objdump, and the right to
mount. ONNX Runtime's 8-bit products must saturate, as they do with AVX2 alone; otherwise nothing is
run.
"""

from __future__ import annotations

import hashlib
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator
from fnmatch import fnmatch
from importlib.metadata import PackageNotFoundError, files
from pathlib import Path

_LIBRARIES = {
    "onnxruntime": ("*.so", "*.so.*"),
    "openvino": ("*/libopenvino.so*", "*/libopenvino_intel_cpu_plugin.so"),
}
"""Libraries that choose kernels by CPUID, by package."""
_VARIABLES = {
    "ONEDNN_MAX_CPU_ISA": "AVX2",
    "ATEN_CPU_CAPABILITY": "avx2",
    "OPENBLAS_CORETYPE": "Haswell",
}
_FLAGS = re.compile(r" (avx512|avx10|avx_(vnni|ifma|ne_)|amx)\w*")
_CPUID, _REPLACED = b"\x0f\xa2", b"\x06\xa2"
_MOUNT = 'while [ "$1" != -- ]; do mount --bind "$1" "$2"; shift 2; done; shift; exec "$@"'
_SATURATES = """
import numpy, onnx, onnxruntime
from onnx import TensorProto, helper
values = [helper.make_tensor_value_info(*each) for each in
          [("a", TensorProto.UINT8, [8, 64]), ("y", TensorProto.INT32, [8, 32])]]
weight = onnx.numpy_helper.from_array(numpy.full((64, 32), 127, numpy.int8), "w")
graph = helper.make_graph([helper.make_node("MatMulInteger", ["a", "w"], ["y"])], "g",
                          values[:1], values[1:], [weight])
model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
session = onnxruntime.InferenceSession(model.SerializeToString())
found = session.run(None, {"a": numpy.full((8, 64), 255, numpy.uint8)})[0]
raise SystemExit(0 if (found < 64 * 255 * 127).all() else 1)
"""


def masked(library: Path, folder: Path) -> Path:
    """Return a copy of a library without CPUID instructions, made once."""
    content = bytearray(library.read_bytes())
    copy = folder / f"{library.name}.{hashlib.sha256(content).hexdigest()[:16]}"
    if copy.exists():
        return copy
    print(f"masking {library.name}", file=sys.stderr, flush=True)
    for place in cpuids(library):
        if content[place : place + 2] != _CPUID:
            raise SystemExit(f"{library}: no CPUID at {place:#x}, where objdump sees one.")
        content[place : place + 2] = _REPLACED
    unfinished = folder / f"{copy.name}.unfinished"
    unfinished.write_bytes(content)
    shutil.copymode(library, unfinished)
    unfinished.rename(copy)
    return copy


def cpuids(library: Path) -> Iterator[int]:
    """Yield the place in a library's file of each CPUID instruction.

    They are found by disassembly, since the same two bytes also occur within other instructions.
    """
    sections = [
        (int(address, 16), int(size, 16), int(place, 16))
        for size, address, place in re.findall(
            r"^ +\d+ \S+ +(\w+) +(\w+) +\w+ +(\w+) ", printed("objdump", "-h", str(library)), re.M
        )
    ]
    for line in printed("objdump", "-d", "--no-show-raw-insn", str(library)).splitlines():
        if line.endswith("\tcpuid"):
            at = int(line.split(":")[0], 16)
            yield next(
                at - start + place for start, size, place in sections if start <= at < start + size
            )


def printed(*command: str) -> str:
    return subprocess.run(command, check=True, capture_output=True, text=True).stdout


def mounts(folder: Path) -> Iterator[tuple[Path, Path]]:
    """Yield each file that the command is to see, with the one in whose place it sees it."""
    for package, patterns in _LIBRARIES.items():
        try:
            found = files(package) or []
        except PackageNotFoundError:
            continue
        for file in found:
            if any(fnmatch(str(file), pattern) for pattern in patterns):
                library = Path(str(file.locate())).resolve()
                yield masked(library, folder), library
    flags = folder / "cpuinfo"
    plain = _FLAGS.sub("", Path("/proc/cpuinfo").read_text())
    flags.write_text(re.sub(r"(model name.*)", r"\1, masked to AVX2", plain))
    yield flags, Path("/proc/cpuinfo")


def main() -> None:
    if len(sys.argv) < 3:
        raise SystemExit("usage: python benchmarks/masked_cpu FOLDER COMMAND …")
    folder, command = Path(sys.argv[1]).resolve(), sys.argv[2:]
    folder.mkdir(parents=True, exist_ok=True)
    answers = folder / "cpuid.so"
    source = Path(__file__).with_name("cpuid.c")
    subprocess.run(["gcc", "-O2", "-shared", "-fPIC", "-o", answers, source], check=True)
    pairs = [str(path) for pair in mounts(folder) for path in pair]
    private = ["unshare", "--mount", *(["--map-root-user"] if os.geteuid() else [])]
    inside = [*private, "sh", "-ec", _MOUNT, "sh", *pairs, "--", "env", f"LD_PRELOAD={answers}"]
    inside += [f"{name}={value}" for name, value in _VARIABLES.items()]
    if subprocess.run([*inside, sys.executable, "-c", _SATURATES], check=False).returncode:
        raise SystemExit("ONNX Runtime's 8-bit products don't saturate: it isn't masked.")
    raise SystemExit(subprocess.run([*inside, *command], check=False).returncode)


if __name__ == "__main__":
    main()
