"""Builds the terms of a loss for two given models, and the taps that they need."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import torch
from torch import Tensor, nn

from compress.core.context import Batch, Task
from compress.distillation.answers import Answers
from compress.distillation.hidden import require_apart
from compress.distillation.matching import Match, match
from compress.distillation.options import Attention, Losses
from compress.distillation.taps import Taps, attention_module
from compress.distillation.teacher import answers
from compress.distillation.terms.attention import AttentionTerm, Projections
from compress.distillation.terms.chunked import ChunkedTerm
from compress.distillation.terms.custom import CustomTerm
from compress.distillation.terms.embedding import EmbeddingTerm
from compress.distillation.terms.feature import FeatureTerm
from compress.distillation.terms.of_task import labels_term, response_term
from compress.distillation.terms.pairs import (
    MARGINS,
    NEGATIVES,
    InBatchNegativesTerm,
    MarginMseTerm,
)
from compress.distillation.terms.relation import RelationTerm
from compress.distillation.terms.term import Term
from compress.errors import StageError
from compress.models.structure.transformers.families import LAYOUTS


class Lesson(NamedTuple):
    """A loss that is set up for a student and a teacher.

    Attributes
    ----------
    terms : the parts of the loss, ready for both models' shapes.
    student_taps, teacher_taps : the taps on the models' inner modules that the terms read.
    reads_logits : whether a term reads the teacher's output.
    head : whether the models run whole; otherwise a term runs their heads on parts of a batch.
    notes : notes on projections, and on heads that were averaged.
    """

    terms: tuple[Term, ...]
    student_taps: Taps
    teacher_taps: Taps
    reads_logits: bool
    head: bool
    notes: tuple[str, ...]


def make_lesson(
    losses: Losses,
    *,
    student: nn.Module,
    teacher: nn.Module,
    task: Task,
    example: Batch,
    seed: int,
    projection: Tensor | None = None,
    teacher_example: Batch | None = None,
) -> Lesson:
    """Match the two models' layers, run both models once, and build the terms.

    Parameters
    ----------
    student, teacher : on the CPU, in eval mode; left as they were.
    example : a small batch of inputs.
    seed : seed of the projections' weights.
    projection : (Ht, Hs) from the teacher's embeddings to the student's; None: the same space.
    teacher_example : the same samples as the teacher reads them; None: alike.

    Raises
    ------
    StageError : layers can't be matched, or their shapes don't fit a loss.
    """
    terms = _terms(losses, student=student, teacher=teacher, task=task, seed=seed)
    if losses.embedding is not None and "embedding" in losses.weights:
        term = EmbeddingTerm(losses.embedding, pooling=task.pooling, projection=projection)
        terms = (*terms, term)
    terms = (*terms, *_of_pairs(losses, task))
    head = not any(term.runs_head for term in terms)
    taps: list[Taps] = []
    seen: list[Answers] = []
    for whose, module, shown in (
        ("student", student, example),
        ("teacher", teacher, teacher_example or example),
    ):
        taps.append(_taps(terms, whose=whose, module=module, task=task, example=shown))
        with torch.no_grad():
            seen.append(answers(module, shown, task=task, taps=taps[-1], head=head))
            if not head:
                require_apart(module, shown, logits=task.logits(module, shown))
        taps[-1].remove()
    notes = tuple(note for term in terms for note in term.prepare(seen[0], seen[1]))
    reads_logits = any(term.reads_logits for term in terms)
    return Lesson(terms, taps[0], taps[1], reads_logits, head, notes)


def _terms(
    losses: Losses, *, student: nn.Module, teacher: nn.Module, task: Task, seed: int
) -> tuple[Term, ...]:
    """Return a term for each loss with a weight; in chunks, response and labels share a term."""
    weights = losses.weights
    terms: list[Term] = []
    response = losses.response if "response" in weights else None
    labels = losses.labels if "labels" in weights else None
    if response is not None and response.chunk_tokens is not None:
        terms.append(ChunkedTerm(response, labels))
    else:
        terms += [response_term(response, task)] if response else []
        terms += [labels_term(labels, task)] if labels else []
    if losses.custom is not None and "custom" in weights:
        terms.append(CustomTerm(losses.custom))
    if losses.feature is not None and "feature" in weights:
        matches = match(losses.feature.layers, student=student, teacher=teacher)
        terms.append(FeatureTerm(losses.feature, matches=matches, seed=seed))
    if losses.relation is not None and any(name.startswith("relation.") for name in weights):
        layers = losses.relation.layers
        related = () if layers == "output" else match(layers, student=student, teacher=teacher)
        terms.append(RelationTerm(losses.relation, matches=related))
    if losses.attention is not None and any(name.startswith("attention.") for name in weights):
        matches = match(losses.attention.layers, student=student, teacher=teacher)
        terms.append(_attention(losses.attention, matches, student=student, teacher=teacher))
    return tuple(terms)


def _of_pairs(losses: Losses, task: Task) -> tuple[Term, ...]:
    """Return the terms on pairs of a query and a document."""
    weights, pooling = losses.weights, task.pooling
    terms: list[Term] = []
    if losses.in_batch_negatives is not None and NEGATIVES in weights:
        terms.append(InBatchNegativesTerm(losses.in_batch_negatives, pooling=pooling))
    if losses.margin_mse is not None and MARGINS in weights:
        terms.append(MarginMseTerm(losses.margin_mse, pooling=pooling))
    return tuple(terms)


def _attention(
    options: Attention, matches: Sequence[Match], *, student: nn.Module, teacher: nn.Module
) -> AttentionTerm:
    if not options.queries_keys and not options.values:
        return AttentionTerm(options, matches=matches)
    return AttentionTerm(
        options,
        matches=matches,
        student_projections=[_projections(student, pair.student) for pair in matches],
        teacher_projections=[_projections(teacher, pair.teacher) for pair in matches],
        teacher_heads=_heads(teacher),
    )


def _projections(module: nn.Module, layer: str) -> Projections:
    # Layers all alike, whose projections are apart.
    layouts = {kind: each for kind, each in LAYOUTS.items() if each.sizes and not each.fused}
    kind = getattr(getattr(module, "config", None), "model_type", None)
    layout = layouts.get(str(kind))
    if layout is None:
        raise StageError(
            "'queries_keys' and 'values' need a transformers model of a known family "
            f"({', '.join(sorted(layouts))}). Got {kind or type(module).__name__}; use 'maps'."
        )
    return Projections(*(f"{layer}.{path}" for path in (layout.query, layout.key, layout.value)))


def _heads(module: nn.Module) -> int:
    heads = getattr(getattr(module, "config", None), "num_attention_heads", 1)
    return heads if isinstance(heads, int) else 1


def _taps(
    terms: Sequence[Term], *, whose: str, module: nn.Module, task: Task, example: Batch
) -> Taps:
    features = [path for term in terms for path in getattr(term, f"{whose}_features")]
    layers = [path for term in terms for path in getattr(term, f"{whose}_attentions")]

    def run() -> None:
        with torch.no_grad():
            task.logits(module, example)

    return Taps(
        features,
        [
            (path, attention_module(module.get_submodule(path), path=path, run=run))
            for path in dict.fromkeys(layers)
        ],
    )
