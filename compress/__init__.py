"""Takes a trained model through distillation, pruning, INT8 quantization and ONNX export.

    import compress
    report = compress.run("recipe.yaml")

or, without a file:

    from compress import Distill, Export, Pipeline, Prune, Quantize
    stages = [Distill(student={"layers": 3}), Prune(target={"macs": 0.5}), Quantize(), Export()]
    report = Pipeline(stages, name="mine", model=..., task=..., data=...).run()

Names are imported when they are first used, so that `import compress` is quick.
"""

from __future__ import annotations

TYPE_CHECKING = False  # as typing's, without importing it: the command begins here
if TYPE_CHECKING:
    from typing import Any

    from compress.core.artifact import Artifact, Format
    from compress.core.context import Context
    from compress.core.options import Options
    from compress.runner.pipeline import Pipeline, run
    from compress.stages.contract import Stage
    from compress.stages.depth import Depth
    from compress.stages.distill import Distill
    from compress.stages.export import Export
    from compress.stages.low_bit import LowBit
    from compress.stages.low_rank import LowRank
    from compress.stages.prune.stage import Prune
    from compress.stages.quantize.stage import Quantize
    from compress.stages.sparsify import Sparsify
    from compress.stages.train import Train
    from compress.stages.vocabulary import Vocabulary

__version__ = "0.1.0"

_MODULES = {
    "Artifact": "compress.core.artifact",
    "Context": "compress.core.context",
    "Depth": "compress.stages.depth",
    "Distill": "compress.stages.distill",
    "Export": "compress.stages.export",
    "Format": "compress.core.artifact",
    "LowBit": "compress.stages.low_bit",
    "LowRank": "compress.stages.low_rank",
    "Options": "compress.core.options",
    "Pipeline": "compress.runner.pipeline",
    "Prune": "compress.stages.prune.stage",
    "Quantize": "compress.stages.quantize.stage",
    "Sparsify": "compress.stages.sparsify",
    "Stage": "compress.stages.contract",
    "Train": "compress.stages.train",
    "Vocabulary": "compress.stages.vocabulary",
    "run": "compress.runner.pipeline",
}

__all__ = [
    "Artifact",
    "Context",
    "Depth",
    "Distill",
    "Export",
    "Format",
    "LowBit",
    "LowRank",
    "Options",
    "Pipeline",
    "Prune",
    "Quantize",
    "Sparsify",
    "Stage",
    "Train",
    "Vocabulary",
    "run",
]


def __getattr__(name: str) -> Any:
    import importlib

    if name not in _MODULES:
        raise AttributeError(f"module 'compress' has no attribute {name!r}")
    return getattr(importlib.import_module(_MODULES[name]), name)


def __dir__() -> list[str]:
    return sorted([*globals(), *__all__])
