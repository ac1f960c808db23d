"""The YAML at the top of a card."""

from __future__ import annotations

FENCE = "---"


def front_matter(text: str) -> str | None:
    """What stands between the first two lines of `---`; None where a text doesn't begin so."""
    lines = text.splitlines()
    if not lines or lines[0].strip() != FENCE:
        return None
    end = next((at for at, line in enumerate(lines[1:], 1) if line.strip() == FENCE), None)
    return None if end is None else "\n".join(lines[1:end])
