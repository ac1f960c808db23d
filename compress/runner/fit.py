"""Checks that a loaded model fits its data and its task, before long work begins."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any

from compress.core.batch import ATTENTION_MASK, model_inputs
from compress.core.foreign.boundary import foreign
from compress.data.texts.full_length import filled_up
from compress.errors import DataError, ModelError, StageError
from compress.measurement.metrics.registry import metric_named
from compress.measurement.metrics.tally import Answer
from compress.measurement.session import run, session
from compress.models.source import PythonSource
from compress.models.transformers.heads import one_output, untrained_head
from compress.tasks.checked import own_loss
from compress.tasks.contract import Task as OwnTask

if TYPE_CHECKING:
    from torch import Tensor

    from compress.core.artifact import Artifact
    from compress.core.context import Batch, Data, Split, Task
    from compress.models.loaded import LoadedModel
    from compress.recipe.schema import Head


def require_trained_head(loaded: LoadedModel, recipe: Head, task: Task) -> None:
    """Require a `train` stage if the model's files lack a head, as that head is random.

    Raises
    ------
    ModelError : the head is random, and no stage trains it.
    """
    if loaded.untrained_head and not recipe.teaches:
        raise ModelError(untrained_head(loaded.folder or "the model", task))


def check_fit(original: Artifact, data: Data, task: Task) -> None:
    """Run the model on one batch of each split, before long work begins.

    Raises
    ------
    ModelError : the model can't take a batch, or its output doesn't fit the task.
    """
    splits: tuple[Split, ...] = ("train", "validation", "test", "calibration")
    _require_vocabulary(original)
    _require_end(original, task)
    if isinstance(task, OwnTask):
        for split in splits:
            _try_own(original, data, task, split)
        return
    for split in splits:
        loader = data.loader(split, original.require_preprocessor(), batch_size=2, limit=2)
        batch = next(iter(loader))
        answer = _answer(original, model_inputs(batch), task)
        _require_outputs(tuple(answer.shape), batch, original=original, task=task)
        if split == "train" and task.modality == "text":
            _check_texts(original, batch, task)


def _try_own(original: Artifact, data: Data, task: OwnTask, split: Split) -> None:
    """Run the model on one batch of a split, and the task's loss and metrics on its outputs."""
    loader = data.loader(split, original.require_preprocessor(), batch_size=2, limit=2)
    batch = next(iter(loader))
    inputs = model_inputs(batch)
    for one in task.inputs:
        if one.name not in inputs:
            raise ModelError(
                f"{task.name}: the input {one.name!r} isn't in a batch. It has: {', '.join(batch)}."
            )
    outputs = tried_outputs(original, inputs, task)
    count = len(next(iter(inputs.values())))
    for name, value in outputs.items():
        if value.ndim == 0 or len(value) != count:
            raise ModelError(
                f"{task.name}: output {name!r} must have {count} samples. "
                f"Got the shape {tuple(value.shape)}."
            )
    if data.labelled:
        own_loss(task, outputs, batch)
    arrays = {name: value.numpy() for name, value in batch.items()}
    answers = {name: value.float().numpy() for name, value in outputs.items()}
    if split == "train" and task.modality == "text":
        _try_full_length(original, data, task)
    answer = Answer(next(iter(answers.values())), arrays, outputs=answers)
    for name in task.metrics if data.labelled else task.metrics_without_labels:
        tally = metric_named(name, task=task, labels=original.labels).tally(original.labels)
        tally.add(replace(answer, reference=answer))


def _try_full_length(original: Artifact, data: Data, task: OwnTask) -> None:
    """Run the model on a text of full length, which may need more positions than it has."""
    padded = data.loader(
        "train", original.require_preprocessor(), batch_size=1, limit=1, fixed_length=True
    )
    inputs = model_inputs(next(iter(padded)))
    tried_outputs(original, filled_up(inputs) if ATTENTION_MASK in inputs else inputs, task)


def tried_outputs(original: Artifact, inputs: Batch, task: Task) -> dict[str, Tensor]:
    """Return the original's outputs for a batch's inputs, by name.

    Raises
    ------
    ModelError : the model can't take the inputs.
    """
    import torch

    try:
        if original.onnx is not None:
            found = run(session(original.onnx, threads=1), inputs)
            return {name: torch.from_numpy(found[name]) for name in task.output_names}
        with torch.no_grad(), foreign(_forward_of(original), error=ModelError):
            return task.named_outputs(original.require_module(), inputs)
    except (ModelError, DataError, StageError) as error:
        shapes = ", ".join(f"{name} {tuple(value.shape)}" for name, value in inputs.items())
        said = _no_start(original) or _uneven_ends(original, inputs) or error
        raise ModelError(f"the model can't take the data's inputs ({shapes}): {said}") from error


def _no_start(original: Artifact) -> str | None:
    """The sentence if an encoder-decoder's config doesn't say what its decoder reads first."""
    config = getattr(original.module, "config", None)
    if not getattr(config, "is_encoder_decoder", False):
        return None
    if getattr(config, "decoder_start_token_id", None) is not None:
        return None
    return (
        f"the config of {type(original.module).__name__} doesn't say with which token its decoder "
        "begins. Set 'decoder_start_token_id' in 'model.arguments' (or 'model.config'); T5 begins "
        "with its padding token, 0."
    )


