import pytest

from compress.errors import StageError
from compress.factorization.layers import find_layers
from compress.models.low_rank import put_low_rank
from tests.factorization.models import make


def find(name, **options):
    module, inputs, task = make(name)
    one = {key: value[:1] for key, value in inputs.items()}
    return find_layers(module, task=task, inputs=one, **options)


def test_what_is_left_whole_and_why():
    layers, notes = find("parts")
    assert [layer.path for layer in layers] == ["plain", "wide"]
    for said in (
        "grouped, derived (its kind isn't split)",
        "narrow (it is too small to gain)",
        "idle (the model doesn't call it)",
        "twin, other_twin (its weight belongs to another layer too)",
        "head (it makes the output)",
    ):
        assert said in notes[0]


def test_layers_know_their_matrix_and_how_often_it_is_used():
    plain, wide = find("parts").layers
    assert (plain.rows, plain.columns, plain.positions) == (16, 8 * 9, 36)
    assert (wide.rows, wide.columns, wide.positions) == (16, 16, 1)
    assert (plain.weights, plain.of_rank) == (16 * 72, 16 + 72)
    token = {layer.path: layer for layer in find("bert").layers}
    assert token["bert.encoder.layer.0.intermediate.dense"].positions == 12
    assert token["bert.pooler.dense"].positions == 1


def test_conv1d_is_a_linear_layer_and_tied_output_stays():
    layers, notes = find("gpt2")
    known = {layer.path: (layer.rows, layer.columns) for layer in layers}
    assert known["transformer.h.0.attn.c_attn"] == (96, 32)
    assert "lm_head (its weight belongs to another layer too)" in notes[0]


def test_patterns_choose():
    layers, notes = find("bert", layers=["*.query", "classifier", "*.dense"], exclude=["*pooler*"])
    paths = [layer.path for layer in layers]
    assert "classifier" in paths  # named, so split although it makes the output
    assert sum(path.endswith(".query") for path in paths) == 2
    assert not any("pooler" in path or path.endswith(".key") for path in paths)
    assert "'layers' or 'exclude' say so" in notes[0]
    assert find("cnn").layers
    assert "fc" not in [layer.path for layer in find("cnn").layers]


@pytest.mark.parametrize("key", ["layers", "exclude"])
def test_a_pattern_that_fits_nothing_is_an_error(key):
    with pytest.raises(StageError, match=rf"'{key}' must be patterns .* Got 'decoder\.\*'"):
        find("bert", **{key: ["*.query", "decoder.*"]})


def test_nothing_to_split_says_why():
    with pytest.raises(StageError, match=r"to split: left whole: .*classifier \(it makes the out"):
        find("bert", exclude=["bert.*"])


def test_what_was_split_is_not_split_again():
    module, inputs, task = make("cnn")
    one = {key: value[:1] for key, value in inputs.items()}
    first = find_layers(module, task=task, inputs=one).layers
    put_low_rank(module, {first[0].path: 2})
    again, notes = find_layers(module, task=task, inputs=one)
    assert [layer.path for layer in again] == [layer.path for layer in first[1:]]
    assert f"{first[0].path}.reduce, {first[0].path}.expand (it was split before)" in notes[0]
