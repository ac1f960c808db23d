"""Exports share torch's tables, and give the files that they would give alone."""

import contextlib

import pytest
import torch
from torch import nn
from torch.onnx._internal.exporter import _registration

from compress.errors import StageError
from compress.exporting import torch_tables
from compress.exporting.to_onnx import export_module
from compress.tasks.task import TASKS
from tests.exporting.samples import LABELS, images

IMAGE = TASKS["image-classification"]


class Layers(nn.Module):
    """Is taken apart by several of torch's tables."""

    def __init__(self):
        super().__init__()
        self.norm, self.out = nn.LayerNorm(64), nn.Linear(64, 3)

    def forward(self, pixel_values):
        return self.out(nn.functional.silu(self.norm(pixel_values.flatten(1))))


def export(path, module=None):
    torch.manual_seed(0)
    return export_module(
        (module or Layers()).eval(), task=IMAGE, example=images(), path=path, labels=LABELS
    )


def test_translations_are_parsed_once(tmp_path, monkeypatch):
    parsed, parse = [], _registration.onnxscript_apis.get_torchlib_ops
    monkeypatch.setattr(
        _registration.onnxscript_apis,
        "get_torchlib_ops",
        lambda: parsed.append(1) or parse(),
    )
    torch_tables._registry.cache_clear()
    for name in ("first", "second"):
        export(tmp_path / f"{name}.onnx")
    assert len(parsed) == 1


def test_the_file_is_that_of_an_export_that_shares_nothing(tmp_path, monkeypatch):
    shared = [export(tmp_path / f"{number}.onnx").read_bytes() for number in range(2)]
    monkeypatch.setattr("compress.exporting.to_onnx.shared_tables", contextlib.nullcontext)
    assert {export(tmp_path / "alone.onnx").read_bytes()} == set(shared)


def state():
    exporter = vars(_registration.ONNXRegistry)["from_torchlib"]
    listed = torch_tables.export_utils._materialize_cpp_cia_ops
    return exporter, listed, torch.fx.config.do_not_emit_stack_traces


def test_torch_is_left_as_it_was_by_an_export_that_fails(tmp_path):
    class Fails(nn.Module):
        def forward(self, pixel_values):
            if pixel_values.sum() > 0:
                return pixel_values
            return pixel_values.flatten(1)

    before = state()
    with pytest.raises(StageError):
        export(tmp_path / "fails.onnx", Fails())
    assert state() == before
