"""The source that rebuilds an n-gram classifier."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

from pydantic import TypeAdapter, ValidationError

from compress.errors import ModelError
from compress.models.ngrams.module import NgramClassifier
from compress.models.ngrams.sizes import NgramSizes

if TYPE_CHECKING:
    from torch import nn


@dataclass(frozen=True)
class NgramSource:
    """An `NgramClassifier` of some sizes."""

    sizes: NgramSizes

    def build(self) -> nn.Module:
        """A new module on the CPU, in eval mode, initialised from torch's global seed."""
        return NgramClassifier(self.sizes).eval()

    def to_dict(self) -> dict[str, Any]:
        """Plain JSON; see `compress.models.source.source_from_dict`."""
        sizes = asdict(self.sizes)
        return {"kind": "ngrams", "sizes": {**sizes, "hidden": list(self.sizes.hidden)}}

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> NgramSource:
        """The source whose `to_dict` gave these values, without the kind.

        Raises
        ------
        ModelError : they aren't the sizes of an n-gram classifier.
        """
        if set(values) != {"sizes"}:
            raise ModelError("a model source of kind 'ngrams' is damaged: it needs sizes.")
        try:
            return cls(TypeAdapter(NgramSizes).validate_python(values["sizes"]))
        except ValidationError as error:
            raise ModelError(f"a model source of kind 'ngrams' is damaged: {error}") from error
