"""Checks a recipe's student and counts its parameters, with torch only if files don't tell."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any, NamedTuple

from compress.core.context import Task
from compress.core.files.paths import home_expanded
from compress.data.spec import DataSpec
from compress.distillation.students.layer_choice import chosen_layers
from compress.distillation.students.spec import Ngrams, StudentSpec
from compress.distillation.students.static_spec import StaticSpec
from compress.distillation.students.width_sizes import (
    narrowed,
    narrowed_shapes,
    says_sizes,
    size_keys,
)
from compress.errors import InputError, ModelError, StageError, expected
from compress.models.folder.config_file import config_problem, read_config
from compress.models.folder.header import (
    LAYER_COUNTS,
    Shapes,
    count,
    known_config,
    layer_count,
    stored_config,
    stored_shapes,
    without_layers,
)
from compress.models.spec import ModelSpec, is_folder
from compress.models.transformers.architectures import kind_problem
from compress.models.transformers.counted import parameters_of
from compress.models.transformers.heads import HEAD_KEYS, head_problem, outputs_of
from compress.models.transformers.hub import cached_folder
from compress.models.transformers.positions import longest_text
from compress.tasks.registry import outline

SMALLEST, LARGEST = 0.10, 0.70
"""Range of the student's share of the teacher's parameters; the check warns outside of it."""


class _Counted(NamedTuple):
    student: int
    teacher: int


def student_lines(spec: StudentSpec | None, *, model: ModelSpec, task: str) -> list[str]:
    """A line with the number of parameters that a student will have, and its teacher's.

    The teacher, and the model that `layers`, `width` and `self` start from, is taken to be the
    recipe's model: the changes that other stages make to it can't be known.

    Parameters
    ----------
    spec : the student; None if it is the model given to the stage, of which nothing is known.
    task : the recipe's task.

    Returns
    -------
    One line or none. If the model or a config can't be read, the line says so. A function that a
    recipe names isn't called.

    Raises
    ------
    StageError : the recipe's model has no such student, such as one of more layers.
    """
    if spec is None:
        return []
    named = spec.python or model.python
    if named is None and spec.static is not None and _static(spec, model, task) is None:
        return ["student: the run counts its parameters; the model's config doesn't tell them"]
    if spec.ngrams is not None:
        return _of_ngrams(spec.ngrams, model, task)
    if named is not None:
        return [f"student: the run counts its parameters; {named} isn't called before"]
    try:
        counted = (
            _static(spec, model, task)
            or _from_headers(spec, _on_disk(model), task)
            or _from_config(spec, model, outline(task))
            or _from_skeletons(spec, model, outline(task))
        )
    except InputError as error:
        return [f"student: its parameters can't be counted before the run: {error}"]
    return [f"student: {size_line(counted.student, teacher=counted.teacher)}"]


def _of_ngrams(spec: Ngrams, model: ModelSpec, task: str) -> list[str]:
    on_disk = _on_disk(model)
    config, shapes = known_config(on_disk), stored_shapes(on_disk, task=task)
    vocabulary, classes = config.get("vocab_size"), outputs_of(config)
    if shapes is None or classes is None or not isinstance(vocabulary, int):
        return ["student: the run counts its parameters"]
    own = spec.sizes(vocabulary=spec.vocabulary or vocabulary, classes=classes).parameters
    return [f"student: {size_line(own, teacher=count(shapes))}"]


def size_line(student: int, *, teacher: int) -> str:
    """Parameters of a student compared with its teacher's, with a warning if that is unusual.

    >>> size_line(300, teacher=1000)
    "300 parameters, 30.0% of the teacher's 1,000"
    """
    share = student / teacher
    line = f"{student:,} parameters, {share:.1%} of the teacher's {teacher:,}"
    if share > LARGEST:
        return f"{line}. Warning: above {LARGEST:.0%}, little is saved."
    if share < SMALLEST:
        return f"{line}. Warning: below {SMALLEST:.0%}, much of its quality may be lost."
    return line


def student_problems(
    spec: StudentSpec | None, *, model: ModelSpec, task: str, max_length: int | None = None
) -> list[tuple[str, str]]:
    """Problems of a student as pairs (dotted key in the stage, sentence).

    Parameters
    ----------
    model : the recipe's model.
    max_length : largest number of tokens of a text, if the recipe says it.
    """
    if spec is None:
        return []
    if spec.ngrams is not None:
        return _ngrams_problems(model, outline(task))
    unbuildable = _unbuildable(spec)
    if unbuildable is not None:
        return [("student.transformers", unbuildable)]
    if spec.static is not None:
        return list(_of_static(spec.static, model, task))
    if model.python is None:
        return [
            *_beside_teacher(spec, known_config(model)),
            *_beside_task(spec, model, task, max_length),
        ]
    kinds = {
        "layers": spec.layers is not None,
        "width": spec.width is not None,
        "transformers": isinstance(spec.transformers, dict),
    }
    return [
        (f"student.{kind}", "needs a 'transformers' model; the recipe's is 'python'.")
        for kind, given in kinds.items()
        if given
    ]


def _of_static(spec: StaticSpec, model: ModelSpec, task: str) -> Iterator[tuple[str, str]]:
    """Yield problems of a static student: another task, or more dimensions than the teacher has."""
    if outline(task).target != "none":
        yield "student.static", f"needs a task whose answer is an embedding. Got {task}."
    widest = known_config(model).get("hidden_size")
    if spec.dimensions is not None and isinstance(widest, int) and spec.dimensions > widest:
        allowed = f"at most the teacher's {widest}"
        yield "student.static.dimensions", expected("dimensions", allowed, spec.dimensions)


def _ngrams_problems(model: ModelSpec, task: Task) -> list[tuple[str, str]]:
    """Return why an n-gram classifier doesn't fit a task or a teacher."""
    if task.modality != "text" or task.target not in ("class", "class-set"):
        allowed = "text-classification or multi-label-text-classification"
        return [("student.ngrams", f"needs the task {allowed}. Got {task.name}.")]
    if model.transformers is None and model.config is None:
        sentence = "needs a model of transformers, whose config has the size of the vocabulary."
        return [("student.ngrams", sentence)]
    return []


