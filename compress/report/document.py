"""report.json: the measurements of a run, as a public and versioned format."""

from __future__ import annotations

import json
import os
from html import escape
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from pydantic import Field, ValidationError

from compress.core.files.atomic import write_text
from compress.core.shown import shown
from compress.errors import InputError, clipped
from compress.measurement.latency.results import Conditions, FromText, Throughput, Typical
from compress.measurement.results import (
    Baseline,
    Count,
    Difference,
    Evaluation,
    Generation,
    InRuntime,
    Interval,
    Latency,
    Quality,
    Speedup,
)
from compress.measurement.serving.results import Serving
from compress.report.kept.answers import Confusion, Disagreements
from compress.report.kept.insides import Sensitivity, Training
from compress.report.kept.part import Figure, Part

if TYPE_CHECKING:
    import pandas

FILE_NAME = "report.json"
MOST_BYTES = 2**27
STAGES, ANSWERS = "stages", "answers.safetensors"
"""In a run's folder, the folder of the stages' folders; in each of these, the answers of its row.
"""

Status = Literal["running", "passed", "gate_failed", "failed", "interrupted"]


class Delta(Part):
    """Differences from the reference row."""

    params: float
    """Relative: -0.5 means half of the parameters."""
    size: float
    """Relative: -0.75 means a quarter of the bytes."""
    quality: float
    """Absolute: -0.01 means one point of accuracy lost. A higher perplexity is worse."""


class Row(Part):
    """One model of the run, measured from its ONNX file in ONNX Runtime."""

    index: int
    """Position of the row; 0 is the model that the run began with."""
    name: str
    """Name of the stage that made it; "original" for the first."""
    use: str | None = None
    """Registered name of that stage; null for the first."""
    params: Count
    """Number of parameters."""
    macs: Count
    """Multiply-accumulate operations for one sample."""
    size_bytes: Count
    """Bytes of the ONNX file on disk, external data included."""
    quality: Quality
    """Quality on the test split."""
    latency_ms: dict[str, Latency] = Field(default_factory=dict)
    """Latency by batch size."""
    speedup: dict[str, Speedup] = Field(default_factory=dict)
    """Speedup by batch size."""
    throughput: Throughput | None = None
    """Samples a second at the best batch size."""
    typical: Typical | None = None
    """Speed at the data's median length or size; null where that is the full one."""
    from_text: FromText | None = None
    """Speed from texts to answers, the tokenizer included; null unless the recipe asks for it."""
    serving: Serving | None = None
    """Memory and load time of a process that only serves the model; null for one without ONNX."""
    conditions: Conditions | None = None
    """The machine while the row was timed, and the time that it took."""
    runtimes: dict[str, InRuntime] = Field(default_factory=dict)
    """Speed in further runtimes, by the runtime's name."""
    generation: Generation | None = None
    """Speed of generating text; null for other tasks, or if the model can't be run so."""
    delta: Delta | None = None
    """Differences from the reference; null for rows before it."""
    vs_reference: Difference | None = None
    """Quality against the reference; null for the reference itself, for rows before it, and for a
    metric that compares with the reference anyway."""
    vs_previous: Difference | None = None
    """Quality against the previous row; null for the first row."""
    calibration_error: float | None = None
    """Expected calibration error: by how much the probability of the predicted class differs from
    the fraction of correct predictions; null for models that don't predict one class a sample."""
    recall: dict[str, float] = Field(default_factory=dict)
    """Fraction of each class's samples (or tokens) for which the model predicts the class, by the
    class's name; of the classes that occur among the labels."""
    seconds: float | None = None
    """Time that the stage took."""
    peak_memory_bytes: Count | None = None
    """Peak memory of the process while the stage worked."""
    energy_kwh: float | None = None
    """Energy of the CPU package while the stage worked; null where the machine doesn't show it."""
    left_aside: bool = False
    """Whether a gate rolled the run back to the model before this one, from which it went on."""
    notes: list[str] = Field(default_factory=list)
    """Notes on what was chosen, skipped or refused, and why."""
    candidates: list[Evaluation] = Field(default_factory=list)
    """All models that the stage measured, if it chose among several."""
    widths: dict[str, Count] = Field(default_factory=dict)
    """Number of outputs of each layer with weights, by its name; empty for a model that is an ONNX
    file alone."""
    training: Training | None = None
    """The course of the stage's training."""
    sensitivity: Sensitivity | None = None
    """The sensitivity that the stage measured."""
    noise: dict[str, Figure] = Field(default_factory=dict)
    """Signal-to-quantization-noise ratio of the answers in decibels, by the node that alone was
    quantized; null where nothing differs. Only of stages that ranked nodes so."""


