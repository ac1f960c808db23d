"""Reads what an ONNX file declares (inputs, outputs, operators) without onnx and without weights.

`compress check` starts in a moment, and importing onnx takes longer than that. The numbers of the
fields are those of https://github.com/onnx/onnx/blob/main/onnx/onnx.proto.
"""

from __future__ import annotations

import mmap
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from functools import lru_cache
from pathlib import Path

from compress.core.files.paths import file_problem
from compress.errors import ModelError, clipped
from compress.onnx_graph.wire import Buffer, Span, fields, inner, text, whole

ELEMENTS = {
    1: "float32",
    2: "uint8",
    3: "int8",
    4: "uint16",
    5: "int16",
    6: "int32",
    7: "int64",
    8: "string",
    9: "bool",
    10: "float16",
    11: "float64",
    12: "uint32",
    13: "uint64",
    16: "bfloat16",
}
"""Names of the elements of tensors, by TensorProto.DataType; rarer ones have none here."""
TENSOR = "tensor"
_KINDS = {1: TENSOR, 4: "sequence", 5: "map", 8: "sparse tensor", 9: "optional value"}
_DEPTH = 50
"""Levels of graphs inside nodes."""


@dataclass(frozen=True)
class Declared:
    """An input or output as a file declares it.

    Attributes
    ----------
    name : its name.
    kind : "tensor", "sequence", "map", "sparse tensor", "optional value", or "untyped value".
    element : the type of a tensor's elements, such as "float32"; empty if it isn't known.
    shape : size, name or None (unknown) of each axis; None if the number of axes isn't known.
    """

    name: str
    kind: str = "untyped value"
    element: str = ""
    shape: tuple[int | str | None, ...] | None = None

    def __str__(self) -> str:
        """Return such as "'images' (float32, batch x 3 x 8 x 8)"."""
        if self.kind != TENSOR:
            return f"{clipped(repr(self.name))} (a {self.kind})"
        axes = "of any shape" if self.shape is None else " x ".join(map(_said, self.shape))
        return f"{clipped(repr(self.name))} ({self.element or 'no type'}, {axes or 'a scalar'})"


@dataclass(frozen=True)
class Operator:
    """A node: its name (empty if it has none), its first output, its operator and domain."""

    name: str
    output: str
    kind: str
    domain: str

    def __str__(self) -> str:
        """Return such as "node 'a/b' (MyOp of domain 'mine')"."""
        named = self.name or f"that makes {self.output}"
        of = f" of domain {self.domain!r}" if self.domain else ""
        return f"node {clipped(repr(named))} ({clipped(self.kind)}{of})"


@dataclass
class Header:
    """What a file declares.

    Attributes
    ----------
    inputs, outputs : of the graph; initializers that are declared as inputs don't count.
    operators : all nodes, those in inner graphs and local functions included.
    opsets : version of each domain's operators; ONNX's own domain is "".
    functions : domain and name of each local function.
    external : names of files with external data.
    metadata : the model's metadata, by key.
    producer : the program that wrote the file, with its version; may be empty.
    """

    inputs: tuple[Declared, ...] = ()
    outputs: tuple[Declared, ...] = ()
    operators: list[Operator] = field(default_factory=list)
    opsets: dict[str, int] = field(default_factory=dict)
    functions: set[tuple[str, str]] = field(default_factory=set)
    external: set[str] = field(default_factory=set)
    metadata: dict[str, str] = field(default_factory=dict)
    producer: str = ""

    @property
    def opset(self) -> int:
        """The version of ONNX's own operators; 0 if the file uses none."""
        return self.opsets.get("", 0)


def read_header(path: Path) -> Header:
    """Return what an ONNX file declares. Time and memory don't depend on the size of its weights.

    Raises
    ------
    ModelError : there is no such file, or it isn't an ONNX model.
    """
    said, problem = clipped(repr(str(path))), file_problem(path)
    if problem is not None:
        raise ModelError(f"there is no file {said}: {problem}.")
    try:
        now = path.stat()
        return _read(path, now.st_mtime_ns, now.st_size)
    except (ValueError, OSError) as error:  # an empty file can't be mapped
        raise ModelError(f"{said} isn't an ONNX model, or is damaged.") from error


@lru_cache(maxsize=2)  # the parts of a check ask one after another; a changed file is read anew
def _read(path: Path, _changed: int, _size: int) -> Header:
    with path.open("rb") as file, mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as data:
        return _model(data, Span(0, len(data)))


