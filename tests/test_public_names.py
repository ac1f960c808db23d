"""The public names: one table, a page that shows them, and an example that works."""

import ast
import inspect
import re
import runpy
from pathlib import Path

import pytest

import compress

ROOT = Path(__file__).parent.parent
PAGE = ROOT / "docs" / "api.md"


def test_type_checkers_are_told_the_names_of_the_table() -> None:
    module = ast.parse(inspect.getsource(compress))
    block = next(node for node in module.body if isinstance(node, ast.If))
    told = {
        alias.asname: node.module
        for node in ast.walk(block)
        if isinstance(node, ast.ImportFrom)
        for alias in node.names
        if alias.asname == alias.name
    }
    assert told == {**compress._MODULES, "errors": "compress"}
    assert set(compress.__all__) == set(told)


def test_every_name_is_there_and_every_exception_among_the_errors() -> None:
    for name in compress.__all__:
        assert getattr(compress, name) is not None
    assert set(compress.__all__) <= set(dir(compress))
    with pytest.raises(AttributeError, match="no attribute 'Prunes'"):
        compress.Prunes  # noqa: B018
    defined = set(re.findall(r"^class (\w+Error)", inspect.getsource(compress.errors), re.M))
    assert len(defined) >= 9
    for name in defined:
        assert issubclass(getattr(compress.errors, name), compress.errors.CompressError)


def test_the_page_is_as_the_package() -> None:
    written = runpy.run_path(str(ROOT / "docs" / "write_api.py"))["page"]()
    assert PAGE.read_text(encoding="utf-8") == written, "run docs/write_api.py"
    shown = set(re.findall(r"^### `(\w+)`$", written, re.M))
    assert shown == set(compress.__all__) - {"errors"}
    assert max(map(len, written.splitlines())) <= 100


def test_the_example_of_the_page_runs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    text = PAGE.read_text(encoding="utf-8").split("```python\n")[1].split("```")[0]
    names: dict[str, object] = {}
    exec(compile(text, "api.md", "exec"), names)  # noqa: S102
    before, after = names["artifact"], names["int8"]
    assert isinstance(before, compress.Artifact)
    assert isinstance(after, compress.Artifact)
    assert after.format is compress.Format.ONNX_INT8
    assert after.require_onnx() == Path("work/quantize/model.onnx")
    size = sum(4 * parameter.numel() for parameter in before.require_module().parameters())
    assert 0 < after.require_onnx().stat().st_size < size / 3
