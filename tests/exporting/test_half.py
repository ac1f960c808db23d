"""Half precision: what ONNX Runtime's converter does in silence is refused or avoided."""

import numpy as np
import onnx
import pytest
import torch
from onnx import TensorProto
from onnx.reference import ReferenceEvaluator
from torch import nn

from compress.errors import ParityError, StageError
from compress.exporting import half
from compress.exporting.half import to_half
from compress.exporting.to_onnx import export_module
from compress.measurement.params import count_params
from compress.measurement.session import feed, session
from compress.measurement.size import size_bytes
from compress.tasks.task import TASKS
from tests.exporting.samples import LABELS, images
from tests.exporting.tasks import inputs

IMAGE = TASKS["image-classification"]


class Scaled(nn.Module):
    """Scales what it sees up, bounds it, and scales that."""

    def __init__(self, up, bounded):
        super().__init__()
        self.up = nn.Parameter(torch.full((64,), up))
        self.bounded = nn.Parameter(torch.full((64,), bounded))

    def forward(self, pixel_values):
        return torch.tanh(pixel_values.flatten(1) * self.up) * self.bounded


def _exported(module, path):
    return export_module(module.eval(), task=IMAGE, example=images(), path=path, labels=LABELS)


@pytest.mark.parametrize("name", ["llama", "gpt2", "tokens"])
def test_a_file_of_half_the_precision_answers_nearly_the_same(name, exported_model, tmp_path):
    torch.manual_seed(0)
    _, path = exported_model(name)
    made = tmp_path / "half.onnx"
    batches = [inputs(name, 3, 6, padding=3), inputs(name, 2, 8)]
    target = "token-class" if name == "tokens" else "next-token"
    found = to_half(path, path=made, batches=batches, target=target)
    assert 0 < found.max_error < 0.02 * found.scale
    assert found.agreement > 0.95
    graph = onnx.load(made).graph
    kinds = {value.type.tensor_type.elem_type for value in (*graph.input, *graph.output)}
    assert kinds == {TensorProto.FLOAT, TensorProto.INT64}
    floats = {t.name for t in graph.initializer if t.data_type == TensorProto.FLOAT}
    assert floats <= {"model.rotary_emb.inv_freq"}
    assert size_bytes(made) < size_bytes(path)
    assert count_params(made) == count_params(path)


def test_a_row_of_padding_gives_numbers_where_fp16_is_really_computed(exported_model, tmp_path):
    # ONNX Runtime computes fp16 in float32 on CPUs; onnx's own evaluator doesn't.
    _, path = exported_model("llama")
    made = tmp_path / "half.onnx"
    batch = {name: values.flip(1) for name, values in inputs("llama", 2, 4, padding=3).items()}
    to_half(path, path=made, batches=[batch], target="next-token")
    arrays = feed(session(made, threads=1), batch)
    assert np.isfinite(ReferenceEvaluator(str(made)).run(["logits"], arrays)[0]).all()


def test_rotary_angles_stay_in_float32(exported_model, tmp_path, monkeypatch):
    _, path = exported_model("llama")
    batch = inputs("llama", 1, 8)
    batch["position_ids"] = torch.arange(20001, 20009)[None]
    arrays = feed(session(path, threads=1), batch)
    wanted = session(path, threads=1).run(["logits"], arrays)[0]

    def error(name):
        to_half(path, path=tmp_path / name, batches=[batch], target="next-token")
        got = ReferenceEvaluator(str(tmp_path / name)).run(["logits"], arrays)[0]
        return np.abs(got - wanted).max() / np.abs(wanted).max()

    assert error("kept.onnx") < 0.03
    monkeypatch.setattr(half, "_rotations", lambda graph: [])
    assert error("rounded.onnx") > 0.1


@pytest.mark.parametrize(
    ("up", "said"), [(1e5, "'up' reaches 100,000"), (6e4, "the activation 'mul")]
)
def test_values_that_fp16_cannot_hold_are_refused(up, said, tmp_path):
    path = _exported(Scaled(up, 1.0), tmp_path / "float.onnx")
    sample = {"pixel_values": torch.full((2, 1, 8, 8), 2.0)}
    with pytest.raises(StageError, match=f"fp16 holds no value beyond 65,504, and {said}"):
        to_half(path, path=tmp_path / "half.onnx", batches=[sample])
    assert not (tmp_path / "half.onnx").exists()


def test_what_fp16_loses_fails_parity(tmp_path):
    path = _exported(Scaled(1e-9, 6e4), tmp_path / "float.onnx")
    sample = {"pixel_values": torch.full((2, 1, 8, 8), 6e4)}
    with pytest.raises(ParityError, match=r"in fp16 doesn't answer as in fp32.*first node"):
        to_half(path, path=tmp_path / "half.onnx", batches=[sample])
    assert not (tmp_path / "half.onnx").exists()


def test_quantized_files_are_refused(cnn_file, tmp_path):
    model, path = onnx.load(cnn_file), tmp_path / "int8.onnx"
    model.graph.node.append(onnx.helper.make_node("DynamicQuantizeLinear", ["logits"], list("abc")))
    onnx.save(model, path)
    with pytest.raises(StageError, match="'precision: fp16' needs a float model"):
        to_half(path, path=tmp_path / "half.onnx", batches=[images()])


def test_a_file_beyond_the_limit_of_one_keeps_its_weights_beside_it(
    cnn_file, tmp_path, monkeypatch
):
    monkeypatch.setattr("compress.onnx_graph.files.SINGLE_FILE_BYTES", 100)
    made = tmp_path / "half.onnx"
    assert to_half(cnn_file, path=made, batches=[images(3)]).max_error < 0.02
    assert (tmp_path / "half.onnx.data").stat().st_size > 1000
