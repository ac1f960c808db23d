"""A preview in lines: the output of `compress check --data`, after the plan."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from compress.runner.preview.look import ROWS, Lengths, Preview, SplitSeen

_MOST_CLASSES = 20


def preview_lines(seen: Preview) -> list[str]:
    """Return the lines on what was loaded and tried."""
    lines = ["loaded", f"  model    {seen.model}, {seen.params:,} parameters"]
    if seen.classes:
        more = len(seen.classes) - _MOST_CLASSES
        rest = f" and {more:,} more" if more > 0 else ""
        lines.append(
            f"  classes  {len(seen.classes)}: {', '.join(seen.classes[:_MOST_CLASSES])}{rest}"
        )
    lines.append(f"tried, the first {ROWS} rows of each split")
    for split in seen.splits:
        lines += _split(split)
    lines += _stages(seen)
    return [*lines, *(f"note: {note}" for note in seen.notes)]


def _split(seen: SplitSeen) -> Iterator[str]:
    yield f"  {seen.split}: {seen.size:,} samples"
    yield f"    inputs   {_listed(seen.inputs)}"
    yield f"    outputs  {_listed(seen.outputs)}"
    for name, words in seen.labels.items():
        yield f"    labels   {words if name == 'labels' else f'{name}: {words}'}"
    if seen.lengths is not None:
        yield f"    tokens   {_tokens(seen.lengths)}"


def _tokens(found: Lengths) -> str:
    full = f"; {found.full} at the limit of {found.limit}, and mostly cut" if found.full else ""
    return (
        f"{found.least} to {found.most} in the first {found.texts} texts, median {found.middle}"
        f"{full}"
    )


def _listed(shapes: Mapping[str, str]) -> str:
    return ", ".join(f"{name} {shape}" for name, shape in shapes.items())


def _stages(seen: Preview) -> Iterator[str]:
    if not seen.stages:
        return
    yield "stages, without training"
    width = max(len(name) for name in seen.stages)
    for name, params in seen.stages.items():
        yield f"  {name:<{width}}  {params:,} parameters, {params / seen.params:.1%} of the model's"
