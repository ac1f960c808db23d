"""The training loop."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass

import torch
from accelerate import Accelerator
from torch import Tensor, nn

from compress.core.artifact import Artifact, Preprocessor
from compress.core.context import Batch, Context, Loader
from compress.core.progress import Advance
from compress.errors import StageError
from compress.training.acceleration import (
    acceleration,
    is_convolutional,
    placed_batch,
    placed_copy,
    reproducible,
)
from compress.training.augmentation import IMAGES, augment_images
from compress.training.batches import as_parts, grouped, sample_count, smallest_batch, total_of
from compress.training.best import BestWeights
from compress.training.history import Epoch, write_history
from compress.training.losses_seen import LossesSeen
from compress.training.optimization import learning_rate_factor, make_optimizer, set_learning_rate
from compress.training.options import TrainingOptions
from compress.training.validation import Score, validate

LossFunction = Callable[[nn.Module, Batch], Tensor | Mapping[str, Tensor]]
"""A batch's loss in fp32, averaged over samples; or its weighted parts, whose sum is the loss."""

_STEPS_BETWEEN_READINGS = 10


@dataclass(frozen=True)
class Fitted:
    """A trained module.

    Attributes
    ----------
    module : the best epoch's weights, in eval mode, on the CPU, in fp32.
    notes : which epoch that was, and what was left out.
    history : every epoch.
    """

    module: nn.Module
    notes: tuple[str, ...]
    history: tuple[Epoch, ...]


def fit(
    module: nn.Module,
    *,
    loss: LossFunction,
    artifact: Artifact,
    context: Context,
    options: TrainingOptions,
    description: str,
) -> Fitted:
    """Train a copy of a module, and return its best epoch.

    After each epoch the copy is validated (accuracy; ties go to the lower loss). The same seed and
    thread count give the same weights on the CPU. `context.directory` receives `training.json`.

    Parameters
    ----------
    module : left as it was.
    loss : called in the module's train mode under the precision's autocast, with the batch on
        `context.device`.
    artifact : whose preprocessor makes the inputs.
    description : of the work, for the progress display.

    Raises
    ------
    StageError : a loss isn't finite (with its step), the device can't do the precision, nothing in
        the module is trainable, or a split is empty.
    """
    if artifact.preprocessor is None:
        raise StageError("training needs a preprocessor. The artifact has none.")
    with (
        acceleration(precision=options.precision, device=context.device) as accelerator,
        reproducible(seed=context.seed, threads=context.threads, device=context.device),
    ):
        training = _Training(
            placed_copy(module, device=accelerator.device),
            loss=loss,
            preprocessor=artifact.preprocessor,
            context=context,
            options=options,
            accelerator=accelerator,
        )
        return training.run(description)


