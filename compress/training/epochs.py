"""The training loop over epochs."""

from __future__ import annotations

import math
import time
from collections import deque
from collections.abc import Iterator, Sequence
from contextlib import nullcontext
from dataclasses import dataclass

import torch
from accelerate import Accelerator
from torch import nn

from compress.core.artifact import Artifact
from compress.core.context import Batch, Context, Loader
from compress.core.progress import Advance
from compress.errors import StageError
from compress.training.acceleration import (
    is_sharded,
    placed_batch,
    placed_copy,
    processes_of,
)
from compress.training.augmentation.augment import Augmenter
from compress.training.batches import grouped, sample_count, smallest_batch
from compress.training.distributed.gradient_compression import NotFiniteError
from compress.training.distributed.sharding import Sharding
from compress.training.history import Epoch, Point, write_history
from compress.training.learner import Loss, LossFunction, added, counts_of, weighed
from compress.training.optimization import learning_rate_factor, set_learning_rate
from compress.training.options import TrainingOptions
from compress.training.preparation import prepare, released
from compress.training.running_losses import LossesSeen
from compress.training.tracking import Log, tracked
from compress.training.validation.best import BestWeights, gathered
from compress.training.validation.scores import Score
from compress.training.validation.validate import Validation

_STEPS_BETWEEN_READINGS = 10
_POINTS = 200
"""Approximate number of points in a curve."""


@dataclass(frozen=True)
class TrainingResult:
    """A trained module.

    Attributes
    ----------
    module : the module with the best epoch's weights, in eval mode, on the CPU, in fp32.
    notes : the best epoch, and what was chosen or left out.
    history : every epoch.
    """

    module: nn.Module
    notes: tuple[str, ...]
    history: tuple[Epoch, ...]


