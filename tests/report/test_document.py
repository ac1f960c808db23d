import json
import stat
from importlib.resources import files

import jsonschema
import pytest

from compress.core.files import atomic as core_files
from compress.core.files.atomic import write_bytes, write_text
from compress.errors import InputError
from compress.report.document import (
    Report,
    read_report,
    report_schema,
    report_schema_text,
    write_report,
)


def test_a_report_comes_back_from_its_folder_and_from_its_file(report, tmp_path):
    path = write_report(report, tmp_path)
    assert path == tmp_path / "report.json"
    assert read_report(tmp_path) == report
    assert read_report(path) == report


def test_the_format_has_the_public_names(report):
    plain = json.loads(report.to_json())
    assert plain["schema"] == 1
    assert set(plain) == {
        "schema", "name", "status", "error", "version", "recipe_hash", "environment", "reference",
        "stages", "gates", "notes",
        "recipe", "test_data", "attribution", "baseline",
        "confusion", "disagreements", "changed_keys",
    }  # fmt: skip
    assert set(plain["stages"][1]) == {
        "index", "name", "use", "params", "macs", "size_bytes", "quality", "latency_ms",
        "speedup", "runtimes", "delta", "seconds", "peak_memory_bytes", "notes",
        "candidates", "generation", "from_text",
        "vs_reference", "vs_previous", "calibration_error", "recall",
        "throughput", "typical", "serving", "conditions", "energy_kwh",
        "widths", "training", "sensitivity", "noise", "left_aside",
    }  # fmt: skip
    assert plain["stages"][1]["latency_ms"]["32"]["p50"] == pytest.approx(251.2)
    assert plain["stages"][0]["use"] is None


def test_the_shipped_schema_is_current():
    shipped = files("compress.report").joinpath("report.schema.json").read_text(encoding="utf-8")
    assert shipped == report_schema_text(), "run: compress schema --report"


def test_the_schema_takes_reports_and_refuses_others(report):
    jsonschema.Draft202012Validator.check_schema(report_schema())
    validator = jsonschema.Draft202012Validator(report_schema())
    plain = json.loads(report.to_json())
    assert validator.is_valid(plain)
    assert not validator.is_valid({**plain, "status": "fine"})
    assert not validator.is_valid({**plain, "extra": 1})
    del plain["stages"][0]["quality"]
    assert not validator.is_valid(plain)


def test_a_version_is_filled_in():
    assert Report(name="a", status="running").version


@pytest.mark.parametrize(
    ("text", "match"),
    [
        (None, "there is no report at"),
        ("{", "isn't a report of this version: the file: Invalid JSON"),
        (
            '{"schema": 2, "name": "a", "status": "passed"}',
            r"isn't a report of this version: schema: .* Got 2\.",
        ),
        ("", "EOF while parsing"),
        ("[]", "the file: Input should be an object"),
        ('{"schema": 1}', "name: Field required"),
        ("[" * 100_000, "recursion limit exceeded"),
        ('{"name": "a", "status": "passed", "later": 1}', "later: Extra inputs"),
    ],
)
def test_what_is_no_report(tmp_path, text, match):
    if text is not None:
        (tmp_path / "report.json").write_text(text)
    with pytest.raises(InputError, match=match):
        read_report(tmp_path)


def test_a_failed_write_leaves_the_old_file_and_nothing_else(tmp_path, monkeypatch):
    path = tmp_path / "a.txt"
    write_text(path, "old\n")

    def full(_: int) -> None:
        raise OSError("no space left on device")

    monkeypatch.setattr(core_files.os, "fsync", full)
    with pytest.raises(OSError, match="no space"):
        write_bytes(path, b"new")
    assert [file.name for file in tmp_path.iterdir()] == ["a.txt"]
    assert path.read_text() == "old\n"


def test_written_files_have_ordinary_permissions(tmp_path):
    ordinary, ours = tmp_path / "a", tmp_path / "b"
    ordinary.write_text("x")
    write_text(ours, "é\r\n")
    assert stat.S_IMODE(ours.stat().st_mode) == stat.S_IMODE(ordinary.stat().st_mode)
    assert ours.read_bytes() == "é\r\n".encode()
    ours.chmod(0o640)
    write_text(ours, "y")
    assert stat.S_IMODE(ours.stat().st_mode) == 0o640


@pytest.mark.parametrize("name", ["a\0b", "a" * 5000, "/dev/zero", "missing"])
def test_what_is_no_file(name):
    with pytest.raises(InputError, match=r"there is no report|can't be read"):
        read_report(name)


def test_bytes_that_are_no_text_and_numbers_without_end(report, tmp_path):
    path = write_report(report, tmp_path)
    plain = json.loads(path.read_text())
    plain["stages"][0]["size_bytes"] = 10**400
    path.write_text(json.dumps(plain))
    with pytest.raises(InputError, match=r"stages\.0\.size_bytes"):
        read_report(path)
    path.write_bytes(b"\x89\xff\x00")
    with pytest.raises(InputError, match="can't be read"):
        read_report(path)
