"""Makes the table of a static student, before it is trained.

Every token goes through the teacher alone, and the vectors are turned to their principal components
and weighted, as in Model2Vec (Tulkens and van Dongen, 2024). Model2Vec guesses frequencies by the
order of the vocabulary (Zipf's law); here the train split gives them.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any, NamedTuple

import torch
from torch import Tensor

from compress.core.artifact import Artifact
from compress.core.batch import ATTENTION_MASK
from compress.core.context import Context, Task
from compress.data.texts.encode import TextPreprocessor
from compress.distillation.students.layers import Student
from compress.distillation.students.static_spec import StaticSpec
from compress.errors import StageError, expected
from compress.models.static_embeddings import with_table
from compress.models.transformers.vocabulary import as_seen_by
from compress.tasks.pooling import mean_pool
from compress.tasks.task import KnownTask
from compress.training.acceleration import placed_copy

_BATCH = 256
"""Tokens, or texts, that are read at a time."""
_TEXT = "a"
"""A text that shows which special tokens stand around a text's own."""


class Components(NamedTuple):
    """Principal components.

    Attributes
    ----------
    mean : (H,) of the vectors.
    axes : (H, K), of length 1 and orthogonal, the one of the largest variance first.
    share : share of the variance that lies along them.
    """

    mean: Tensor
    axes: Tensor
    share: float


class StaticStudent(NamedTuple):
    """A static student before it is trained.

    Attributes
    ----------
    student : the student.
    projection : (Ht, Hs) from the teacher's embeddings to the student's space.
    """

    student: Student
    projection: Tensor


def static_student(spec: StaticSpec, artifact: Artifact, context: Context) -> StaticStudent:
    """Run the reference on every token, and make the table of its answers.

    Parameters
    ----------
    artifact : its preprocessor says which tokens there are.

    Raises
    ------
    StageError : the teacher's embeddings are narrower than `dimensions`, or aren't means of tokens.
    """
    reader = _Reader(artifact, context)
    width = _width(spec, reader)
    vectors, notes = reader.vectors(range(reader.tokens)).double(), []
    axes = torch.eye(width, dtype=torch.float64)
    if spec.pca:
        found = principal_components(vectors, count=width)
        axes, vectors = found.axes, (vectors - found.mean) @ found.axes
        notes.append(
            f"{width} of {len(found.mean)} principal components have {found.share:.1%} of the "
            "variance of the tokens' vectors"
        )
    if spec.weighting == "sif":
        counts = token_counts(artifact, context, tokens=reader.tokens)
        vectors = vectors * sif_weights(counts, a=spec.sif)[:, None]
        notes.append(
            f"weights of tokens by {int(counts.sum()):,} tokens of the train split, "
            f"{int((counts > 0).sum()):,} of them different"
        )
    student = _student(vectors.float(), "the teacher's embedding of each")
    return StaticStudent(student._replace(notes=(*student.notes, *notes)), axes.float())


def empty_student(spec: StaticSpec, artifact: Artifact, context: Context) -> Student:
    """A static student whose table is all zeros; only a single token is read.

    Raises
    ------
    StageError : see `static_student`.
    """
    reader = _Reader(artifact, context)
    return _student(torch.zeros(reader.tokens, _width(spec, reader)), "not filled")


def principal_components(vectors: Tensor, *, count: int) -> Components:
    """The principal components of vectors (N, H) of float64, the largest `count` of them.

    The largest number of each axis, the first of equal ones, is positive: the same vectors give
    the same axes.
    """
    mean = vectors.mean(0)
    centered = vectors - mean
    variances, axes = torch.linalg.eigh(centered.T @ centered)
    variances, axes = variances.flip(0).clamp(min=0), axes.flip(1)[:, :count]
    largest = axes.gather(0, axes.abs().argmax(0, keepdim=True))
    total = float(variances.sum())
    share = float(variances[:count].sum()) / total if total else 1.0
    return Components(mean, axes * torch.where(largest < 0, -1.0, 1.0), share)


