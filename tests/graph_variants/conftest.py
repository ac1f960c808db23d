from pathlib import Path

import pytest

from tests.graph_variants import models as fusion_models


@pytest.fixture(scope="session")
def exported(exported_model, tmp_path_factory):
    """Exports a family's tiny model once."""
    made: dict[str, Path] = {}

    def exported(kind: str) -> Path:
        if kind in ("vit", "llama"):
            return exported_model(kind)[1]
        if kind not in made:
            made[kind] = fusion_models.float_file(kind, tmp_path_factory.mktemp(kind))
        return made[kind]

    return exported