class Attribution(Part):
    """What one stage cost, and its share of what the run gained over its reference.

    Shares are of logarithms, so that those of one column add up to 1: a stage that makes a model
    twice as fast has half of a fourfold speedup. A column without a gain has no shares.
    """

    index: int
    """Index of the row."""
    name: str
    """Name of the stage."""
    seconds: float | None = None
    """Time that the stage took."""
    device: str | None = None
    """Device of the run."""
    energy_kwh: float | None = None
    """Energy of the CPU package in that time; null where the machine doesn't show it."""
    quality: float | None = None
    """Change of the metric, absolute."""
    params: float | None = None
    """Share of the fewer parameters; negative if there are more."""
    size: float | None = None
    """Share of the fewer bytes; negative if there are more."""
    speedup: dict[str, float] = Field(default_factory=dict)
    """Share of the speedup, by batch size; negative if it became slower."""


class GateResult(Part):
    """The result of one gate of the recipe, for one stage's model or the final one."""

    name: str
    """Name of the gate, such as accuracy_drop, or of the figure that it limits."""
    limit: float
    """The limit that the recipe sets."""
    value: float
    """The measured value."""
    passed: bool
    """Whether the value keeps to the limit."""
    row: str | None = None
    """Name of the row that was judged; null for gates that judge several, or the last one."""
    bound: Literal["at_least", "at_most"] | None = None
    """Which side of the limit the value must be on; null where the gate's name says it."""
    then: Literal["stop", "roll_back", "warn"] = "stop"
    """What follows if it fails: the run ends or fails, or the stage's model is left aside and the
    run goes on from the model before it, or the failure stands in the report alone."""
    ci95: Interval | None = None
    """The value's interval, if its end was judged and not the value."""


