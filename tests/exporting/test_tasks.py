"""Models of every task as ONNX files: dynamic axes, parity where texts aren't padding, INT8."""

import pytest
import torch

from compress.errors import ParityError
from compress.exporting.parity.compare import check_parity, compare, onnx_answers
from compress.tasks.task import TASKS
from tests.exporting.tasks import TASK_OF, inputs, model_for


@pytest.fixture(params=TASK_OF)
def exported(request, exported_model):
    return request.param, *exported_model(request.param)


def test_a_file_answers_as_its_module_at_other_sizes(exported):
    name, module, path = exported
    batches = [inputs(name, 3, 7), inputs(name, 1, 12, padding=5), inputs(name, 5, 2)]
    found = check_parity(module, path, task=TASKS[TASK_OF[name]], batches=batches)
    assert found.samples == 9
    assert found.agreement == pytest.approx(1)
    assert found.scale > 0.1


def test_int8_answers_nearly_the_same(exported, tmp_path):
    from compress.measurement.cpu import this_cpu
    from compress.measurement.size import size_bytes
    from compress.onnx_graph.files import load_graph
    from compress.quantization.cpu import integers_for
    from compress.quantization.dynamic import quantize_dynamic
    from compress.quantization.selection import select

    name, _, path = exported
    quantized = quantize_dynamic(
        path,
        path=tmp_path / "int8.onnx",
        selection=select(load_graph(path), method="dynamic"),
        integers=integers_for(this_cpu().target, method="dynamic")[0],
    )
    batches = [inputs(name, 4, 9, padding=3), inputs(name, 2, 5)]
    target = TASKS[TASK_OF[name]].target
    found = compare(onnx_answers(path), onnx_answers(quantized), batches=batches, target=target)
    assert 0 < found.max_error < 0.3 * found.scale
    assert found.agreement > 0.75
    assert size_bytes(quantized) < size_bytes(path)


@pytest.mark.parametrize("exported", ["llama", "gpt2", "tokens", "encoder"], indirect=True)
def test_padding_is_not_compared(exported):
    name, _, path = exported
    target = TASKS[TASK_OF[name]].target
    right = onnx_answers(path)
    batch = inputs(name, 3, 6, padding=4)

    def wrong_at(column):
        def answer(batch):
            scores = right(batch).copy()
            scores[:, column] += 1
            return scores

        return compare(right, answer, batches=[batch], target=target).max_error

    assert wrong_at(-1) == 0
    assert wrong_at(0) == pytest.approx(1, rel=1e-3)
    other = model_for(name)
    torch.nn.init.normal_(other.get_input_embeddings().weight)
    with pytest.raises(ParityError, match="doesn't answer"):
        check_parity(other, path, task=TASKS[TASK_OF[name]], batches=[batch])


def test_agreement_is_said_in_the_words_of_the_task():
    import numpy as np

    left, right = np.array([[1.0, -1.0], [2.0, 3.0]]), np.array([[0.5, -2.0], [2.0, -3.0]])

    def found(target, left=left, right=right):
        return compare(lambda _: left, lambda _: right, batches=[{}], target=target).top1()

    assert found("class") == "top-1 agreement 50.0% on 2 samples"
    assert found("class-set") == "agreement 75.0% on 2 samples"
    hidden = np.array([[[1.0, 0.0], [0.0, 2.0]]])
    assert found("none", hidden, 3 * hidden) == "mean cosine similarity 1.0000 on 1 samples"
    turned = np.array([[[0.0, 1.0], [0.0, 2.0]]])
    assert found("none", hidden, turned) == "mean cosine similarity 0.5000 on 1 samples"
