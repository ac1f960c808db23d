"""The term for a loss of the user's own."""

from __future__ import annotations

from torch import Tensor

from compress.core.context import Batch
from compress.core.foreign.boundary import foreign
from compress.core.foreign.entries import import_entry
from compress.distillation.answers import Answers
from compress.distillation.options import Custom
from compress.distillation.terms.term import Term
from compress.errors import StageError
from compress.tasks.checked import scalar
from compress.tasks.outputs import split
from compress.training.batches import sample_count

NAME = "custom"


class CustomTerm(Term):
    """See `compress.distillation.options.Custom`."""

    reads_logits = True

    def __init__(self, options: Custom) -> None:
        super().__init__()
        self._options = options
        self._function = import_entry(options.python, error=StageError)

    def parts(self, student: Answers, teacher: Answers, batch: Batch) -> dict[str, Tensor]:
        """See `Term`.

        Raises
        ------
        StageError : the function fails, or doesn't return a scalar.
        """
        options = self._options
        if not isinstance(teacher.logits, Tensor):
            raise StageError(f"the loss {options.python!r} needs the teacher's outputs.")
        theirs = split(teacher.logits, like=list(student.outputs.values()))
        named = dict(zip(student.outputs, theirs, strict=True))
        with foreign(repr(options.python), error=StageError):
            found = self._function(student.outputs, named, batch, **options.arguments)
        return {NAME: options.weight * scalar(found, f"what {options.python!r} returns")}

    def counts(self, batch: Batch) -> dict[str, int]:
        """See `Term`."""
        return {NAME: sample_count(batch)}
