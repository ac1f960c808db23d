"""YAML read into plain values, with the line of every key.

The values are built by hand rather than by a YAML constructor. So every duplicate key and every tag
is reported at once, each with its line, and only plain values can come out.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any, NamedTuple

from ruamel.yaml import YAML
from ruamel.yaml.error import MarkedYAMLError, YAMLError
from ruamel.yaml.nodes import MappingNode, Node, ScalarNode, SequenceNode

from compress.core.foreign.boundary import described, reading
from compress.errors import InputError, clipped
from compress.recipe.bounds import MOST_BYTES, BoundedParser, BoundedScanner, BoundsError

Keys = tuple[str | int, ...]
"""The path to a value: mapping keys and list positions, from the top."""

_TAG = "tag:yaml.org,2002:"
_PLAIN = {f"{_TAG}{name}" for name in ("null", "bool", "int", "float", "str")}
_AS_TEXT = {f"{_TAG}timestamp"}
_KINDS = {
    f"{_TAG}null": "null",
    f"{_TAG}bool": "true or false",
    f"{_TAG}int": "a whole number",
    f"{_TAG}float": "a number",
}
_NUMBERS = {f"{_TAG}int", f"{_TAG}float"}
_LONGEST_NUMBER = 400
"""Characters of a number; Python refuses to read whole numbers of thousands of digits."""


class Place(NamedTuple):
    """A place in the file or among the overrides. Places sort by line, overrides last."""

    line: int
    text: str


class Problem(NamedTuple):
    """One problem and its place; problems sort by place."""

    place: Place
    sentence: str

    def __str__(self) -> str:
        return f"{self.place.text} {self.sentence}"


@dataclass
class Document:
    """Plain values, the place of each, and the problems found while reading them."""

    source: str
    data: Any = None
    places: dict[Keys, Place] = field(default_factory=dict)
    problems: list[Problem] = field(default_factory=list)

    def place(self, keys: Keys) -> Place:
        """Return the place of a value; if it is missing, of the nearest value around it."""
        for length in range(len(keys), -1, -1):
            if keys[:length] in self.places:
                return self.places[keys[:length]]
        return Place(0, self.source)

    def report(self, keys: Keys, sentence: str) -> None:
        """Add a problem at a value's place."""
        self.problems.append(Problem(self.place(keys), sentence))


def dotted(keys: Keys) -> str:
    """Return a value's name in messages.

    >>> dotted(("measure", "batch_sizes", 0))
    'measure.batch_sizes[0]'
    """
    text = ""
    for key in keys:
        text += f"[{key}]" if isinstance(key, int) else f".{key}" if text else key
    return text


def parse(text: str, source: str) -> Document:
    """Read one YAML document.

    Parameters
    ----------
    source : the file's name, for the places.

    Returns
    -------
    A document whose `problems` say what couldn't be read; its `data` is None if nothing could.
    """
    document = Document(source, places={(): Place(1, f"{source}:1")})
    if len(text) > MOST_BYTES:
        sentence = f"a recipe may be of at most {MOST_BYTES:,} characters. Got {len(text):,}."
        document.problems.append(Problem(Place(1, f"{source}:1"), sentence))
        return document
    yaml = YAML(typ="safe", pure=True)
    yaml.Scanner, yaml.Parser = BoundedScanner, BoundedParser
    try:
        with reading("this text"):
            node = _composed(yaml, text)
    except UnreadableError as error:
        place = Place(error.line, f"{source}:{error.line}")
        document.problems.append(Problem(place, str(error)))
        return document
    except InputError as error:
        line = yaml.parser.line + 1
        sentence = f"this isn't YAML: {described(error.__cause__ or error)}."
        document.problems.append(Problem(Place(line, f"{source}:{line}"), sentence))
        return document
    if node is not None:
        _Reader(document).read(node)
    return document


class UnreadableError(InputError):
    """Raised for text that isn't YAML, or is too large; holds the line."""

    def __init__(self, line: int, sentence: str) -> None:
        super().__init__(sentence)
        self.line = line


def _composed(yaml: YAML, text: str) -> Node | None:
    try:
        node: Node | None = yaml.compose(text)
    except MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        said = " ".join(str(error.problem or error.context).split())
        line = mark.line + 1 if mark else 1
        if isinstance(error, BoundsError):
            raise UnreadableError(line, f"a recipe may hold {said}.") from error
        raise UnreadableError(line, f"this isn't YAML: {clipped(said)}.") from error
    except YAMLError as error:
        line = text.count("\n", 0, getattr(error, "position", 0)) + 1
        said = " ".join(str(error).split())
        raise UnreadableError(line, f"this isn't YAML: {clipped(said)}.") from error
    return node