def sif_weights(counts: Tensor, *, a: float) -> Tensor:
    """a / (a + p) of each token, with p its share of all tokens (SIF: Arora et al., ICLR 2017).

    Parameters
    ----------
    counts : (tokens,) how often each token occurs.

    Returns
    -------
    (tokens,) float64, 1 for a token that never occurs.
    """
    shares = counts.double() / counts.sum().clamp(min=1)
    return a / (a + shares)


def token_counts(artifact: Artifact, context: Context, *, tokens: int) -> Tensor:
    """How often each token occurs in the train split's inputs, (tokens,) int64."""
    counts = torch.zeros(tokens, dtype=torch.int64)
    loader = context.data.loader("train", artifact.require_preprocessor(), batch_size=_BATCH)
    with context.progress.track("counting tokens", len(loader)) as advance:
        for batch in loader:
            found = batch["input_ids"][batch[ATTENTION_MASK].bool()]
            counts += torch.bincount(found, minlength=tokens)
            advance()
    return counts


class _Reader:
    """Runs the reference on single tokens, each in a text of its own.

    Attributes
    ----------
    tokens : number of tokens that the tokenizer knows.
    """

    def __init__(self, artifact: Artifact, context: Context) -> None:
        preprocessor = artifact.require_preprocessor()
        if not isinstance(preprocessor, TextPreprocessor):
            raise StageError("a student by 'static' needs a task on texts.")
        self._preprocessor, self._context = preprocessor, context
        tokenizer = preprocessor.tokenizer
        self.tokens = max(tokenizer.get_vocab().values()) + 1
        self._before, self._after = _around(tokenizer)
        reference = as_seen_by(artifact, context.reference)
        self._teacher = placed_copy(reference, device=context.device)

    def vectors(self, tokens: Sequence[int]) -> Tensor:
        """The teacher's embedding of each token, (tokens, H) float32."""
        found = []
        with self._context.progress.track("reading tokens", len(tokens)) as advance:
            for start in range(0, len(tokens), _BATCH):
                some = tokens[start : start + _BATCH]
                found.append(self._embeddings(some))
                advance(len(some))
        return torch.cat(found)

    def _embeddings(self, tokens: Sequence[int]) -> Tensor:
        task, of = _unscaled(self._context.task), self._preprocessor.encoding_of
        encoded = [of([*self._before, token, *self._after]) for token in tokens]
        inputs = {
            name: value.to(self._context.device)
            for name, value in self._preprocessor.pad(encoded).items()
        }
        with torch.no_grad():
            answer = task.logits(self._teacher, inputs)
        if (answer.ndim == 3 or task.pools) and task.pooling != "mean":
            raise StageError(
                "a student by 'static' takes the mean of a text's tokens, and the teacher's "
                f"embedding is made by the pooling {task.pooling}."
            )
        return (answer if answer.ndim == 2 else mean_pool(answer, inputs[ATTENTION_MASK])).cpu()


def _unscaled(task: Task) -> Task:
    """The task with embeddings of their own length, which tells frequent tokens from others."""
    return replace(task, normalize=False) if isinstance(task, KnownTask) else task


def _around(tokenizer: Any) -> tuple[list[int], list[int]]:
    """The special tokens before and after those of a text."""
    encoded = tokenizer(_TEXT, return_special_tokens_mask=True)
    ids, special = encoded["input_ids"], encoded["special_tokens_mask"]
    own = [place for place, one in enumerate(special) if not one]
    if not own:  # the text's letter is unknown, and the unknown token is a special one
        return [], []
    return ids[: own[0]], ids[own[-1] + 1 :]


def _width(spec: StaticSpec, reader: _Reader) -> int:
    widest = reader.vectors([0]).shape[1]
    if spec.dimensions is not None and spec.dimensions > widest:
        raise StageError(
            expected(
                "student.static.dimensions", f"at most the teacher's {widest}", spec.dimensions
            )
        )
    return spec.dimensions or widest


def _student(table: Tensor, filled: str) -> Student:
    module, source = with_table(table)
    tokens, width = table.shape
    note = f"student: a table of {tokens:,} tokens, {width} numbers each: {filled}"
    return Student(module, source, (note,))
