"""Drops the tokens that the data never uses, from the embeddings and from the tokenizer."""

from __future__ import annotations

import copy
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, ClassVar

from compress.core.artifact import Format
from compress.core.batch import model_inputs
from compress.data.spec import DataSpec
from compress.distillation.students.predicted import data_problems
from compress.errors import StageError
from compress.stages.contract import Stage
from compress.tasks.contract import Task as OwnTask
from compress.tasks.task import TASKS

if TYPE_CHECKING:
    from collections.abc import Sequence

    from torch import nn

    from compress.core.artifact import Artifact
    from compress.core.context import Context, Task
    from compress.data.texts.encode import TextPreprocessor
    from compress.data.vocabulary.cut import KeptTokens
    from compress.data.vocabulary.use import Texts
    from compress.models.spec import ModelSpec

TEXT_TASKS = (
    "text-regression",
    "question-answering",
    "fill-mask",
    "multiple-choice",
    "text-ranking",
)
"""The built-in tasks on the contract that give their texts to the tokenizer as they are."""
_CHECKED, _BATCH = 64, 8
_TOLERANCE = 1e-4


class Vocabulary(Stage):
    """Keep only the tokens that the data uses, and those that spell unknown text."""

    accepts: ClassVar[Mapping[Format, Format]] = {Format.TORCH: Format.TORCH}
    tasks: ClassVar[frozenset[str] | None] = frozenset(
        {name for name, task in TASKS.items() if task.modality == "text"} | set(TEXT_TASKS)
    )
    own_tasks: ClassVar[bool] = False
    refuses_others: ClassVar[str] = (
        "which tokens the data uses is known only where the task is on texts and gives them to the "
        "tokenizer as they are"
    )

    extra: DataSpec | None = None
    """More texts whose tokens are kept, such as the `unlabeled` texts of a later stage. Labels
    aren't read."""

    def check(self, *, task: str, model: ModelSpec, data: DataSpec) -> list[tuple[str, str]]:
        """See `Stage.check`."""
        return data_problems(self.extra, key="extra")

    def input_files(self) -> tuple[Path, ...]:
        """See `Stage.input_files`."""
        return () if self.extra is None else self.extra.local_paths()

    def apply(self, artifact: Artifact, context: Context) -> Artifact:
        """Return the artifact with a smaller vocabulary in its module and its preprocessor.

        Raises
        ------
        DataError : the extra texts can't be read.
        StageError : the tokens of the model or of the tokenizer can't be dropped, or a text of the
            data would get other tokens or another answer.
        """
        from dataclasses import replace

        from compress.data.dataset import Dataset
        from compress.data.fields.dataset import TaskData
        from compress.data.vocabulary.use import texts_of
        from compress.models.transformers.vocabulary import keep_tokens, vocabulary_size

        module = artifact.require_module()
        size = vocabulary_size(module, artifact.source)
        if not isinstance(context.data, Dataset | TaskData):
            raise StageError("'vocabulary' goes with data that a recipe names.")
        texts = texts_of(context.data, extra=self.extra, task=context.task)
        choice, preprocessor = _tokenizer(artifact, context, texts=texts)
        if len(choice.original) == size:
            note = f"nothing to drop; data or unknown text need all {size:,} tokens"
            return artifact.with_module(copy.deepcopy(module), notes=(note,))
        trimmed = keep_tokens(module, artifact.source, kept=choice.original)
        smaller = replace(
            artifact.with_module(trimmed.module, source=trimmed.source), preprocessor=preprocessor
        )
        return replace(
            smaller,
            notes=(
                _kept(choice, size=size, before=module, after=trimmed.module),
                f"the same pieces on all {len(texts):,} texts ({texts})",
                _require_same_answers(artifact, smaller, context, kept=choice.original),
                *_of_scores(context),
            ),
        )

    def summarize(self) -> str:
        """Such as "tokens of the data"."""
        return "tokens of the data" + (" and of extra texts" if self.extra else "")


