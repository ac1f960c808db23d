import onnx
import pytest

from compress.errors import StageError
from compress.quantization.selection import select


def _graph(path):
    return onnx.load(path).graph


@pytest.mark.parametrize("method", ["dynamic", "static"])
def test_products_of_activations_stay_in_float(transformer, method):
    graph = _graph(transformer)
    weights = {tensor.name for tensor in graph.initializer}
    chosen = select(graph, method=method)
    products = {node.name for node in graph.node if node.op_type == "MatMul"}
    constant = {n.name for n in graph.node if n.op_type == "MatMul" and n.input[1] in weights}
    assert set(chosen.nodes) & products == constant
    assert len(constant) == 2 * 6
    assert products - constant <= set(chosen.excluded)


def test_dynamic_convolutions_are_refused_with_the_reason(cnn):
    with pytest.raises(StageError, match=r"slower: 9\d% of the weights.*Use method static"):
        select(_graph(cnn), method="dynamic")


def test_exclude_takes_names_of_weights(cnn):
    chosen = select(_graph(cnn), method="static", exclude=["fc.*"])
    graph = _graph(cnn)
    gemm = next(node.name for node in graph.node if node.op_type == "Gemm")
    assert gemm not in chosen.nodes
    assert gemm in chosen.excluded
    assert any("exclude" in note and gemm in note for note in chosen.notes)


def test_a_pattern_that_fits_nothing_is_refused(cnn):
    with pytest.raises(StageError, match=r"unknown node or weight 'cf\.weight'.*'fc\.weight'"):
        select(_graph(cnn), method="static", exclude=["cf.weight"])


def test_nothing_left_is_refused(cnn):
    with pytest.raises(StageError, match="nothing to quantize"):
        select(_graph(cnn), method="static", exclude=["*"])


def test_unknown_operators_are_refused(transformer):
    with pytest.raises(StageError, match="unknown operator for dynamic quantization 'Matmul'"):
        select(_graph(transformer), method="dynamic", operators=["Matmul"])
