"""The term for learning the teacher's attention."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import NamedTuple

import torch
from torch import Tensor

from compress.core.context import Batch
from compress.distillation import losses
from compress.distillation.answers import Answers
from compress.distillation.matching import Match
from compress.distillation.options import Attention
from compress.distillation.terms.term import Term, count, token_mask
from compress.errors import StageError, expected
from compress.training.batches import sample_count


class Projections(NamedTuple):
    """Paths of the linear layers that compute a layer's queries, keys and values."""

    query: str
    key: str
    value: str


class AttentionTerm(Term):
    """The term of `compress.distillation.options.Attention`.

    Parameters
    ----------
    matches : pairs of layers (for `transfer`: of modules that return feature maps).
    student_projections, teacher_projections : projections of the matched layers, in the order of
        `matches`; needed for the relations.
    teacher_heads : number of the teacher's heads.
    """

    def __init__(
        self,
        options: Attention,
        *,
        matches: Sequence[Match],
        student_projections: Sequence[Projections] = (),
        teacher_projections: Sequence[Projections] = (),
        teacher_heads: int = 1,
    ) -> None:
        super().__init__()
        self._options, self._matches = options, tuple(matches)
        self._ours, self._theirs = tuple(student_projections), tuple(teacher_projections)
        self._most_heads = options.relation_heads or teacher_heads
        self._heads: dict[str, int] = {}
        self._relation_heads: dict[int, int] = {}
        if options.transfer:
            self.student_features = tuple(pair.student for pair in matches)
            self.teacher_features = tuple(pair.teacher for pair in matches)
        self.student_features += self._vectors(self._ours)
        self.teacher_features += self._vectors(self._theirs)
        if options.maps:
            self.student_attentions = tuple(pair.student for pair in matches)
            self.teacher_attentions = tuple(pair.teacher for pair in matches)

    def prepare(self, student: Answers, teacher: Answers) -> tuple[str, ...]:
        """Choose a common number of heads for both models; see `Term`."""
        notes = []
        for pair in self._matches if self._options.transfer else ():
            if student.features[pair.student].ndim != 4 or teacher.features[pair.teacher].ndim != 4:
                raise StageError(
                    "'attention.transfer' needs feature maps (N, C, H, W). "
                    f"Got {tuple(student.features[pair.student].shape)} from {pair.student!r}."
                )
        for pair in self._matches if self._options.maps else ():
            ours = student.attentions[pair.student].shape[1]
            theirs = teacher.attentions[pair.teacher].shape[1]
            heads = self._heads[pair.student] = math.gcd(ours, theirs)
            if ours != theirs:
                notes.append(
                    f"attention of {pair.student}: {ours} heads learn from {theirs} as averages "
                    f"over {heads} {'group' if heads == 1 else 'groups'} of them"
                )
        for place, pair in enumerate(self._matches[: len(self._ours)]):
            notes += self._split(place, pair, student, teacher)
        return tuple(notes)

    def parts(self, student: Answers, teacher: Answers, batch: Batch) -> dict[str, Tensor]:
        """See `Term`."""
        functions: dict[str, tuple[float, Callable[[int, Answers, Answers, Batch], Tensor]]] = {
            "transfer": (self._options.transfer, self._transfer),
            "maps": (self._options.maps, self._map_difference),
            "queries_keys": (self._options.queries_keys, self._queries_keys),
            "values": (self._options.values, self._value_relation),
        }
        return {
            f"attention.{name}": weight
            * torch.stack(
                [
                    pair.weight * function(place, student, teacher, batch)
                    for place, pair in enumerate(self._matches)
                ]
            ).sum()
            for name, (weight, function) in functions.items()
            if weight
        }

    def counts(self, batch: Batch) -> dict[str, int]:
        """See `Term`."""
        mask, samples = token_mask(batch), sample_count(batch)
        tokens = samples if mask is None else count(mask)
        over = {"transfer": samples, "maps": tokens, "queries_keys": tokens, "values": tokens}
        return {
            f"attention.{name}": counted
            for name, counted in over.items()
            if getattr(self._options, name)
        }

    def _split(
        self, place: int, pair: Match, student: Answers, teacher: Answers
    ) -> tuple[str, ...]:
        """Choose the relation heads of a pair: the largest number that divides all widths."""
        ours = [student.features[path] for path in self._vectors((self._ours[place],))]
        theirs = [teacher.features[path] for path in self._vectors((self._theirs[place],))]
        widths = [vectors.shape[-1] for vectors in (*ours, *theirs)]
        most = min(self._most_heads, *widths)
        fitting = (heads for heads in range(most, 0, -1) if not any(w % heads for w in widths))
        self._relation_heads[place] = heads = next(fitting)
        if self._options.relation_heads not in (None, heads):
            raise StageError(
                expected("relation_heads", f"a divisor of the widths {sorted(set(widths))}", most)
            )
        return (f"relations of {pair.student} use {heads} heads",)

    def _vectors(self, projections: Sequence[Projections]) -> tuple[str, ...]:
        wanted: list[str] = []
        for each in projections:
            wanted += [each.query, each.key] if self._options.queries_keys else []
            wanted += [each.value] if self._options.values else []
        return tuple(wanted)

    def _transfer(self, place: int, student: Answers, teacher: Answers, batch: Batch) -> Tensor:
        pair = self._matches[place]
        return losses.attention_transfer(
            *losses.pooled_to_fit(student.features[pair.student], teacher.features[pair.teacher])
        )

    def _map_difference(
        self, place: int, student: Answers, teacher: Answers, batch: Batch
    ) -> Tensor:
        pair = self._matches[place]
        heads = self._heads[pair.student]
        return losses.attention_maps(
            losses.average_heads(student.attentions[pair.student], heads=heads),
            losses.average_heads(teacher.attentions[pair.teacher], heads=heads),
            divergence=self._options.divergence,
            mask=token_mask(batch),
        )

    def _queries_keys(self, place: int, student: Answers, teacher: Answers, batch: Batch) -> Tensor:
        ours, theirs = self._ours[place], self._theirs[place]
        return losses.query_key_relation(
            student.features[ours.query],
            student.features[ours.key],
            teacher.features[theirs.query],
            teacher.features[theirs.key],
            heads=self._relation_heads[place],
            mask=token_mask(batch),
        )

    def _value_relation(
        self, place: int, student: Answers, teacher: Answers, batch: Batch
    ) -> Tensor:
        return losses.self_relation(
            student.features[self._ours[place].value],
            teacher.features[self._theirs[place].value],
            heads=self._relation_heads[place],
            mask=token_mask(batch),
        )
