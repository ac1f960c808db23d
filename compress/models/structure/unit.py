"""Kinds of units that can be pruned from a model. No torch here."""

from __future__ import annotations

from typing import Literal

Unit = Literal["channels", "feed_forward", "heads", "head_width", "hidden"]
