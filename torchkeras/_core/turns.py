"""Threads take turns: a thread saves, or sets weights, while no other is in a step.

A step holds a lock of its thread's own. Nobody else takes it but who wants to be alone,
which takes the locks of all threads: so steps of several threads run side by side, and
a step pays for locks that are free.
"""

from __future__ import annotations

import contextlib
import threading
import weakref
from collections.abc import Callable
from typing import Any, ClassVar, ParamSpec, TypeVar

_P = ParamSpec("_P")
_R = TypeVar("_R")
#: A lock that a thread may take again while it has it.
Lock = Any

#: Held by the thread that is alone, or that takes part from now on.
_entrance: Lock = threading.RLock()


class Turn:
    """The locks of one thread.

    A thread that makes many steps passes the gate before each: a lock alone would be
    taken again before the one who waits for it is awake.
    """

    #: Held while somebody waits to be alone, or is.
    gate: Lock
    #: Held by the thread itself for a step, and by another that is alone.
    step: Lock

    #: How many were ever made.
    made: ClassVar[int] = 0

    def __init__(self) -> None:
        Turn.made += 1
        self.gate, self.step = threading.RLock(), threading.RLock()


#: Of all living threads that made a step or were alone.
living: weakref.WeakSet[Turn] = weakref.WeakSet()


class _Own(threading.local):
    def __init__(self) -> None:
        super().__init__()
        with _entrance:
            self.turn = Turn()
            living.add(self.turn)


_own = _Own()


def own() -> Turn:
    """Return the locks of this thread, of which it is to hold one during a step.

    Example:
        >>> with own().step:
        ...     "the step"
        'the step'
    """
    return _own.turn


def alone(function: Callable[_P, _R], *args: _P.args, **kwargs: _P.kwargs) -> _R:
    """Call a function while no other thread is in a step.

    It waits for the steps under way to end, and the others wait for it. A thread may
    ask for it within a step of its own, which counts as ended meanwhile: two that do
    so do not wait for each other.

    Args:
        function: the function.
        *args: its arguments.
        **kwargs: its arguments by name.

    Returns:
        What the function returns.
    """
    mine = _own.turn
    times = _let_go(mine.step)
    try:
        with _entrance:
            others = [turn for turn in living if turn is not mine]
            return _holding(others, function, *args, **kwargs)
    finally:
        for _ in range(times):
            mine.step.acquire()


def _let_go(lock: Lock) -> int:
    """Release a lock altogether, and return how often this thread had taken it."""
    times = 0
    with contextlib.suppress(RuntimeError):  # it is not this thread's by now
        while True:
            lock.release()
            times += 1
    return times


def _holding(
    turns: list[Turn], function: Callable[_P, _R], *args: _P.args, **kwargs: _P.kwargs
) -> _R:
    """Call a function with locks held, which no interrupt can leave locked."""
    if not turns:
        return function(*args, **kwargs)
    with turns[0].gate, turns[0].step:
        return _holding(turns[1:], function, *args, **kwargs)
