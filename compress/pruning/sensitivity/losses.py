"""The measured sensitivity of each group, and its file. No torch here."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from compress.core.files.atomic import write_text
from compress.errors import StageError, expected

SCHEMA = 1
FILE = "sensitivity.json"


@dataclass(frozen=True)
class GroupSensitivity:
    """The sensitivity of one group, with all others whole.

    Attributes
    ----------
    name, kind, units : the group's name, kind and number of units.
    cut : the numbers of its least important units that were removed, ascending.
    quality : the metric after each cut; None if it isn't defined for the model's answers.
    divergence : divergence from the whole model's answers after each cut; infinite if the answers
        aren't numbers.
    """

    name: str
    kind: str
    units: int
    cut: tuple[int, ...]
    quality: tuple[float | None, ...]
    divergence: tuple[float, ...]

    @property
    def ratios(self) -> tuple[float, ...]:
        """The fractions of its units that were removed."""
        return tuple(count / self.units for count in self.cut)


@dataclass(frozen=True)
class Sensitivity:
    """The sensitivity of all groups.

    Attributes
    ----------
    metric : name of the metric of quality, such as "accuracy".
    higher_is_better : the metric's direction.
    baseline : the whole model's quality.
    measure : the divergence in words; see `compress.pruning.sensitivity.divergence.MEASURES`.
    samples : number of samples of each measurement.
    groups : the sensitivity of each group, in the order in which they were given.
    """

    metric: str
    higher_is_better: bool
    baseline: float
    measure: str
    samples: int
    groups: tuple[GroupSensitivity, ...]

    def to_dict(self) -> dict[str, Any]:
        """The sensitivity as plain JSON. Null stands for infinity and for undefined quality."""
        return {
            "schema": SCHEMA,
            "metric": self.metric,
            "higher_is_better": self.higher_is_better,
            "baseline": self.baseline,
            "measure": self.measure,
            "samples": self.samples,
            "groups": [
                {
                    "name": group.name,
                    "kind": group.kind,
                    "units": group.units,
                    "cut": list(group.cut),
                    "ratios": list(group.ratios),
                    "quality": list(group.quality),
                    "divergence": [
                        value if math.isfinite(value) else None for value in group.divergence
                    ],
                }
                for group in self.groups
            ],
        }

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> Sensitivity:
        """The sensitivity from what `to_dict` returned.

        Raises
        ------
        StageError : the schema is another one.
        """
        if values.get("schema") != SCHEMA:
            raise StageError(expected("schema", f"{SCHEMA}", values.get("schema")))
        return cls(
            values["metric"],
            values["higher_is_better"],
            values["baseline"],
            values["measure"],
            values["samples"],
            tuple(
                GroupSensitivity(
                    group["name"],
                    group["kind"],
                    group["units"],
                    tuple(group["cut"]),
                    tuple(group["quality"]),
                    tuple(math.inf if value is None else value for value in group["divergence"]),
                )
                for group in values["groups"]
            ),
        )

    def write(self, directory: Path) -> Path:
        """Write `sensitivity.json` into a folder, and return its path."""
        path = directory / FILE
        write_text(path, json.dumps(self.to_dict(), indent=1, allow_nan=False) + "\n")
        return path
