import pytest
import torch

from compress.core.artifact import Artifact, Format
from compress.core.context import Context
from compress.models.source import PythonSource
from compress.quantization.evaluation import Pace
from compress.stages.quantize.race import Race
from tests.stages.digits import TASK, digits, exported_once, preprocessor


@pytest.fixture(scope="module")
def untrained(tmp_path_factory):
    """An untrained network of one convolution, for digits, and its context."""
    torch.manual_seed(0)
    source = PythonSource("tests.runner.nets:convolution")
    folder = tmp_path_factory.mktemp("untrained")
    artifact = Artifact(
        Format.TORCH,
        source.build(),
        source,
        preprocessor=preprocessor(),
        labels=tuple("0123456789"),
    )
    context = Context(artifact, TASK, digits(), folder)
    return exported_once(artifact, context, folder), context


@pytest.fixture
def set_paces(monkeypatch):
    """Let specs have given speeds, since no two machines rank them alike.

    A function takes speedups by the beginning of a spec's name, with intervals of ±2 %; all others
    are as fast as float. A tuple is the speedups at batches 1 and 32.
    """

    def set_paces(**speeds):
        def paces(self, specs):
            found = {}
            for spec in specs:
                fitting = [x for name, x in speeds.items() if spec.name.startswith(name)]
                speed = fitting[0] if fitting else 1.0
                each = speed if isinstance(speed, tuple) else (speed,)
                if "in float" in spec.name:
                    each = [speeds.get("mixed", 1.0) * x for x in each]
                loads = zip(("1", "32"), each, strict=False)
                found[spec] = Pace({load: (x, (0.98 * x, 1.02 * x)) for load, x in loads})
            return found

        monkeypatch.setattr(Race, "_paces", paces)

    return set_paces
