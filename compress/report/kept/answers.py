"""What became of single answers: which classes changed, and the samples on which models differ."""

from __future__ import annotations

from compress.measurement.results import Count
from compress.report.kept.part import Part


class Confusion(Part):
    """The answers of the reference and of the final model, counted by class.

    With many classes, only those whose recall changed most are kept.
    """

    classes: list[str]
    """Names of the classes that are kept."""
    of: int
    """Number of all classes."""
    reference: list[list[Count]]
    """Answers of the reference: a row for each class, a column for each answered class, and a last
    column for all other classes."""
    final: list[list[Count]]
    """Answers of the final model, in the same form."""


class Disagreement(Part):
    """A sample on which the reference and the final model answer differently."""

    place: int
    """Place of the sample in the test split, from 0."""
    label: str | None = None
    """The sample's label; null if it has none."""
    reference: str
    """Answer of the reference."""
    final: str
    """Answer of the final model."""
    text: str | None = None
    """The sample as text, cut if it is long; null for an image."""
    image: str | None = None
    """The sample as an image: a PNG file in base64; null for a text."""


class Disagreements(Part):
    """The samples on which the reference and the final model answer differently."""

    count: Count
    """Number of such samples."""
    of: Count
    """Number of samples that were compared."""
    shown: list[Disagreement]
    """Some of them; those that the final model answers wrongly come first."""
