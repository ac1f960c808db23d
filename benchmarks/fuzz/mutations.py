"""Small changes that make right inputs wrong: of trees, of YAML text, of bytes.

Each takes a source of chance, `random.Random` or what Hypothesis gives, and returns a new value.
"""

from __future__ import annotations

import contextlib
import copy
import json
import random
from collections.abc import Callable
from typing import Any

ODD: tuple[Any, ...] = (
    None, True, False, 0, 1, -1, 2**31, -(2**63), 2**64, 10**30, 0.0, -0.5, 1e-320, 1e308,
    float("nan"), float("inf"), float("-inf"), "", " ", "\0", "a" * 3000, "é", "\ud7ff", "../..",
    "/etc/passwd", "~nouser", "os:system", "null", "1e3", "²", "\x1b[31m", "<script>", "a\nb",
    [], {}, [[]], {"": None}, {"use": "train"}, [None] * 50, "2e-4", "C:\\x", "%s", "{x}",
)  # fmt: skip
"""Values of wrong types, extreme numbers, strange strings."""
SNIPPETS = (
    "&a [*a]", "*nothing", "!!python/object:os.system {}", "!!int abc", "!!binary x", "? ", "- ",
    "<<: ", "%YAML 9.9\n", "---\n", "...\n", "\t", "'", '"', "{", "}", "[", "]", ": ", "#", "|\n",
    ">\n", "\x00", "\ufeff", "\x85", "\u2028", "1_000", "0x10", "0o7", "1:30", "2023-02-30",
    '"\\U99999999"', "&b {x: [1, *b]}", "[" * 300, "{a: " * 300, "a: &x 1\nb: *x\n", "\r", "-1e999",
)  # fmt: skip
"""Pieces of YAML that parsers stumble over."""


def tree(value: Any, chance: random.Random) -> Any:
    """A tree of dicts and lists with one to three places changed."""
    value = copy.deepcopy(value)
    for _ in range(chance.randint(1, 3)):
        places = list(_places(value))
        if places:
            parent, key = chance.choice(places)
            _change(parent, key, places, chance)
    return value


def _places(value: Any) -> Any:
    if isinstance(value, dict | list):
        for key in list(value) if isinstance(value, dict) else range(len(value)):
            yield value, key
            yield from _places(value[key])


def _change(parent: Any, key: Any, places: list[Any], chance: random.Random) -> None:
    way = chance.randint(0, 6)
    if way == 0:
        del parent[key]
    elif way == 1 and isinstance(parent, dict):
        parent[chance.choice(["usee", "", "a" * 300, "é", "1", "target", "\0"])] = parent[key]
    elif way == 1:
        parent.insert(key, copy.deepcopy(parent[key]))
    elif way == 2:
        parent[key] = [parent[key]]
    elif way == 3:
        parent[key] = {"x": parent[key]}
    elif way == 4:
        other, place = chance.choice(places)
        parent[key] = copy.deepcopy(other[place]) if _has(other, place) else None
    else:
        parent[key] = copy.deepcopy(chance.choice(ODD))


def _has(parent: Any, key: Any) -> bool:
    return key in parent if isinstance(parent, dict) else key < len(parent)


def text(value: str, chance: random.Random) -> str:
    """Text with pieces put in, left out, doubled and nested."""
    for _ in range(chance.randint(1, 4)):
        at = chance.randint(0, len(value))
        end = min(len(value), at + chance.randint(0, 40))
        way = chance.randint(0, 4)
        if way == 0:
            value = value[:at] + value[end:]
        elif way == 1:
            value = value[:end] + value[at:]
        elif way == 2:
            value = value[:at] + chr(chance.choice([0, 9, 13, 27, 127, 160, 0xFFFE, 0x1F600]))
            value += "\n"
        else:
            value = value[:at] + chance.choice(SNIPPETS) + value[at:]
    return value


def raw(value: bytes, chance: random.Random) -> bytes:
    """Bytes flipped, cut, doubled, zeroed, replaced; or all of them gone."""
    for _ in range(chance.randint(1, 4)):
        if not value:
            return bytes(chance.randint(0, 255) for _ in range(chance.randint(0, 40)))
        at = chance.randint(0, len(value) - 1)
        end = min(len(value), at + chance.randint(1, 64))
        way = chance.randint(0, 6)
        if way == 0:
            value = value[:at]
        elif way == 1:
            value = value[:at] + value[end:]
        elif way == 2:
            value = value[:end] + value[at:]
        elif way == 3:
            value = value[:at] + bytes(end - at) + value[end:]
        elif way == 4:
            value = value[:at] + b"\xff" * (end - at) + value[end:]
        elif way == 5:
            value = b"" if chance.randint(0, 5) == 0 else value[at:] + value[:at]
        else:
            value = value[:at] + bytes([value[at] ^ (1 << chance.randint(0, 7))]) + value[at + 1 :]
    return value


def file(value: bytes, chance: random.Random, *, name: str) -> bytes:
    """A file's content: the tree of a JSON file half of the times, else its bytes."""
    if name.endswith(".json") and chance.randint(0, 1):
        with contextlib.suppress(ValueError):  # a line for each row is no tree
            return json.dumps(tree(json.loads(value), chance)).encode("utf-8", "surrogatepass")
    if name.endswith((".csv", ".json", ".txt", ".yaml", ".md")) and chance.randint(0, 1):
        return text(value.decode(), chance).encode("utf-8", "surrogatepass")
    return raw(value, chance)


Mutation = Callable[[Any, random.Random], Any]
