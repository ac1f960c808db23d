from dataclasses import replace

import numpy as np
import onnx
import pytest
import torch
from torch import nn

from compress.errors import ModelError
from compress.exporting.to_onnx import export_module
from compress.measurement.session import run, session
from compress.models.checkpoint import load_checkpoint, save_checkpoint
from compress.models.ngrams.module import NgramClassifier
from compress.models.ngrams.sizes import NgramSizes
from compress.models.ngrams.source import NgramSource
from compress.models.source import source_from_dict
from compress.tasks.task import task

SIZES = NgramSizes(vocabulary=30, shortest=1, longest=3, buckets=50, classes=4, width=8)


def made(sizes=SIZES, seed=0):
    torch.manual_seed(seed)
    return NgramClassifier(sizes).eval()


def batch(*texts, length):
    ids = torch.tensor([[*text, *[0] * (length - len(text))] for text in texts])
    mask = torch.tensor([[1] * len(text) + [0] * (length - len(text)) for text in texts])
    return ids, mask


def by_hand(module, text):
    """Scores of one text, an n-gram after another, in whole numbers of Python."""
    sizes, rows = module.sizes, []
    for count in range(sizes.shortest, sizes.longest + 1):
        for start in range(len(text) - count + 1):
            hashed = text[start]
            for piece in text[start + 1 : start + count]:
                hashed = (hashed * 1_000_003 + piece) % (2**31 - 1)
            first = sizes.vocabulary if sizes.shortest == 1 else 0
            rows.append(hashed if count == 1 else first + hashed % sizes.buckets)
    total = module.rows.weight[rows].sum(0) / max(len(rows), 1) ** 0.5
    return module.head(total)


@pytest.mark.parametrize(
    "sizes",
    [
        SIZES,
        NgramSizes(vocabulary=30, shortest=2, longest=2, buckets=7, classes=4),
        NgramSizes(30, 1, 1, 5, classes=4, width=8, hidden=(6,)),
    ],
)
@pytest.mark.parametrize("text", [[3], [3, 29], [5, 5, 5, 7, 1, 2]])
def test_scores_are_those_of_the_ngrams_one_by_one(sizes, text):
    module = made(sizes)
    got = module(*batch(text, [1, 2], length=7))[0]
    assert torch.allclose(got, by_hand(module, text), atol=1e-6)


@pytest.mark.parametrize("side", ["left", "right"])
def test_padding_of_either_side_changes_nothing(side):
    module = made()
    ids, mask = batch([4, 9, 2], length=3)
    around = (2, 0) if side == "left" else (0, 2)
    padded = [nn.functional.pad(tensor, around) for tensor in (ids, mask)]
    assert torch.allclose(module(ids, mask), module(*padded), atol=1e-6)


def test_ngrams_are_dropped_in_training_alone():
    module = made(NgramSizes(30, 1, 2, 50, classes=4, width=8, dropout=0.5))
    ids, mask = batch([4, 9, 2, 7, 8], length=5)
    assert torch.equal(module(ids, mask), module(ids, mask))
    module.train()
    assert not torch.equal(module(ids, mask), module(ids, mask))


def test_the_onnx_file_hashes_alike_for_large_ids(tmp_path):
    sizes = NgramSizes(vocabulary=250_002, shortest=1, longest=5, buckets=1009, classes=3, width=4)
    module = made(sizes)
    texts = [[250_001, 250_000, 1, 249_999, 250_001, 7], [9, 250_001]]
    ids, mask = batch(*texts, length=6)
    inputs = {"input_ids": ids, "attention_mask": mask}
    path = export_module(
        module,
        task=task("text-classification"),
        example=inputs,
        path=tmp_path / "model.onnx",
        labels=("a", "b", "c"),
    )
    opened = session(path, threads=1)
    for size, length in ((2, 6), (1, 2), (1, 1)):
        some = {name: tensor[:size, :length] for name, tensor in inputs.items()}
        got = run(opened, some)["logits"]
        assert np.allclose(got, module(**some).detach().numpy(), atol=1e-5)
    assert [value.name for value in onnx.load(path).graph.input] == list(inputs)


