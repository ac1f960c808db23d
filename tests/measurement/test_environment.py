import json
from importlib.metadata import version

from compress.measurement import environment as module
from compress.measurement.environment import cpu_flags, cpu_name, environment


def test_environment_is_plain_json_with_what_a_report_needs():
    told = json.loads(json.dumps(environment(threads=3)))
    assert told["threads"] == 3
    assert told["cores"] >= told["cores_allowed"] >= 1
    assert told["cpu"]
    assert told["versions"]["onnxruntime"] == version("onnxruntime")
    assert {"os", "python", "flags"} <= set(told)


def test_x86_flags(tmp_path, monkeypatch):
    path = tmp_path / "cpuinfo"
    path.write_text("model name\t: Some CPU\nflags\t\t: fpu avx2 avx512_vnni avx_vnni_int8\n")
    monkeypatch.setattr(module, "CPUINFO", path)
    assert cpu_name() == "Some CPU"
    assert cpu_flags() == {"avx2", "avx512_vnni"}


def test_arm_flags(tmp_path, monkeypatch):
    path = tmp_path / "cpuinfo"
    path.write_text("Features\t: fp asimd asimddp i8mm\n")
    monkeypatch.setattr(module, "CPUINFO", path)
    assert cpu_flags() == {"neon", "dotprod", "i8mm"}


def test_unknown_flags_are_none_and_not_an_empty_set(tmp_path, monkeypatch):
    monkeypatch.setattr(module, "CPUINFO", tmp_path / "absent")
    assert cpu_flags() is None
    assert cpu_name()
    assert environment(threads=1)["flags"] is None