class Report(Part):
    """The ledger of a run: one row for every stage, and whether the gates hold."""

    schema_version: Literal[1] = Field(default=1, alias="schema")
    """Version of this format."""
    name: str
    """Name of the recipe."""
    status: Status
    """How the run ended, or that it hasn't yet."""
    error: str | None = None
    """The error that ended a failed run, as a sentence; null for any other run."""
    version: str = Field(default_factory=lambda: version("compress"))
    """Version of compress."""
    recipe_hash: str = ""
    """SHA-256 of the resolved recipe, in hex."""
    recipe: dict[str, Any] = Field(default_factory=dict)
    """The resolved recipe, with every default filled in."""
    test_data: str = ""
    """Digest of the test samples; runs with the same one can be compared sample by sample."""
    environment: dict[str, Any] = Field(default_factory=dict)
    """CPU, its flags, threads and versions of libraries."""
    reference: int = 0
    """Index of the row that deltas and speedups refer to."""
    stages: list[Row] = Field(default_factory=list)
    """One row for each stage, in the order in which they ran."""
    baseline: Baseline | None = None
    """The rival that was trained on the same data; null if there is none."""
    attribution: list[Attribution] = Field(default_factory=list)
    """What each stage after the reference cost and gained."""
    gates: list[GateResult] = Field(default_factory=list)
    """Results of the gates that were judged so far."""
    notes: list[str] = Field(default_factory=list)
    """Notes on the run as a whole."""
    confusion: Confusion | None = None
    """Answers of reference and final model by class; null for tasks without single classes."""
    disagreements: Disagreements | None = None
    """Samples on which reference and final model differ; null if none are kept."""
    changed_keys: list[str] = Field(default_factory=list)
    """Dotted keys of the recipe that aren't at their default; a stage stands there by its name."""

    @property
    def final(self) -> Row:
        """The row of the model that the run made: the last one that no gate left aside.

        Raises
        ------
        IndexError : there is no row yet.
        """
        return [row for row in self.stages if not row.left_aside][-1]

    def _repr_html_(self) -> str:
        """Return what a notebook shows: how the run ended, and a row for each model."""
        from compress.report.frame import glance

        ended = f"{self.name}: {self.status.replace('_', ' ')}"
        table = glance([row.model_dump() for row in self.stages])
        shown: str = table.to_html(index=False, na_rep="", float_format="{:.4g}".format)
        lines = [ended] if self.error is None else [ended, self.error]
        return "".join(f"<p>{escape(line)}</p>" for line in lines) + shown

    def to_json(self) -> str:
        """Return the text of report.json."""
        return self.model_dump_json(by_alias=True, indent=2) + "\n"

    def to_frame(self) -> pandas.DataFrame:
        """Return a table of pandas, one row for each model, in the order of the stages.

        Intervals are two columns, such as "quality_low" and "quality_high"; latency and speedup
        have the batch size in their names: "p50_ms_1", "speedup_32". `polars.from_pandas` takes it.
        """
        from compress.report.frame import frame

        return frame([row.model_dump() for row in self.stages])


def stage_folder(index: int, name: str) -> str:
    """Return the name of a stage's folder, such as "02-prune"."""
    return f"{index:02d}-{name}"


def printable(report: Report) -> Report:
    """Return the report without text that steers a terminal; its names come from strangers."""
    return Report.model_validate(_shown(report.model_dump(by_alias=True)))


def _shown(value: Any) -> Any:
    if isinstance(value, str):
        return shown(value)
    if isinstance(value, dict):
        return {_shown(key): _shown(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_shown(item) for item in value]
    return value


def write_report(report: Report, directory: Path) -> Path:
    """Write report.json into a folder, whole or not at all; return its path."""
    path = directory / FILE_NAME
    write_text(path, report.to_json())
    return path


def read_report(path: str | os.PathLike[str]) -> Report:
    """Read a report.

    Parameters
    ----------
    path : a report.json, or the folder of a run.

    Raises
    ------
    InputError : there is none, or it isn't in this format.
    """
    file = Path(path)
    shown = clipped(str(path))
    try:
        file = file / FILE_NAME if file.is_dir() else file
        if not file.is_file():
            raise InputError(f"there is no report at {shown}.")
        if (size := file.stat().st_size) > MOST_BYTES:
            raise InputError(f"{shown} has {size:,} bytes; a report has at most {MOST_BYTES:,}.")
        return Report.model_validate_json(file.read_text(encoding="utf-8"))
    except ValidationError as error:
        first = error.errors(include_url=False)[0]
        where = clipped(".".join(str(key) for key in first["loc"])) or "the file"
        got = f" Got {clipped(repr(first['input']))}." if where == "schema" else ""
        raise InputError(
            f"{shown} isn't a report of this version: {where}: {first['msg']}.{got}"
        ) from error
    except (OSError, ValueError) as error:
        raise InputError(f"{shown} can't be read: {clipped(str(error))}.") from error


def report_schema() -> dict[str, Any]:
    """Return the JSON schema of report.json, as shipped in report.schema.json."""
    return {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        **Report.model_json_schema(by_alias=True, mode="serialization"),
    }


def report_schema_text() -> str:
    """Return the text of report.schema.json."""
    return json.dumps(report_schema(), indent=2) + "\n"