def kept(module, rows):
    """The module with some of its rows, and the same module with the others at zero."""
    smaller = NgramClassifier(replace(module.sizes, kept=len(rows))).eval()
    wanted = torch.zeros(module.sizes.rows, dtype=torch.bool)
    wanted[rows] = True
    smaller.keep(wanted)
    with torch.no_grad():
        smaller.rows.weight[1:] = module.rows.weight[sorted(rows)]
        smaller.head.load_state_dict(module.head.state_dict())
    return smaller


def test_dropped_rows_count_for_nothing(tmp_path):
    whole = made(replace(SIZES, longest=1, buckets=5))
    smaller = kept(whole, [3, 17, 29])
    ids, mask = batch([4, 3, 29, 3], [29, 3, 3], [4, 5], length=4)
    got = smaller(ids, mask)
    known = whole(*batch([3, 29, 3], [29, 3, 3], length=3))
    assert torch.allclose(got[:2], known, atol=1e-6)
    assert torch.allclose(got[2], whole.head(torch.zeros(8)), atol=1e-6)
    assert smaller.rows.weight.shape == (4, 8)
    inputs = {"input_ids": ids, "attention_mask": mask}
    path = export_module(
        smaller,
        task=task("text-classification"),
        example=inputs,
        path=tmp_path / "model.onnx",
        labels=("a", "b", "c", "d"),
    )
    found = run(session(path, threads=1), inputs)["logits"]
    assert np.allclose(found, got.detach().numpy(), atol=1e-6)


def test_the_file_holds_one_bit_for_each_row(tmp_path):
    module = kept(made(replace(SIZES, buckets=200_000)), [3, 17, 70_000, 200_029])
    ids, mask = batch([4, 3, 29, 3], length=4)
    inputs = {"input_ids": ids, "attention_mask": mask}
    path = export_module(
        module,
        task=task("text-classification"),
        example=inputs,
        path=tmp_path / "model.onnx",
        labels=("a", "b", "c", "d"),
    )
    [bits] = [one for one in onnx.load(path).graph.initializer if one.name == "keeps"]
    assert list(bits.dims) == [200_030 // 8 + 1]
    assert 25_000 < path.stat().st_size < 50_000
    found = run(session(path, threads=1), inputs)["logits"]
    assert np.allclose(found, module(ids, mask).detach().numpy(), atol=1e-6)


@pytest.mark.parametrize("count", [1, 8, 9, 80])
def test_kept_rows_have_places_in_their_order(count):
    module = NgramClassifier(replace(SIZES, kept=count))
    rows = torch.randperm(SIZES.rows, generator=torch.Generator().manual_seed(0))[:count]
    wanted = torch.zeros(SIZES.rows, dtype=torch.bool)
    wanted[rows] = True
    module.keep(wanted)
    places = module._places()[: SIZES.rows]
    assert places[rows.sort().values].tolist() == list(range(1, count + 1))
    assert (places[~wanted] == 0).all()


def test_it_is_stored_without_pickle(tmp_path):
    module, source = made(), NgramSource(SIZES)
    save_checkpoint(module, source, tmp_path)
    again, found = load_checkpoint(tmp_path, python=False)
    assert found == source
    assert torch.equal(again.rows.weight, module.rows.weight)
    assert sum(p.numel() for p in again.parameters()) == SIZES.parameters


@pytest.mark.parametrize("values", [{}, {"sizes": {"vocabulary": "many"}}, {"sizes": 3}])
def test_damaged_sizes_are_refused(values):
    with pytest.raises(ModelError, match="'ngrams' is damaged"):
        source_from_dict({"kind": "ngrams", **values})