class _Training:
    """The state of one call of `fit`."""

    def __init__(
        self,
        module: nn.Module,
        *,
        loss: LossFunction,
        preprocessor: Preprocessor,
        context: Context,
        options: TrainingOptions,
        accelerator: Accelerator,
    ) -> None:
        self.module, self.loss, self.accelerator = module, loss, accelerator
        self.context, self.options = context, options
        self.parameters = [p for p in module.parameters() if p.requires_grad]
        if not self.parameters:
            raise StageError("nothing to train: no parameter of the module requires a gradient.")
        self.channels_last = is_convolutional(module)
        self.smallest_batch = smallest_batch(module)
        self.left_out = 0
        optimizer = make_optimizer(module, options)
        # Only gradient scaling (fp16) needs accelerate's wrapper, which slows each step a little.
        self.optimizer = accelerator.prepare(optimizer) if accelerator.scaler else optimizer
        self.generator = torch.Generator().manual_seed(context.seed)
        size = options.batch_size
        self.train: Loader = context.data.loader(
            "train", preprocessor, batch_size=size, shuffle_seed=context.seed
        )
        self.validation: Loader = context.data.loader("validation", preprocessor, batch_size=size)
        self.step = 0
        self.total_steps = options.epochs * math.ceil(len(self.train) / options.accumulation_steps)
        if not self.total_steps:
            raise StageError("nothing to train on: the train split is empty.")

    def run(self, description: str) -> Fitted:
        """All epochs."""
        best = BestWeights()
        history: list[Epoch] = []
        batches = self.options.epochs * (len(self.train) + len(self.validation))
        with self.context.progress.track(description, batches) as advance:
            for number in range(1, self.options.epochs + 1):
                began = time.perf_counter()
                losses = self.train_epoch(advance)
                score = self.validate(advance)
                best.offer(self.module, score=score, epoch=number)
                history.append(
                    Epoch(
                        epoch=number,
                        losses=losses,
                        validation_accuracy=score.accuracy,
                        validation_loss=score.loss,
                        learning_rate=self.learning_rate(self.step - 1),
                        seconds=time.perf_counter() - began,
                    )
                )
                write_history(history, self.context.directory)
        best.restore(self.module)
        return Fitted(self.finished_module(), self.notes(history, best), tuple(history))

    def train_epoch(self, advance: Advance) -> dict[str, float]:
        """One pass over the training split; returns each part of the loss, averaged."""
        self.module.train()
        seen, first = LossesSeen(), self.step
        info = ""
        for group in grouped(self.train_batches(), size=self.options.accumulation_steps):
            self.train_step(group, seen)
            if self.step % _STEPS_BETWEEN_READINGS == 0 or self.step == 1:
                info = f"loss {seen.settle():.3g}"
            advance(len(group), info=info)
        if self.step == first:
            raise StageError("nothing to train on: every training batch holds a single sample.")
        seen.settle()
        return seen.averages()

    def train_step(self, group: Sequence[Batch], seen: LossesSeen) -> None:
        """One optimizer step, whose gradient is that of the group's batches taken as one."""
        self.step += 1
        samples = sum(sample_count(batch) for batch in group)
        for batch in group:
            with self.accelerator.autocast():
                parts = as_parts(self.loss(self.module, batch))
            share = sample_count(batch) / samples
            self.accelerator.backward(total_of(parts) * share)
            seen.add(parts, samples=sample_count(batch), step=self.step)
        if self.options.max_grad_norm is not None:
            self.accelerator.clip_grad_norm_(self.parameters, self.options.max_grad_norm)
        set_learning_rate(self.optimizer, self.learning_rate(self.step - 1))
        self.optimizer.step()
        self.optimizer.zero_grad()

    def train_batches(self) -> Iterator[Batch]:
        """The next epoch's batches, augmented, on the device."""
        augment = self.options.augment
        for batch in self.train:
            if sample_count(batch) < self.smallest_batch:
                self.left_out += sample_count(batch)
                continue
            placed = dict(batch)
            if augment is not None:
                if IMAGES not in placed:
                    raise StageError(f"'augment' is for images. Got inputs {sorted(placed)}.")
                placed[IMAGES] = augment_images(
                    placed[IMAGES], augment=augment, generator=self.generator
                )
            yield self.placed(placed)

    def validate(self, advance: Advance) -> Score:
        """Score of the module as it stands."""

        def batches() -> Iterator[Batch]:
            for batch in self.validation:
                yield self.placed(batch)
                advance(info="validation")

        return validate(
            self.module, batches(), task=self.context.task, autocast=self.accelerator.autocast
        )

    def placed(self, batch: Batch) -> Batch:
        """The batch where the module is."""
        return placed_batch(batch, device=self.accelerator.device, channels_last=self.channels_last)

    def learning_rate(self, step: int) -> float:
        """At the optimizer step counted from 0."""
        options = self.options
        return options.learning_rate * learning_rate_factor(
            step, total=self.total_steps, warmup=options.warmup, schedule=options.schedule
        )

    def finished_module(self) -> nn.Module:
        """The module as `fit` returns it; its memory is laid out as any file format wants it."""
        module = self.module.to("cpu").eval()
        module.to(memory_format=torch.contiguous_format)  # type: ignore[call-overload]
        return module

    def notes(self, history: Sequence[Epoch], best: BestWeights) -> tuple[str, ...]:
        """What whoever reads the report should know."""
        chosen = history[best.epoch - 1]
        notes = [
            f"kept epoch {best.epoch} of {len(history)}: validation accuracy "
            f"{chosen.validation_accuracy:.4f}, loss {chosen.validation_loss:.4f}"
        ]
        if self.left_out:
            notes.append(
                f"{self.left_out} samples in training batches of one were left out: "
                "batch normalisation needs two"
            )
        return tuple(notes)
