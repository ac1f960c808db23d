"""A sample's answer beside others is its answer alone, or that is said."""

from dataclasses import dataclass

import numpy as np
import pytest
import torch
from torch import nn

from compress.core.artifact import Artifact, Format
from compress.core.context import Context
from compress.data.images.transform import ImagePreprocessor
from compress.errors import ParityError
from compress.exporting.checked import alone_notes, export_artifact
from compress.exporting.parity.alone import alone
from compress.exporting.parity.compare import module_answers, onnx_answers
from compress.onnx_graph.files import load_graph
from compress.quantization.dynamic import quantize_dynamic
from compress.quantization.integers import Integers
from compress.quantization.selection import select
from compress.tasks.task import TASKS
from tests.exporting.samples import LABELS, images, texts
from tests.exporting.tasks import inputs, task_of

IMAGE = TASKS["image-classification"]


@dataclass
class Batches:
    """Data of one batch."""

    batch: dict[str, torch.Tensor]

    def loader(self, split, preprocessor, *, batch_size, **_):
        yield {name: values[:batch_size] for name, values in self.batch.items()}


def context_of(artifact, task, batch, folder):
    return Context(reference=artifact, task=task, data=Batches(batch), directory=folder)


def network(norm):
    torch.manual_seed(0)
    return nn.Sequential(
        nn.Conv2d(1, 8, 3), norm, nn.ReLU(), nn.Flatten(), nn.Linear(8 * 36, 3)
    ).eval()


def ragged(name, *, left=False):
    """Four texts of 9, 8, 7 and 5 tokens, padded to 12."""
    batch = inputs(name, 4, 12)
    for row, length in enumerate((9, 8, 7, 5)):
        for values in batch.values():
            values[row, length:] = 0
    return {key: values.flip(1) for key, values in batch.items()} if left else batch


@pytest.mark.parametrize(
    "norm",
    [
        nn.BatchNorm2d(8, track_running_stats=False),
        nn.BatchNorm2d(8, affine=False, track_running_stats=False),
    ],
)
def test_batch_normalization_by_the_batch_is_refused(norm, tmp_path):
    module = network(norm)
    artifact = Artifact(
        format=Format.TORCH, module=module, preprocessor=ImagePreprocessor(), labels=LABELS
    )
    context = context_of(artifact, IMAGE, images(16), tmp_path)
    with pytest.raises(ParityError, match=r"beside 3 others than alone: .*track_running_stats"):
        export_artifact(artifact, context, tmp_path / "model.onnx")
    assert not list(tmp_path.iterdir())


def test_one_sample_that_has_no_answer_alone_is_refused():
    module = nn.Sequential(nn.Flatten(), nn.BatchNorm1d(64, track_running_stats=False)).eval()
    with pytest.raises(Exception, match=r"given one sample alone, failed: .*more than 1 value"):
        alone(module_answers(module, task=IMAGE), images(4), target="class", name="Net")


@pytest.mark.parametrize(
    "norm",
    [
        nn.BatchNorm2d(8),
        nn.GroupNorm(2, 8),
        nn.InstanceNorm2d(8, affine=True),
        nn.LayerNorm(6),
        nn.Identity(),
    ],
)
def test_other_normalizations_say_nothing(norm, tmp_path):
    artifact = Artifact(
        format=Format.TORCH, module=network(norm), preprocessor=ImagePreprocessor(), labels=LABELS
    )
    context = context_of(artifact, IMAGE, images(16), tmp_path)
    found = export_artifact(artifact, context, tmp_path / "model.onnx")
    assert found.remarks == ()
    assert (tmp_path / "model.onnx").is_file()


class Crowded(nn.Module):
    """Experts with room for few: a sample's answer is a little other where others came first."""

    def __init__(self, share):
        super().__init__()
        self.share = share

    def forward(self, pixel_values):
        flat = pixel_values.flatten(1)[:, :3]
        before = torch.arange(len(flat)).clamp(max=1)[:, None]
        return flat + self.share * flat.abs().max() * before


@pytest.mark.parametrize(("share", "said"), [(0.02, True), (0.0, False)])
def test_small_differences_are_noted(share, said):
    notes = alone(
        module_answers(Crowded(share), task=IMAGE), images(4), target="class", name="Crowded"
    )
    assert len(notes) == said
    if said:
        assert notes[0].startswith("answers depend on the batch: largest difference ")
        assert "top-1 agreement" in notes[0]


@pytest.mark.parametrize("name", ["tokens", "encoder", "sets", "llama"])
@pytest.mark.parametrize("left", [False, True])
def test_models_of_texts_that_heed_the_mask_say_nothing(name, left, exported_model):
    if left and name != "llama":
        pytest.skip("their positions count padding")
    module, path = exported_model(name)
    task = task_of(name)
    for answers in (module_answers(module, task=task), onnx_answers(path)):
        assert alone(answers, ragged(name, left=left), target=task.target, name=name) == ()


def test_positions_that_count_padding_are_noted(exported_bert):
    module, path = exported_bert
    batch = texts(4, 12)
    for row, length in enumerate((9, 8, 7, 5)):
        for values in batch.values():
            values[row, : 12 - length] = 0
    task = TASKS["text-classification"]
    for answers in (module_answers(module, task=task), onnx_answers(path)):
        (note,) = alone(answers, batch, target="class", name="bert")
        assert note.startswith("answers depend on padding: largest difference ")
        assert note.endswith("texts alone and padded")


class Wide(nn.Module):
    """Convolutions that need five tokens, and see padding."""

    def __init__(self):
        super().__init__()
        self.words = nn.Embedding(60, 8)
        self.inner = nn.Conv1d(8, 3, 5)

    def forward(self, input_ids, *_):
        return self.inner(self.words(input_ids).transpose(1, 2)).amax(-1)


def test_texts_too_short_for_a_model_are_noted():
    torch.manual_seed(0)
    batch = texts(4, 12)
    for values in batch.values():
        values[3, 2:] = 0
    answers = module_answers(Wide().eval(), task=TASKS["text-classification"])
    (note,) = alone(answers, batch, target="class", name="Wide")
    assert note.startswith("short texts have no answer without padding: Wide, given one sample")
    assert "Kernel size can't be greater" in note


def test_dynamic_scales_are_noted_and_never_refused(exported_bert, tmp_path):
    module, path = exported_bert
    int8 = tmp_path / "int8.onnx"
    quantize_dynamic(
        path,
        path=int8,
        selection=select(load_graph(path), method="dynamic"),
        integers=Integers(reduce_range=True),
    )
    task = TASKS["text-classification"]
    artifact = Artifact(
        format=Format.TORCH, module=module, preprocessor=ImagePreprocessor(), labels=LABELS
    )
    context = context_of(artifact, task, ragged("sets"), tmp_path)
    notes = alone_notes(artifact, context, int8)
    assert notes[0].startswith("answers depend on the batch: largest difference ")
    assert notes[-1] == "'dynamic' takes its scales from the whole batch, 'static' doesn't"
    assert alone_notes(artifact, context, path) == ()


def test_one_sample_has_no_neighbours():
    answers = module_answers(network(nn.Identity()), task=IMAGE)
    assert alone(answers, images(1), target="class", name="Net") == ()
    assert np.isfinite(answers(images(1))).all()