def _model(data: Buffer, span: Span) -> Header:
    header, graph = Header(), None
    producer = {2: "", 3: ""}
    for number, value in fields(data, span):
        match number:
            case 2 | 3:
                producer[number] = text(data, value)
            case 7:
                graph = inner(value)
            case 8:
                domain, version = _opset(data, inner(value))
                header.opsets["" if domain == "ai.onnx" else domain] = version
            case 14:
                key, entry = _entry(data, inner(value))
                header.metadata[key] = entry
            case 25:
                _function(data, inner(value), header)
    if graph is None or not header.opsets:
        raise ValueError("there is no graph, or no version of its operators")
    header.producer = " ".join(filter(None, producer.values()))
    header.inputs, header.outputs = _graph(data, graph, header, depth=0)
    return header


def _opset(data: Buffer, span: Span) -> tuple[str, int]:
    domain, version = "", 0
    for number, value in fields(data, span):
        if number == 1:
            domain = text(data, value)
        elif number == 2:
            version = whole(value)
    return domain, version


def _entry(data: Buffer, span: Span) -> tuple[str, str]:
    found = {number: text(data, value) for number, value in fields(data, span) if number in (1, 2)}
    return found.get(1, ""), found.get(2, "")


def _function(data: Buffer, span: Span, header: Header) -> None:
    name = domain = ""
    for number, value in fields(data, span):
        if number == 1:
            name = text(data, value)
        elif number == 10:
            domain = text(data, value)
        elif number == 7:
            _node(data, inner(value), header, depth=0)
    header.functions.add((domain, name))


def _graph(
    data: Buffer, span: Span, header: Header, *, depth: int
) -> tuple[tuple[Declared, ...], tuple[Declared, ...]]:
    """Read a graph's nodes and tensors into the header; return its inputs and outputs."""
    if depth > _DEPTH:
        raise ValueError(f"graphs inside graphs, over {_DEPTH} levels deep")
    inputs, outputs, constants = [], [], set()
    for number, value in fields(data, span):
        match number:
            case 1:
                _node(data, inner(value), header, depth=depth)
            case 5:
                constants.add(_tensor(data, inner(value), header))
            case 11:
                inputs.append(_declared(data, inner(value)))
            case 12:
                outputs.append(_declared(data, inner(value)))
            case 15:
                constants |= {
                    _tensor(data, inner(part), header)
                    for at, part in fields(data, inner(value))
                    if at == 1
                }
    return tuple(one for one in inputs if one.name not in constants), tuple(outputs)


def _node(data: Buffer, span: Span, header: Header, *, depth: int) -> None:
    named = {2: "", 3: "", 4: "", 7: ""}
    for number, value in fields(data, span):
        if number == 2:
            named[2] = named[2] or text(data, value)
        elif number in named:
            named[number] = text(data, value)
        elif number == 5:
            for graph in _inner_graphs(data, inner(value), header):
                _graph(data, graph, header, depth=depth + 1)
    domain = "" if named[7] == "ai.onnx" else named[7]
    header.operators.append(Operator(named[3], named[2], named[4], domain))


def _inner_graphs(data: Buffer, attribute: Span, header: Header) -> Iterator[Span]:
    for number, value in fields(data, attribute):
        if number in (6, 11):
            yield inner(value)
        elif number in (5, 10):
            _tensor(data, inner(value), header)


def _tensor(data: Buffer, span: Span, header: Header) -> str:
    """Return a tensor's name; note the file that holds its data."""
    name = ""
    for number, value in fields(data, span):
        if number == 8:
            name = text(data, value)
        elif number == 13:
            key, entry = _entry(data, inner(value))
            if key == "location":
                header.external.add(entry)
    return name


def _declared(data: Buffer, span: Span) -> Declared:
    name, kind, content = "", "untyped value", None
    for number, value in fields(data, span):
        if number == 1:
            name = text(data, value)
        elif number == 2:
            for inside, part in fields(data, inner(value)):
                if inside in _KINDS:
                    kind, content = _KINDS[inside], inner(part)
    if kind != TENSOR or content is None:
        return Declared(name, kind)
    element, shape = "", None
    for number, value in fields(data, content):
        if number == 1:
            element = ELEMENTS.get(whole(value), f"type {whole(value)}") if value else ""
        elif number == 2:
            shape = tuple(_axes(data, inner(value)))
    return Declared(name, kind, element, shape)


def _axes(data: Buffer, span: Span) -> Iterator[int | str | None]:
    for number, value in fields(data, span):
        if number != 1:
            continue
        size: int | str | None = None
        for inside, part in fields(data, inner(value)):
            if inside == 1:
                size = whole(part)
            elif inside == 2:
                size = text(data, part) or None
        yield size


def _said(axis: int | str | None) -> str:
    return "?" if axis is None else clipped(str(axis))


def domains(header: Header) -> Mapping[str, Operator]:
    """Return the first node of each domain; nodes that call a local function don't count."""
    found: dict[str, Operator] = {}
    for one in header.operators:
        if (one.domain, one.kind) not in header.functions:
            found.setdefault(one.domain, one)
    return found
