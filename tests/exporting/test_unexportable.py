"""What torch can't export is said in a sentence of ours."""

import pytest
from transformers import FunnelConfig, FunnelForSequenceClassification

from compress.errors import StageError
from compress.exporting.parity.alone import alone
from compress.exporting.to_onnx import export_module
from compress.models.transformers.architectures import kind_problem
from compress.models.transformers.unexportable import UNEXPORTABLE
from compress.tasks.task import TASKS
from tests.exporting.recurrent_nets import words

TEXT = TASKS["text-classification"]


def exported(module, path):
    return export_module(module, task=TEXT, example=words(), path=path, labels=("a", "b"))


@pytest.mark.slow
def test_a_length_that_becomes_a_number_of_python_is_told_in_a_sentence(tmp_path):
    config = FunnelConfig(
        vocab_size=60, block_sizes=[1, 1], d_model=16, n_head=2, d_head=8, d_inner=24, num_labels=2
    )
    said = (
        r"^torch can't export FunnelForSequenceClassification to ONNX: its forward computes with "
        r"axis 1 of 'input_ids' as with a number of Python, which gives it a static shape of 7\.$"
    )
    with pytest.raises(StageError, match=said):
        exported(FunnelForSequenceClassification(config).eval(), tmp_path / "model.onnx")


@pytest.mark.parametrize("kind", UNEXPORTABLE)
def test_such_architectures_are_refused_before_anything_is_loaded(kind):
    problem = kind_problem({"model_type": kind}, TEXT)
    assert problem is not None
    assert problem.startswith(f"a model of type {kind!r} can't be exported to ONNX")
    assert kind_problem({"model_type": "xlnet"}, TEXT) is None


def test_what_a_modules_forward_raises_is_told_with_its_name():
    def picky(batch):
        raise ValueError("all examples must end alike.")

    with pytest.raises(StageError, match=r"^Picky failed: ValueError: all examples"):
        alone(picky, words(3), target="class", name="Picky")