def _beside_teacher(spec: StudentSpec, config: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    """Yield problems of layers and widths that the teacher doesn't have."""
    total = layer_count(config)
    try:
        if spec.layers is not None and total is not None:
            chosen_layers(spec.layers, total=total, which=spec.which)
    except StageError as error:
        yield "student.layers", str(error)
    try:
        if spec.width is not None and config and (size_keys(config) is None or says_sizes(config)):
            narrowed(config, spec.width)
    except StageError as error:
        yield "student.width", str(error)


def _beside_task(
    spec: StudentSpec, model: ModelSpec, task: str, max_length: int | None
) -> Iterator[tuple[str, str]]:
    """Yield the problem of a student whose architecture, head or positions don't fit the task."""
    if isinstance(spec.transformers, dict):
        config = known_config(model) | spec.transformers
    elif spec.transformers is not None:
        config = stored_config(ModelSpec(transformers=spec.transformers)) or {}
        config = {key: x for key, x in config.items() if key not in HEAD_KEYS}  # the teacher's
    else:
        return
    problem = kind_problem(config, outline(task)) or head_problem(config, outline(task))
    most = longest_text(config) if outline(task).modality == "text" else None
    if problem is None and most is not None and max_length is not None and most < max_length:
        problem = f"it must have positions for at least {max_length} tokens, 'data.max_length'. "
        problem += f"Got {most}."
    if problem is not None:
        yield "student.transformers", problem


def _unbuildable(spec: StudentSpec) -> str | None:
    """The reason why a student's config can't be built or read, or None."""
    named = spec.transformers
    if isinstance(named, dict):
        wrong = config_problem(named)
        return None if wrong is None else f"'transformers': {wrong}"
    if named is None or not is_folder(named):
        return None
    try:
        read_config(home_expanded(named) / "config.json")
    except ModelError as error:
        return str(error)
    return None


def label_problems(weight: float, *, data: DataSpec) -> list[tuple[str, str]]:
    """Problems of a weight of the labels as pairs (dotted key in the stage, sentence).

    Parameters
    ----------
    weight : the weight of the labels in the loss.
    data : the recipe's data.
    """
    if weight <= 0 or data.columns.label is not None:
        return []
    sentence = f"must be 0: the data has no labels ('data.columns.label' is null). Got {weight:g}."
    return [("losses.labels.weight", sentence)]


def data_problems(spec: DataSpec | None, *, key: str) -> list[tuple[str, str]]:
    """Problems of another source of data inside a stage, under its key."""
    found = [] if spec is None else spec.check()
    return [(f"{key}.{inner}" if inner else key, problem) for inner, problem in found]


def _on_disk(model: ModelSpec) -> ModelSpec:
    """The model as a local folder if it is one of the hub's that the cache holds."""
    name = model.transformers
    if name is None or is_folder(name):
        return model
    folder = cached_folder(name, revision=model.revision)
    if folder is None:
        return model
    return model.model_copy(update={"transformers": str(folder), "revision": None})


def _static(spec: StudentSpec, model: ModelSpec, task: str) -> _Counted | None:
    """Count a table by the teacher's config; None for other students, or if it doesn't tell."""
    config = known_config(_on_disk(model))
    tokens, width = config.get("vocab_size"), config.get("hidden_size")
    if spec.static is None or not isinstance(tokens, int) or not isinstance(width, int):
        return None
    shapes = stored_shapes(_on_disk(model), task=task)
    teacher = None if shapes is None else count(shapes)
    teacher = teacher or parameters_of(config, outline(task).auto_class)
    if teacher is None:
        return None
    return _Counted(tokens * (spec.static.dimensions or width), teacher)


def _from_headers(spec: StudentSpec, model: ModelSpec, task: str) -> _Counted | None:
    shapes, config = stored_shapes(model, task=task), stored_config(model)
    if shapes is None or config is None or not (spec.keeps_weights or spec.self):
        return None
    student: Shapes | None = shapes
    if spec.layers is not None:
        student = _without_layers(shapes, spec, total=layer_count(config))
    if student is not None and spec.width is not None:
        try:
            student = narrowed_shapes(student, config=config, width=spec.width)
        except StageError:  # files may have other names than the classes; the skeleton decides
            return None
    return None if student is None else _Counted(count(student), count(shapes))


def _without_layers(shapes: Shapes, spec: StudentSpec, *, total: int | None) -> Shapes | None:
    if total is None or spec.layers is None:
        return None
    kept = chosen_layers(spec.layers, total=total, which=spec.which)
    return without_layers(shapes, kept=kept, total=total)


def _from_config(spec: StudentSpec, model: ModelSpec, task: Task) -> _Counted | None:
    """Count by the config alone, of the recipe or of the files; None if it doesn't tell."""
    config, named = known_config(_on_disk(model)), spec.transformers
    if isinstance(named, str):
        return None
    changed = dict(config) | (named or {})
    if spec.layers is not None:
        total = layer_count(config)
        if total is None:
            return None
        kept = len(chosen_layers(spec.layers, total=total, which=spec.which))
        changed |= {key: kept for key in LAYER_COUNTS if key in config}
    if spec.width is not None:
        if not says_sizes(config):
            return None
        changed |= narrowed(config, spec.width)[1]
    teacher = parameters_of(config, task.auto_class)
    student = parameters_of(changed, task.auto_class)
    return None if teacher is None or student is None else _Counted(student, teacher)


def _from_skeletons(spec: StudentSpec, model: ModelSpec, task: Task) -> _Counted:
    from compress.distillation.students.layers import keep_layers
    from compress.distillation.students.untrained import from_changes, from_config
    from compress.models.source import TransformersSource
    from compress.models.weights.skeleton import shapes_of, skeleton
    from compress.models.weights.weightless import without_weights

    module, source = skeleton(model, task=task)
    teacher = count(shapes_of(module))
    if spec.self:
        return _Counted(teacher, teacher)
    with without_weights():
        if isinstance(spec.transformers, dict):
            student = from_changes(spec.transformers, source, labels=(), seed=0).module
        elif spec.transformers is not None:
            student = from_config(
                spec.transformers, source, auto_class=task.auto_class, labels=(), seed=0
            ).module
        elif spec.layers is not None:
            student = keep_layers(module, source, layers=spec.layers, which=spec.which).module
        else:
            student = module
    shapes = shapes_of(student)
    if spec.width is not None:
        config = source.config if isinstance(source, TransformersSource) else {}
        shapes = narrowed_shapes(shapes, config=config, width=spec.width)
    return _Counted(count(shapes), teacher)
