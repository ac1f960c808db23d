import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn

import compress.factorization.gram as gram_module
from compress.errors import StageError
from compress.factorization.gram import gram_matrices, patches, without_padding
from tests.factorization.models import IMAGE, make


def steps(*_, **__):
    """Progress that nobody sees."""


def batches_of(inputs, size):
    count = len(next(iter(inputs.values())))
    return [
        {name: value[start : start + size] for name, value in inputs.items()}
        for start in range(0, count, size)
    ]


@pytest.mark.parametrize("name", ["bert", "cnn"])
def test_batching_changes_nothing(name):
    module, inputs, task = make(name)
    layers = {
        path: part
        for path, part in module.named_modules()
        if isinstance(part, nn.Linear) or (isinstance(part, nn.Conv2d) and part.groups == 1)
    }
    together, apart = (
        gram_matrices(module, layers, task=task, batches=batches_of(inputs, size), advance=steps)
        for size in (4, 1)
    )
    for path in layers:
        torch.testing.assert_close(together[path], apart[path], atol=1e-6, rtol=1e-5)
        assert together[path].dtype == torch.float64
        assert not module.get_submodule(path)._forward_hooks


def test_padding_does_not_count():
    module, inputs, task = make("bert")
    path = "bert.encoder.layer.1.output.dense"
    layers = {path: module.get_submodule(path)}
    [(_, part)] = layers.items()
    seen = []
    handle = part.register_forward_hook(lambda _, given, answer: seen.append(given[0]))
    task.logits(module, inputs)
    handle.remove()
    real = seen[0][inputs["attention_mask"].bool()].detach().double()
    found = gram_matrices(module, layers, task=task, batches=[inputs], advance=steps)[path]
    torch.testing.assert_close(found, real.T @ real / len(real))
    every = seen[0].detach().double().flatten(0, 1)
    assert (found - every.T @ every / len(every)).abs().max() > 1e-4


def test_what_is_padding():
    mask = torch.tensor([[1, 1, 0], [1, 0, 0]])
    tokens = torch.arange(12.0).view(2, 3, 2)
    real = tokens[mask.bool()]
    assert torch.equal(without_padding(tokens, mask), real)
    assert torch.equal(without_padding(tokens.flatten(0, 1), mask), real)
    pooled = torch.rand(2, 5)
    assert torch.equal(without_padding(pooled, mask), pooled)
    assert len(without_padding(tokens, None)) == 6


@settings(max_examples=30, deadline=None)
@given(
    kernel=st.tuples(st.integers(1, 3), st.integers(1, 3)),
    stride=st.integers(1, 2),
    dilation=st.integers(1, 2),
    padding=st.sampled_from([0, 1, (1, 0), "same"]),
    mode=st.sampled_from(["zeros", "reflect", "circular"]),
)
def test_a_convolution_is_its_matrix_times_its_patches(kernel, stride, dilation, padding, mode):
    stride = 1 if padding == "same" else stride
    part = nn.Conv2d(
        3, 5, kernel, stride=stride, dilation=dilation, padding=padding, padding_mode=mode
    )
    images = torch.rand(2, 3, 8, 7)
    with torch.no_grad():
        answer = part(images)
        made = patches(part, images) @ part.weight.flatten(1).T + part.bias
    wanted = answer.flatten(2).transpose(1, 2).reshape(-1, 5)
    torch.testing.assert_close(made, wanted, atol=1e-5, rtol=1e-5)


def test_images_are_taken_a_few_at_a_time(monkeypatch):
    module, inputs, task = make("cnn")
    layers = {path: part for path, part in module.named_modules() if type(part) is nn.Conv2d}
    found = gram_matrices(module, layers, task=task, batches=[inputs], advance=steps)
    sizes = []

    def counted(part, images):
        sizes.append(len(images))
        return patches(part, images)

    monkeypatch.setattr(gram_module, "_PATCHES", 1)
    monkeypatch.setattr(gram_module, "patches", counted)
    again = gram_matrices(module, layers, task=task, batches=[inputs], advance=steps)
    assert set(sizes) == {1}
    for path in layers:
        torch.testing.assert_close(found[path], again[path])


def test_no_samples_and_infinities_are_errors():
    module = nn.Sequential(nn.Linear(2, 2)).eval()
    layers = {"0": module[0]}
    with pytest.raises(StageError, match="no calibration sample reached '0'"):
        gram_matrices(module, layers, task=IMAGE, batches=[], advance=steps)
    broken = [{"x": torch.tensor([[1.0, torch.inf]])}]
    with pytest.raises(StageError, match="'0' is given what isn't finite"):
        gram_matrices(module, layers, task=IMAGE, batches=broken, advance=steps)
    assert not module[0]._forward_hooks
