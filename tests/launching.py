"""Processes that tests start, and what they need to import what the tests share.

They are forked from a process that has imported the libraries once, instead of importing them for
some seconds each. They have the environment that the tests had when the first one was forked.
"""

import contextlib
import multiprocessing
import multiprocessing.connection
import os
import socket
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from multiprocessing.connection import Connection
from multiprocessing.context import ForkServerProcess
from pathlib import Path
from typing import IO

ROOT = Path(__file__).parents[1]
"""The repository."""

ENVIRONMENT = {**os.environ, "PYTHONPATH": str(ROOT)}

_LIBRARIES = [
    "torch._dynamo",
    "torch.export._trace",
    "torch.onnx._internal.exporter",
    "torch.distributed.checkpoint",
    "onnxscript.function_libs.torch_lib",
    "onnxscript.rewriter",
    "onnx.reference",
    "onnxruntime.quantization",
    "accelerate",
    "transformers.modeling_utils",
    "sklearn.datasets",
    "compress.cli.command",
    "compress.cli.running",
    "compress.runner.execution",
    "compress.distillation.learn",
    "compress.training.loop",
    "compress.stages.train",
    "compress.stages.distill",
    "compress.stages.export",
    "compress.stages.prune.apply",
    "compress.stages.prune.stage",
    "compress.stages.quantize.run",
    "compress.stages.quantize.stage",
    "compress.pruning.prune",
    "compress.exporting.to_onnx",
    "compress.exporting.bundle.samples",
    "compress.exporting.examples.tried",
    "compress.models.resnet",
]

_PATIENCE_S = 300


@dataclass(frozen=True)
class Ended:
    """How a process ended, and all that it said."""

    returncode: int
    stdout: str
    stderr: str


@dataclass(frozen=True)
class Forked:
    """A process that runs.

    Attributes
    ----------
    stdout : what it writes there, to be read while it runs; reading must go on, or be closed.
    """

    process: ForkServerProcess
    stdout: IO[str]
    said: Path

    def send_signal(self, number: int) -> None:
        """Send it a signal, unless it has ended."""
        if self.poll() is None and self.process.pid is not None:
            with contextlib.suppress(ProcessLookupError):
                os.kill(self.process.pid, number)

    def poll(self) -> int | None:
        """Its exit code, or None while it runs."""
        return self.process.exitcode

    def wait(self) -> Ended:
        """How it ended; `stdout` is what nobody had read."""
        unread = "" if self.stdout.closed else self.stdout.read()
        self.process.join(_PATIENCE_S)
        assert self.process.exitcode is not None, "it doesn't end"
        return Ended(self.process.exitcode, unread, self.said.read_text(encoding="utf-8"))


@contextlib.contextmanager
def forked(function: Callable[..., None], *given: object, folder: Path) -> Iterator[Forked]:
    """Call an importable function in a process of its own, which is killed in the end.

    Parameters
    ----------
    folder : where the process is, and where what it writes to stderr is kept.
    """
    reading, writing = multiprocessing.Pipe(duplex=False)
    said = folder / "stderr"
    process = _context().Process(target=_alone, args=(folder, writing, said, function, given))
    process.start()
    writing.close()
    with os.fdopen(os.dup(reading.fileno()), encoding="utf-8") as stdout:
        reading.close()
        try:
            yield Forked(process, stdout, said)
        finally:
            process.kill()
            process.join()


def command(words: list[str]) -> None:
    """Run the command as `compress` does, as the words of this process."""
    from compress.cli import main

    sys.argv[1:] = words
    main()


def launch_two(function: Callable[..., None], *given: object, folder: Path) -> list[Ended]:
    """Call an importable function in two processes, with the environment that `torchrun` sets.

    As `torchrun` does, it ends the other by SIGTERM when one has failed.
    """
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    processes, said = [], []
    for index in range(2):
        said.append([folder / f"{index}.{stream}" for stream in ("stdout", "stderr")])
        arguments = (index, port, said[-1], function, given)
        processes.append(_context().Process(target=_one_of_two, args=arguments))
        processes[-1].start()
    try:
        left = [process.sentinel for process in processes]
        while left:
            ended = multiprocessing.connection.wait(left, _PATIENCE_S)
            assert ended, "they don't end"
            left = [sentinel for sentinel in left if sentinel not in ended]
            for process in processes:
                if process.sentinel in ended and process.exitcode:
                    for other in processes:
                        other.terminate()
    finally:
        for process in processes:
            process.kill()
            process.join()
    return [
        Ended(process.exitcode or 0, *(path.read_text(encoding="utf-8") for path in paths))
        for process, paths in zip(processes, said, strict=True)
    ]


def _context() -> multiprocessing.context.ForkServerContext:
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(_LIBRARIES)
    return context


def _alone(
    folder: Path,
    writing: Connection,
    said: Path,
    function: Callable[..., None],
    given: tuple[object, ...],
) -> None:
    os.chdir(folder)
    os.dup2(writing.fileno(), 1)
    writing.close()
    with said.open("wb") as file:
        os.dup2(file.fileno(), 2)
    function(*given)


def _one_of_two(
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
