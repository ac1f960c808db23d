"""The table of `compress bench`."""

import io
from pathlib import Path

from compress.measurement.bench.compare import Bench, Timing
from compress.report.bench import show_bench
from compress.report.terminal import plain_console


def _timing(model, *, batch, ms):
    rate = 1000 * batch / ms
    return Timing(
        model=model,
        threads=1,
        batch_size=batch,
        rounds=20,
        p50_ms=ms,
        p50_ci95=(0.9 * ms, 1.1 * ms),
        p95_ms=1.3 * ms,
        samples_per_second=rate,
        samples_per_second_ci95=(0.9 * rate, 1.1 * rate),
        speedup=0.5 * ms,
        speedup_ci95=(0.4 * ms, 123.4 * ms),
    )


def test_names_are_whole_in_a_hundred_columns_whatever_the_numbers():
    names = ("mobilenet-int8", "original")
    timings = [
        _timing(name, batch=batch, ms=ms)
        for batch, ms in ((1, 0.0015), (512, 0.4), (32, 123456.7))
        for name in names
    ]
    found = Bench(
        models={name: Path(f"{name}.onnx") for name in names},
        size_bytes=dict.fromkeys(names, 999_900_000),
        timings=tuple(timings),
        inputs="x 4 float32",
    )
    console = plain_console(io.StringIO())
    show_bench(found, console)
    lines = console.file.getvalue().splitlines()
    assert all(sum(name in line for line in lines) == 3 for name in names)
    assert all(len(line.rstrip()) <= 100 for line in lines)
    assert sum("[" in line for line in lines) >= len(timings)
