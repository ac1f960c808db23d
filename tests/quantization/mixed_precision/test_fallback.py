from pathlib import Path

from compress.quantization.mixed_precision.fallback import return_to_float


def _steps(ranking, *, enough, most):
    """With a model that is good once `enough` nodes are in float."""
    return return_to_float(
        ranking,
        build=lambda nodes: Path(f"{len(nodes)}"),
        good=lambda path: int(path.name) >= enough,
        most=most,
    )


def test_nodes_go_back_one_after_another_until_the_model_is_good():
    steps = _steps(["a", "b", "c", "d"], enough=2, most=4)
    assert [step.nodes for step in steps] == [("a",), ("a", "b")]
    assert [step.good for step in steps] == [False, True]
    assert steps[-1].path == Path("2")


def test_no_more_than_allowed_go_back():
    steps = _steps(["a", "b", "c", "d"], enough=4, most=3)
    assert len(steps) == 3
    assert not any(step.good for step in steps)
    assert _steps(["a"], enough=4, most=3)[-1].nodes == ("a",)
