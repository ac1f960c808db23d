"""Masked tokens of texts (masked language modeling)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from compress.core.batch import IGNORED, LABELS
from compress.errors import DataError, InputError, expected
from compress.tasks.contract import Output, Task, TaskMetric
from compress.tasks.metrics import accuracy
from compress.tasks.texts.checks import require_text

if TYPE_CHECKING:
    from torch import Tensor

    from compress.core.artifact import Preprocessor
    from compress.tasks.contract import Arrays

_SCORES = "logits"
_SCRIPT = Path(__file__).parents[1] / "scripts" / "fill_mask.py.txt"
_LARGEST_EXPONENT = 700.0
"""e to a larger power exceeds a float; such a model is useless in any case."""


class FillMask(Task):
    """Tokens that were masked, from those around them.

    Some tokens of each text are chosen, and are the labels. They are drawn by the seed and the
    text, so that they are the same in every epoch, every measurement and for every model. At least
    one token of a text is chosen; special tokens never are. The mask token replaces them. In the
    train split it replaces 80 % of them, a random token 10 %, and 10 % stay (Devlin et al., 2019).

    Parameters
    ----------
    mask_fraction : fraction of a text's tokens that is chosen.
    seed : seed of the draws.
    """

    name = "fill-mask"
    modality = "text"
    outputs = (Output(_SCORES, "classes"),)
    columns = ("text",)
    label_column = None
    class_names = False
    scores_tokens = True
    auto_class = "AutoModelForMaskedLM"
    script_file = _SCRIPT

    def __init__(self, mask_fraction: float = 0.15, seed: int = 0) -> None:
        if isinstance(mask_fraction, bool) or not isinstance(mask_fraction, int | float):
            mask_fraction = -1.0
        if not 0 < mask_fraction < 1:
            raise InputError(expected("mask_fraction", "a number between 0 and 1", mask_fraction))
        if type(seed) is not int or seed < 0:
            raise InputError(expected("seed", "a whole number, at least 0", seed))
        self.mask_fraction, self.seed = float(mask_fraction), seed

    def table_of_metrics(self) -> Sequence[TaskMetric]:
        """Return pseudo-perplexity and accuracy at masked tokens; see `Task`."""
        perplexity = TaskMetric(
            "pseudo_perplexity", higher_is_better=False, rows=_likelihoods, value=_perplexity
        )
        return (perplexity, accuracy(_SCORES))

    def check_sample(self, sample: Mapping[str, Any], *, preprocessor: Preprocessor) -> None:
        """Require a text that isn't empty, and a tokenizer with a mask token; see `Task`."""
        require_text(sample["text"], "text")
        if preprocessor.tokenizer.mask_token_id is None:
            raise DataError("fill-mask needs a tokenizer with a mask token. This one has none.")

    def constants(self, preprocessor: Preprocessor | None) -> dict[str, Any]:
        """Return the mask token and its id; see `Task`."""
        tokenizer = None if preprocessor is None else preprocessor.tokenizer
        if tokenizer is None:
            return {}
        return {"mask_token": tokenizer.mask_token, "mask_id": tokenizer.mask_token_id}

    def collate(
        self,
        samples: Sequence[Mapping[str, Any]],
        *,
        preprocessor: Preprocessor | None = None,
        fixed_length: bool = False,
    ) -> dict[str, Tensor]:
        """Return token ids, some of them masked, and masks (N, S); labels (N, S); see `Task`."""
        return self._batch(samples, preprocessor, fixed_length, training=False)

    def collate_for_training(
        self,
        samples: Sequence[Mapping[str, Any]],
        *,
        preprocessor: Preprocessor | None = None,
        fixed_length: bool = False,
    ) -> dict[str, Tensor]:
        """Return the same, with a random token or the true one in place of some masks."""
        return self._batch(samples, preprocessor, fixed_length, training=True)

    def _batch(
        self,
        samples: Sequence[Mapping[str, Any]],
        preprocessor: Preprocessor | None,
        fixed_length: bool,
        *,
        training: bool,
    ) -> dict[str, Tensor]:
        from compress.tasks.texts.masks import masked_batch

        return masked_batch(
            [str(sample["text"]) for sample in samples],
            preprocessor,
            fraction=self.mask_fraction,
            seed=self.seed,
            training=training,
            fixed_length=fixed_length,
        )

    def raw_inputs(
        self, samples: Sequence[Mapping[str, Any]], *, preprocessor: Preprocessor
    ) -> dict[str, Tensor]:
        """Return the inputs of texts as they are: their own masks stay, and none are added."""
        from compress.tasks.texts.batches import encoded_texts

        return encoded_texts(samples, preprocessor, fixed_length=False)


def _likelihoods(outputs: Arrays, labels: Arrays) -> Any:
    """Sums of each text: negative log-likelihoods of its masked tokens, and their number."""
    wanted = labels[LABELS]
    text, place = np.nonzero(wanted != IGNORED)
    scores = outputs[_SCORES][text, place].astype(np.float64)
    largest = scores.max(-1)
    total = np.log(np.exp(scores - largest[:, None]).sum(-1)) + largest
    off = total - scores[np.arange(len(scores)), wanted[text, place]]
    return np.stack(
        [np.bincount(text, weights=each, minlength=len(wanted)) for each in (off, off * 0 + 1)], 1
    )


def _perplexity(sums: Any) -> Any:
    """The exponential of the mean negative log-likelihood; NaN where no token was masked.

    Unlike Salazar et al. (2020, "Masked Language Model Scoring") it masks several tokens at once.
    """
    with np.errstate(invalid="ignore", divide="ignore"):
        return np.exp(np.minimum(sums[:, 0] / sums[:, 1], _LARGEST_EXPONENT))
