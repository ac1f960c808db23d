"""Tables of what lies inside a model: widths of layers, noise of nodes, classes."""

from __future__ import annotations

import itertools
from typing import TYPE_CHECKING

from compress.report.page.cells import Cell, Grid

if TYPE_CHECKING:
    from compress.report.document import Report, Row
    from compress.report.kept.answers import Confusion

_CLASSES = 20
"""Largest number of classes in the table of recall."""


def widths(report: Report) -> Grid | None:
    """Return the widths of all layers that any stage changed; None if no stage did."""
    rows = [row for row in report.stages[report.reference :] if row.widths and not row.left_aside]
    steps = [row for before, row in itertools.pairwise(rows) if _differ(before.widths, row.widths)]
    if not steps:
        return None
    shown = [rows[0], *steps]
    layers = list(dict.fromkeys(layer for row in shown for layer in row.widths))
    changed = [layer for layer in layers if len({row.widths.get(layer) for row in shown}) > 1]
    body = []
    for layer in changed:
        found = [row.widths.get(layer) for row in shown]
        largest = max(width for width in found if width is not None)
        first, last = ((width or 0) / largest for width in (found[0], found[-1]))
        cells = [Cell("-" if width is None else f"{width:,}", sort=width or 0) for width in found]
        said = "gone" if found[-1] is None else "new" if found[0] is None else f"{last / first:.0%}"
        body.append([Cell(layer), *cells, Cell(said, sort=last, bars=(first, last))])
    head = ["layer", *(row.name for row in shown), "of what it was"]
    return Grid("Widths of layers", head, body)


def _differ(before: dict[str, int], after: dict[str, int]) -> bool:
    return before != after


def noise(row: Row) -> Grid:
    """Return the noise of each node that was quantized alone, the noisiest first."""
    known = {node: value for node, value in row.noise.items() if value is not None}
    most = max(known.values(), default=1.0) or 1.0
    body = [
        [
            Cell(node),
            Cell(f"{value:.1f} dB", sort=value, bars=(min(1.0, max(0.0, value / most)),)),
        ]
        for node, value in sorted(known.items(), key=lambda item: item[1])
    ]
    body += [
        [Cell(node), Cell("no difference", sort=999.0)]
        for node, value in row.noise.items()
        if value is None
    ]
    return Grid(f"Noise of the nodes of {row.name}", ["node", "signal to noise"], body)


def recall(report: Report) -> Grid | None:
    """Return the classes whose recall changed most from reference to final; None without any."""
    if len(report.stages) <= report.reference + 1:
        return None
    before, after = report.stages[report.reference], report.final
    both = [name for name in before.recall if name in after.recall]
    changed = [name for name in both if before.recall[name] != after.recall[name]]
    changed.sort(key=lambda name: -abs(after.recall[name] - before.recall[name]))
    if not changed:
        return None
    body = []
    for name in changed[:_CLASSES]:
        first, last = before.recall[name], after.recall[name]
        tone = "good" if last > first else "bad"
        body.append(
            [
                Cell(name),
                Cell(f"{first:.1%}", sort=first),
                Cell(f"{last:.1%}", sort=last),
                Cell(
                    f"{(last - first) * 100:+.1f} points",
                    sort=last - first,
                    tone=tone,
                    bars=(first, last),
                ),
            ]
        )
    return Grid("Recall by class", ["class", before.name, after.name, "change"], body)


def confusion(found: Confusion, which: str) -> Grid:
    """Return the answers of "reference" or "final" by class, as a matrix."""
    counts = found.reference if which == "reference" else found.final
    others = found.of > len(found.classes)
    head = ["class", *found.classes, *(["others"] if others else [])]
    body = []
    for place, (name, row) in enumerate(zip(found.classes, counts, strict=True)):
        total = sum(row) or 1
        shown = row if others else row[: len(found.classes)]
        cells = [
            Cell(
                str(count) if count else "·",
                sort=count,
                tone="right" if column == place else "wrong" if count else "soft",
                bars=(count / total,),
            )
            for column, count in enumerate(shown)
        ]
        body.append([Cell(name), *cells])
    return Grid(f"Answers of the {which} model", head, body)
