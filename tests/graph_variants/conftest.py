from pathlib import Path

import pytest

from tests.graph_variants import models as fusion_models


@pytest.fixture(scope="session")
def exported(tmp_path_factory):
    """Lowers a family's tiny model once."""
    made: dict[str, Path] = {}

    def exported(kind: str) -> Path:
        if kind not in made:
            made[kind] = fusion_models.float_file(kind, tmp_path_factory.mktemp(kind))
        return made[kind]

    return exported
