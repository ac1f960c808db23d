"""The plan of a recipe in lines: the output of `compress check`."""

from __future__ import annotations

from pathlib import Path

from compress.core.options import Options
from compress.data.spec import SOURCES
from compress.errors import RecipeError, StageError
from compress.measurement.runtimes.names import ONNXRUNTIME, WORDS
from compress.measurement.spec import OwnMetric
from compress.recipe.order import chain, first_format
from compress.recipe.schema import Recipe
from compress.tasks.registry import outline
from compress.training.options import TrainingOptions


def describe(recipe: Recipe, *, output: Path | None = None) -> list[str]:
    """Return the plan of a recipe, line by line.

    Parameters
    ----------
    output : the folder of the results; None for exports/<name>.
    """
    task = outline(recipe.task_name, recipe.task_arguments)
    measure = recipe.measure
    labelled = recipe.data.columns.label is not None
    default = task.default_metric(labelled=labelled) if task.metrics else "the task's first metric"
    given = measure.metric
    metric = given.name if isinstance(given, OwnMetric) else given or default
    batches = ", ".join(str(size) for size in measure.batch_sizes)
    threads = "1 thread" if measure.threads == 1 else f"{measure.threads} threads"
    runtimes = [WORDS[name] for name in measure.runtimes]
    where = f", in {' and '.join(runtimes)}" if len(runtimes) > 1 else ""
    head = {
        "model": _source(recipe.model, ("transformers", "python", "onnx")),
        "task": recipe.task_name,
        "data": _data(recipe),
        "measure": f"{metric}; latency at batch {batches}{_generation(recipe)}, {threads}{where}",
        "gates": _gates(recipe),
        "seed": str(recipe.seed),
        "results": str(recipe.output_folder(output)),
    }
    lines = [recipe.name, *(f"  {key:<8} {value}" for key, value in head.items())]
    lines += ["stages", *_stages(recipe)]
    lines += _untimed(recipe)
    if not any(step.use == "export" for step in recipe.stages):
        lines.append(
            "note: there is no 'export' stage: every stage's model.onnx is kept, "
            "but no bundle is made."
        )
    return [*lines, *_small_batches(recipe)]


def _generation(recipe: Recipe) -> str:
    """Return how generation is timed, if the recipe says so."""
    spec = recipe.measure.generation
    if spec is None:
        return ""
    given = {"a prompt": spec.prompt, "an answer": spec.answer}
    lengths = [f"{what} of {length} tokens" for what, length in given.items() if length is not None]
    return f", generation with {' and '.join(lengths)}" if lengths else ""


def stage_warnings(recipe: Recipe) -> dict[str, list[str]]:
    """Return what is known of each stage's result before any work, by the stage's name.

    Raises
    ------
    RecipeError : a stage can't be given the recipe's model, which is what it is given.
    """
    found: dict[str, list[str]] = {}
    changed = replaced = False
    for step in recipe.stages:
        stage = step.stage
        try:
            lines = stage.warnings(task=recipe.task_name, model=recipe.model, data=recipe.data)
        except StageError as error:
            if not replaced:
                raise RecipeError([f"stage {step.name!r}: {error}"]) from error
            lines = []
        replaced = replaced or stage.replaces_model
        if lines and changed:
            lines = [*lines, "as if this stage were given the recipe's model as it is"]
        if lines:
            found[step.name] = lines
        changed = changed or not stage.makes_reference
    return found


def _untimed(recipe: Recipe) -> list[str]:
    """Return notes on stages that choose by the speed in a runtime that the report doesn't show."""
    return [
        f"note: '{step.name}' chooses by the speed in {WORDS[target]}; the report shows that with "
        f"'measure: {{runtimes: [onnxruntime, {target}]}}'."
        for step in recipe.stages
        if (target := getattr(step.stage, "target_runtime", ONNXRUNTIME))
        not in recipe.measure.runtimes
    ]


def _small_batches(recipe: Recipe) -> list[str]:
    """Return notes on trainings whose batches are larger than the train split, if that is known."""
    if recipe.data.files is None:
        return []
    from compress.data.known import rows_of  # numpy comes with it

    rows = rows_of(recipe.data, "train")
    if rows is None:
        return []
    rows = min(rows, recipe.data.limit.get("train", rows))
    sizes = {
        step.name: value.batch_size
        for step in recipe.stages
        for _, value in step.stage
        if isinstance(value, TrainingOptions)
    }
    return [
        f"note: train has {rows:,} samples at most, fewer than a batch of {size:,} of '{name}': "
        "each epoch is a single step."
        for name, size in sizes.items()
        if rows < size
    ]


def _source(spec: Options, kinds: tuple[str, ...]) -> str:
    named = next((kind for kind in kinds if getattr(spec, kind) is not None), kinds[0])
    extras = {
        key: value
        for key, value in spec.model_dump(mode="json", exclude_defaults=True).items()
        if key in ("weights", "revision", "config", "folder", "preprocessing")
    }
    more = "".join(f", {key} {value}" for key, value in extras.items())
    return f"{named} {getattr(spec, named)}{more}"


def _data(recipe: Recipe) -> str:
    spec = recipe.data
    source = _source(spec, SOURCES)
    splits = [f"{split} {_paths(paths)}" for split, paths in (spec.files or {}).items()]
    carved = [
        f"{split} carved from train ({fraction:g})"
        for split, fraction in (
            ("validation", spec.validation_fraction),
            ("test", spec.test_fraction),
        )
        if spec.files and split not in spec.files
    ]
    limits = [f"{split} limited to {limit}" for split, limit in spec.limit.items()]
    return "; ".join([source, *splits, *carved, *limits])


def _paths(paths: Path | list[Path]) -> str:
    found = paths if isinstance(paths, list) else [paths]
    return str(found[0]) if len(found) == 1 else f"{len(found)} files"


def _gates(recipe: Recipe) -> str:
    gates = recipe.gates
    said = []
    if gates.accuracy_drop is not None:
        said.append(f"accuracy drop <= {gates.accuracy_drop:g}")
    if gates.perplexity_ratio is not None:
        said.append(f"perplexity ratio <= {gates.perplexity_ratio:g}")
    if gates.size_ratio is not None:
        said.append(f"size ratio >= {gates.size_ratio:g}")
    if gates.speedup is not None:
        first = recipe.measure.batch_sizes[0]
        said.append(f"speedup >= {gates.speedup:g} at batch {first}")
    if gates.speedup_vs_previous is not None:
        said.append(f"each row's speedup over the previous one >= {gates.speedup_vs_previous:g}")
    said += [limit.words() for limit in gates.limits]
    return ", ".join(said) or "none"


def _stages(recipe: Recipe) -> list[str]:
    used = [(step.use, type(step.stage)) for step in recipe.stages]
    links, _ = chain(used, first_format(recipe.model))
    rows = [
        (
            str(index),
            step.name,
            "" if step.use == step.name else step.use,
            f"{link.given.value} -> {link.made.value}",
            step.stage.summarize(),
        )
        for index, (step, link) in enumerate(zip(recipe.stages, links, strict=True), start=1)
    ]
    widths = [max(len(row[column]) for row in rows) for column in range(4)]
    known = stage_warnings(recipe)
    lines = []
    for row in rows:
        cells = [f"{cell:<{width}}" for cell, width in zip(row, widths, strict=False) if width]
        lines.append("  " + "  ".join([*cells, row[4]]))
        lines += [f"     {line}" for line in known.get(row[1], [])]
    return lines
