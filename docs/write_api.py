"""Writes docs/api.md from the package: `python docs/write_api.py`. A test compares the two."""

from __future__ import annotations

import inspect
import re
import textwrap
from collections.abc import Iterator
from enum import Enum
from pathlib import Path
from typing import Any

from pydantic import BaseModel

import compress

PAGE = Path(__file__).with_name("api.md")
INTRODUCTION = """\
# Python API

Everything here is importable from `compress`, and nothing heavy is imported before it is used.
This page is written by `python docs/write_api.py` from the package itself.

A recipe is run by `compress.run`. A `Pipeline` is a recipe whose stages are Python objects. A
single stage is applied to what `compress.load` gives:

```python
from dataclasses import replace
from pathlib import Path

import compress

artifact, context = compress.load(
    model={
        "python": "compress.models.resnet:resnet",
        "arguments": {"blocks": [1, 1], "in_channels": 1, "num_classes": 10},
    },
    task="image-classification",
    data={"sklearn": "digits"},
    directory=Path("work/prune"),
)
smaller = compress.Prune(target={"macs": 0.5}, recovery=None).apply(artifact, context)
print(*smaller.notes, sep="\\n")

context = replace(context, directory=Path("work/quantize"))
context.directory.mkdir()
int8 = compress.Quantize(method="static").apply(smaller, context)
print(int8.onnx, *int8.notes, sep="\\n")
```

Each stage needs an empty folder of its own. A stage leaves the artifact that it is given as it was.
`context.reference` is the teacher of every distillation; after `Train`, replace it by the trained
artifact.
"""
_WIDTH = 100
_PLACES = re.compile(r"\b(?:compress|pathlib|typing|collections\.abc|os)\.(?:\w+\.)*(?=[A-Z])")


def page() -> str:
    """The text of docs/api.md."""
    found = {name: getattr(compress, name) for name in sorted(compress.__all__, key=str.lower)}
    functions = [name for name, one in found.items() if inspect.isfunction(one)]
    classes = {name: one for name, one in found.items() if inspect.isclass(one)}
    stages = [name for name, one in classes.items() if issubclass(one, compress.Stage)]
    stages.remove("Stage")
    rest = [name for name in classes if name not in stages]
    parts = [INTRODUCTION]
    for title, names in (("Functions", functions), ("Classes", rest), ("Stages", stages)):
        parts.append(f"## {title}\n")
        parts += [_entry(name, found[name]) for name in names]
    parts.append("## Errors: `compress.errors`\n")
    parts += list(_errors())
    return "\n".join(parts)


def _entry(name: str, one: Any) -> str:
    return (
        f"### `{name}`\n\n{_wrapped(_sentence(one))}\n\n```python\n{_signature(name, one)}\n```\n"
    )


def _sentence(one: Any) -> str:
    """The docstring's first paragraph."""
    return " ".join((inspect.getdoc(one) or "").split("\n\n")[0].split())


def _wrapped(text: str, indent: str = "") -> str:
    return textwrap.fill(
        text, _WIDTH, subsequent_indent=indent, break_long_words=False, break_on_hyphens=False
    )


def _signature(name: str, one: Any) -> str:
    if inspect.isclass(one) and issubclass(one, Enum):
        members = "\n".join(f"    {member.name} = {_default(str(member))}" for member in one)
        return f"class {name}(StrEnum):\n{members}"
    result = ""
    if inspect.isclass(one) and issubclass(one, BaseModel):
        parameters = [_field(one, field) for field in one.model_fields]
        parameters = ["*", *parameters] if parameters else []
    else:
        signature = inspect.signature(one)
        parameters = _parameters(signature)
        if inspect.isfunction(one):
            result = f" -> {_type(signature.return_annotation)}"
    line = f"{name}({', '.join(parameters)}){result}"
    if len(line) <= _WIDTH:
        return line
    return "\n".join([f"{name}(", *(f"    {parameter}," for parameter in parameters), f"){result}"])


def _parameters(signature: inspect.Signature) -> list[str]:
    shown: list[str] = []
    for parameter in signature.parameters.values():
        if parameter.kind is parameter.KEYWORD_ONLY and "*" not in shown:
            shown.append("*")
        text = f"{parameter.name}: {_type(parameter.annotation)}"
        if parameter.default is not parameter.empty:
            text += f" = {_default(parameter.default)}"
        shown.append(text)
    return shown


def _field(model: type[BaseModel], name: str) -> str:
    """A field with its type as it is written in the source."""
    owner = next(one for one in model.__mro__ if name in vars(one).get("__annotations__", {}))
    text = f"{name}: {_type(vars(owner)['__annotations__'][name])}"
    field = model.model_fields[name]
    if field.is_required():
        return text
    if field.default_factory not in (None, dict, list):
        return f"{text} = …"
    return f"{text} = {_default(field.get_default(call_default_factory=True))}"


def _default(value: Any) -> str:
    """A default; of options that are all defaults themselves only their class."""
    if isinstance(value, BaseModel):
        return f"{type(value).__name__}({'' if not value.model_fields_set else '…'})"
    if isinstance(value, str):
        return f'"{value}"'
    return "…" if "<" in repr(value) else repr(value)


def _type(annotation: object) -> str:
    """As the source writes it, without the places of its names."""
    return _PLACES.sub("", str(annotation)).replace("'", '"')


def _errors() -> Iterator[str]:
    root = compress.errors.CompressError
    codes = ", ".join(f"{code.value} {code.name}" for code in compress.errors.ExitCode)
    yield f"Exit codes of the command (`ExitCode`): {codes}.\n"
    for name, one in vars(compress.errors).items():
        if inspect.isclass(one) and issubclass(one, root):
            above = "" if one is root else f" ({one.__base__.__name__})"
            line = f"- `{name}`{above}: {_sentence(one)} Exit code {one.exit_code.value}."
            yield _wrapped(line, indent="  ")
    yield ""


if __name__ == "__main__":
    PAGE.write_text(page(), encoding="utf-8")
