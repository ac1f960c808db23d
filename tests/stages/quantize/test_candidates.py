"""What the files of specs hold."""

import pytest

from compress.graph_variants.variants import plain
from compress.onnx_graph.files import load_graph
from compress.quantization.integers import Integers
from compress.quantization.options import Calibration
from compress.quantization.selection import select
from compress.stages.quantize.candidates import CandidateBuilder, CandidateSpec
from tests.quantization.models import save_tied


@pytest.fixture
def build(tmp_path):
    """A function from the nodes that stay in float to the operators of a dynamic file."""
    source = save_tied(tmp_path / "float.onnx")

    def build(*, exclude=(), kept=()):
        builder = CandidateBuilder(
            artifact=None,
            context=None,
            folder=tmp_path,
            select=lambda path, method: select(load_graph(path), method=method, exclude=exclude),
            calibration=Calibration(),
            per_channel=True,
            block_size=32,
            operators=None,
            exclude=exclude,
            calibration_methods=("minmax",),
        )
        spec = CandidateSpec("dynamic", plain(source), Integers("uint8", "int8"), kept=kept)
        return [node.op_type for node in load_graph(builder.candidate(spec).path).nodes]

    return build


def test_a_tied_head_is_in_8_bits_too(build):
    kinds = build()
    assert kinds.count("MatMulInteger") == 2
    assert "MatMul" not in kinds


@pytest.mark.parametrize(
    "fields", [{"exclude": ["table"]}, {"exclude": ["head"]}, {"kept": ("head",)}]
)
def test_a_tied_head_stays_in_float_where_it_or_its_table_is_to(build, fields):
    kinds = build(**fields)
    assert kinds.count("MatMulInteger") == 1
    assert kinds.count("MatMul") == 1
    assert kinds.count("Transpose") == 1
