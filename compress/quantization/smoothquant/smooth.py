"""SmoothQuant: outliers of activations move into the weights that read them.

Xiao et al., "SmoothQuant: Accurate and Efficient Post-Training Quantization for Large Language
Models", ICML 2023, arXiv:2211.10438. An alpha is searched for each group of layers, rather than one
for the model.
"""

from __future__ import annotations

import copy
from collections.abc import Iterable, Sequence, Sized
from dataclasses import dataclass
from typing import TYPE_CHECKING

import torch
from torch import nn

from compress.core.batch import model_inputs
from compress.core.progress import Progress, Silent
from compress.errors import StageError, expected
from compress.quantization.integers import Integers
from compress.quantization.smoothquant.folds import Fold, columns, find_folds
from compress.quantization.smoothquant.inputs import watch_inputs
from compress.quantization.smoothquant.search import AlphaChoice, choose_alpha

if TYPE_CHECKING:
    from compress.core.context import Batch, Task

ALPHAS = tuple(step / 20 for step in range(4, 20))
_PROOF_SAMPLES = 2
_TOLERANCE = 1e-4


@dataclass(frozen=True, eq=False)
class Smoothed:
    """A module that answers as before, and is easier to quantize.

    Attributes
    ----------
    module : a copy of the module given, of the same structure.
    notes : where outliers were moved, where they couldn't be, and what that gains.
    """

    module: nn.Module
    notes: tuple[str, ...]


def smooth(
    module: nn.Module,
    *,
    task: Task,
    batches: Iterable[Batch],
    alphas: Sequence[float] = ALPHAS,
    integers: Integers | None = None,
    progress: Progress | None = None,
) -> Smoothed:
    """Divide channels of activations by scales, and multiply the weights that read them.

    The division is folded into the layer that makes the channels, so that no operation is added.
    That layer is a normalisation that only linear layers read (pre-norm transformers), the values
    of an attention, `up` of a gated feed-forward, or a linear layer before ReLU. Each fold is
    proved on a batch; see `find_folds`. Each group of layers that read the same channels gets the
    alpha with the least squared error of their outputs. The error is that of 8-bit weights per
    output channel and 8-bit activations per tensor, over the range seen. A group for which no alpha
    reduces the error is left as it is.

    Parameters
    ----------
    module : a module in train or eval mode; it is left unchanged.
    batches : calibration samples, iterated once, and started once more for the proof.
    alphas : alphas to try, in [0, 1]; 0 evens out the weights, and 1 the activations.
    integers : the 8-bit types of the graph to be; None for U8S8.

    Raises
    ------
    StageError : there are no batches, an alpha is out of its range, activations aren't finite, or
        answers would differ by more than 1e-4 of the largest.
    """
    for alpha in alphas:
        if not 0 <= alpha <= 1:
            raise StageError(expected("alpha", "from 0 to 1", alpha))
    made = copy.deepcopy(module).cpu().float().eval()
    first = next(iter(batches), None)
    if first is None:
        raise StageError("no calibration samples: the calibration split gave no batch.")
    proof = {name: value[:_PROOF_SAMPLES] for name, value in model_inputs(first).items()}
    folds, failed = find_folds(made, task=task, batch=proof)
    steps = len(batches) if isinstance(batches, Sized) else 0
    with (progress or Silent()).track("smoothing", steps) as advance:
        watched = [fold.readers[0] for fold in folds]
        seen = watch_inputs(made, watched, task=task, batches=batches, advance=advance)
    with torch.no_grad():
        wanted = task.logits(made, proof)
        choices = [
            choose_alpha(
                seen[fold.readers[0]],
                [columns(made.get_submodule(path)) for path in fold.readers],
                index=fold.index,
                channels=fold.channels,
                alphas=alphas,
                integers=integers or Integers(),
            )
            for fold in folds
        ]
        for fold, choice in zip(folds, choices, strict=True):
            if choice.alpha is not None:
                fold.apply(made, choice.scales)
        off = float((task.logits(made, proof) - wanted).abs().max() / wanted.abs().max())
    if not off <= _TOLERANCE:
        raise StageError(f"smoothing would change the answers by {off:.1e} of the largest.")
    return Smoothed(made, _notes(module, folds, choices, failed))


def _notes(
    module: nn.Module, folds: Sequence[Fold], choices: Sequence[AlphaChoice], failed: Sequence[Fold]
) -> tuple[str, ...]:
    notes = []
    moved = [choice for choice in choices if choice.alpha is not None]
    if moved:
        alphas = [choice.alpha for choice in moved if choice.alpha is not None]
        rest = sum(choice.after / choice.before for choice in moved) / len(moved)
        notes.append(
            f"SmoothQuant moved outliers at {len(moved)} of {len(folds)} places, alpha "
            f"{min(alphas):g} to {max(alphas):g}: the squared error of what reads them falls to "
            f"{rest:.0%} on average"
        )
    elif folds:
        notes.append(f"SmoothQuant: no alpha helps at any of {len(folds)} places; nothing moved")
    else:
        notes.append("SmoothQuant: there is no place where scales could be folded")
    norms = [fold for fold in failed if not _is_matrix(module, fold)]
    if norms:
        notes.append(
            f"SmoothQuant: {len(norms)} normalisations (such as {norms[0].maker}) feed more than "
            "linear layers (a residual sum): their outliers stay"
        )
    return tuple(notes)


def _is_matrix(module: nn.Module, fold: Fold) -> bool:
    return module.get_submodule(fold.maker).get_parameter("weight").dim() > 1
