"""Ctrl-C that waits for the end of what must not be broken off."""

from __future__ import annotations

import contextlib
import signal
import threading
from collections.abc import Callable, Generator
from typing import Any


@contextlib.contextmanager
def interrupts_waiting() -> Generator[Callable[[], None]]:
    """Let a Ctrl-C wait: a change must not be half made.

    Nor may it come where a library calls Python back, which makes another error of it.

    Yields:
        What lets in those that wait: they raise there, or at the end of the context.
    """
    before = signal.getsignal(signal.SIGINT)
    waiting: list[Any] = []

    def let_in() -> None:
        if waiting and callable(before):
            before(*waiting.pop())

    is_main = threading.current_thread() is threading.main_thread()
    if not is_main or not callable(before):
        yield let_in
        return
    try:
        signal.signal(signal.SIGINT, lambda *call: waiting.append(call))
        yield let_in
    finally:
        signal.signal(signal.SIGINT, before)
        let_in()
