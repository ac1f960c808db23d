"""Work for another process, of the kinds that end badly."""

import os
import signal
import time
from pathlib import Path

import numpy as np
import psutil


def crash(given, watch, told):
    watch.begin("loading bad.onnx")
    os.write(2, b"terminate called after throwing\n")
    os.kill(os.getpid(), signal.SIGSEGV)


def leave(given, watch, told):
    os._exit(7)


def hang(given, watch, told):
    told.tell("item", os.getpid())
    watch.begin("running bad.onnx")
    time.sleep(600)


def grow(given, watch, told):
    told.tell("item", np.ones(psutil.virtual_memory().total, np.uint8).sum().item())


def break_down(given, watch, told):
    raise ZeroDivisionError("in the other process")


def say(given, watch, told):
    print("for nobody")
    with told.track("work", 2) as advance:
        advance(info="a")
        advance(2)
    told.say(given["word"])
    told.tell("item", {"cwd": str(Path.cwd()), "word": given["word"]})