def _tokenizer(
    artifact: Artifact, context: Context, *, texts: Texts
) -> tuple[KeptTokens, TextPreprocessor]:
    """Return the tokens to keep, and a preprocessor that was shown to give the same tokens."""
    import numpy as np

    from compress.data.texts.encode import TextPreprocessor
    from compress.data.vocabulary.cut import backend_of, choose_tokens, cut_tokenizer
    from compress.data.vocabulary.use import require_same_pieces, used_tokens

    preprocessor = artifact.require_preprocessor()
    backend = backend_of(preprocessor)
    if not isinstance(preprocessor, TextPreprocessor):
        raise TypeError("backend_of lets only preprocessors of texts pass.")
    tokenizer = preprocessor.tokenizer
    use = used_tokens(
        texts,
        tokenizer,
        words=backend["model"]["type"] == "WordPiece",
        progress=context.progress,
    )
    choice = choose_tokens(
        backend, use, ids=tokenizer.get_vocab(), also=_reserved(artifact, context)
    )
    smaller = cut_tokenizer(preprocessor, backend, choice)
    require_same_pieces(
        texts,
        tokenizer,
        smaller.tokenizer,
        original=np.array(choice.original, np.int64),
        progress=context.progress,
    )
    return choice, smaller


def _reserved(artifact: Artifact, context: Context) -> set[int]:
    """Return the ids that the configs of the model and of the reference name.

    Later stages give the reference the same ids.
    """
    from compress.models.source import TransformersSource
    from compress.models.transformers.vocabulary import reserved_ids, vocabulary_size

    ids = reserved_ids(artifact.require_module())
    reference = context.reference
    # Where the two differ, the reference's ids were kept when the first tokens were dropped.
    same = artifact.original_ids == reference.original_ids
    if same and isinstance(reference.source, TransformersSource):
        ids |= reserved_ids(reference.require_module())
    size = vocabulary_size(artifact.require_module(), artifact.source)
    return {number for number in ids if number < size}


def _kept(choice: KeptTokens, *, size: int, before: nn.Module, after: nn.Module) -> str:
    kept = len(choice.original)
    return (
        f"kept {kept:,} of {size:,} tokens ({kept / size:.1%}); parameters "
        f"{_parameters(before):,} -> {_parameters(after):,}"
    )


def _parameters(module: nn.Module) -> int:
    return sum(parameter.numel() for parameter in module.parameters())


def _require_same_answers(
    before: Artifact, after: Artifact, context: Context, *, kept: Sequence[int]
) -> str:
    """Return a note of the largest difference on validation samples."""
    import torch

    task = context.task
    loaders = [
        context.data.loader(
            "validation", one.require_preprocessor(), batch_size=_BATCH, limit=_CHECKED
        )
        for one in (before, after)
    ]
    worst, scale, samples = 0.0, 1.0, 0
    for old, new in zip(*loaders, strict=True):
        with torch.no_grad():
            wanted = task.logits(before.require_module(), model_inputs(old))
            got = task.logits(after.require_module(), model_inputs(new))
        if _scores_tokens(task):
            wanted = wanted[..., list(kept)]
        worst = max(worst, float((wanted - got).abs().max()))
        scale, samples = max(scale, float(wanted.abs().max())), samples + len(got)
    if not worst <= _TOLERANCE * scale:
        raise StageError(
            f"without the dropped tokens, {type(before.require_module()).__name__} answers "
            f"otherwise: the largest difference on {samples} validation samples is {worst:.2g}."
        )
    return f"the same answers on {samples} validation samples (difference {worst:.1g})"


def _scores_tokens(task: Task) -> bool:
    """Whether the outputs are scores of the vocabulary's tokens."""
    return task.target == "next-token" or (isinstance(task, OwnTask) and task.scores_tokens)


def _of_scores(context: Context) -> tuple[str, ...]:
    if not _scores_tokens(context.task):
        return ()
    return (
        "likelihoods are now shared among the kept tokens only, which lowers the "
        "perplexity a little; the reference, as teacher, answers over the same tokens",
    )
