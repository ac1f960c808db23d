"""Writes files by which Transformers, Optimum and Transformers.js recognise a bundle's model."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from compress.core.files.atomic import write_text
from compress.onnx_graph.metadata import metadata_of
from compress.tasks.contract import Task as OwnTask

if TYPE_CHECKING:
    from compress.core.context import Task

CONFIG = "config.json"
TOKENIZER_CONFIG = "tokenizer_config.json"
PROCESSOR_CONFIG = "preprocessor_config.json"
_RESAMPLE = {"nearest": 0, "lanczos": 1, "bilinear": 2, "bicubic": 3, "box": 4, "hamming": 5}
"""Pillow's numbers."""
_PROBLEM = {"class-set": {"problem_type": "multi_label_classification"}}
"""The config's value that makes these libraries take a sigmoid of each score, not a softmax."""
_OLDER_NAMES = {"TokenizersBackend": "PreTrainedTokenizerFast"}
"""Class names that only transformers 5 knows, with names that versions 4 and 5 know."""


def write_conventions(model: Path, *, labels: Sequence[str], task: Task) -> None:
    """Write or adapt the files that those libraries read, beside a bundle's ONNX file.

    `config.json` of a transformers model comes from the ONNX file's metadata, with the labels.
    `tokenizer_config.json` gets the length at which texts are cut. An image model without an image
    processor of `transformers` gets a `preprocessor_config.json` with the same effect, but only if
    the format can express all steps. `preprocessing.json` is authoritative.

    Parameters
    ----------
    model : the model in the bundle, with `preprocessing.json` beside it.
    """
    folder = model.parent
    constants = json.loads((folder / "preprocessing.json").read_text(encoding="utf-8"))
    config = _config(model)
    if config is not None:
        write_json(folder / CONFIG, _with_labels(config, labels) | _problem(task))
    if task.modality == "text":
        _adapt_tokenizer(folder / TOKENIZER_CONFIG, constants, task)
    elif (
        task.modality == "image" and config is not None and not (folder / PROCESSOR_CONFIG).exists()
    ):
        processor = _processor(constants)
        if processor is not None:
            write_json(folder / PROCESSOR_CONFIG, processor)


def write_json(path: Path, value: object) -> None:
    """Write plain JSON for people to read."""
    write_text(path, json.dumps(value, indent=2, ensure_ascii=False) + "\n")


def _problem(task: Task) -> dict[str, str]:
    if isinstance(task, OwnTask) and task.problem_type:
        return {"problem_type": task.problem_type}
    return _PROBLEM.get(task.target, {})


def _config(model: Path) -> dict[str, Any] | None:
    text = metadata_of(model).get("config")
    return None if text is None else json.loads(text)


def _with_labels(config: Mapping[str, Any], labels: Sequence[str]) -> dict[str, Any]:
    if not labels:
        return dict(config)
    names = {
        "id2label": {str(index): label for index, label in enumerate(labels)},
        "label2id": {label: index for index, label in enumerate(labels)},
    }
    return {**config, **names}


def _adapt_tokenizer(path: Path, constants: Mapping[str, Any], task: Task) -> None:
    if not path.is_file():
        return
    values = json.loads(path.read_text(encoding="utf-8"))
    name = values.get("tokenizer_class")
    changes = {"tokenizer_class": _OLDER_NAMES[name]} if name in _OLDER_NAMES else {}
    if task.target != "next-token":  # for generation the length is that of a block of the data
        changes["model_max_length"] = constants["max_length"]
    write_json(path, {**values, **changes})


def _processor(constants: Mapping[str, Any]) -> dict[str, Any] | None:
    if not constants["exact"] or constants["resize_shortest_edge"] is not None:
        return None
    size, mean, std = constants["size"], constants["mean"], constants["std"]
    values: dict[str, Any] = {
        "image_processor_type": "ViTImageProcessor",
        "do_resize": size is not None,
        "resample": _RESAMPLE[constants["resample"]],
        "do_rescale": True,
        "rescale_factor": constants["rescale"],
        "do_normalize": mean is not None or std is not None,
    }
    if size is not None:
        values["size"] = {"height": size[0], "width": size[1]}
    if constants["channels"] == 3:
        values["do_convert_rgb"] = True
    if values["do_normalize"]:
        count = len(mean or std)
        values |= {"image_mean": mean or [0.0] * count, "image_std": std or [1.0] * count}
    return values
