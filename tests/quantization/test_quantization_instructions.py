import pytest

from compress.quantization.instructions import int8_instructions


@pytest.mark.parametrize(
    ("machine", "flags", "reduced"),
    [
        ("x86_64", "fpu avx2 avx512f avx512_vnni", False),
        ("AMD64", "fpu avx2 avx_vnni", False),
        ("x86_64", "fpu avx2 avx512f", True),
        ("aarch64", "fp asimd", False),
    ],
)
def test_seven_bits_only_on_x86_without_vnni(tmp_path, machine, flags, reduced):
    cpuinfo = tmp_path / "cpuinfo"
    cpuinfo.write_text(f"processor : 0\nflags : {flags}\n")
    found = int8_instructions(machine=machine, cpuinfo=cpuinfo)
    assert found.reduce_range is reduced
    assert ("7-bit" in found.reason) is reduced


def test_unreadable_flags_are_taken_for_an_old_cpu(tmp_path):
    found = int8_instructions(machine="x86_64", cpuinfo=tmp_path / "missing")
    assert found.reduce_range
    assert "can't be read" in found.reason
