import pytest

from compress.quantization.evaluation import Evaluator, Pace


@pytest.fixture
def set_paces(monkeypatch):
    """Let candidates have given speeds, since no two machines rank them alike.

    A function takes speedups by the beginning of a candidate's name, with intervals of ±2 %; all
    others are as fast as float.
    """

    def set_paces(**speeds):
        def paces(self, candidates):
            found = {}
            for candidate in candidates:
                fitting = [x for name, x in speeds.items() if candidate.name.startswith(name)]
                speed = fitting[0] if fitting else 1.0
                found[candidate.name] = Pace({"1": (speed, (0.98 * speed, 1.02 * speed))})
            return found

        monkeypatch.setattr(Evaluator, "paces", paces)

    return set_paces
