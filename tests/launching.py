"""Processes that tests start, and what they need to import what the tests share."""

import multiprocessing
import os
import socket
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).parents[1]
"""The repository."""

ENVIRONMENT = {**os.environ, "PYTHONPATH": str(ROOT)}

_LIBRARIES = [
    "torch._dynamo",
    "transformers",
    "accelerate",
    "compress.runner.pipeline",
    "compress.training.loop",
]


@dataclass(frozen=True)
class Ended:
    """How a process ended, and all that it said."""

    returncode: int
    stdout: str
    stderr: str


def launch_two(function: Callable[..., None], *given: object, folder: Path) -> list[Ended]:
    """Call an importable function in two processes, with the environment that `torchrun` sets.

    Unlike those that `torchrun` starts, they are forked from a process that has imported the
    libraries once, and nobody ends one because the other failed.
    """
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(_LIBRARIES)
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    processes, said = [], []
    for index in range(2):
        said.append([folder / f"{index}.{stream}" for stream in ("stdout", "stderr")])
        arguments = (index, port, said[-1], function, given)
        processes.append(context.Process(target=_work, args=arguments))
        processes[-1].start()
    try:
        for process in processes:
            process.join(300)
            assert process.exitcode is not None, "it doesn't end"
    finally:
        for process in processes:
            process.kill()
    return [
        Ended(process.exitcode, *(path.read_text(encoding="utf-8") for path in paths))
        for process, paths in zip(processes, said, strict=True)
    ]


def _work(
    index: int,
    port: int,
    said: list[Path],
    function: Callable[..., None],
    given: tuple[object, ...],
) -> None:
    for number, path in enumerate(said, start=1):
        with path.open("wb") as file:
            os.dup2(file.fileno(), number)
    for name in ("RANK", "LOCAL_RANK"):
        os.environ[name] = str(index)
    for name in ("WORLD_SIZE", "LOCAL_WORLD_SIZE"):
        os.environ[name] = "2"
    os.environ.update(MASTER_ADDR="127.0.0.1", MASTER_PORT=str(port))
    function(*given)