def _uneven_ends(original: Artifact, inputs: Batch) -> str | None:
    """The sentence if texts lack the token that the heads of encoder-decoder models read."""
    config = getattr(original.module, "config", None)
    ids, end = inputs.get("input_ids"), getattr(config, "eos_token_id", None)
    if ids is None or not getattr(config, "is_encoder_decoder", False) or not isinstance(end, int):
        return None
    counts = sorted(set((ids == end).sum(1).tolist()))
    if len(counts) == 1 and counts[0] > 0:
        return None
    return (
        f"{type(original.module).__name__} reads its answer at the last end of a text, and every "
        f"text must have as many ends, at least one. Got {', '.join(map(str, counts))} of the "
        f"token {end}, the config's 'eos_token_id'. Set it to the token with which the tokenizer "
        "ends texts."
    )


def _check_texts(original: Artifact, batch: Batch, task: Task) -> None:
    """Run the model on texts of full length; check that no answer depends on later tokens."""
    length = original.require_preprocessor().max_length
    inputs = model_inputs(batch)
    if length is None or ATTENTION_MASK not in inputs:
        return
    row = int(inputs[ATTENTION_MASK].sum(1).argmax())
    one = {name: value[row : row + 1] for name, value in inputs.items()}
    longest = filled_up(one, length=length)
    answer = _answer(original, longest, task)
    if task.target == "next-token" and length > 1:
        ids = longest["input_ids"].clone()
        ids[:, -1] = (ids[:, -1] + 1) % answer.shape[-1]
        changed = _answer(original, {**longest, "input_ids": ids}, task)
        if not changed[:, :-1].allclose(answer[:, :-1], rtol=1e-3, atol=1e-4):
            raise ModelError(
                "the model's answers at a token change with tokens after it: it reads the whole "
                "text, and text-generation is to say what comes next."
            )


def _answer(original: Artifact, inputs: Batch, task: Task) -> Tensor:
    return tried_outputs(original, inputs, task)[task.output_names[0]]


def _forward_of(original: Artifact) -> str:
    """Return the name of the function that runs the model."""
    source = original.source
    made_by = f" of {source.factory!r}" if isinstance(source, PythonSource) else ""
    return f"{type(original.require_module()).__name__}.forward{made_by}"


def _require_vocabulary(original: Artifact) -> None:
    """Require that the model knows as many tokens as its tokenizer."""
    tokenizer = original.require_preprocessor().tokenizer
    # transformers' image models refuse the question about embeddings; a file's table was compared
    if tokenizer is None or original.onnx is not None:
        return
    embeddings = getattr(original.require_module(), "get_input_embeddings", None)
    try:
        known = getattr(embeddings(), "num_embeddings", None) if callable(embeddings) else None
    except NotImplementedError:  # CANINE has several tables, of characters' hashes
        known = None
    if known is not None and len(tokenizer) > known:
        raise ModelError(
            f"the tokenizer has {len(tokenizer)} tokens, but the model knows only {known}."
        )


def _require_end(original: Artifact, task: Task) -> None:
    """Require that the tokenizer ends texts as an encoder-decoder's classification head expects."""
    config: Any = getattr(original.module, "config", None)
    if task.target not in ("class", "class-set") or original.module is None:
        return
    tokenizer = original.require_preprocessor().tokenizer
    if tokenizer is None or not getattr(config, "is_encoder_decoder", False):
        return
    end, ids = config.eos_token_id, tokenizer("a")["input_ids"]
    if end not in ids:  # mBART has one more token after it
        raise ModelError(
            f"{type(original.module).__name__} reads its answer at the end token of a text, which "
            f"is {end} ('eos_token_id' of its config), and the tokenizer ends a text with "
            f"{ids[-1:] or 'nothing'}. Set 'eos_token_id' to the token that ends texts, or name "
            "the model's own tokenizer with 'data.tokenizer'."
        )


def _require_outputs(
    shape: tuple[int, ...], batch: Batch, *, original: Artifact, task: Task
) -> None:
    first = next(iter(model_inputs(batch).values()))
    one_a_sample = task.target in ("class", "class-set") or task.pools
    leading = tuple(first.shape[: 1 if one_a_sample else 2])
    if shape[:-1] != leading:
        raise ModelError(
            f"the model gives answers of shape {shape} for {len(first)} samples. For "
            f"{task.name} it must be {leading} and one more axis."
        )
    if shape[-1] == 1 and task.target in ("class", "token-class"):
        raise ModelError(f"the model: {one_output(task)}")
    counted = task.target in ("class", "class-set", "token-class") and original.labels
    if counted and shape[-1] != len(original.labels):
        raise ModelError(
            f"the model gives scores of shape {shape} for {len(first)} samples, "
            f"but there are {len(original.labels)} labels: {', '.join(original.labels[:10])}."
        )
