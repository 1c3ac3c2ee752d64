"""Runs the contenders of a row side by side and compares them round by round."""

import contextlib
import importlib.util
import math
import multiprocessing
import os
from dataclasses import dataclass, field
from statistics import median
from typing import Self

from benchmarks.rows import Row
from benchmarks.worker import Figures, serve


class ContenderError(Exception):
    """A contender failed in its process."""


@dataclass
class Result:
    """What a row came to: rounds of seconds and the last value, by contender."""

    row: Row
    seconds: dict[str, list[float]] = field(default_factory=dict)
    value: dict[str, float] = field(default_factory=dict)
    errors: dict[str, str] = field(default_factory=dict)

    def add(self, figures: dict[str, Figures]) -> None:
        """Take in what a process reported of one round."""
        for name, (seconds, value) in figures.items():
            self.seconds.setdefault(name, []).append(seconds)
            if value is not None:
                self.value[name] = value

    def microseconds(self, name: str) -> float:
        """The median time of one step."""
        return median(self.seconds[name]) / self.row.steps * 1e6

    def ratio(self, name: str) -> float:
        """The median of the rounds' ratios of torchkeras to a contender."""
        if name not in self.seconds or "torchkeras" not in self.seconds:
            return math.nan
        pairs = zip(self.seconds["torchkeras"], self.seconds[name], strict=True)
        return median(ours / theirs for ours, theirs in pairs)

    def exceeded(self) -> list[str]:
        """The bounds that torchkeras exceeds, in words."""
        lines = [
            f"{self.ratio(name):.2f} times {name}, aimed at {bound:g}"
            for name, bound in self.row.bounds.items()
            if self.ratio(name) > bound
        ]
        if self.row.most_us and "torchkeras" in self.seconds:
            ours = self.microseconds("torchkeras")
            if ours > self.row.most_us:
                lines.append(f"{ours:.0f} us, aimed at {self.row.most_us:g}")
        return lines

    def unlearned(self) -> list[str]:
        """The contenders whose loss is far from the tuned loop's, in words."""
        if "tuned" not in self.value:
            return []
        expected = self.value["tuned"]
        return [
            f"{name} ends at a loss of {value:.3f}, the tuned loop at {expected:.3f}"
            for name, value in self.value.items()
            if not abs(value - expected) <= 0.2 + 0.25 * expected
        ]


def available(contender: str) -> bool:
    """Whether the library that the contender needs is installed."""
    if not contender.startswith("keras-"):
        return True
    backend = contender.removeprefix("keras-")
    return all(importlib.util.find_spec(name) for name in ("keras", backend))


def pin(threads: int) -> None:
    """Give this process and its children so many processors and threads."""
    for name in ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "TF_NUM_INTRAOP_THREADS"):
        os.environ[name] = str(threads)
    os.environ.update(TF_NUM_INTEROP_THREADS="1", TF_CPP_MIN_LOG_LEVEL="3")
    if hasattr(os, "sched_setaffinity"):
        os.sched_setaffinity(0, sorted(os.sched_getaffinity(0))[-threads:])


class Worker:
    """A fresh process of one contender; `with` ends it."""

    def __init__(self, contender: str, row: Row, cpu_time: bool) -> None:
        """Start the process, which prepares its model on its own."""
        context = multiprocessing.get_context("spawn")
        self.connection, theirs = context.Pipe()
        self.process = context.Process(
            target=serve, args=(contender, row, cpu_time, theirs)
        )
        self.process.start()
        theirs.close()

    def __enter__(self) -> Self:
        """Return itself."""
        return self

    def round(self) -> dict[str, Figures]:
        """Have a round run and return its figures.

        Raises:
            ContenderError: The process failed.
        """
        try:
            self.connection.send(True)
            answer = self.connection.recv()
        except (EOFError, BrokenPipeError):
            answer = "the process ended"
        if isinstance(answer, str):
            raise ContenderError(answer)
        return answer

    def __exit__(self, *error: object) -> None:
        """Tell the process to end, and wait for it."""
        with contextlib.suppress(BrokenPipeError):
            self.connection.send(False)
        self.process.join()


def run(row: Row, rounds: int, cpu_time: bool = False) -> Result:
    """Time the row's contenders in turn, round after round.

    Args:
        row: What to time.
        rounds: How many rounds count; one more goes before them to warm up.
        cpu_time: Count processor time, for a machine on which others work too.
    """
    result = Result(row)
    with contextlib.ExitStack() as stack:
        workers = []
        for name in filter(available, row.contenders):
            worker = stack.enter_context(Worker(name, row, cpu_time))
            try:
                worker.round()
                workers.append(worker)
            except ContenderError as error:
                result.errors[name] = str(error)
        for _ in range(rounds):
            for worker in workers:
                result.add(worker.round())
    return result
