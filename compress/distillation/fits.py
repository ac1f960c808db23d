"""Checks that losses, teacher, training and the task go together. No torch here."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

from compress.core.context import Target
from compress.core.foreign.entries import entry_problem
from compress.distillation.options import OF_PAIRS, Losses, Response
from compress.distillation.teacher_spec import TeacherSpec
from compress.errors import StageError, expected
from compress.training.options import TrainingOptions

if TYPE_CHECKING:
    from compress.data.spec import DataSpec

Problem = tuple[str, str]


def problems(
    losses: Losses, *, target: Target, teacher: TeacherSpec, training: TrainingOptions
) -> list[Problem]:
    """Return (dotted key, problem) pairs for a stage's `losses`, `teacher` and `training`."""
    return [
        *_losses(losses, target),
        *_mixing(losses, training),
        *_cache(losses, teacher, training),
        *_top_k(losses, teacher, target),
        *_models(losses, teacher, target, training),
    ]


def pair_problems(losses: Losses, *, data: DataSpec) -> list[Problem]:
    """Return the problems of losses on pairs with data that has none."""
    if data.has_pairs:
        return []
    why = "must be null: the data has no pairs ('data.columns.text_pair' is null)."
    return [(f"losses.{name}", why) for name in OF_PAIRS if name in losses.weights]


def require_fit(
    losses: Losses, *, target: Target, teacher: TeacherSpec, training: TrainingOptions
) -> None:
    """Require that `problems` finds nothing.

    Raises
    ------
    StageError : there is a problem; the message is the first one.
    """
    for key, problem in problems(losses, target=target, teacher=teacher, training=training):
        raise StageError(f"{key}: {problem}")


def _losses(losses: Losses, target: Target) -> Iterator[Problem]:
    yield from _of_target(losses, target)
    if losses.response is not None and losses.response.weight:
        yield from _response(losses.response, target)
    if losses.custom is not None:
        problem = entry_problem(losses.custom.python)
        if problem is not None:
            yield "losses.custom.python", problem
        if losses.response is not None and losses.response.chunk_tokens is not None:
            yield "losses.custom", "must be null with 'chunk_tokens', which has no whole outputs."
    relation = losses.relation
    of_output = relation is not None and relation.layers == "output"
    if of_output and target in ("token-class", "next-token"):
        yield (
            "losses.relation.layers",
            "must be last, uniform or pairs: the task's output is one answer for each token. "
            "Got 'output'.",
        )


def _of_target(losses: Losses, target: Target) -> Iterator[Problem]:
    """Losses that need another kind of labels or answers."""
    weights = losses.weights
    if target == "none":
        for name in ("response", "labels"):
            if name in weights:
                yield (
                    f"losses.{name}",
                    "must be null here: the task has neither labels nor answers of its own. "
                    "Use 'feature', 'embedding', 'relation', or losses on pairs.",
                )
    else:
        for name in ("embedding", *OF_PAIRS):
            if name in weights:
                yield f"losses.{name}", "must be null here: the task's answers aren't embeddings."


def _response(response: Response, target: Target) -> Iterator[Problem]:
    key = "losses.response."
    if target != "next-token":
        if response.divergence != "forward":
            got = response.divergence
            yield key + "divergence", expected("divergence", "forward but for generation", got)
        if response.chunk_tokens is not None:
            got_tokens = response.chunk_tokens
            yield (
                key + "chunk_tokens",
                expected("chunk_tokens", "null but for generation", got_tokens),
            )
    if response.decoupled is not None and target != "class":
        yield key + "decoupled", "must be null: it needs exactly one class a sample."
    if response.logit_standardization and target in ("class-set", "own"):
        why = (
            "each class of several has a sigmoid of its own."
            if target == "class-set"
            else "the task itself says how outputs are compared."
        )
        yield key + "logit_standardization", f"must be false: {why}"
    variants = [
        name
        for name, is_used in (
            ("decoupled", response.decoupled is not None),
            ("logit_standardization", response.logit_standardization),
            (f"divergence: {response.divergence}", response.divergence != "forward"),
        )
        if is_used
    ]
    if len(variants) > 1:
        yield key.rstrip("."), f"must be one variant. Got {' and '.join(variants)}."
    if response.chunk_tokens is not None and (response.decoupled or response.logit_standardization):
        yield key + "chunk_tokens", f"must be null together with {variants[0]}."


