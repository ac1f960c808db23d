"""Takes a trained model through distillation, pruning, INT8 quantization and ONNX export.

    import compress
    report = compress.run("recipe.yaml")

or, without a file:

    from compress import Distill, Export, Pipeline, Prune, Quantize
    stages = [Distill(student={"layers": 3}), Prune(target={"macs": 0.5}), Quantize(), Export()]
    report = Pipeline(stages, name="mine", model=..., task=..., data=...).run()

or one stage at a time:

    artifact, context = compress.load(model=..., task=..., data=...)
    smaller = compress.Prune(target={"macs": 0.5}).apply(artifact, context)

docs/api.md lists the names. They are imported when they are first used, so that `import compress`
is quick.
"""

from __future__ import annotations

TYPE_CHECKING = False  # as typing's, without importing it: the command begins here
if TYPE_CHECKING:  # the names once more, for type checkers; a test compares the two
    from typing import Any

    from compress import errors as errors
    from compress.core.artifact import Artifact as Artifact
    from compress.core.artifact import Format as Format
    from compress.core.context import Context as Context
    from compress.core.options import Options as Options
    from compress.core.progress import Silent as Silent
    from compress.recipe.load import load_recipe as load_recipe
    from compress.recipe.schema import Recipe as Recipe
    from compress.report.document import Report as Report
    from compress.runner.load import load as load
    from compress.runner.pipeline import Pipeline as Pipeline
    from compress.runner.pipeline import run as run
    from compress.stages.contract import Stage as Stage
    from compress.stages.depth import Depth as Depth
    from compress.stages.distill import Distill as Distill
    from compress.stages.export import Export as Export
    from compress.stages.low_bit import LowBit as LowBit
    from compress.stages.low_rank import LowRank as LowRank
    from compress.stages.prune.stage import Prune as Prune
    from compress.stages.quantize.stage import Quantize as Quantize
    from compress.stages.sparsify import Sparsify as Sparsify
    from compress.stages.train import Train as Train
    from compress.stages.vocabulary import Vocabulary as Vocabulary
    from compress.tasks.contract import Input as Input
    from compress.tasks.contract import Output as Output
    from compress.tasks.contract import Task as Task
    from compress.tasks.contract import TaskMetric as TaskMetric

__version__ = "0.1.0"

_MODULES = {
    "Artifact": "compress.core.artifact",
    "Context": "compress.core.context",
    "Depth": "compress.stages.depth",
    "Distill": "compress.stages.distill",
    "Export": "compress.stages.export",
    "Format": "compress.core.artifact",
    "Input": "compress.tasks.contract",
    "LowBit": "compress.stages.low_bit",
    "LowRank": "compress.stages.low_rank",
    "Options": "compress.core.options",
    "Output": "compress.tasks.contract",
    "Pipeline": "compress.runner.pipeline",
    "Prune": "compress.stages.prune.stage",
    "Quantize": "compress.stages.quantize.stage",
    "Recipe": "compress.recipe.schema",
    "Report": "compress.report.document",
    "Silent": "compress.core.progress",
    "Sparsify": "compress.stages.sparsify",
    "Stage": "compress.stages.contract",
    "Task": "compress.tasks.contract",
    "TaskMetric": "compress.tasks.contract",
    "Train": "compress.stages.train",
    "Vocabulary": "compress.stages.vocabulary",
    "load": "compress.runner.load",
    "load_recipe": "compress.recipe.load",
    "run": "compress.runner.pipeline",
}
__all__ = [*_MODULES, "errors"]


def __getattr__(name: str) -> Any:
    import importlib

    if name == "errors":
        return importlib.import_module("compress.errors")
    if name not in _MODULES:
        raise AttributeError(f"module 'compress' has no attribute {name!r}")
    return getattr(importlib.import_module(_MODULES[name]), name)


def __dir__() -> list[str]:
    return sorted([*globals(), *__all__])