class Epochs:
    """One call of `fit`.

    Parameters
    ----------
    student : the module, on the accelerator's device; it is trained in place.
    """

    def __init__(
        self,
        student: nn.Module,
        *,
        loss: Loss | LossFunction,
        artifact: Artifact,
        context: Context,
        options: TrainingOptions,
        accelerator: Accelerator,
    ) -> None:
        self.accelerator, self.context, self.options = accelerator, context, options
        self.loss, self.processes = loss, processes_of(accelerator)
        self.sharding = Sharding(
            self.processes.index, self.processes.count, smallest_batch(student)
        )
        preprocessor, data = artifact.require_preprocessor(), context.data
        self.train: Loader = data.loader(
            "train",
            preprocessor,
            batch_size=options.batch_size,
            shuffle_seed=context.seed,
            sample_ids=True,
        )
        self.total_steps = options.epochs * math.ceil(len(self.train) / options.accumulation_steps)
        if not self.total_steps:
            raise StageError("nothing to train on: the train split is empty.")
        self.prepared = prepare(
            student,
            loss,
            options=options,
            accelerator=accelerator,
            total_steps=self.total_steps,
            seed=context.seed,
        )
        self.parameters = self.prepared.parameters
        self.augmenter = Augmenter(
            options.augment,
            preprocessor=preprocessor,
            seed=context.seed,
            size=data.size("train"),
            target=context.task.target,
            classes=len(artifact.labels),
            sharding=self.sharding,
        )
        self.validation = Validation(
            self.prepared,
            data.loader("validation", preprocessor, batch_size=options.batch_size),
            task=context.task,
            accelerator=accelerator,
            sharding=self.sharding,
        )
        self.step = self.left_out = 0
        self.history: list[Epoch] = []
        self.curve: list[Point] = []

    def run(self, description: str, *, plain: nn.Module) -> TrainingResult:
        """All epochs.

        Parameters
        ----------
        plain : the module as `fit` was given it; holds the result where weights are sharded.
        """
        context, options = self.context, self.options
        best, student = BestWeights(), self.prepared.learner.student
        batches = options.epochs * (len(self.train) + self.validation.batches)
        with (
            tracked(
                self.accelerator,
                options=options,
                description=description,
                directory=context.directory,
            ) as log,
            context.progress.track(description, batches) as advance,
        ):
            for number in range(1, options.epochs + 1):
                score = self.epoch(number, advance, log)
                best.offer(student, score=score, epoch=number)
                if options.early_stopping and number - best.epoch >= options.early_stopping:
                    break
        best.restore(student)
        module = gathered(student, placed_copy(plain, device="cpu")) if self.is_sharded else student
        return TrainingResult(_finished(module, options), self.notes(best), tuple(self.history))

    @property
    def is_sharded(self) -> bool:
        """True if each process holds only a part of the weights."""
        return is_sharded(self.accelerator)

    def epoch(self, number: int, advance: Advance, log: Log) -> Score:
        """One pass over the training split, and its validation."""
        began = time.perf_counter()
        losses = self.train_epoch(number, advance, log)
        score = self.validation.run(advance)
        epoch = Epoch(
            epoch=number,
            losses=losses,
            validation=score,
            learning_rate=self.learning_rate(self.step - 1),
            seconds=time.perf_counter() - began,
        )
        self.history.append(epoch)
        figures = {f"epoch/{name}": value for name, value in losses.items()}
        figures |= {f"validation/{name}": value for name, value in score.figures.items()}
        log(figures, step=self.step)
        if self.processes.first:
            write_history(self.history, self.curve, self.context.directory)
        return score

    def train_epoch(self, number: int, advance: Advance, log: Log) -> dict[str, float]:
        """One pass over the training split; returns each part of the loss, averaged."""
        self.prepared.wrapped.train()
        seen, first = LossesSeen(self.processes), self.step
        recent: deque[dict[str, float]] = deque(maxlen=1)
        info = ""
        batches = self.train_batches(epoch=number - 1)
        for group in grouped(batches, size=self.options.accumulation_steps):
            self.train_step(group, seen)
            if self.step % _STEPS_BETWEEN_READINGS == 0 or self.step == 1:
                recent.append(seen.settle())
                info = _words(recent[-1])
                self.note_losses(recent[-1], log)
            advance(len(group), info=info)
        if self.step == first:
            raise StageError("nothing to train on: every training batch holds a single sample.")
        seen.settle()
        return seen.averages()

    def note_losses(self, losses: dict[str, float], log: Log) -> None:
        """Add losses to the curve and to the trackers."""
        rate = self.learning_rate(self.step - 1)
        log(
            {f"train/{name}": value for name, value in losses.items()} | {"learning_rate": rate},
            step=self.step,
        )
        if not self.curve or self.step - self.curve[-1].step >= self.total_steps / _POINTS:
            self.curve.append(Point(self.step, losses, rate))

    def train_step(self, group: Sequence[Batch], seen: LossesSeen) -> None:
        """One optimizer step. Its gradient is that of all samples of the group as one batch."""
        self.step += 1
        prepared, accelerator = self.prepared, self.accelerator
        total = added([counts_of(self.loss, batch) for batch in group])
        for place, batch in enumerate(group, start=1):
            own_batch, counted = self.sharding.cut(batch)
            own = counts_of(self.loss, own_batch) if counted else dict.fromkeys(total, 0)
            waits = self.processes.count > 1 and place < len(group)
            with accelerator.no_sync(prepared.wrapped) if waits else nullcontext():
                with accelerator.autocast():
                    parts = prepared.wrapped(self.placed(own_batch))
                loss = weighed(parts, own, total)
                if self.processes.count > 1:  # gradients are averaged over processes, not summed
                    loss = loss * self.processes.count
                accelerator.backward(loss)
            seen.add(parts, counts=own, step=self.step)
        self.change_gradients(seen)
        set_learning_rate(prepared.optimizer, self.learning_rate(self.step - 1))
        prepared.optimizer.step()
        prepared.optimizer.zero_grad()

    def change_gradients(self, seen: LossesSeen) -> None:
        """Make gradients low-rank and clip them, if the options say so."""
        if self.accelerator.scaler:
            self.accelerator.unscale_gradients(self.prepared.optimizer)
        if self.prepared.low_rank is not None:
            try:
                self.prepared.low_rank.apply()
            except NotFiniteError as error:
                seen.settle()  # raises if the loss itself wasn't finite
                raise StageError(
                    f"gradients weren't finite at optimizer step {self.step}. "
                    "Lower 'learning_rate' or set 'max_grad_norm'."
                ) from error
        if self.options.max_grad_norm is not None:
            nn.utils.clip_grad_norm_(self.parameters, self.options.max_grad_norm)

    def train_batches(self, *, epoch: int) -> Iterator[Batch]:
        """An epoch's whole batches, augmented, on the CPU."""
        for batch in self.train:
            if sample_count(batch) < self.sharding.smallest:
                self.left_out += sample_count(batch)
                continue
            yield self.augmenter(batch, epoch=epoch)

    def placed(self, batch: Batch) -> Batch:
        """The batch on the module's device."""
        return placed_batch(
            batch, device=self.accelerator.device, channels_last=self.prepared.channels_last
        )

    def learning_rate(self, step: int) -> float:
        """The learning rate at an optimizer step, counted from 0."""
        options = self.options
        return options.learning_rate * learning_rate_factor(
            step, total=self.total_steps, warmup=options.warmup, schedule=options.schedule
        )

    def notes(self, best: BestWeights) -> tuple[str, ...]:
        """Notes for the reader of the report."""
        done, wanted = len(self.history), self.options.epochs
        of = f"{done}" if done == wanted else f"{done} (of {wanted}: it got no better)"
        notes = [f"kept epoch {best.epoch} of {of}: validation {best.score}"]
        notes += [*self.prepared.notes, *self.validation.notes]
        if self.left_out:
            notes.append(
                f"{self.left_out} samples in training batches of one were left out: "
                "batch normalisation needs two"
            )
        if self.processes.count > 1:
            notes.append(f"trained by {self.processes.count} processes")
            if self.sharding.smallest > 1:
                notes.append("batch normalisation used each process's samples separately")
        return tuple(notes)


def _words(losses: dict[str, float]) -> str:
    """Losses in words, such as "loss 0.63 (response 0.41, labels 0.22)"."""
    total = f"loss {sum(losses.values()):.3g}"
    if len(losses) < 2:
        return total
    return f"{total} ({', '.join(f'{name} {value:.3g}' for name, value in losses.items())})"


def _finished(module: nn.Module, options: TrainingOptions) -> nn.Module:
    """The module as `fit` returns it, in the contiguous memory that file formats need."""
    module = released(module, options).to("cpu").eval()
    module.zero_grad(set_to_none=True)
    module.to(memory_format=torch.contiguous_format)  # type: ignore[call-overload]
    return module
