"""The artifact that travels from stage to stage: a model in one of a few formats."""

from __future__ import annotations

from dataclasses import dataclass, replace
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

if TYPE_CHECKING:
    from torch import nn


class Format(StrEnum):
    """The format of an artifact's model."""

    TORCH = "torch"
    TORCH_INT8 = "torch-int8"
    ONNX = "onnx"
    ONNX_INT8 = "onnx-int8"

    @property
    def is_onnx(self) -> bool:
        """True if the model is an ONNX file."""
        return self in (Format.ONNX, Format.ONNX_INT8)

    @property
    def why_last(self) -> str:
        """Reason why a model in this format can't become an ONNX file; empty if it can."""
        if self is not Format.TORCH_INT8:
            return ""
        return (
            "Layers in few bits from bitsandbytes run in PyTorch alone and have no ONNX form, so "
            "a pipeline ends with them."
        )


class ModelSource(Protocol):
    """Builds an untrained module of the same architecture, without pickle."""

    def build(self) -> nn.Module:
        """A new module on the CPU, in eval mode. Its weights mean nothing yet."""
        ...

    def to_dict(self) -> dict[str, Any]:
        """Plain JSON from which `source_from_dict` (compress.models.source) restores the source."""
        ...


class Preprocessor(Protocol):
    """Turns raw samples into model inputs: a tokenizer or an image processor, with its settings."""

    @property
    def tokenizer(self) -> Any:
        """The tokenizer of `transformers`; None for images."""
        ...

    @property
    def max_length(self) -> int | None:
        """Number of tokens kept of a text; None for images."""
        ...

    @property
    def original_ids(self) -> tuple[int, ...] | None:
        """The id of each token before the vocabulary was cut; None if it wasn't cut."""
        ...

    @property
    def fingerprint(self) -> str:
        """Hex digest of everything that decides the inputs."""
        ...

    def save(self, directory: Path) -> None:
        """Write what a deployment needs: tokenizer or processor files, constants as JSON."""
        ...


@dataclass(frozen=True)
class Artifact:
    """A model, with everything that is needed to use it.

    Attributes
    ----------
    format : the model's format.
    module : the torch module, in eval mode on the CPU; None for the ONNX formats.
    source : rebuilds the module's skeleton; None for the ONNX formats.
    onnx : the ONNX file; None for the torch formats.
    exported : the module's own ONNX file, verified against it; None until a run has written one.
    preprocessor : makes inputs from raw samples.
    labels : class names in the order of the logits.
    bundle : the folder of deployable files, which holds `onnx`; None until `export` has written it.
    notes : what the stage that made this artifact chose, skipped or refused, and why.
    """

    format: Format
    module: nn.Module | None = None
    source: ModelSource | None = None
    onnx: Path | None = None
    preprocessor: Preprocessor | None = None
    labels: tuple[str, ...] = ()
    bundle: Path | None = None
    notes: tuple[str, ...] = ()
    exported: Path | None = None

    def with_module(
        self,
        module: nn.Module,
        *,
        source: ModelSource | None = None,
        format: Format = Format.TORCH,  # noqa: A002 (the field's own name)
        notes: tuple[str, ...] = (),
    ) -> Artifact:
        """The same artifact with another torch module, and with its source if that changed."""
        return replace(
            self,
            format=format,
            module=module,
            source=source or self.source,
            onnx=None,
            exported=None,
            notes=notes,
        )

    def with_onnx(
        self,
        onnx: Path,
        *,
        format: Format,  # noqa: A002 (the field's own name)
        bundle: Path | None = None,
        notes: tuple[str, ...] = (),
    ) -> Artifact:
        """The same artifact as an ONNX file."""
        return replace(
            self,
            format=format,
            module=None,
            source=None,
            onnx=onnx,
            exported=None,
            bundle=bundle,
            notes=notes,
        )

    @property
    def original_ids(self) -> tuple[int, ...] | None:
        """See `Preprocessor.original_ids`; None too where there is no preprocessor."""
        return None if self.preprocessor is None else self.preprocessor.original_ids

    def require_module(self) -> nn.Module:
        """The torch module; raises TypeError if there is none (the runner checks formats)."""
        if self.module is None:
            raise TypeError(f"a torch module is needed. Got an artifact in format '{self.format}'.")
        return self.module

    def require_onnx(self) -> Path:
        """The ONNX file; raises TypeError if there is none (the runner checks formats)."""
        if self.onnx is None:
            raise TypeError(f"an ONNX file is needed. Got an artifact in format '{self.format}'.")
        return self.onnx

    def require_preprocessor(self) -> Preprocessor:
        """The preprocessor; raises TypeError if there is none."""
        if self.preprocessor is None:
            raise TypeError("a preprocessor is needed. Got an artifact that has none.")
        return self.preprocessor
