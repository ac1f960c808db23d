"""The YAML front matter of a model's or a data set's card."""

from __future__ import annotations

FENCE = "---"


def front_matter(text: str) -> str | None:
    """The text between the first two lines of `---`; None if the text doesn't begin with one."""
    lines = text.splitlines()
    if not lines or lines[0].strip() != FENCE:
        return None
    end = next((at for at, line in enumerate(lines[1:], 1) if line.strip() == FENCE), None)
    return None if end is None else "\n".join(lines[1:end])
