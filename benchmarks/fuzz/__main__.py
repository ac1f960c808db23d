"""Mutated recipes, data, models, ONNX files, bundles and run folders through the real command.

    python benchmarks/fuzz all [--seed 0] [--count N] [--seconds S] [--limit 20]
    python benchmarks/fuzz recipes --count 1000
    python benchmarks/fuzz --replay FILE

Every case is a right input with a mutated file, which `check`, `run`, `bench`, `verify` or
`compare` then reads. It must end with 0, 1, 2, 3 or 130, with a sentence and no traceback, in 20
seconds, and must neither change a file nor write one outside the output folder. Cases that don't
are kept as files below --keep, each of which --replay runs again. Ends with 1 if there are any.
"""

from __future__ import annotations

import argparse
import base64
import json
import random
import sys
import tempfile
import time
from collections import Counter
from dataclasses import asdict
from pathlib import Path

from kinds import KINDS, Case
from worker import Worker

COLUMNS = (
    "kind",
    "cases",
    "exit codes",
    "unhandled",
    "hangs",
    "writes outside",
    "other",
    "seconds",
)


def main() -> int:
    """Returns the exit code."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("kind", nargs="?", choices=[*KINDS, "all"], default="all")
    parser.add_argument("--count", type=int, help="cases of each kind [default: a campaign's]")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--first", type=int, default=0, help="number of the first case")
    parser.add_argument("--seconds", type=float, default=float("inf"), help="for each kind")
    parser.add_argument("--limit", type=float, default=20.0, help="CPU seconds of one case")
    parser.add_argument("--keep", type=Path, default=Path("fuzz-failures"))
    parser.add_argument("--replay", type=Path, metavar="FILE")
    asked = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="compress-fuzz-") as folder:
        worker = Worker(Path(folder), limit=asked.limit)
        try:
            if asked.replay is not None:
                return _replayed(asked.replay, worker)
            kinds = list(KINDS) if asked.kind == "all" else [asked.kind]
            rows = [_campaign(kind, worker, Path(folder), asked) for kind in kinds]
        finally:
            worker.close()
    print(f"\n| {' | '.join(COLUMNS)} |\n|{'---|' * len(COLUMNS)}")
    for row, _ in rows:
        print(f"| {' | '.join(row)} |")
    return int(any(failed for _, failed in rows))


def _campaign(
    kind: str, worker: Worker, folder: Path, asked: argparse.Namespace
) -> tuple[tuple[str, ...], int]:
    """A row of the table, and how many cases failed."""
    worker.prepare(kind)
    codes: Counter[int] = Counter()
    wrong: Counter[str] = Counter()
    started, cases = time.monotonic(), 0
    for number in range(asked.first, asked.first + (asked.count or KINDS[kind].count)):
        if time.monotonic() - started > asked.seconds:
            break
        chance = random.Random(f"{asked.seed} {kind} {number}")  # noqa: S311
        case = KINDS[kind].make(folder / "templates" / kind, chance)
        verdict = worker.run(case)
        cases += 1
        codes[verdict.code] += 1
        if verdict.wrong:
            wrong.update({_sort(line) for line in verdict.wrong})
            kept = _kept(case, verdict.wrong, asked.keep / f"{kind}-{asked.seed}-{number}.json")
            print(f"{kept} {case.file}: {verdict.wrong[0][:600]}", flush=True)
    seen = ", ".join(f"{code}: {count}" for code, count in sorted(codes.items()))
    found = [str(wrong[sort]) for sort in ("unhandled", "hang", "outside", "other")]
    return (kind, str(cases), seen, *found, f"{time.monotonic() - started:.0f}"), wrong.total()


def _sort(line: str) -> str:
    if "wrote " in line or "removed " in line:
        return "outside"
    if "hang:" in line:
        return "hang"
    return "unhandled" if any(w in line for w in ("unhandled", "crash", "raised")) else "other"


def _kept(case: Case, wrong: tuple[str, ...], path: Path) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    content = base64.b64encode(case.content).decode()
    record = {**asdict(case), "content": content, "wrong": wrong}
    path.write_text(json.dumps(record, indent=1), encoding="utf-8")
    return path


def _replayed(path: Path, worker: Worker) -> int:
    record = json.loads(path.read_text(encoding="utf-8"))
    del record["wrong"]
    record["content"] = base64.b64decode(record["content"])
    record["commands"] = tuple(tuple(command) for command in record["commands"])
    case = Case(**record)
    worker.prepare(case.kind)
    verdict = worker.run(case)
    print(verdict.said)
    print(f"exit code {verdict.code}", *verdict.wrong, sep="\n")
    return int(bool(verdict.wrong))


if __name__ == "__main__":
    sys.exit(main())
