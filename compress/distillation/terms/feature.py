"""The term for learning the teacher's hidden states and feature maps."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from compress.core.context import Batch
from compress.distillation import losses
from compress.distillation.answers import Answers
from compress.distillation.matching import Match
from compress.distillation.options import Feature
from compress.distillation.terms.term import Term, count, token_mask
from compress.errors import StageError
from compress.training.batches import sample_count

NAME = "feature"


class FeatureTerm(Term):
    """The term of `compress.distillation.options.Feature`.

    Parameters
    ----------
    matches : pairs of modules whose outputs are compared.
    seed : seed of the projections' weights.
    """

    def __init__(self, options: Feature, *, matches: Sequence[Match], seed: int) -> None:
        super().__init__()
        self._options, self._matches, self._seed = options, tuple(matches), seed
        self.student_features = tuple(pair.student for pair in matches)
        self.teacher_features = tuple(pair.teacher for pair in matches)
        self._projections = nn.ModuleDict()

    def prepare(self, student: Answers, teacher: Answers) -> tuple[str, ...]:
        """Make projections for widths that differ; see `Term`."""
        notes = []
        for place, pair in enumerate(self._matches):
            ours, theirs = student.features[pair.student], teacher.features[pair.teacher]
            if ours.ndim != theirs.ndim or ours.ndim not in (2, 3, 4):
                raise StageError(
                    f"features of {pair.student!r} and {pair.teacher!r} must both be (N, H), "
                    f"(N, S, H) or (N, C, H, W). Got {tuple(ours.shape)} and {tuple(theirs.shape)}."
                )
            widths = _width(ours), _width(theirs)
            if widths[0] != widths[1]:
                with torch.random.fork_rng(devices=[]):
                    torch.manual_seed(self._seed)
                    self._projections[str(place)] = nn.Linear(*widths)
                notes.append(
                    f"features of {pair.student} are projected from {widths[0]} to {widths[1]} "
                    "for the loss; the projection isn't part of the result"
                )
        return tuple(notes)

    def parts(self, student: Answers, teacher: Answers, batch: Batch) -> dict[str, Tensor]:
        """See `Term`."""
        values = [
            pair.weight
            * self._difference(
                place, student.features[pair.student], teacher.features[pair.teacher], batch
            )
            for place, pair in enumerate(self._matches)
        ]
        return {NAME: self._options.weight * torch.stack(values).sum()}

    def counts(self, batch: Batch) -> dict[str, int]:
        """See `Term`."""
        mask = token_mask(batch)
        return {NAME: sample_count(batch) if mask is None else count(mask)}

    def _difference(self, place: int, ours: Tensor, theirs: Tensor, batch: Batch) -> Tensor:
        mask = token_mask(batch)
        if ours.ndim == 4:
            ours, theirs = losses.pooled_to_fit(ours, theirs)
            ours, theirs = ours.permute(0, 2, 3, 1), theirs.permute(0, 2, 3, 1)
        name = str(place)
        if name in self._projections:
            ours = self._projections[name](ours)
        of_tokens = mask is not None and ours.shape[:2] == mask.shape and ours.ndim == 3
        return losses.feature(
            ours, theirs, normalize=self._options.normalize, mask=mask if of_tokens else None
        )


def _width(features: Tensor) -> int:
    """Return the number of channels of a map, or of units of a vector."""
    return features.shape[1] if features.ndim == 4 else features.shape[-1]
