"""The preprocessor of arrays: there is nothing to do, and a deployment is told so."""

from __future__ import annotations

import json
from pathlib import Path

from compress.data.fingerprint import digest


class TensorPreprocessor:
    """Implements `compress.core.artifact.Preprocessor` for samples that are the model's inputs."""

    modality = "tensors"
    tokenizer = None
    max_length = None
    original_ids = None
    notes: tuple[str, ...] = ()

    @property
    def fingerprint(self) -> str:
        """See `compress.core.artifact.Preprocessor`."""
        return digest(["tensors"])

    def save(self, directory: Path) -> None:
        """Write preprocessing.json, which says that the inputs are arrays by name."""
        directory.mkdir(parents=True, exist_ok=True)
        text = json.dumps({"modality": self.modality, "exact": True}, indent=2) + "\n"
        (directory / "preprocessing.json").write_text(text, encoding="utf-8")
