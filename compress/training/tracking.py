"""Logs losses and scores to TensorBoard, MLflow or W&B, through accelerate's trackers."""

from __future__ import annotations

import importlib.util
import os
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, nullcontext
from pathlib import Path
from typing import Any, Protocol

from accelerate import Accelerator

from compress.core.foreign.endings import afterwards
from compress.errors import StageError
from compress.training.options import Tracker, TrainingOptions

PROJECT = "compress"
_MLFLOW_URI, _MLFLOW_FILES = "MLFLOW_TRACKING_URI", "MLFLOW_ALLOW_FILE_STORE"


class Log(Protocol):
    """Logs figures by name for the optimizer step that they belong to."""

    def __call__(self, figures: Mapping[str, float], *, step: int) -> None: ...


@contextmanager
def tracked(
    accelerator: Accelerator, *, options: TrainingOptions, description: str, directory: Path
) -> Iterator[Log]:
    """Begin a run in each of the options' trackers; yields a function that logs to them.

    TensorBoard's events go to `directory`/compress. MLflow's go to MLFLOW_TRACKING_URI if it is
    set, else to `directory`/mlflow.

    Raises
    ------
    StageError : a tracker's package isn't installed.
    """
    if not options.trackers:
        yield _nothing
        return
    require_installed(options.trackers)
    directory.mkdir(parents=True, exist_ok=True)
    with mlflow_place(directory) if "mlflow" in options.trackers else nullcontext():
        accelerator.init_trackers(
            PROJECT,
            config=_flat(options),
            init_kwargs={
                "mlflow": {"run_name": description},
                "wandb": {"name": description, "dir": str(directory)},
            },
        )

        def log(figures: Mapping[str, float], *, step: int) -> None:
            accelerator.log(dict(figures), step=step)

        def finish() -> None:
            # `end_training` would also end the group of processes.
            for tracker in accelerator.trackers:
                tracker.finish()

        with afterwards(finish, what="ending the trackers' runs"):
            yield log


def _nothing(figures: Mapping[str, float], *, step: int) -> None:
    pass


def require_installed(trackers: Sequence[Tracker]) -> None:
    """Check that the packages of trackers are installed.

    Raises
    ------
    StageError : one isn't.
    """
    for tracker in trackers:
        if importlib.util.find_spec(tracker) is None:
            raise StageError(
                f"'trackers' names {tracker!r}, which isn't installed: "
                f"pip install 'compress[{tracker}]'."
            )


@contextmanager
def mlflow_place(directory: Path) -> Iterator[None]:
    """Let MLflow write to `directory`/mlflow in the context, unless MLFLOW_TRACKING_URI is set."""
    if os.environ.get(_MLFLOW_URI):
        yield
        return
    import mlflow

    before, allowed = mlflow.get_tracking_uri(), os.environ.get(_MLFLOW_FILES)
    mlflow.set_tracking_uri((directory / "mlflow").resolve().as_uri())
    os.environ[_MLFLOW_FILES] = "true"  # a database needs more than `mlflow-skinny`
    try:
        yield
    finally:
        mlflow.set_tracking_uri(before)
        if allowed is None:
            del os.environ[_MLFLOW_FILES]
        else:
            os.environ[_MLFLOW_FILES] = allowed


def _flat(options: TrainingOptions) -> dict[str, Any]:
    found: dict[str, Any] = {}
    for name, value in options.model_dump(mode="json").items():
        plain = isinstance(value, str | int | float | bool) or value is None
        found[name] = value if plain else str(value)
    return found
