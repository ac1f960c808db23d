"""What can be pruned from a model, a unit at a time. No torch here."""

from __future__ import annotations

from typing import Literal

Unit = Literal["channels", "feed_forward", "heads", "head_width", "hidden"]
