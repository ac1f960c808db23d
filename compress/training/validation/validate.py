"""Scores a student after each epoch, together with the other processes."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

import torch
from accelerate import Accelerator
from torch import Tensor, nn

from compress.core.context import Batch, Loader, Task
from compress.core.progress import Advance
from compress.errors import StageError
from compress.tasks.contract import Task as OwnTask
from compress.training.acceleration import placed_batch
from compress.training.distributed.processes import Processes
from compress.training.distributed.sharding import Sharding
from compress.training.learner import LossFunction, count_for, counts_of
from compress.training.preparation import Prepared
from compress.training.validation.own import OwnScore
from compress.training.validation.scores import BatchSums, Score, finite, labelled_sums, score_of

_VALUE, _COUNT = "value ", "count "


class Validation:
    """Validates by the labels of the validation split. If the split or the task has none, the
    training loss on the split is the score.

    Attributes
    ----------
    batches : number of batches in one validation.
    notes : a note if the training loss was the score for lack of labels.
    """

    def __init__(
        self,
        prepared: Prepared,
        loader: Loader,
        *,
        task: Task,
        accelerator: Accelerator,
        sharding: Sharding,
    ) -> None:
        self._prepared, self._loader, self._task = prepared, loader, task
        self._accelerator, self._sharding = accelerator, sharding
        self._processes = Processes(sharding.index, sharding.processes)
        self._labelled = task.target != "none"
        self.batches = len(loader)
        self.notes: list[str] = []

    def run(self, advance: Advance) -> Score:
        """The score of the student with its current weights.

        Raises
        ------
        StageError : the split is empty, or the loss isn't finite.
        """
        if not self.batches:
            raise StageError("the validation split is empty; the best epoch can't be chosen.")
        if self._labelled:
            score = self._by_labels(advance)
            if score is not None:
                return score
            self._labelled = False
            self.notes.append(
                "the validation split has no labels: the training loss on it chose the epoch"
            )
            return self._by_loss(_still)
        return self._by_loss(advance)

    def _by_labels(self, advance: Advance) -> Score | None:
        if not isinstance(self._task, OwnTask):
            return score_of(self._task.target, self._sums(self._label_sums, advance))
        own = OwnScore(self._task)
        for batch, results in self._results(own.results, advance):
            own.add(results, batch)
        return own.score(self._processes)

    def _by_loss(self, advance: Advance) -> Score:
        sums = self._sums(self._loss_sums, advance)
        parts = {
            name: sums[_VALUE + name] / (sums[_COUNT + name] or 1)
            for name in (key.removeprefix(_VALUE) for key in sums if key.startswith(_VALUE))
        }
        figures = {"loss": finite(sum(parts.values()))}
        if len(parts) > 1:
            figures |= {f"{name} loss": value for name, value in parts.items()}
        return Score("loss", higher_is_better=False, figures=figures)

    def _sums(self, work: LossFunction, advance: Advance) -> dict[str, float]:
        """Sums of the results of `work` over the samples of all processes."""
        tally = BatchSums()
        for _, sums in self._results(work, advance):
            tally.add(sums)
        return tally.total(self._processes)

    def _results(
        self, work: LossFunction, advance: Advance
    ) -> Iterator[tuple[Batch, Mapping[str, Tensor]]]:
        """This process's batches that count, and the results of `work` on them."""
        self._prepared.wrapped.eval()
        for batch, counted in self._slices():
            with torch.no_grad(), self._accelerator.autocast():
                made = self._prepared.wrapped(batch, work)
            if counted:
                yield batch, made
            advance(info="validation")

    def _slices(self) -> Iterator[tuple[Batch, bool]]:
        for batch in self._loader:
            own, counted = self._sharding.cut(batch)
            yield (
                placed_batch(
                    own,
                    device=self._accelerator.device,
                    channels_last=self._prepared.channels_last,
                ),
                counted,
            )

    def _label_sums(self, student: nn.Module, batch: Batch) -> Mapping[str, Tensor]:
        return labelled_sums(self._task, student, batch)

    def _loss_sums(self, student: nn.Module, batch: Batch) -> Mapping[str, Tensor]:
        """Each part's value times its count, and the count."""
        loss = self._prepared.learner.loss
        counts, made = counts_of(loss, batch), loss(student, batch)
        parts = {"loss": made} if isinstance(made, Tensor) else made
        sums: dict[str, Tensor] = {}
        for name, part in parts.items():
            count = count_for(name, counts)
            sums[_VALUE + name] = part.float() * count
            sums[_COUNT + name] = torch.tensor(count)
        return sums


def _still(steps: int = 1, *, info: str = "") -> None:
    """Report no progress: these batches were counted before."""
