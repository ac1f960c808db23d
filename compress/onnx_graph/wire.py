"""Reads protobuf messages field by field, without onnx: large tensors are passed over."""

from __future__ import annotations

from collections.abc import Iterator
from mmap import mmap
from typing import NamedTuple

Buffer = bytes | mmap


class Span(NamedTuple):
    """A message, or a part of one: the places of its bytes in the file."""

    start: int
    end: int


_DAMAGED = "this isn't a protobuf message"


def fields(data: Buffer, span: Span) -> Iterator[tuple[int, int | Span]]:
    """Yield each field's number and value: an integer, or the span of a text, tensor or message.

    The format is https://protobuf.dev/programming-guides/encoding. Numbers of fixed size are given
    as spans.

    Raises
    ------
    ValueError : a field doesn't end inside its message, or is of no known kind.
    """
    place = span.start
    while place < span.end:
        key, place = _varint(data, place, span.end)
        number, kind = key >> 3, key & 7
        if kind == 0:
            value, place = _varint(data, place, span.end)
            yield number, value
            continue
        if kind == 2:
            size, place = _varint(data, place, span.end)
        elif kind in (1, 5):
            size = 8 if kind == 1 else 4
        else:
            raise ValueError(_DAMAGED)
        if not number or place + size > span.end:
            raise ValueError(_DAMAGED)
        yield number, Span(place, place + size)
        place += size


def text(data: Buffer, value: int | Span) -> str:
    """Return a field's text.

    Raises
    ------
    ValueError : the field holds an integer.
    """
    if isinstance(value, int):
        raise ValueError(_DAMAGED)
    return data[value.start : value.end].decode("utf-8", errors="replace")


def inner(value: int | Span) -> Span:
    """Return the span of a field that holds a message.

    Raises
    ------
    ValueError : the field holds an integer.
    """
    if isinstance(value, int):
        raise ValueError(_DAMAGED)
    return value


def whole(value: int | Span) -> int:
    """Return a field's integer, which may be negative.

    Raises
    ------
    ValueError : the field holds something else.
    """
    if not isinstance(value, int):
        raise ValueError(_DAMAGED)
    return value - 2**64 if value >= 2**63 else value


def _varint(data: Buffer, place: int, end: int) -> tuple[int, int]:
    value = shift = 0
    while place < end and shift < 70:
        byte = data[place]
        place += 1
        value |= (byte & 127) << shift
        if byte < 128:
            return value, place
        shift += 7
    raise ValueError(_DAMAGED)
