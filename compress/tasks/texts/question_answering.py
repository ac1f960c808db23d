"""Answers to questions by spans of a text (extractive question answering)."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from compress.core.batch import ATTENTION_MASK, LABELS, about_key
from compress.errors import InputError, expected
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

    Parameters
    ----------
    stride : tokens that neighbouring windows share; at most half of what a question leaves.
    max_answer_tokens : the longest answer, in tokens.
    """

    name = "question-answering"
    modality = "text"
    outputs = (Output(START, "classes"), Output(END, "classes"))
    columns = ("question", "context")
    label_column = "answers"
    class_names = False
    auto_class = "AutoModelForQuestionAnswering"
    script_file = _SCRIPT

    def __init__(self, stride: int = 128, max_answer_tokens: int = 30) -> None:
        for name, value, least in (
            ("stride", stride, 0),
            ("max_answer_tokens", max_answer_tokens, 1),
        ):
            if type(value) is not int or value < least:
                raise InputError(expected(name, f"a whole number, at least {least}", value))
        self.stride, self.max_answer_tokens = stride, max_answer_tokens

    def table_of_metrics(self) -> Sequence[TaskMetric]:
        """Return token F1, exact match, and the fraction of the reference's spans; see `Task`."""
        return (
            TaskMetric("f1", rows=self._judged(token_f1), joined=_of_best_window),
            TaskMetric("exact_match", rows=self._judged(exact_match), joined=_of_best_window),
            TaskMetric("agreement", needs_labels=False, rows=self._same_spans, joined=_same_answer),
        )

    def check_sample(self, sample: Mapping[str, Any], *, preprocessor: Preprocessor) -> None:
        """Require a question, a context, and answers that stand in it; see `Task`."""
        require_text(sample["question"], "question")
        context = require_text(sample["context"], "context")
        if LABELS in sample:
            right_answers(sample[LABELS], context)

    def windows(self, sample: Mapping[str, Any], *, preprocessor: Preprocessor) -> int:
        """Return the number of windows of a context; see `Task`."""
        from compress.tasks.texts.windows import windows_of

        return len(windows_of([sample], self.constants(preprocessor), preprocessor)[0])

    def constants(self, preprocessor: Preprocessor | None) -> dict[str, Any]:
        """Return the sizes of windows and answers; see `Task`."""
        return {"stride": self.stride, "max_answer_tokens": self.max_answer_tokens}

    def collate(
        self,
        samples: Sequence[Mapping[str, Any]],
        *,
        preprocessor: Preprocessor | None = None,
        fixed_length: bool = False,
    ) -> dict[str, Tensor]:
        """Return a batch of windows; see `Task`.

        Inputs are (N, S), labels of both ends (N,): places of tokens. Metrics read the characters
        of each token, (N, S, 2), the window's text and the right answers, as code points.
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

    def _spans(self, outputs: Arrays, offsets: Any) -> list[tuple[float, int, int]]:
        best_span = script_functions(_SCRIPT)["best_span"]
        each = zip(outputs[START], outputs[END], offsets, strict=True)
        return [best_span(start, end, of, self.max_answer_tokens) for start, end, of in each]

    def _judged(
        self, judge: Callable[[str, Sequence[str]], float]
    ) -> Callable[[Arrays, Arrays], Any]:
        def rows(outputs: Arrays, labels: Arrays) -> Any:
            """The score of each window's best span, and how right the span is, (M, 2)."""
            spans = self._spans(outputs, labels[about_key("offsets")])
            texts, right = labels[about_key("text")], labels[about_key("answers")]
            return np.array(
                [
                    (score, judge(_text(codes[a:b]), [_text(one) for one in wanted if one[0] >= 0]))
                    for (score, a, b), codes, wanted in zip(spans, texts, right, strict=True)
                ]
            )

        return rows

    def _same_spans(self, outputs: Arrays, reference: Arrays) -> Any:
        """Both models' scores of each window's best span, and whether it is one span, (M, 3)."""
        offsets = reference[about_key("offsets")]
        ours, theirs = self._spans(outputs, offsets), self._spans(reference, offsets)
        return np.array([(a[0], b[0], a[1:] == b[1:]) for a, b in zip(ours, theirs, strict=True)])


def _of_best_window(rows: Any) -> Any:
    """How right the span is whose score is the best of a sample's windows."""
    return rows[rows[:, 0].argmax(), 1:]


def _same_answer(rows: Any) -> Any:
    """Whether both models find the same span of the same window best."""
    ours, theirs = rows[:, 0].argmax(), rows[:, 1].argmax()
    return np.array([float(ours == theirs and rows[ours, 2])])


def _text(codes: Any) -> str:
    return "".join(chr(code) for code in codes if code >= 0)
