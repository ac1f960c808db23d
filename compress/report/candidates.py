"""candidates.json: the models that a stage chose from, as the stage left it in its folder."""

from __future__ import annotations

import json
from pathlib import Path

from pydantic import TypeAdapter

from compress.core.foreign.boundary import reading
from compress.measurement.results import Evaluation

FILE_NAME = "candidates.json"
_EVALUATIONS = TypeAdapter(list[Evaluation])


def read_candidates(folder: Path) -> list[Evaluation]:
    """Return a stage's evaluations of its candidates, the float model first; empty without any.

    Raises
    ------
    InputError : the file isn't as a stage writes it.
    """
    path = folder / FILE_NAME
    if not path.is_file():
        return []
    with reading(path):
        document = json.loads(path.read_text(encoding="utf-8"))
        return _EVALUATIONS.validate_python(document["candidates"])
