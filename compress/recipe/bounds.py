"""Bounds on the size of a recipe. Each is far above what a recipe needs. Without them a small file
could take minutes and all memory, or nest deeper than Python's recursion limit."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from ruamel.yaml.error import MarkedYAMLError
from ruamel.yaml.events import (
    AliasEvent,
    CollectionEndEvent,
    CollectionStartEvent,
    NodeEvent,
)
from ruamel.yaml.parser import Parser
from ruamel.yaml.scanner import Scanner

from compress.errors import clipped

MOST_BYTES = 300_000
"""Characters of a file: YAML of this size takes a second to read."""
MOST_ITEMS = 10_000
"""Keys and values. An alias counts in full wherever it stands, as aliases of aliases multiply."""
MOST_DEPTH = 50
"""Nesting of mappings and lists: functions that walk a recipe recurse at each level."""
MOST_STAGES = 500
"""Stages: each has a folder, a row of the report and a stored model."""
LONGEST_KEY = 200
"""Characters of a key."""
LONGEST_TEXT = 10_000
"""Characters of a string."""
MOST_DIGITS = 40
"""Digits of a whole number: more than any field takes. Python refuses to read 4,300 digits."""
MOST_PROBLEMS = 100
"""Problems of one recipe that are shown."""

_MANY = f"at most {MOST_ITEMS:,} keys and values, aliases followed"
_DEEP = f"at most {MOST_DEPTH} mappings and lists inside one another"

Keys = tuple[str | int, ...]


class BoundsError(MarkedYAMLError):
    """YAML that goes beyond a bound; the mark says where it does."""


class BoundedScanner(Scanner):
    """A scanner that stops where brackets get too deep. It would read on to the first bracket that
    closes, and each further bracket takes longer."""

    def fetch_flow_collection_start(self, TokenClass: Any, to_push: str) -> None:  # noqa: N803
        """Read a bracket that opens.

        Raises
        ------
        BoundsError : as `BoundedParser`.
        """
        if len(self.flow_context) >= MOST_DEPTH:
            raise _beyond(self.reader.get_mark(), _DEEP)
        super().fetch_flow_collection_start(TokenClass, to_push)


class BoundedParser(Parser):
    """A parser that stops where its document gets too deep or too large, aliases followed.

    It counts while events are taken from it, so that a document that is too large is never built.
    """

    def __init__(self, loader: Any) -> None:
        super().__init__(loader)
        self.items = 0
        self.open: list[_Node] = []
        self.anchored: dict[str, _Node] = {}
        self.line = 0

    def dispose(self) -> None:
        """Forget the document, but keep the mark at which reading ended."""
        self.line = self.loader.reader.line
        super().dispose()

    def get_event(self) -> Any:
        """Return the next event, counted.

        Raises
        ------
        BoundsError : the document has more items, or is deeper, than a recipe may be.
        """
        event = super().get_event()
        if isinstance(event, CollectionEndEvent):
            self._close()
        elif isinstance(event, AliasEvent):
            self._take(event, self.anchored.get(event.anchor, _Node(None)))
        elif isinstance(event, CollectionStartEvent):
            self._take(event, opened := _Node(event.anchor, depth=1))
            self.open.append(opened)
        elif isinstance(event, NodeEvent):
            self._take(event, scalar := _Node(event.anchor))
            if event.anchor is not None:
                self.anchored[event.anchor] = scalar
        return event

    def _take(self, event: NodeEvent, node: _Node) -> None:
        self.items += node.items
        for outer in self.open:
            outer.items += node.items
        if self.open:
            self.open[-1].depth = max(self.open[-1].depth, node.depth + 1)
        if self.items > MOST_ITEMS:
            raise _beyond(event.start_mark, _MANY)
        if len(self.open) + node.depth > MOST_DEPTH:
            raise _beyond(event.start_mark, _DEEP)

    def _close(self) -> None:
        closed = self.open.pop()
        if self.open:
            self.open[-1].depth = max(self.open[-1].depth, closed.depth + 1)
        if closed.anchor is not None:
            self.anchored[closed.anchor] = closed


class _Node:
    """A value that an alias may name: its number of items, and its depth in mappings and lists."""

    def __init__(self, anchor: str | None, *, depth: int = 0) -> None:
        self.anchor = anchor
        self.items = 1
        self.depth = depth


def beyond(values: object) -> Iterator[tuple[Keys, str]]:
    """Yield plain values that go beyond a bound, as (place, sentence); stop at the first value
    that is too deep, or one too many.

    Parameters
    ----------
    values : as a document holds them, overrides included, or as they were given in Python.
    """
    waiting: list[tuple[Keys, object]] = [((), values)]
    items = 0
    while waiting:
        keys, value = waiting.pop()
        items += 1
        if items > MOST_ITEMS:
            yield (), f"a recipe may hold at most {MOST_ITEMS:,} keys and values."
            return
        if isinstance(value, Mapping | list | tuple):
            if len(keys) >= MOST_DEPTH:
                yield keys[:1], f"at most {MOST_DEPTH} mappings and lists may lie in one another."
                return
            if isinstance(value, Mapping):
                items += len(value)
                wrong = [((*keys, key), said) for key in value if (said := _key_problem(key))]
                yield from wrong
                inner = [] if wrong else list(value.items())
            else:
                inner = list(enumerate(value))
            waiting += [((*keys, key), item) for key, item in reversed(inner[: MOST_ITEMS + 1])]
        elif (sentence := _scalar_problem(value)) is not None:
            yield keys, sentence


def _key_problem(key: object) -> str | None:
    if not isinstance(key, str):
        return f"a key must be a string. Got {clipped(repr(key))}."
    if len(key) > LONGEST_KEY:
        words = f"a key must be of at most {LONGEST_KEY} characters"
        return f"{words}. Got {len(key):,}: {clipped(repr(key), 80)}."
    if not key.isprintable():  # control characters, lone surrogates
        return f"a key must be of characters that can be printed. Got {clipped(repr(key))}."
    return None


def _scalar_problem(value: object) -> str | None:
    if isinstance(value, int) and abs(value) >= 10**MOST_DIGITS:
        return f"a number must be of at most {MOST_DIGITS} digits."
    if not isinstance(value, str):
        return None
    if len(value) > LONGEST_TEXT:
        words = f"a string must be of at most {LONGEST_TEXT:,} characters"
        return f"{words}. Got {len(value):,}: {clipped(repr(value), 80)}."
    if "\0" in value:
        return f"a string can't hold a NUL character. Got {clipped(repr(value))}."
    if any("\ud800" <= character <= "\udfff" for character in value):
        return f"a string must be text: it has half a surrogate pair. Got {clipped(repr(value))}."
    return None


def _beyond(mark: Any, allowed: str) -> BoundsError:
    return BoundsError(problem=allowed, problem_mark=mark)
