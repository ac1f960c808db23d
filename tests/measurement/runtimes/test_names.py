"""Which runtimes a recipe may name."""

import pytest
from pydantic import ValidationError

from compress.measurement.runtimes import names
from compress.measurement.spec import MeasureSpec


def test_only_onnx_runtime_measures_by_default():
    assert MeasureSpec().runtimes == ("onnxruntime",)
    assert MeasureSpec().problem() is None


@pytest.mark.parametrize("wrong", [["openvino"], [], ["onnxruntime", "onnxruntime"]])
def test_onnx_runtime_is_among_them_once(wrong):
    with pytest.raises(ValidationError, match="with onnxruntime among them"):
        MeasureSpec(runtimes=wrong)


def test_the_command_that_installs_what_is_missing_is_named(monkeypatch):
    monkeypatch.setattr(names, "find_spec", lambda name: None)
    spec = MeasureSpec(runtimes=("onnxruntime", "openvino"))
    assert spec.problem() == "needs openvino: pip install 'compress[openvino]'."
    both = names.missing(["openvino", "nncf"])
    assert both == "needs openvino and nncf: pip install 'compress[openvino]'."


def test_a_folder_of_that_name_is_no_package(tmp_path, monkeypatch):
    (tmp_path / "onlyafolder").mkdir()
    monkeypatch.syspath_prepend(tmp_path)
    assert names.missing(["onlyafolder"]) is not None
    assert names.missing(["json"]) is None
