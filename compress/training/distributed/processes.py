"""The processes that were launched together: which one this is, and what they tell one another.

`torchrun` and `accelerate launch` say it in the environment. Importing this brings no torch.
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
"""How long processes wait for one another: the first one also measures while the others wait."""


@dataclass(frozen=True)
class Processes:
    """Those that work together on one run.

    Attributes
    ----------
    index : of this process, from 0.
    count : of all.
    """

    index: int = 0
    count: int = 1

    @property
    def first(self) -> bool:
        """True if this one writes files and talks to the user."""
        return self.index == 0

    def share(self, value: _Value | None) -> _Value:
        """The first process's value, in every process. All must call it."""
        if self.count == 1:
            return cast(_Value, value)
        import torch
        import torch.distributed as dist

        values = [value if self.first else None]
        dist.broadcast_object_list(values, src=0, device=torch.device("cpu"))
        return cast(_Value, values[0])

    def gather(self, value: _Value) -> list[_Value]:
        """Every process's value, by index, in every process. All must call it."""
        if self.count == 1:
            return [value]
        import torch.distributed as dist

        values: list[_Value | None] = [None] * self.count
        dist.all_gather_object(values, value)
        return cast(list[_Value], values)

    def once(self, work: Callable[[], _Value]) -> _Value:
        """What `work` returns in the first process, which alone calls it; the others wait.

        Raises
        ------
        CompressError : whatever `work` raises of its kind, in every process.
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
    """This process among those that the environment speaks of; without reaching them."""
    count = _integer("WORLD_SIZE", 1)
    if count < 2 or "RANK" not in os.environ:
        return Processes()
    return Processes(index=_integer("RANK", 0), count=count)


def on_this_machine() -> int:
    """How many of the launched processes share this machine."""
    return max(1, _integer("LOCAL_WORLD_SIZE", 1)) if launched().count > 1 else 1


def _integer(name: str, default: int) -> int:
    value = os.environ.get(name, "")
    return int(value) if value.isdecimal() else default


def join(device: str) -> Processes:
    """Reach the other processes, if there are any; again and again gives the same.

    Parameters
    ----------
    device : "cpu" (they talk through gloo) or "cuda" (through NCCL; each process has its own GPU).

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
    """End what `join` began; nothing where there is nothing to end."""
    if launched().count == 1:
        return
    import torch.distributed as dist

    if dist.is_initialized():
        dist.destroy_process_group()


def end(code: int) -> NoReturn:
    """End this process with an exit code, without taking the interpreter apart.

    For the command: finalizers can't make another code of it or print any more. And for processes
    that were launched together: torch's threads for gloo now and then abort while the interpreter
    goes ("terminate called without an active exception"), after all work is done, and the launcher
    would take that for a failure.
    """
    atexit._run_exitfuncs()
    for stream in (sys.stdout, sys.stderr):
        with contextlib.suppress(OSError, ValueError, CompressError):  # there's no one left to tell
            if stream is not None:
                stream.flush()
    os._exit(code)
