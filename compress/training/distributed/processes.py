"""The processes that were launched together: their number, their index, and their messages.

`torchrun` and `accelerate launch` set them in the environment. Importing this imports no torch.
"""

from __future__ import annotations

import atexit
import contextlib
import os
import sys
from collections.abc import Callable
from dataclasses import dataclass
from datetime import timedelta
from typing import NoReturn, TypeVar, cast

from compress.errors import CompressError, StageError

_Value = TypeVar("_Value")

_PATIENCE = timedelta(days=1)
"""Time that processes wait for one another, such as for the first one's measurements."""


@dataclass(frozen=True)
class Processes:
    """The processes that work together on one run.

    Attributes
    ----------
    index : index of this process, from 0.
    count : number of all processes.
    """

    index: int = 0
    count: int = 1

    @property
    def first(self) -> bool:
        """True for the process that writes files and talks to the user."""
        return self.index == 0

    def share(self, value: _Value | None) -> _Value:
        """Return the first process's value in every process. All processes must call it."""
        if self.count == 1:
            return cast(_Value, value)
        import torch
        import torch.distributed as dist

        values = [value if self.first else None]
        dist.broadcast_object_list(values, src=0, device=torch.device("cpu"))
        return cast(_Value, values[0])

    def gather(self, value: _Value) -> list[_Value]:
        """Return the values of all processes, by index. All processes must call it."""
        if self.count == 1:
            return [value]
        import torch.distributed as dist

        values: list[_Value | None] = [None] * self.count
        dist.all_gather_object(values, value)
        return cast(list[_Value], values)

    def once(self, work: Callable[[], _Value]) -> _Value:
        """Do `work` in the first process only; return its result in every process.

        Raises
        ------
        CompressError : in every process, if `work` raises one.
        """
        if self.count == 1:
            return work()
        made: tuple[_Value | None, CompressError | None] = (None, None)
        if self.first:
            try:
                made = work(), None
            except CompressError as error:
                made = None, error
        value, failure = self.share(made)
        if failure is not None:
            raise failure
        return cast(_Value, value)


def launched() -> Processes:
    """The processes that the environment names. Nothing is sent to them."""
    count = _integer("WORLD_SIZE", 1)
    if count < 2 or "RANK" not in os.environ:
        return Processes()
    return Processes(index=_integer("RANK", 0), count=count)


def on_this_machine() -> int:
    """Number of launched processes on this machine."""
    return max(1, _integer("LOCAL_WORLD_SIZE", 1)) if launched().count > 1 else 1


def _integer(name: str, default: int) -> int:
    value = os.environ.get(name, "")
    return int(value) if value.isdecimal() else default


def join(device: str) -> Processes:
    """Connect to the other processes, if there are any. Calling it again does nothing more.

    Parameters
    ----------
    device : "cpu" (communication by gloo) or "cuda" (by NCCL; each process has its own GPU).

    Raises
    ------
    StageError : there are more processes on this machine than GPUs.
    """
    found = launched()
    if found.count == 1:
        return found
    import torch
    import torch.distributed as dist

    if device != "cpu":
        own = _integer("LOCAL_RANK", 0)
        if own >= torch.cuda.device_count():
            raise StageError(
                f"each process needs a GPU of its own: {on_this_machine()} processes on this "
                f"machine. Got {torch.cuda.device_count()} GPUs."
            )
        torch.cuda.set_device(own)
    if not dist.is_initialized():
        dist.init_process_group(
            "gloo" if device == "cpu" else "cpu:gloo,cuda:nccl", timeout=_PATIENCE
        )
    return Processes(index=dist.get_rank(), count=dist.get_world_size())


def leave() -> None:
    """End the connection that `join` made, if there is one."""
    if launched().count == 1:
        return
    import torch.distributed as dist

    if dist.is_initialized():
        dist.destroy_process_group()


def end(code: int) -> NoReturn:
    """End this process with an exit code, without the interpreter's shutdown.

    Finalizers then can't change the command's exit code or print anything. Processes that were
    launched together have a second reason: during the shutdown torch's threads for gloo sometimes
    abort ("terminate called without an active exception"). The launcher would take that for a
    failure, although all work is done.
    """
    atexit._run_exitfuncs()
    for stream in (sys.stdout, sys.stderr):
        with contextlib.suppress(OSError, ValueError, CompressError):  # nobody could read the error
            if stream is not None:
                stream.flush()
    os._exit(code)
