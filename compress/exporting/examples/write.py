"""Example scripts of a bundle: Python, Node, and a page for the browser."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from importlib.resources import files
from pathlib import Path
from typing import TYPE_CHECKING

from compress.core.files.atomic import write_text
from compress.exporting.examples.precision import (
    JAVASCRIPT_PARTS,
    NODE_PARTS,
    PYTHON_PARTS,
    with_precision,
)
from compress.tasks.answers import answers_text, script_text
from compress.tasks.contract import Task as OwnTask

if TYPE_CHECKING:
    from compress.core.context import Target, Task

SCRIPT = "infer.py"
NODE_SCRIPT = "infer.mjs"
PAGE = "index.html"
NPM_VERSIONS: Mapping[str, str] = {
    "@huggingface/tokenizers": "0.2.0",
    "onnxruntime-node": "1.30.0",
    "onnxruntime-web": "1.30.0",
    "sharp": "0.35.5",
}
"""The npm packages that examples need, in the versions of the deployment tests."""
_PARTS = {
    "open_session": ("can_saturate", "open_session", "first_output"),
    "encode_texts": ("encode_texts",),
}
"""Parts that several scripts share, each of some templates. It replaces a comment with its name."""


@dataclass(frozen=True)
class _Examples:
    """Templates of one kind of model: the Python script, and JavaScript by name in the bundle."""

    python: str
    javascript: Mapping[str, str]
    packages: tuple[str, ...]


_WEB = ("onnxruntime-node", "onnxruntime-web")


def _text(model: str, **more: str) -> dict[str, str]:
    shared = {"model": f"model_{model}", "encode": "encode", "session": "session", **more}
    names = {f"{name}.mjs": f"{template}.mjs" for name, template in shared.items()}
    return {**names, NODE_SCRIPT: "infer_text.mjs", PAGE: "page_text.html"}


_TEXT_PACKAGES = ("@huggingface/tokenizers", *_WEB)
_IMAGE = {
    "model.mjs": "model_image.mjs",
    "pixels.mjs": "pixels.mjs",
    "classes.mjs": "classes.mjs",
    "session.mjs": "session.mjs",
    NODE_SCRIPT: "infer_image.mjs",
    PAGE: "page_image.html",
}
_BY_TARGET: Mapping[Target, _Examples] = {
    "token-class": _Examples("infer_tokens", _text("tokens"), _TEXT_PACKAGES),
    "none": _Examples("infer_embeddings", _text("embeddings"), _TEXT_PACKAGES),
    "next-token": _Examples(
        "infer_generation",
        {
            "model.mjs": "model_generation.mjs",
            "encode.mjs": "encode.mjs",
            "session.mjs": "session.mjs",
            NODE_SCRIPT: "infer_generation.mjs",
        },
        ("@huggingface/tokenizers", "onnxruntime-node"),
    ),
}
_CLASSIFICATION = {
    "text": _Examples("infer_text", _text("text", classes="classes"), _TEXT_PACKAGES),
    "image": _Examples("infer_image", _IMAGE, (*_WEB, "sharp")),
}


_TENSORS = _Examples("infer_tensors", {}, ())
_FIELDS = _Examples("infer_fields", {}, ())
_FIELDS_EVERYWHERE = _Examples("infer_fields", {**_text(""), "model.mjs": ""}, _TEXT_PACKAGES)
"""The module that a task brings has no template."""


def example_script(task: Task, *, precisions: bool = False) -> str:
    """Return the text of the bundle's infer.py.

    Parameters
    ----------
    precisions : whether the bundle holds several precisions.
    """
    text = _template(f"{_examples(task).python}.py.txt")
    for part, templates in (PYTHON_PARTS if precisions else _PARTS).items():
        texts = [_template(f"{name}.py.txt") for name in templates]
        text = text.replace(f"# {part}\n", "\n\n".join(texts))
    if precisions:
        text = with_precision(SCRIPT, text)
    if isinstance(task, OwnTask):
        text = text.replace("# answers\n", answers_text(task.answers_file))
    if isinstance(task, OwnTask) and task.script_file is not None:
        return text.replace("# samples\n", script_text(task.script_file))
    return text


def write_examples(directory: Path, *, task: Task, precisions: bool = False) -> None:
    """Write infer.py, infer.mjs, index.html (not for generation), their parts and package.json.

    For a task of one's own without a `model_file` it is infer.py alone.

    Parameters
    ----------
    directory : the bundle's folder.
    task : decides on the examples.
    precisions : whether the bundle holds several precisions, which the examples choose from.
    """
    examples = _examples(task)
    write_text(directory / SCRIPT, example_script(task, precisions=precisions))
    templates = dict(examples.javascript)
    if precisions and templates:
        templates |= JAVASCRIPT_PARTS if PAGE in templates else NODE_PARTS
    for name, template in templates.items():
        text = _template(f"javascript/{template}.txt") if template else _model_text(task)
        write_text(directory / name, with_precision(name, text) if precisions else text)
    if not examples.javascript:
        return
    package = {
        "private": True,
        "type": "module",
        "dependencies": {name: NPM_VERSIONS[name] for name in examples.packages},
    }
    write_text(directory / "package.json", json.dumps(package, indent=2) + "\n")


def _examples(task: Task) -> _Examples:
    if isinstance(task, OwnTask):
        if task.script_file is None:
            return _TENSORS
        return _FIELDS if task.model_file is None else _FIELDS_EVERYWHERE
    return _BY_TARGET.get(task.target) or _CLASSIFICATION[task.modality]


def _model_text(task: Task) -> str:
    """The text of model.mjs that a task of one's own brings."""
    if not isinstance(task, OwnTask) or task.model_file is None:
        raise TypeError(f"{task.name} brings no model.mjs.")
    return script_text(task.model_file)


def _template(name: str) -> str:
    return (
        files("compress.exporting.examples").joinpath("templates", name).read_text(encoding="utf-8")
    )
