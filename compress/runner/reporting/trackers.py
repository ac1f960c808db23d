"""Logs every row of a run to TensorBoard, MLflow or Weights & Biases."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from compress.core.foreign.boundary import described
from compress.errors import StageError
from compress.training.options import Tracker
from compress.training.tracking import PROJECT, mlflow_place, require_installed

if TYPE_CHECKING:
    from compress.report.document import Row

FOLDER = "logs"
"""The folder of a run for what trackers write into files."""
Log = Callable[["Row"], None]
_Figures = Callable[[Mapping[str, float], int], None]


@contextmanager
def tracked_rows(
    trackers: Sequence[Tracker], *, name: str, directory: Path, recipe: Mapping[str, Any]
) -> Iterator[Log]:
    """Begin a run in each tracker; yields a function that logs a row, at the step of its index.

    TensorBoard's events go to `directory`/tensorboard, and W&B's files to `directory`/wandb.
    MLflow's go to MLFLOW_TRACKING_URI if that is set, else to `directory`/mlflow.

    Parameters
    ----------
    name : name of the run.
    recipe : is logged as the run's configuration.

    Raises
    ------
    StageError : a tracker's package isn't installed, or W&B can't begin a run.
    """
    require_installed(trackers)
    with ExitStack() as opened:
        logs = [
            opened.enter_context(_OPENED[tracker](name, directory, _flat(recipe)))
            for tracker in trackers
        ]

        def log(row: Row) -> None:
            for each in logs:
                each(figures(row), row.index)

        yield log


def figures(row: Row) -> dict[str, float]:
    """Return a row's numbers by name, such as "latency_ms/1/p50"."""
    found: dict[str, float | None] = {
        "params": row.params,
        "macs": row.macs,
        "size_bytes": row.size_bytes,
        f"quality/{row.quality.metric}": row.quality.value,
        "quality/low": row.quality.ci95[0],
        "quality/high": row.quality.ci95[1],
        "calibration_error": row.calibration_error,
        "seconds": row.seconds,
        "peak_memory_bytes": row.peak_memory_bytes,
        "energy_kwh": row.energy_kwh,
    }
    for batch, latency in row.latency_ms.items():
        for part in ("p50", "p95", "p99"):
            found[f"latency_ms/{batch}/{part}"] = getattr(latency, part)
    for batch, speedup in row.speedup.items():
        found[f"speedup/{batch}"] = speedup.vs_original
    if row.vs_reference is not None:
        found["vs_reference/change"] = row.vs_reference.change
        found["vs_reference/p_value"] = row.vs_reference.p_value
    if row.throughput is not None:
        found["throughput/samples_per_second"] = row.throughput.samples_per_second
    if row.serving is not None:
        found["serving/memory_bytes"] = row.serving.memory_bytes
        found["serving/load_ms"] = row.serving.load_ms
    return {name: float(value) for name, value in found.items() if value is not None}


@contextmanager
def _tensorboard(name: str, directory: Path, recipe: Mapping[str, Any]) -> Iterator[_Figures]:
    from torch.utils.tensorboard import SummaryWriter

    with SummaryWriter(str(directory / "tensorboard" / name)) as writer:
        lines = [f"    {key}: {value}" for key, value in recipe.items()]
        writer.add_text("recipe", "\n".join(lines))

        def log(found: Mapping[str, float], step: int) -> None:
            for key, value in found.items():
                writer.add_scalar(f"rows/{key}", value, step)

        yield log


@contextmanager
def _mlflow(name: str, directory: Path, recipe: Mapping[str, Any]) -> Iterator[_Figures]:
    import mlflow

    with mlflow_place(directory):
        client = mlflow.MlflowClient()
        experiment = mlflow.set_experiment(PROJECT)
        run = client.create_run(experiment.experiment_id, run_name=name)
        for key, value in recipe.items():
            client.log_param(run.info.run_id, key, str(value)[:_LONGEST_PARAM])

        def log(found: Mapping[str, float], step: int) -> None:
            for key, value in found.items():
                client.log_metric(run.info.run_id, f"rows/{key}", value, step=step)

        try:
            yield log
        except BaseException:
            client.set_terminated(run.info.run_id, "FAILED")
            raise
        client.set_terminated(run.info.run_id)


@contextmanager
def _wandb(name: str, directory: Path, recipe: Mapping[str, Any]) -> Iterator[_Figures]:
    import wandb

    folder = directory / "wandb"
    folder.mkdir(parents=True, exist_ok=True)
    try:
        run = wandb.init(project=PROJECT, name=name, dir=str(folder), config=dict(recipe))
    except wandb.errors.Error as error:
        raise StageError(
            f"W&B can't begin a run: {described(error)} Set WANDB_MODE=offline to log to files."
        ) from error

    def log(found: Mapping[str, float], step: int) -> None:
        run.log({f"rows/{key}": value for key, value in found.items()}, step=step)

    with run:
        yield log


_LONGEST_PARAM = 500
"""Characters of a parameter in MLflow's files."""
_OPENED = {"tensorboard": _tensorboard, "mlflow": _mlflow, "wandb": _wandb}


def _flat(recipe: Mapping[str, Any], before: str = "") -> dict[str, Any]:
    """Return the recipe's keys as dotted names; a stage stands there by its name."""
    found: dict[str, Any] = {}
    for key, value in recipe.items():
        name = f"{before}{key}"
        if name == "stages":
            for step in value:
                found |= _flat(step, f"stages.{step['name']}.")
        elif isinstance(value, dict) and value:
            found |= _flat(value, f"{name}.")
        else:
            found[name] = value
    return found
