"""The term for learning the relations between the samples of a batch."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import torch
from torch import Tensor

from compress.core.context import Batch
from compress.distillation import losses
from compress.distillation.answers import Answers
from compress.distillation.matching import Match
from compress.distillation.options import Relation
from compress.distillation.terms.term import Term, token_mask
from compress.errors import StageError
from compress.tasks.pooling import mean_pool
from compress.training.batches import sample_count

_FUNCTIONS: dict[str, Callable[..., Tensor]] = {
    "cosine": losses.cosine_similarity,
    "similarity": losses.similarity_preserving,
    "distance": losses.rkd_distance,
    "angle": losses.rkd_angle,
}


class RelationTerm(Term):
    """The term of `compress.distillation.options.Relation`.

    Parameters
    ----------
    matches : pairs of modules whose outputs are used; empty for the models' own outputs.
    """

    def __init__(self, options: Relation, *, matches: Sequence[Match]) -> None:
        super().__init__()
        self._matches = tuple(matches)
        self.reads_logits = not matches
        self._weights = {name: getattr(options, name) for name in _FUNCTIONS}
        self.student_features = tuple(pair.student for pair in matches)
        self.teacher_features = tuple(pair.teacher for pair in matches)

    def parts(self, student: Answers, teacher: Answers, batch: Batch) -> dict[str, Tensor]:
        """See `Term`."""
        pairs = [
            (pair.weight, student.features[pair.student], teacher.features[pair.teacher])
            for pair in self._matches
        ] or [(1.0, _output(student), _output(teacher))]
        return {
            f"relation.{name}": weight * self._related(name, pairs, batch)
            for name, weight in self._weights.items()
            if weight
        }

    def counts(self, batch: Batch) -> dict[str, int]:
        """See `Term`."""
        samples = sample_count(batch)
        return {f"relation.{name}": samples for name, weight in self._weights.items() if weight}

    def _related(
        self, name: str, pairs: Sequence[tuple[float, Tensor, Tensor]], batch: Batch
    ) -> Tensor:
        values = [
            weight * _FUNCTIONS[name](_vectors(ours, batch, name), _vectors(theirs, batch, name))
            for weight, ours, theirs in pairs
        ]
        return torch.stack(values).sum()


def _output(answers: Answers) -> Tensor:
    if not isinstance(answers.logits, Tensor):
        raise StageError("'relation.layers: output' needs whole answers; 'top_k' keeps a part.")
    return answers.logits


def _vectors(features: Tensor, batch: Batch, name: str) -> Tensor:
    """Return one vector for each sample, (N, D), averaged over tokens or pixels.

    For similarity, whole feature maps are flattened, as in its paper.
    """
    if features.ndim == 4:
        return features.flatten(1) if name == "similarity" else features.mean(dim=(2, 3))
    if features.ndim == 3:
        mask = token_mask(batch)
        return features.mean(dim=1) if mask is None else mean_pool(features, mask)
    return features