def _mixing(losses: Losses, training: TrainingOptions) -> Iterator[Problem]:
    mixes = training.augment is not None and training.augment.mixes
    if mixes and losses.response is not None and losses.response.decoupled is not None:
        yield (
            "losses.response.decoupled",
            "must be null where 'training.augment' mixes samples: it needs one class a sample.",
        )


def _cache(losses: Losses, teacher: TeacherSpec, training: TrainingOptions) -> Iterator[Problem]:
    if teacher.cache is None:
        return
    key = "teacher.cache"
    if not losses.needs_teacher:
        yield key, "must be null: nothing is learned from the teacher."
    augment = training.augment
    changes = augment is not None and (augment.changes_images or augment.changes_texts)
    if augment is not None and changes and (augment.mixes or augment.variants is None):
        yield (
            key,
            "needs the same samples in every epoch. Set 'training.augment.variants' to a number of "
            "changes for each sample, and no mixing (mixup, cutmix, mix_embeddings).",
        )
    attention, response = losses.attention, losses.response
    if attention is not None and attention.maps:
        yield key, "must be null with 'losses.attention.maps': attention weights aren't cached."
    if response is not None and response.chunk_tokens is not None:
        yield key, "must be null with 'chunk_tokens', which runs the teacher's head itself."


def _top_k(losses: Losses, teacher: TeacherSpec, target: Target) -> Iterator[Problem]:
    if teacher.cache is None or teacher.cache.top_k is None:
        return
    key, response, relation = "teacher.cache.top_k", losses.response, losses.relation
    if target == "class-set":
        yield key, "must be null: each class of several has a sigmoid of its own."
    if target == "own":
        yield key, "must be null: the task itself says how outputs are compared."
    if losses.custom is not None and losses.custom.weight:
        yield key, "must be null: 'losses.custom' gets every output."
    if response is not None and (
        response.decoupled or response.logit_standardization or response.divergence != "forward"
    ):
        yield key, "must be null: this variant of 'response' needs every logit."
    if relation is not None and relation.layers == "output":
        yield key, "must be null with 'losses.relation.layers: output'."
    for name in ("embedding", "margin_mse"):
        if name in losses.weights:
            yield key, f"must be null with 'losses.{name}'."


def _models(
    losses: Losses, teacher: TeacherSpec, target: Target, training: TrainingOptions
) -> Iterator[Problem]:
    key = "teacher.models"
    if not teacher.asks_reference and (teacher.bits or teacher.cache):
        yield key, "must name the reference, whose 'bits' or 'cache' are given."
    if not teacher.asks_baseline:
        return
    if not losses.needs_teacher:
        yield key, "must be [reference]: nothing is learned from a teacher."
    if target not in ("class", "class-set"):
        yield key, f"must be [reference]: no linear rival is trained for the target {target!r}."
    others = sorted(set(losses.weights) - {"response", "labels"})
    if others:
        yield (
            key,
            f"must be [reference] with {', '.join(others)}: a linear rival has answers alone.",
        )
    if teacher.cache is not None and teacher.cache.top_k is not None:
        yield "teacher.cache.top_k", "must be null with the baseline: whole answers are averaged."
    augment = training.augment
    if augment is not None and (augment.mixes or augment.changes_images):
        yield (
            key,
            "must be [reference] where 'training.augment' mixes samples or changes images: the "
            "linear rival answered them as they are.",
        )
