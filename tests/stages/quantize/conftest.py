import pytest

from compress.quantization.evaluation import Pace
from compress.stages.quantize.race import Race


@pytest.fixture
def set_paces(monkeypatch):
    """Let specs have given speeds, since no two machines rank them alike.

    A function takes speedups by the beginning of a spec's name, with intervals of ±2 %; all others
    are as fast as float.
    """

    def set_paces(**speeds):
        def paces(self, specs):
            found = {}
            for spec in specs:
                fitting = [x for name, x in speeds.items() if spec.name.startswith(name)]
                speed = fitting[0] if fitting else 1.0
                if "in float" in spec.name:
                    speed *= speeds.get("mixed", 1.0)
                found[spec] = Pace({"1": (speed, (0.98 * speed, 1.02 * speed))})
            return found

        monkeypatch.setattr(Race, "_paces", paces)

    return set_paces
