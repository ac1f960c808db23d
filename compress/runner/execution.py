"""One run: its stages are applied or taken from disk one by one, and each is measured."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field, replace
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pydantic import ValidationError

from compress.core.context import Context
from compress.core.files.storage import storing
from compress.core.foreign.boundary import foreign_within
from compress.core.foreign.sources import source_digest
from compress.data.fingerprint import digest_file, digest_files
from compress.errors import InputError, StageError
from compress.measurement.energy import Energy, unreadable
from compress.measurement.environment import environment
from compress.measurement.memory import PeakMemory
from compress.measurement.paired.kept import from_file
from compress.measurement.runtimes.names import ONNXRUNTIME
from compress.models.weights.digests import weights_digest
from compress.onnx_graph.files import external_files
from compress.report.attribution import attribute
from compress.report.candidates import read_candidates
from compress.report.document import ANSWERS, GateResult, Report, Row, Status
from compress.runner.baseline import FoundBaseline, against, find_baseline
from compress.runner.dry_run import dry_run
from compress.runner.folder.store import load_artifact, save_artifact
from compress.runner.folder.workdir import Slot, Workdir
from compress.runner.gates.judge import judge
from compress.runner.gates.limits import judge_limits, said
from compress.runner.inputs import Inputs, seed_everything
from compress.runner.keys import code_files, digest, first_key, next_key, sources
from compress.runner.leader import Finished, Leader, Order
from compress.runner.ledger import MeasuredRow, measure_row
from compress.runner.origin import Origin
from compress.runner.publish import publish
from compress.runner.reporting import trackers
from compress.runner.reporting.answers import changed_answers
from compress.runner.reporting.changed_keys import changed_keys
from compress.runner.reporting.insides import with_insides
from compress.runner.reporting.write import end_of, write_broken, write_reports
from compress.runner.row.models import ComparedModel, MeasuredModel
from compress.stages.registry import stage_name
from compress.tasks.registry import source_module
from compress.tasks.spec import TaskSpec
from compress.training.distributed.processes import Processes

if TYPE_CHECKING:
    from compress.core.artifact import Artifact
    from compress.core.progress import Progress
    from compress.recipe.schema import Recipe
    from compress.stages.contract import Stage

_FIGURES = 3
"""Raised when a row gets figures that an earlier version didn't measure; it is then measured again.
"""


@dataclass(frozen=True)
class Settings:
    """The settings of a run besides its recipe.

    Attributes
    ----------
    device, threads : device and number of threads of training.
    progress : shows the progress.
    leader : directs the other processes.
    python : whether a function that a checkpoint names may be called to build its module.
    """

    device: str
    threads: int
    progress: Progress
    leader: Leader = field(default_factory=lambda: Leader(Processes()))
    python: bool = True


@dataclass
class _State:
    """The state of a run: the latest artifact, and the models that the next is compared with."""

    artifact: Artifact
    key: str
    reference: Artifact
    reference_key: str
    reference_index: int = 0
    original: ComparedModel | None = None
    previous: ComparedModel | None = None
    rows: list[Row] = field(default_factory=list)
    finished: list[Finished] = field(default_factory=list)
    reference_place: int = 0
    gates: list[GateResult] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)
    baseline: FoundBaseline = field(default_factory=lambda: FoundBaseline(None))


class Execution:
    """A run of one recipe in one folder, which the caller keeps locked.

    Parameters
    ----------
    recipe : the checked recipe.
    inputs : the loaded model and data.
    workdir : the run's folder, open.
    settings : the run's other settings.
    """

    def __init__(
        self, recipe: Recipe, inputs: Inputs, workdir: Workdir, settings: Settings
    ) -> None:
        self.recipe = recipe
        self.inputs = inputs
        self.workdir = workdir
        self.settings = settings
        original = inputs.original
        self._origin = Origin(weights=_weights(recipe, original), data=inputs.data.fingerprint)
        decisive: dict[str, Any] = {
            "source": original.source.to_dict() if original.source else None,
            "weights": self._origin.weights,
            "labels": list(original.labels),
            "preprocessor": original.require_preprocessor().fingerprint,
            "data": self._origin.data,
            "task": recipe.task_name,
            "pooling": [inputs.task.pooling, inputs.task.normalize],
            "seed": recipe.seed,
            "device": settings.device,
            "threads": settings.threads,
            "sources": sources(recipe.model, recipe.data),
        }
        if isinstance(recipe.task, TaskSpec):
            decisive["task_arguments"] = recipe.task_arguments
        module = source_module(inputs.task)
        if module is not None:
            decisive["task_source"] = source_digest(module)
        if original.onnx is not None:
            decisive["file"] = digest_files([original.onnx, *external_files(original.onnx)])
        if settings.leader.processes.count > 1:
            decisive["processes"] = settings.leader.processes.count
        key = first_key(decisive)
        self._state = _State(artifact=original, key=key, reference=original, reference_key=key)
        self._state.notes += filter(None, [unreadable()])
        self._at_work: Path | None = None
        self._log: Callable[[Row], None] = lambda _: None

    def go(self) -> Report:
        """Run every stage; the report has status "passed" or "gate_failed".

        Raises
        ------
        CompressError : a stage failed. report.json then holds the rows before it.
        """
        stages, first = self.recipe.build_stages(), Slot(0, self.recipe.first_row)
        self.workdir.trim(len(stages) + 1)
        try:
            # From here on an earlier run's report would describe files that are gone.
            write_reports(self._report("running"), self.workdir)
            with foreign_within(code_files(self.recipe)), self._tracked():
                with storing(f"{first.folder}: "):
                    self._step(first, None)
                    self._find_baseline(first)
                self._dry_run(stages)
                stopped = self._run(stages)
            with storing("publishing: "):
                return self._finish(stopped=stopped)
        except BaseException as error:
            report = self._report(*end_of(error))
            write_broken(report, self.workdir, error=error, unfinished=self._at_work)
            raise

    def _run(self, stages: Sequence[tuple[str, Stage]]) -> bool:
        """Apply the stages one after another; return whether a gate stopped them."""
        for index, (name, stage) in enumerate(stages, start=1):
            slot, before = Slot(index, name), replace(self._state)
            with storing(f"{slot.folder}: "):
                self._step(slot, stage)
                found = judge_limits(self.recipe.gates.limits, self._state.rows[-1])
                self._state.gates += found
                failed = {result.then: result for result in found if not result.passed}
                if "stop" in failed:
                    left = ", ".join(other for other, _ in stages[index:]) or "none"
                    self._state.notes.append(
                        f"stopped after '{name}': {said(failed['stop'])}; stages that didn't run: "
                        f"{left}"
                    )
                    return True
                if "roll_back" in failed:
                    self._roll_back(before, failed["roll_back"])
        return False

    def _roll_back(self, before: _State, failed: GateResult) -> None:
        """Go on from the model before the last stage; its row and its files stay."""
        state, row = self._state, self._state.rows[-1]
        if before.previous is None:
            raise TypeError("there is no model before the first row.")
        note = f"left aside: {said(failed)}; the run goes on from '{before.previous.row.name}'"
        state.rows[-1] = row.model_copy(update={"left_aside": True, "notes": [*row.notes, note]})
        state.artifact, state.key, state.previous = before.artifact, before.key, before.previous
        state.finished.pop()
        self.settings.progress.say(f"'{row.name}' is {note}")
        write_reports(self._report("running"), self.workdir)

    def _find_baseline(self, first: Slot) -> None:
        context = self._context(self.workdir.folder(first))
        self._state.baseline = find_baseline(
            self._state.artifact, context, self.recipe.measure, self.workdir.rival
        )
        write_reports(self._report("running"), self.workdir)

    def _dry_run(self, stages: Sequence[tuple[str, Stage]]) -> None:
        key, unfinished = self._state.key, []
        for index, (name, stage) in enumerate(stages, start=1):
            key = next_key(key, stage)
            if self.workdir.find(Slot(index, name), key) is None:
                unfinished.append(index - 1)
        with self.workdir.scratch() as folder:
            dry_run(
                stages,
                unfinished=unfinished,
                artifact=self._state.artifact,
                context=replace(self._context(folder), shared=None),
            )

    def _step(self, slot: Slot, stage: Stage | None) -> None:
        state, say = self._state, self.settings.progress.say
        key = state.key if stage is None else next_key(state.key, stage)
        record = self.workdir.find(slot, key)
        if record is None:
            say(f"{slot.folder}")
            record = self._compute(slot, stage, key)
        else:
            say(f"{slot.folder}: finished earlier, taken from disk")
        folder = self.workdir.folder(slot)
        state.finished.append((record, folder.resolve()))
        artifact = load_artifact(
            record,
            folder,
            previous=state.artifact,
            task=self.inputs.task,
            spec=self.recipe.data,
            python=self.settings.python,
        )
        becomes_reference = stage is None or stage.makes_reference
        if becomes_reference:
            state.reference, state.reference_key = artifact, key
            state.reference_index, state.original = slot.index, None
            state.reference_place = len(state.finished) - 1
            state.rows = [
                row.model_copy(update={"delta": None, "vs_reference": None}) for row in state.rows
            ]
        previous_key, state.artifact, state.key = state.key, artifact, key
        subject = MeasuredModel(
            index=slot.index,
            name=slot.name,
            use=record["use"],
            artifact=artifact,
            onnx=None if record["onnx"] is None else folder / record["onnx"],
            folder=folder,
            seconds=record["seconds"],
            peak_memory_bytes=record["peak_memory_bytes"],
            energy_kwh=record.get("energy_kwh"),
        )
        row, answers = self._row(slot, subject, previous_key)
        row = with_insides(row, subject)
        state.rows.append(row)
        state.previous = ComparedModel(artifact, subject.onnx, row, answers)
        if becomes_reference:
            state.original = state.previous
        self._log(row)
        write_reports(self._report("running"), self.workdir)

    @contextmanager
    def _tracked(self) -> Iterator[None]:
        """Log every row to the trackers that the recipe names while the context lasts."""
        with trackers.tracked_rows(
            self.recipe.report.trackers,
            name=self.recipe.name,
            directory=self.workdir.root / trackers.FOLDER,
            recipe=self.recipe.to_dict(),
        ) as log:
            self._log = log
            yield

    def _compute(self, slot: Slot, stage: Stage | None, key: str) -> dict[str, Any]:
        given = self._state.artifact
        self._at_work = self.workdir.begin(slot)
        context = self._context(self._at_work)
        seed_everything(self.recipe.seed)
        start = time.perf_counter()
        with PeakMemory() as memory, Energy() as energy:
            made = given if stage is None else self._apply(stage, slot, given, context)
        seconds = time.perf_counter() - start
        if stage is not None and made.format != stage.accepts[given.format]:
            raise StageError(
                f"stage {slot.name!r} made {made.format}, "
                f"but declares {stage.accepts[given.format]} for {given.format}."
            )
        record = {
            "key": key,
            "use": None if stage is None else stage_name(stage),
            "seconds": 0.0 if stage is None else seconds,
            "peak_memory_bytes": memory.bytes,
            "energy_kwh": energy.kwh,
            **save_artifact(made, context, previous=None if stage is None else given),
        }
        self.workdir.commit(slot, record)
        self._at_work = None
        return record

    def _apply(self, stage: Stage, slot: Slot, given: Artifact, context: Context) -> Artifact:
        """Apply a stage, together with the other processes if the stage trains."""
        leader, state = self.settings.leader, self._state
        if not stage.trains or leader.processes.count == 1:
            return stage.apply(given, context)
        order = Order(
            stage=slot.index - 1,
            finished=tuple(state.finished),
            reference=state.reference_place,
            shared=None if context.shared is None else context.shared.resolve(),
        )
        with leader.together(order):
            return stage.apply(given, context)

    def _row(self, slot: Slot, subject: MeasuredModel, previous_key: str) -> MeasuredRow:
        state = self._state
        decisive: dict[str, Any] = {
            "this": state.key,
            "previous": previous_key,
            "reference": state.reference_key,
            "measure": self.recipe.measure.model_dump(mode="json", exclude={"baseline"}),
            "figures": _FIGURES,
        }
        named = sources(self.recipe.measure)
        if named:
            decisive["sources"] = named
        others = {
            name: version(name) for name in self.recipe.measure.runtimes if name != ONNXRUNTIME
        }
        if others:
            decisive["runtimes"] = others
        key = digest(decisive)
        saved = self.workdir.find_row(slot, key)
        if saved is not None:
            with suppress(ValidationError, InputError):  # of a version that had other columns
                kept = from_file(self.workdir.folder(slot) / ANSWERS)
                return MeasuredRow(Row.model_validate(saved), kept)
        row, answers = measure_row(
            subject,
            context=self._context(self.workdir.folder(slot)),
            spec=self.recipe.measure,
            original=state.original,
            previous=state.previous,
        )
        row = row.model_copy(update={"candidates": read_candidates(self.workdir.folder(slot))})
        self.workdir.save_row(slot, key, row.model_dump(mode="json"), answers=answers.to_bytes())
        return MeasuredRow(row, answers)

    def _context(self, directory: Path) -> Context:
        return Context(
            reference=replace(self._state.reference, notes=()),
            task=self.inputs.task,
            data=self.inputs.data,
            directory=directory,
            shared=self.workdir.shared,
            seed=self.recipe.seed,
            device=self.settings.device,
            threads=self.settings.threads,
            progress=self.settings.progress,
        )

    def _finish(self, *, stopped: bool) -> Report:
        state = self._state
        if not stopped and state.previous is not None:
            final, limits = state.previous.row, self.recipe.gates.limits
            state.gates += judge(
                self.recipe.gates,
                reference=state.rows[state.reference_index],
                final=final,
                rows=[row for row in state.rows[state.reference_index + 1 :] if not row.left_aside],
            )
            state.gates += judge_limits(limits, final, whole_run=True)
        passed = all(gate.passed or gate.then != "stop" for gate in state.gates)
        report = self._report("passed" if passed else "gate_failed")
        report = self._with_answers(report)
        if state.artifact.bundle is not None:
            publish(
                state.artifact.bundle,
                self.workdir,
                self.recipe,
                report=report,
                origin=self._origin,
            )
        return write_reports(report, self.workdir)

    def _with_answers(self, report: Report) -> Report:
        """Return the report with the answers of reference and final model, where they differ."""
        reference, final = self._state.original, self._state.previous
        if reference is None or final is None or reference.row.index == final.row.index:
            return report
        found = changed_answers(
            reference.answers,
            final.answers,
            context=self._context(self.workdir.root),
            samples=self.recipe.report.samples,
        )
        return report.model_copy(update=found)

    def _report(self, status: Status, error: str | None = None) -> Report:
        """Return a report of the rows so far, also while the reference's own row is missing."""
        state = self._state
        notes = [*state.notes, *state.baseline.notes]
        reference = state.reference_index if state.reference_index < len(state.rows) else 0
        if reference:
            name = state.rows[reference].name
            notes.append(
                f"'original' in deltas, speedups and gates is the model that '{name}' made, not "
                "the one that the recipe began with"
            )
        ended = status in ("passed", "gate_failed")
        if state.artifact.format.why_last and ended and state.previous is not None:
            last = Slot(state.previous.row.index, state.previous.row.name)
            notes.append(
                f"the model is the checkpoint in {self.workdir.folder(last)}; in Python: "
                "module, source = compress.models.checkpoint.load_checkpoint(Path(…))"
            )
        return Report(
            name=self.recipe.name,
            status=status,
            error=error,
            environment=environment(threads=self.settings.threads),
            reference=reference,
            stages=state.rows,
            attribution=attribute(
                [row for row in state.rows[reference:] if not row.left_aside],
                device=self.settings.device,
            ),
            baseline=against(state.baseline.measured, state.original),
            gates=list(state.gates),
            notes=notes,
            test_data=self.inputs.data.identity("test"),
            recipe_hash=self.recipe.hash,
            recipe=self.recipe.to_dict(),
            changed_keys=changed_keys(self.recipe),
        )


def _weights(recipe: Recipe, original: Artifact) -> str:
    """Return the digest of the weights that a run begins with, of an ONNX file the file's own."""
    given = recipe.model.onnx
    if given is None:
        return weights_digest(original.require_module())
    beside = external_files(given)
    return digest_files([given, *beside]) if beside else digest_file(given)
