"""The contract of a task: what stages, runner and report ask of it, with defaults for each part.

A task of one's own is a subclass of `Task`. A recipe names it as `task: {python: module:Class}`, or
by its name if a package registers it in the entry-point group `compress.tasks`.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from types import MappingProxyType
from typing import TYPE_CHECKING, Any

from compress.core.batch import LABELS, labels_key, model_inputs
from compress.errors import InputError, StageError
from compress.tasks.modules import answer_of_module, outputs_of_answer
from compress.tasks.outputs import Role, classes_last, joined

if TYPE_CHECKING:
    import numpy as np
    from torch import Tensor, nn

    from compress.core.artifact import Preprocessor
    from compress.core.context import Batch, Modality, Pooling, Target

    Arrays = Mapping[str, np.ndarray[Any, Any]]

WINDOW = "window"
"""Field of a sample that is cut into windows: the number of the one that is asked for."""


@dataclass(frozen=True)
class Input:
    """One input of the model.

    Attributes
    ----------
    name : name in the batch and in the ONNX file.
    dtype : numpy's name of its type.
    varying : axes besides the first whose sizes may vary, with their names. The first is the batch.
    """

    name: str
    dtype: str = "float32"
    varying: Mapping[int, str] = field(default_factory=dict)


@dataclass(frozen=True)
class Output:
    """One output of the model.

    Attributes
    ----------
    name : name in the ONNX file, and of the module's answer if that has names.
    role : its meaning; decides how it is compared with labels and with a teacher's.
    weight : weight of this output in losses.
    huber_delta : for values and features, the difference from a teacher's up to which the distance
        is half its square; beyond, it grows linearly (Huber, 1964), so that a teacher's outliers
        count less. None: the squared error everywhere.
    class_axis : for classes, the axis of the scores of one answer: 1 for (N, C, H, W).
    """

    name: str
    role: Role
    weight: float = 1.0
    huber_delta: float | None = None
    class_axis: int = -1


@dataclass(frozen=True)
class TaskMetric:
    """One metric of quality.

    Give `rows` if a few numbers say all of a sample: nothing else is kept then. The metric is a
    function of their sums over samples (`value`), or of all samples' numbers (`of_rows`). Or else
    give `of_all`. The 95 % interval is a bootstrap over samples in every case.

    Attributes
    ----------
    name : name of the metric.
    higher_is_better : whether higher values are better.
    needs_labels : False if the metric compares the model with the reference; `rows` then gets the
        reference's outputs in place of the batch's labels.
    rows : a function from outputs and labels of M samples, arrays by name, to numbers (M, K).
        A single label is under the name "labels". Both hold the batch's entries of `about_key`.
    value : a function from sums (R, K) to values (R,); None for the mean of a single number.
    of_rows : a function from the numbers of all samples (N, K) to the metric, for one that isn't a
        function of sums; it takes the place of `value`, and is called anew for each resample.
    of_all : a function from outputs and labels of all samples to a number.
    joined : for tasks that cut a sample into windows, a function from what `rows` returned for the
        windows of one sample, (W, K), to the sample's numbers (K',); None: a window is a sample.
    """

    name: str
    higher_is_better: bool = True
    needs_labels: bool = True
    rows: Callable[[Arrays, Arrays], np.ndarray[Any, Any]] | None = None
    value: Callable[[np.ndarray[Any, Any]], np.ndarray[Any, Any]] | None = None
    of_rows: Callable[[np.ndarray[Any, Any]], float] | None = None
    of_all: Callable[[Arrays, Arrays], float] | None = None
    joined: Callable[[np.ndarray[Any, Any]], np.ndarray[Any, Any]] | None = None


class Task:
    """The base class of tasks of one's own.

    A subclass sets the attributes, and overrides the methods whose defaults don't fit. It holds no
    state but its arguments.

    Attributes
    ----------
    name : name of the task, in messages and in the bundle.
    modality : kind of the samples: "tensors" (arrays by name) or "text" (a tokenizer is loaded).
    inputs : inputs of the model; empty: as the data names them, as float32 or int64.
    outputs : outputs of the model, in its order.
    columns : fields of a raw sample that `collate` reads; empty: the names of `inputs`, and if
        there are none, every column of the data but the labels.
    also : further fields of a sample, which are read where the recipe names their columns.
    listed : fields that are lists, with the field of one member: of data with a column of this name
        in place of the list, rows that agree in all other fields are one sample.
    label_column : column of the labels, unless the recipe names one; None: the task makes its
        labels of the samples themselves.
    label_words : what a label is, in words; empty: as the outputs' roles say.
    class_names : whether labels of classes may be names, which are those of the train split.
    scores_tokens : whether an output has a score for every token of the vocabulary, at every token;
        batches are small then.
    metrics : names of the metrics, the default first.
    auto_class : class of `transformers` that loads such models; empty: none does.
    answers_file : a Python file that defines `answers(outputs, roles)`: an answer for each sample,
        as plain JSON, from a batch's outputs (arrays by name, classes along the last axis). It
        needs only numpy, as `np`, and becomes a part of the bundle's script. None: by output the
        likeliest class and its probability, or the numbers.
    problem_type : what the key of this name says in configs of `transformers` for such heads; empty
        where it says nothing.
    keeps_samples_whole : for tasks that cut samples into windows, whether those of a sample stay
        beside one another in shuffled batches, as losses need that compare them.
    script_file : for tasks on texts, a Python file by which the bundle's script takes raw samples,
        see `docs/tasks.md`; None: the script takes arrays.
    model_file : beside a script file, the bundle's model.mjs, for Node and the browser: it exports
        FILES and `answer`, see `docs/tasks.md`. None: the bundle has no JavaScript.
    """

    name: str = ""
    modality: Modality = "tensors"
    inputs: tuple[Input, ...] = ()
    outputs: tuple[Output, ...] = ()
    columns: tuple[str, ...] = ()
    also: tuple[str, ...] = ()
    listed: Mapping[str, str] = MappingProxyType({})
    label_column: str | None = "label"
    label_words: str = ""
    class_names: bool = True
    scores_tokens: bool = False
    auto_class: str = ""
    problem_type: str = ""
    answers_file: Path | None = None
    script_file: Path | None = None
    model_file: Path | None = None
    keeps_samples_whole: bool = False
    target: Target = "own"
    pooling: Pooling = "mean"
    normalize: bool = True
    pools: bool = False
    beside: tuple[str, ...] = ()

    def table_of_metrics(self) -> Sequence[TaskMetric]:
        """Return the metrics of quality, the default first."""
        return ()

    def collate(
        self,
        samples: Sequence[Mapping[str, Any]],
        *,
        preprocessor: Preprocessor | None = None,
        fixed_length: bool = False,
    ) -> dict[str, Tensor]:
        """Return a batch of raw samples.

        The default stacks arrays: floats become float32, whole numbers and booleans int64.

        Parameters
        ----------
        samples : for each sample its fields by name, and its labels under "labels" (or
            "labels.<output>" for several).
        preprocessor : holds the tokenizer, for texts.
        fixed_length : pad texts to the preprocessor's full length.

        Returns
        -------
        Inputs by name, then labels.

        Raises
        ------
        DataError : a sample has another shape than the first, or its values are no numbers.
        """
        from compress.tasks.collate import stacked

        return stacked(samples)

    def collate_for_training(
        self,
        samples: Sequence[Mapping[str, Any]],
        *,
        preprocessor: Preprocessor | None = None,
        fixed_length: bool = False,
    ) -> dict[str, Tensor]:
        """Return a batch of samples of the train split; the default is `collate`.

        A task whose training sees other inputs than its measurements overrides it. The same samples
        must give the same batch each time, so that a teacher's answers can be cached.
        """
        return self.collate(samples, preprocessor=preprocessor, fixed_length=fixed_length)

    def check_sample(self, sample: Mapping[str, Any], *, preprocessor: Preprocessor) -> None:
        """Check one sample; called for every sample of every split, before long work begins.

        Raises
        ------
        DataError : the task can't use the sample.
        """

    def windows(self, sample: Mapping[str, Any], *, preprocessor: Preprocessor) -> int:
        """Return the number of windows into which a sample is cut, at least 1.

        `collate` then gets the sample once for each, with the window's number under `WINDOW`, and
        a batch holds windows.
        """
        return 1

    def raw_inputs(
        self, samples: Sequence[Mapping[str, Any]], *, preprocessor: Preprocessor
    ) -> dict[str, Tensor]:
        """Return the inputs of raw samples without labels, as the bundle's script makes them."""
        every = self.all_windows(samples, preprocessor=preprocessor)
        return model_inputs(self.collate(every, preprocessor=preprocessor))

    def constants(self, preprocessor: Preprocessor | None) -> dict[str, Any]:
        """Return plain values that the bundle's script reads, see `script_file`."""
        return {}

    def loss(self, outputs: Mapping[str, Tensor], batch: Batch) -> Tensor:
        """Return the loss against labels: a scalar, averaged over the samples.

        The default is by role. Classes have cross-entropy over `class_axis` (-100 is no label),
        values and features the mean squared error (NaN is no label). Outputs without labels don't
        count.

        Raises
        ------
        StageError : the batch has no label of any output.
        """
        from compress.tasks.losses import label_loss

        parts = [
            output.weight * label_loss(_scores(outputs, output), batch[key], role=output.role)
            for output in self.outputs
            if (key := self.label_of(output, batch)) is not None
        ]
        if not parts:
            raise StageError(f"{self.name}: a batch has no labels. It has: {', '.join(batch)}.")
        return sum(parts[1:], parts[0])

    def compare(
        self,
        student: Mapping[str, Tensor],
        teacher: Mapping[str, Tensor],
        batch: Batch,
        *,
        temperature: float = 1.0,
    ) -> Tensor:
        """Return how far a student's outputs are from its teacher's: a scalar over the samples.

        The default is by role: for classes the softened KL divergence times the temperature squared
        (Hinton et al., 2015), for values and features the mean squared error or Huber's loss.
        """
        from compress.tasks.losses import teacher_loss

        parts = [
            output.weight
            * teacher_loss(
                _scores(student, output),
                _scores(teacher, output),
                role=output.role,
                temperature=temperature,
                huber_delta=output.huber_delta,
                batch=batch,
            )
            for output in self.outputs
        ]
        return sum(parts[1:], parts[0])

    # What follows is derived; a task has no need to override it.

    @property
    def cuts_samples(self) -> bool:
        """True if the task cuts samples into windows."""
        return type(self).windows is not Task.windows

    @property
    def checks_samples(self) -> bool:
        """True if the task checks samples one by one."""
        return type(self).check_sample is not Task.check_sample

    def all_windows(
        self, samples: Sequence[Mapping[str, Any]], *, preprocessor: Preprocessor
    ) -> list[Mapping[str, Any]]:
        """Return the samples, or if the task cuts them, all of their windows in order."""
        if not self.cuts_samples:
            return list(samples)
        return [
            {**sample, WINDOW: number}
            for sample in samples
            for number in range(self.windows(sample, preprocessor=preprocessor))
        ]

    def answer(self, outputs: Arrays) -> list[Any]:
        """Return the answer for each sample, as the bundle's script gives it: see `answers_file`.

        Raises
        ------
        StageError : the file's function fails.
        """
        from compress.tasks.answers import answered

        last = {one.name: _scores(outputs, one) for one in self.outputs}
        return answered(self.answers_file, last, {one.name: one.role for one in self.outputs})

    @property
    def output_names(self) -> tuple[str, ...]:
        """Names of the ONNX file's outputs."""
        return tuple(output.name for output in self.outputs)

    @property
    def metrics(self) -> tuple[str, ...]:
        """Names of the metrics, the default first."""
        return tuple(metric.name for metric in self.table_of_metrics())

    @property
    def metrics_without_labels(self) -> tuple[str, ...]:
        """Names of the metrics that can be measured on data without labels."""
        return tuple(one.name for one in self.table_of_metrics() if not one.needs_labels)

    def default_metric(self, *, labelled: bool = True) -> str:
        """Return the metric that is used if the recipe names none.

        Raises
        ------
        InputError : the task has no metric for such data.
        """
        fitting = self.metrics if labelled else self.metrics_without_labels
        if not fitting:
            given = "labelled data" if labelled else "data without labels"
            raise InputError(f"{self.name} has no metric for {given}.")
        return fitting[0]

    def named_outputs(self, module: nn.Module, inputs: Batch) -> dict[str, Tensor]:
        """Run a module on inputs; return its outputs by name.

        A `transformers` model gets the inputs by name, as does a module whose `forward` has
        parameters of these names; any other module gets them by position.

        Raises
        ------
        InputError : the answer lacks an output, or has more than the task names.
        """
        answer = answer_of_module(module, model_inputs(inputs), generates=False)
        return outputs_of_answer(answer, self.output_names, task=self.name)

    def file_outputs(self, module: nn.Module, inputs: Batch) -> dict[str, Tensor]:
        """Return the outputs of a module's ONNX file: those of `named_outputs`."""
        return self.named_outputs(module, inputs)

    def logits(self, module: nn.Module, inputs: Batch) -> Tensor:
        """Run a module; return its outputs as one tensor, see `compress.tasks.outputs.joined`."""
        answer: Tensor = joined(list(self.named_outputs(module, inputs).values()))
        return answer

    def varying_axes(self, name: str, value: Tensor) -> Mapping[int, str]:
        """Return the axes of an input that may vary, besides the first, by their names."""
        for one in self.inputs:
            if one.name == name:
                return one.varying
        return {1: "sequence_length"} if self.modality == "text" and value.ndim == 2 else {}

    def label_of(self, output: Output, batch: Mapping[str, Any]) -> str | None:
        """Return the batch's key of an output's labels; None if there is none."""
        key = labels_key(output.name)
        if key in batch:
            return key
        return LABELS if LABELS in batch and output == self.outputs[0] else None


def _scores(outputs: Mapping[str, Any], output: Output) -> Any:
    """Return an output with its classes along the last axis; one without classes as it is."""
    return classes_last(outputs[output.name], output.class_axis)
