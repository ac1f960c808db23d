"""The recovery of a stage trains a quantized graph as it trains any module."""

import onnx
import pytest
import torch

from compress.distillation.recovery import Recovery
from compress.exporting.to_onnx import export_module
from compress.measurement.quality import measure_quality
from compress.onnx_graph.graph import Graph
from compress.quantization.calibration.observe import observe
from compress.quantization.integers import Integers
from compress.quantization.qat.module import aware, write_back
from compress.quantization.selection import select
from compress.quantization.static import activations, quantize_static
from tests.stages.digits import TASK, digits, preprocessor, trained

COARSE = Integers("int8", "int8", True)


@pytest.fixture(scope="module")
def problem(tmp_path_factory):
    """The reference, its context, its float file and a coarsely quantized one."""
    folder = tmp_path_factory.mktemp("aware")
    artifact, context = trained(folder, epochs=3)
    loader = digits().loader("calibration", preprocessor(), batch_size=16, limit=64)
    batches = [{"pixel_values": batch["pixel_values"]} for batch in loader]
    source = export_module(
        artifact.module, task=TASK, example=batches[0], path=folder / "float.onnx", labels=()
    )
    model = onnx.load(source)
    selection = select(Graph(model), method="static")
    observed = observe(
        source, activations(Graph(model), selection), batches=batches, methods=["minmax"]
    )
    path = quantize_static(
        source,
        path=folder / "int8.onnx",
        selection=selection,
        ranges=observed.ranges("minmax", integers=COARSE),
        integers=COARSE,
        per_channel=False,
    )
    return artifact, context, source, path


@pytest.mark.slow
@pytest.mark.parametrize("precision", ["fp32", "bf16"])
def test_recovery_trains_the_graph_and_the_file_answers_as_trained(problem, tmp_path, precision):
    artifact, context, source, path = problem
    module = aware(path, source=source, integers=COARSE)
    before = {name: tensor.clone() for name, tensor in module.state_dict().items()}
    training = {"epochs": 1, "learning_rate": 1e-3, "precision": precision}
    fitted = Recovery.model_validate({"training": training}).recover(
        module, artifact=artifact, context=context, description="train"
    )
    assert all(torch.equal(before[name], t) for name, t in module.state_dict().items())
    after = fitted.module.state_dict()
    moved = [name for name, tensor in before.items() if not torch.equal(tensor, after[name])]
    assert len(moved) > 20
    written = write_back(fitted.module, path, path=tmp_path / "trained.onnx")
    loader = digits().loader("test", preprocessor(), batch_size=100)
    found = measure_quality(written, loader=loader, metric="accuracy").value
    right = total = 0
    for batch in loader:
        with torch.no_grad():
            right += (
                (fitted.module(batch["pixel_values"]).argmax(1) == batch["labels"]).sum().item()
            )
        total += len(batch["labels"])
    assert found == pytest.approx(right / total, abs=1.5 / total)
    assert found > 0.9
