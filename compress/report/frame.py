"""A report as a table of pandas, one row for each model."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import pandas as pd

_COUNTED = ("name", "use", "left_aside", "params", "macs", "size_bytes")
_DIFFERENCE = ("change", "p_value", "verdict", "agreement")


def frame(rows: Sequence[Mapping[str, Any]]) -> pd.DataFrame:
    """Return the rows of a report as a table; see `Report.to_frame`.

    Parameters
    ----------
    rows : the rows as plain values, as report.json has them.
    """
    return pd.DataFrame([_figures(row) for row in rows])


def glance(rows: Sequence[Mapping[str, Any]]) -> pd.DataFrame:
    """Return the columns of `frame` that are read first; sizes are in MB, counts in millions."""
    return pd.DataFrame([_first(row) for row in rows])


def _first(row: Mapping[str, Any]) -> dict[str, Any]:
    found = {"stage": row["name"]}
    for column, key in (("params (M)", "params"), ("MACs (M)", "macs"), ("MB", "size_bytes")):
        found[column] = None if row[key] is None else row[key] / 1e6
    quality = row["quality"]
    found[quality["metric"]] = quality["value"]
    if quality["ci95"] is not None:
        low, high = quality["ci95"]
        found["95 %"] = f"{low:.4f} to {high:.4f}"
    for batch, latency in row["latency_ms"].items():
        found[f"ms at {batch}"] = latency["p50"]
    for batch, speedup in row["speedup"].items():
        found[f"speedup at {batch}"] = speedup["vs_original"]
    return found


def _figures(row: Mapping[str, Any]) -> dict[str, Any]:
    quality = row["quality"]
    found = {name: row[name] for name in _COUNTED}
    found |= {"metric": quality["metric"], "quality": quality["value"]}
    found |= _ends("quality", quality["ci95"])
    found["samples"] = quality["samples"]
    for name in ("vs_reference", "vs_previous"):
        tested = row[name] or {}
        found |= {f"{name}_{key}": tested.get(key) for key in _DIFFERENCE}
        found |= _ends(name, tested.get("ci95"))
    found["calibration_error"] = row["calibration_error"]
    for batch, latency in row["latency_ms"].items():
        found |= {f"p50_ms_{batch}": latency["p50"], f"p95_ms_{batch}": latency["p95"]}
    for batch, speedup in row["speedup"].items():
        found[f"speedup_{batch}"] = speedup["vs_original"]
        found |= _ends(f"speedup_{batch}", speedup["ci95"])
    return found | {"seconds": row["seconds"], "peak_memory_bytes": row["peak_memory_bytes"]}


def _ends(name: str, interval: Sequence[float] | None) -> dict[str, Any]:
    low, high = interval or (None, None)
    return {f"{name}_low": low, f"{name}_high": high}
