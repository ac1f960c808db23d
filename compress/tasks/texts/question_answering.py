"""Answers to questions by spans of a text (extractive question answering)."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from compress.core.batch import ATTENTION_MASK, LABELS, about_key
from compress.errors import DataError, InputError, expected
from compress.tasks.answers import script_functions
from compress.tasks.contract import Output, Task, TaskMetric
from compress.tasks.texts.checks import require_text
from compress.tasks.texts.right_answers import right_answers
from compress.tasks.texts.squad import exact_match, token_f1

if TYPE_CHECKING:
    from torch import Tensor

    from compress.core.artifact import Preprocessor
    from compress.core.context import Batch
    from compress.tasks.contract import Arrays

START, END = "start_logits", "end_logits"
_SCRIPT = Path(__file__).parents[1] / "scripts" / "question_answering.py.txt"
_LOWEST = -1e9
"""A score that no token has; padding gets it in losses."""


class QuestionAnswering(Task):
    """The span of a context that answers a question, as in SQuAD.

    A sample has the fields question, context, and answers: {text, answer_start}. A context that is
    too long for the model is cut into windows that overlap. In a window without the answer, the
    first token ([CLS]) is the label of both ends (Devlin et al., 2019).

    With `unanswerable`, a question may have no answer, as in SQuAD 2.0 (Rajpurkar et al., 2018).
    The model says so where the first token's score, the least of a sample's windows, exceeds that
    of the best span by more than `null_threshold`.

    Parameters
    ----------
    stride : tokens that neighbouring windows share; at most half of what a question leaves.
    max_answer_tokens : the longest answer, in tokens.
    unanswerable : whether questions without an answer are allowed.
    null_threshold : by how much the score of no answer must exceed that of the best span; higher
        values give more answers.
    """

    name = "question-answering"
    modality = "text"
    outputs = (Output(START, "classes"), Output(END, "classes"))
    columns = ("question", "context")
    label_column = "answers"
    class_names = False
    auto_class = "AutoModelForQuestionAnswering"
    script_file = _SCRIPT

    def __init__(
        self,
        stride: int = 128,
        max_answer_tokens: int = 30,
        unanswerable: bool = False,
        null_threshold: float = 0.0,
    ) -> None:
        for name, value, least in (
            ("stride", stride, 0),
            ("max_answer_tokens", max_answer_tokens, 1),
        ):
            if type(value) is not int or value < least:
                raise InputError(expected(name, f"a whole number, at least {least}", value))
        if not isinstance(unanswerable, bool):
            raise InputError(expected("unanswerable", "true or false", unanswerable))
        if type(null_threshold) not in (int, float) or not math.isfinite(null_threshold):
            raise InputError(expected("null_threshold", "a finite number", null_threshold))
        if null_threshold and not unanswerable:
            raise InputError(expected("null_threshold", "0 without 'unanswerable'", null_threshold))
        self.stride, self.max_answer_tokens = stride, max_answer_tokens
        self.unanswerable, self.null_threshold = unanswerable, float(null_threshold)

    def table_of_metrics(self) -> Sequence[TaskMetric]:
        """Return token F1, exact match, and the fraction of the reference's spans; see `Task`."""
        return (
            TaskMetric("f1", rows=self._judged(token_f1), joined=self._right),
            TaskMetric("exact_match", rows=self._judged(exact_match), joined=self._right),
            TaskMetric("agreement", needs_labels=False, rows=self._both, joined=self._same),
        )

    def check_sample(self, sample: Mapping[str, Any], *, preprocessor: Preprocessor) -> None:
        """Require a question, a context, and answers that stand in it; see `Task`."""
        require_text(sample["question"], "question")
        context = require_text(sample["context"], "context")
        if LABELS in sample and not right_answers(sample[LABELS], context):
            self._require_unanswerable()

    def windows(self, sample: Mapping[str, Any], *, preprocessor: Preprocessor) -> int:
        """Return the number of windows of a context; see `Task`."""
        from compress.tasks.texts.windows import windows_of

        return len(windows_of([sample], self.constants(preprocessor), preprocessor)[0])

    def constants(self, preprocessor: Preprocessor | None) -> dict[str, Any]:
        """Return the sizes of windows and answers, and when there is no answer; see `Task`."""
        return {
            "stride": self.stride,
            "max_answer_tokens": self.max_answer_tokens,
            "null_threshold": self._threshold,
        }

    def collate(
        self,
        samples: Sequence[Mapping[str, Any]],
        *,
        preprocessor: Preprocessor | None = None,
        fixed_length: bool = False,
    ) -> dict[str, Tensor]:
        """Return a batch of windows; see `Task`.

        Inputs are (N, S), labels of both ends (N,): places of tokens. Metrics read the place of the
        first token, (N,), the characters of each token, (N, S, 2), the window's text and the right
        answers, as code points.
        """
        from compress.tasks.texts.windows import window_batch

        return window_batch(
            samples, self.constants(preprocessor), preprocessor, fixed_length=fixed_length
        )

    def loss(self, outputs: Mapping[str, Tensor], batch: Batch) -> Tensor:
        """Return the mean cross-entropy of both ends over the tokens that aren't padding."""
        padding = batch[ATTENTION_MASK] == 0
        kept = {name: value.masked_fill(padding, _LOWEST) for name, value in outputs.items()}
        return super().loss(kept, batch) / 2

    @property
    def _threshold(self) -> float | None:
        return self.null_threshold if self.unanswerable else None

    def _require_unanswerable(self) -> None:
        if not self.unanswerable:
            raise DataError(
                "the question has no answer. Allow that with 'arguments: {unanswerable: true}' of "
                "the task, or leave such questions out."
            )

    def _spans(self, outputs: Arrays, offsets: Any) -> list[tuple[float, int, int]]:
        best_span = _functions()["best_span"]
        each = zip(outputs[START], outputs[END], offsets, strict=True)
        return [best_span(start, end, of, self.max_answer_tokens) for start, end, of in each]

    def _judged(
        self, judge: Callable[[str, Sequence[str]], float]
    ) -> Callable[[Arrays, Arrays], Any]:
        def rows(outputs: Arrays, labels: Arrays) -> Any:
            """Of each window, (M, 4): the scores of the best span and of none, and how right each
            of both is."""
            spans = self._spans(outputs, labels[about_key("offsets")])
            texts, right = labels[about_key("text")], labels[about_key("answers")]
            found = []
            for (score, a, b), null, codes, wanted in zip(
                spans, _nulls(outputs, labels), texts, right, strict=True
            ):
                # none is right as the empty text, where no answer is
                answers = [_text(one) for one in wanted if one[0] >= 0] or [""]
                found.append((score, null, judge(_text(codes[a:b]), answers), judge("", answers)))
            return np.array(found)

        return rows

    def _right(self, windows: Any) -> Any:
        """How right a sample's answer is, from the rows of its windows."""
        best, none = self._chosen(windows[:, 0], windows[:, 1])
        return windows[best, 3:] if none else windows[best, 2:3]

    def _both(self, outputs: Arrays, reference: Arrays) -> Any:
        """Of each window, (M, 5): both models' scores of the best span, and of none, and whether
        the spans are one."""
        offsets = reference[about_key("offsets")]
        ours, theirs = self._spans(outputs, offsets), self._spans(reference, offsets)
        nulls = _nulls(outputs, reference), _nulls(reference, reference)
        return np.array(
            [
                (a[0], b[0], null, their_null, a[1:] == b[1:])
                for a, b, null, their_null in zip(ours, theirs, *nulls, strict=True)
            ]
        )

    def _same(self, windows: Any) -> Any:
        """Whether both models find no answer, or the same span of the same window best."""
        ours, none = self._chosen(windows[:, 0], windows[:, 2])
        theirs, none_there = self._chosen(windows[:, 1], windows[:, 3])
        same = ours == theirs and windows[ours, 4]
        return np.array([float(none and none_there if none or none_there else same)])

    def _chosen(self, scores: Any, nulls: Any) -> tuple[int, bool]:
        """The window of a sample whose span is the best, and whether there is no answer."""
        none = _functions()["no_answer"](scores.max(), nulls.min(), self._threshold)
        return int(scores.argmax()), bool(none)


def _functions() -> Mapping[str, Any]:
    return script_functions(_SCRIPT)


def _nulls(outputs: Arrays, about: Arrays) -> Any:
    """The score of no answer in each window: the sum of the first token's."""
    first = about[about_key("first")][:, None]
    both = (np.take_along_axis(outputs[name], first, 1)[:, 0] for name in (START, END))
    return sum(one.astype(np.float64) for one in both)


def _text(codes: Any) -> str:
    return "".join(chr(code) for code in codes if code >= 0)
