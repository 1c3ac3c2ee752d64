"""What runs in the process of one contender: a timed round for each request."""

import gc
import importlib
import os
import resource
import subprocess
import sys
import time
import traceback
from collections.abc import Callable
from functools import partial
from multiprocessing.connection import Connection
from typing import Any, NamedTuple

from benchmarks.rows import CONTENDERS, DEEP_TASKS, FILE_TASKS, LAYER_TASKS, Row


class Figures(NamedTuple):
    """What a round took, and what it returned where that is a number."""

    seconds: float
    value: float | None


def prepare(contender: str, row: Row) -> dict[str, Callable[[], Any]]:
    """Return what a round consists of, by the name to report it under."""
    packages = {"tuned": "torch", "torchkeras": "torchkeras"}
    if row.task == "imports":
        code = f"import {packages.get(contender, 'keras')}"
        command = [sys.executable, "-c", code]
        return {contender: partial(subprocess.run, command, check=True)}
    if row.task in DEEP_TASKS:
        library = packages.get(contender, "keras")
        deep = importlib.import_module("benchmarks.keras_api").DeepModel
        return {contender: getattr(deep(row.workload, library), row.task)}
    if row.task in LAYER_TASKS:
        library = packages.get(contender, "keras")
        layer = importlib.import_module("benchmarks.keras_api").PreparingLayer
        return {contender: getattr(layer(row.workload, library), row.task)}
    if row.task in FILE_TASKS:
        files = importlib.import_module("benchmarks.files")
        if contender == "tuned":
            model = files.PlainFile(row.workload)
        else:
            library = packages.get(contender, "keras")
            model = files.KerasFile(row.workload, library)
        return {contender: getattr(model, FILE_TASKS[row.task])}
    module, name = CONTENDERS[contender].split(":")
    model = getattr(importlib.import_module(module), name)(row.workload)
    if row.task == "bar":
        return {"tuned": model.fit, "torchkeras": model.fit_with_bar}
    method = getattr(model, row.task)
    return {contender: partial(method, row.repeats) if row.repeats else method}


def cpu_seconds() -> float:
    """The processor time of this process and of its finished children."""
    children = resource.getrusage(resource.RUSAGE_CHILDREN)
    return time.process_time() + children.ru_utime + children.ru_stime


def timed(run: Callable[[], Any], clock: Callable[[], float]) -> Figures:
    """Run once under the clock."""
    gc.collect()
    start = clock()
    result = run()
    seconds = clock() - start
    return Figures(seconds, result if isinstance(result, float) else None)


def serve(contender: str, row: Row, cpu_time: bool, requests: Connection) -> None:
    """Prepare, then answer requests until there are no more; or answer a failure."""
    if contender.startswith("keras-"):
        os.environ["KERAS_BACKEND"] = contender.removeprefix("keras-")
    clock = cpu_seconds if cpu_time else time.perf_counter
    try:
        rounds = prepare(contender, row)
        while requests.recv():
            requests.send({name: timed(run, clock) for name, run in rounds.items()})
    except Exception:
        requests.send(traceback.format_exc())