class _Reader:
    """Turns nodes into plain values and notes their places in a document."""

    def __init__(self, document: Document) -> None:
        self.document = document
        self.constructor = YAML(typ="safe", pure=True).constructor
        self.open: list[Node] = []

    def read(self, node: Node) -> None:
        self.document.places[()] = self.place(node)
        self.document.data = self.value(node, ())

    def place(self, node: Node) -> Place:
        line = node.start_mark.line + 1
        return Place(line, f"{self.document.source}:{line}")

    def refuse(self, node: Node, sentence: str) -> None:
        self.document.problems.append(Problem(self.place(node), sentence))

    def value(self, node: Node, keys: Keys) -> Any:
        if any(node is outer for outer in self.open):
            self.refuse(node, "an alias stands inside what it names.")
            return None
        self.open.append(node)
        try:
            if isinstance(node, ScalarNode):
                return self.scalar(node)
            if isinstance(node, MappingNode) and node.tag == f"{_TAG}map":
                return self.mapping(node, keys)
            if isinstance(node, SequenceNode) and node.tag == f"{_TAG}seq":
                return self.sequence(node, keys)
            self.refuse_tag(node)
            return None
        finally:
            self.open.pop()

    def scalar(self, node: Node) -> Any:
        tag = str(node.tag)
        if tag in _AS_TEXT:
            return str(node.value)
        if tag not in _PLAIN:
            self.refuse_tag(node)
            return None
        kind, text = _KINDS.get(tag, "a string"), str(node.value)
        if tag in _NUMBERS and len(text) > _LONGEST_NUMBER:
            self.refuse(node, f"{clipped(text, 40)!r} is too long for {kind}.")
            return None
        if kind == "null" and text.lower() not in ("", "~", "null"):
            self.refuse(node, f"{clipped(text)!r} isn't null.")
            return None
        try:
            with reading(text):
                return self.constructor.construct_object(node)
        except InputError:
            self.refuse(node, f"{clipped(text)!r} isn't {kind}.")
            return None

    def refuse_tag(self, node: Node) -> None:
        tag = clipped(str(node.tag).replace(_TAG, "!!"))
        self.refuse(node, f"the tag {tag!r} isn't allowed; only plain values are.")

    def sequence(self, node: SequenceNode, keys: Keys) -> list[Any]:
        items = []
        for position, item in enumerate(node.value):
            self.document.places[(*keys, position)] = self.place(item)
            items.append(self.value(item, (*keys, position)))
        return items

    def mapping(self, node: MappingNode, keys: Keys) -> dict[str, Any]:
        own: dict[str, Any] = {}
        merged: list[Node] = []
        for key_node, value_node in node.value:
            if isinstance(key_node, ScalarNode) and key_node.value == "<<" and not key_node.style:
                merged.append(value_node)
                continue
            key = self.key(key_node)
            if key is None:
                continue
            if key in own:
                first = self.document.places[(*keys, key)].line
                said = clipped(repr(key))
                self.refuse(key_node, f"the key {said} stands twice; first in line {first}.")
                continue
            self.document.places[(*keys, key)] = self.place(key_node)
            own[key] = self.value(value_node, (*keys, key))
        for source in merged:
            for given in self.merges(source):
                self.merge(given, into=own, keys=keys)
        return own

    def key(self, node: Node) -> str | None:
        value = self.scalar(node) if isinstance(node, ScalarNode) else None
        if isinstance(value, str):
            return value
        given = clipped(str(getattr(node, "value", "")))
        self.refuse(node, f"a key must be a string; put {given} in quotes.")
        return None

    def merges(self, node: Node) -> Iterator[MappingNode]:
        for item in node.value if isinstance(node, SequenceNode) else [node]:
            if isinstance(item, MappingNode):
                yield item
            else:
                self.refuse(item, "'<<' takes a mapping, or a list of mappings.")

    def merge(self, node: MappingNode, *, into: dict[str, Any], keys: Keys) -> None:
        """Add a merged mapping's keys that aren't there yet, with the lines where they stand.

        Problems inside the merged mapping were reported at its own place.
        """
        aside = _Reader(Document(self.document.source))
        aside.open = self.open
        given = aside.value(node, ()) or {}
        taken = {key: value for key, value in given.items() if key not in into}
        into |= taken
        self.document.places |= {
            (*keys, *place): at
            for place, at in aside.document.places.items()
            if place and place[0] in taken
        }
