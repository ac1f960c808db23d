"""The conformance suite for stages: it checks the contract of a third party's stage."""

from __future__ import annotations

import contextlib
import hashlib
import io
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pydantic import ValidationError
from ruamel.yaml import YAML

from compress.core.artifact import Artifact, Format
from compress.core.batch import model_inputs
from compress.core.context import Context
from compress.data.dataset import load_data
from compress.data.preprocess import load_preprocessor
from compress.data.spec import DataSpec
from compress.exporting.checked import export_artifact
from compress.measurement.session import run, session
from compress.models.load import load_model
from compress.models.spec import ModelSpec
from compress.models.weights.digests import weights_digest
from compress.recipe.sentences import faults
from compress.runner.inputs import seed_everything
from compress.stages.contract import Stage
from compress.stages.train import Train
from compress.tasks.task import task as find_task

if TYPE_CHECKING:
    import numpy as np

_SAMPLES = 256


def check_stage(
    stage: Stage,
    *,
    directory: Path,
    artifact: Artifact | None = None,
    context: Context | None = None,
) -> None:
    """Check that a stage keeps the contract; return only if it keeps all of it.

    The stage is run twice. Without `artifact` and `context` it is given a small network and
    scikit-learn's digits (`digits_problem`), in the first format that it accepts.

    Parameters
    ----------
    stage : a stage with little work, such as few epochs.
    directory : an empty folder for the files that it writes.

    Raises
    ------
    AssertionError : the stage breaks a clause; the message is a sentence on it.
    """
    _check_value(stage)
    if artifact is None or context is None:
        artifact, context = digits_problem(directory / "problem")
    if artifact.format not in stage.accepts:
        artifact = _as_onnx(artifact, context)
    before = _digest(artifact), _digest(context.reference)
    made = []
    for name in ("first", "second"):
        folder = directory / name
        folder.mkdir(parents=True)
        made.append((folder, _apply(stage, artifact, replace(context, directory=folder))))
    _require(
        (_digest(artifact), _digest(context.reference)) == before,
        "it changed the artifact that it was given, or the reference",
    )
    for folder, result in made:
        _check_result(stage, artifact, result, folder)
    answers = [_answers(result, context) for _, result in made]
    _require(bool((answers[0] == answers[1]).all()), "the same seed gave two different results")


def digits_problem(directory: Path) -> tuple[Artifact, Context]:
    """Return a small trained classifier of scikit-learn's digits, and the context of a run."""
    import torch

    directory.mkdir(parents=True, exist_ok=True)
    task = find_task("image-classification")
    spec = DataSpec(sklearn="digits", calibration_samples=64)
    model = ModelSpec(
        python="compress.models.resnet:resnet",
        arguments={"blocks": [1, 1], "width": 8, "in_channels": 1, "num_classes": 10},
    )
    loaded = load_model(model, task=task, seed=0)
    data = load_data(spec, task=task, labels=(), seed=0)
    untrained = Artifact(
        format=Format.TORCH,
        module=loaded.module.eval(),
        source=loaded.source,
        preprocessor=load_preprocessor(None, task=task, spec=spec),
        labels=data.labels,
    )
    context = Context(
        reference=untrained,
        task=task,
        data=data,
        directory=directory,
        threads=torch.get_num_threads(),
    )
    training = {"epochs": 1, "batch_size": 64, "learning_rate": 5e-3}
    trained = Train.model_validate({"training": training}).apply(untrained, context)
    return trained, replace(context, reference=trained)


def _check_value(stage: Stage) -> None:
    kind = type(stage)
    _require(bool(kind.accepts), "'accepts' names no format")
    name = next(iter(kind.model_fields), None)
    if name is not None:
        try:
            setattr(stage, name, getattr(stage, name))
        except ValidationError:
            pass
        else:
            raise AssertionError(f"{kind.__name__}: a field can be set; it must be frozen.")
    fields = stage.model_dump(mode="json")
    with _refused(kind, "an unknown key"):
        kind.model_validate({**fields, "no_such_field": 1})
    for field, info in kind.model_fields.items():
        _require(bool(info.description), f"field {field!r} has no docstring")
        said = [fault.sentence for fault in faults(kind, {**fields, field: _Nothing()})]
        _require(
            any(sentence.startswith(f"{field!r} must be ") for sentence in said),
            f"a bad value of {field!r} isn't refused with the standard sentence, but with {said}",
        )
    text = io.StringIO()
    YAML(typ="safe").dump(fields, text)
    again = kind.model_validate(YAML(typ="safe").load(text.getvalue()))
    _require(again == stage, "its parameters don't survive a YAML round trip")


class _Nothing:
    """A value of no type that a recipe can hold."""


@contextlib.contextmanager
def _refused(kind: type[Stage], what: str) -> Iterator[None]:
    try:
        yield
    except ValidationError:
        return
    raise AssertionError(f"{kind.__name__}: {what} was taken; it must be refused.")


def _apply(stage: Stage, artifact: Artifact, context: Context) -> Artifact:
    seed_everything(context.seed)
    printed = io.StringIO()
    with contextlib.redirect_stdout(printed):
        made = stage.apply(artifact, context)
    _require(not printed.getvalue(), f"it printed {printed.getvalue()[:80]!r}")
    return made


def _check_result(stage: Stage, given: Artifact, made: Artifact, folder: Path) -> None:
    _require(made is not given, "it returned the artifact that it was given")
    declared = stage.accepts[given.format]
    _require(made.format == declared, f"it made {made.format}, and declares {declared}")
    _require(made.labels == given.labels, "it lost the labels")
    _require(made.preprocessor is not None, "it lost the preprocessor")
    if made.format.is_onnx:
        _require(made.require_onnx().is_relative_to(folder), "its file lies outside its folder")
    else:
        _require(made.source is not None, "it lost the source")
        _require(not made.require_module().training, "its module isn't in eval mode")
        _require(made.module is not given.module, "it returned the module that it was given")


def _as_onnx(artifact: Artifact, context: Context) -> Artifact:
    onnx = context.directory / "given.onnx"
    export_artifact(artifact, context, onnx)
    return artifact.with_onnx(onnx, format=Format.ONNX)


def _digest(artifact: Artifact) -> str:
    if artifact.format.is_onnx:
        return hashlib.sha256(artifact.require_onnx().read_bytes()).hexdigest()
    module = artifact.require_module()
    trainable = [name for name, p in module.named_parameters() if p.requires_grad]
    return f"{weights_digest(module)} {module.training} {trainable}"


def _answers(artifact: Artifact, context: Context) -> np.ndarray[Any, Any]:
    """Return scores on test samples: the result must run, and its answers must be finite."""
    import numpy as np
    import torch

    loader = context.data.loader(
        "test", artifact.require_preprocessor(), batch_size=32, limit=_SAMPLES
    )
    scores = []
    for batch in loader:
        inputs = model_inputs(batch)
        if artifact.format.is_onnx:
            answers = run(session(artifact.require_onnx(), threads=1), inputs)
            scores.append(next(iter(answers.values())))
        else:
            with torch.no_grad():
                scores.append(context.task.logits(artifact.require_module(), inputs).numpy())
    found = np.concatenate(scores)
    _require(bool(np.isfinite(found).all()), "its answers aren't finite")
    return found


def _require(kept: bool, broken: str) -> None:
    if not kept:
        raise AssertionError(f"the stage breaks its contract: {broken}.")
