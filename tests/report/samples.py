"""Rows and reports as runs leave them."""

from compress.core.notes import careful
from compress.measurement.results import Latency, Quality, Speedup
from compress.report.document import Delta, GateResult, Report, Row


def make_row(index: int, name: str, **changes: object) -> Row:
    """A row of a model that is `index` times smaller and faster than the first."""
    share = 1 / (index + 1)
    accuracy = 0.8615 - 0.003 * index
    values = {
        "index": index,
        "name": name,
        "use": name if index else None,
        "params": round(22_700_000 * share),
        "macs": round(362_000_000 * share),
        "size_bytes": round(91_000_000 * share),
        "quality": Quality(
            metric="accuracy", value=accuracy, ci95=(accuracy - 0.01, accuracy + 0.01), samples=4000
        ),
        "latency_ms": {
            "1": Latency(p50=18.2 * share, p95=20 * share),
            "32": Latency(p50=502.4 * share, p95=520 * share),
        },
        "speedup": {
            batch: Speedup(
                vs_original=1 / share,
                ci95=(0.98 / share, 1.02 / share) if index else None,
                vs_previous=1.5 if index else None,
            )
            for batch in ("1", "32")
        },
        "delta": Delta(params=share - 1, size=share - 1, quality=-0.003 * index),
        "seconds": 754.2 * index,
        "peak_memory_bytes": 1_234_567_890,
        "notes": [careful(f"a warning on {name}") if index == 1 else f"a note on {name}"]
        if index
        else [],
    }
    return Row.model_validate(values | changes)


def make_report() -> Report:
    """A gate failed, another passed."""
    return Report(
        name="sections",
        status="gate_failed",
        version="0.1.0",
        recipe_hash="ab" * 32,
        environment={
            "cpu": "Xeon",
            "flags": ["avx2", "avx512_vnni"],
            "threads": 1,
            "versions": {"torch": "2.13.0", "onnxruntime": "1.32.0"},
        },
        stages=[make_row(0, "original"), make_row(1, "distill"), make_row(2, "quantize")],
        gates=[
            GateResult(name="accuracy_drop", limit=0.005, value=0.006, passed=False),
            GateResult(name="speedup", limit=2, value=3, passed=True),
        ],
        notes=["the run's own note"],
    )
