"""Flags of real CPUs, as Linux writes them, to the kinds that a model is quantized for."""

import pytest

from compress.measurement import cpu, environment
from compress.measurement.cpu import TARGETS, cpu_record, find_cpu, this_cpu

SAMPLES = {
    # model name, the flags that matter among some that don't, machine: kind
    "Xeon Platinum 8488C (Sapphire Rapids)": (
        "x86_64",
        "flags",
        "fpu sse4_2 fma avx avx2 avx512f avx512dq avx512bw avx512vl avx512_vnni avx_vnni amx_int8",
        "x86-vnni",
    ),
    "Xeon Platinum 8275CL (Cascade Lake)": (
        "x86_64",
        "flags",
        "fpu sse4_2 fma avx avx2 avx512f avx512dq avx512cd avx512bw avx512vl avx512_vnni",
        "x86-vnni",
    ),
    "Core i5-12600K (Alder Lake)": ("x86_64", "flags", "sse4_2 avx avx2 avx_vnni", "x86-vnni"),
    "AMD EPYC 9R14 (Zen 4)": (
        "x86_64",
        "flags",
        "sse4_1 sse4a avx avx2 avx512f avx512dq avx512bw avx512_bf16 avx512_vnni",
        "x86-vnni",
    ),
    "Xeon Platinum 8175M (Skylake)": (
        "x86_64",
        "flags",
        "sse4_2 fma avx avx2 avx512f avx512dq avx512cd avx512bw avx512vl",
        "x86-avx2",
    ),
    "AMD EPYC 7571 (Zen)": ("x86_64", "flags", "sse4_1 sse4_2 sse4a fma avx avx2", "x86-avx2"),
    "Celeron J1900": ("x86_64", "flags", "sse4_1 sse4_2 ssse3 movbe popcnt", "x86-sse"),
    "Neoverse-V1 (Graviton 3)": (
        "aarch64",
        "Features",
        "fp asimd aes crc32 atomics fphp asimdhp asimddp sve i8mm bf16",
        "arm-dotprod",
    ),
    "Cortex-A76 (Raspberry Pi 5)": ("aarch64", "Features", "fp asimd asimddp", "arm-dotprod"),
    "Cortex-A72 (Raspberry Pi 4)": ("aarch64", "Features", "fp asimd evtstrm crc32", "arm"),
}


@pytest.fixture
def machine(tmp_path, monkeypatch):
    """Makes this machine look like another one: None hides the flags."""

    def become(name, key=None, words="", *, system="linux"):
        path = tmp_path / "cpuinfo"
        path.unlink(missing_ok=True)
        if key:
            path.write_text(f"processor\t: 0\nmodel name\t: A CPU\n{key}\t\t: {words}\n")
        monkeypatch.setattr(environment, "CPUINFO", path)
        monkeypatch.setattr(cpu.platform, "machine", lambda: name)
        monkeypatch.setattr(cpu.sys, "platform", system)

    return become


@pytest.mark.parametrize("name", SAMPLES)
def test_real_cpus(machine, name):
    kind, key, words, target = SAMPLES[name]
    machine(kind, key, words)
    found = this_cpu()
    assert found.target == target
    assert str(found).startswith(f"{target} (it has ")


@pytest.mark.parametrize(
    ("name", "system", "target", "why"),
    [
        ("AMD64", "win32", "x86-avx2", "can't be read"),
        ("x86_64", "darwin", "x86-avx2", "can't be read"),
        ("arm64", "darwin", "arm-dotprod", "Apple"),
        ("ARM64", "win32", "arm", "can't be read"),
        ("riscv64", "linux", "other", "riscv64"),
    ],
)
def test_where_flags_cant_be_read_the_cautious_kind_is_taken(machine, name, system, target, why):
    machine(name, system=system)
    found = this_cpu()
    assert found.target == target
    assert why in found.reason


def test_avx_vnni_isnt_enough_where_onnxruntime_takes_its_avx512_kernels():
    assert find_cpu("x86_64", {"avx2", "avx_vnni"}).target == "x86-vnni"
    assert find_cpu("x86_64", {"avx2", "avx512f", "avx_vnni"}).target == "x86-avx2"
    assert find_cpu("x86_64", {"avx2", "avx512f", "avx512_vnni"}).target == "x86-vnni"


def test_the_record_holds_both_cpus(machine):
    machine("x86_64", "flags", "sse4_2 avx2 fma")
    assert cpu_record("x86-vnni") == {
        "target_cpu": "x86-vnni",
        "measured_on": {"kind": "x86-avx2", "name": "A CPU", "flags": ["avx2"]},
    }
    assert cpu_record(None)["target_cpu"] is None


def test_every_kind_has_words():
    assert {target for *_, target in SAMPLES.values()} | {"other"} == set(TARGETS)
