"""The progress bar: Keras's line, painted by tqdm.

It is repainted about ten times a second. Only then are the logs read, because reading
them waits for the device. Where lines cannot be painted over, as in a file, an epoch is
one line, printed when it is over.
"""

from __future__ import annotations

import logging
import os
import shutil
import sys
import time
import weakref
from collections.abc import Mapping
from typing import Any, ClassVar

import numpy as np
from tqdm.std import tqdm
from tqdm.utils import disp_len, disp_trim

from torchkeras._core.config import is_interactive_logging_enabled

#: Seconds between repaints.
_INTERVAL = 0.1
_NARROWEST = 5

Logs = Mapping[str, Any] | None


def say(message: str) -> None:
    """Print a line above any bar that is being painted, or log it."""
    if not is_interactive_logging_enabled():
        logging.getLogger("torchkeras").info(message)
    elif sys.stdout is not None:
        tqdm.write(message)
        sys.stdout.flush()


def can_repaint() -> bool:
    """Say whether what is shown goes to a terminal or a notebook."""
    if not is_interactive_logging_enabled():
        return False
    isatty = getattr(sys.stdout, "isatty", None)
    return (
        (isatty is not None and isatty())
        or "ipykernel" in sys.modules
        or "PYCHARM_HOSTED" in os.environ
    )


class Line(tqdm):  # type: ignore[type-arg]
    """One line that is painted over; tqdm keeps it below what is printed meanwhile."""

    # There is nothing for a thread to watch over: repaints come from the loop.
    monitor_interval = 0
    _latest: ClassVar[weakref.ref[Line] | None] = None

    def __init__(self, text: str) -> None:
        self.text = text
        # One that an interrupt left open would keep its place on the screen.
        if Line._latest is not None and (left := Line._latest()) is not None:
            left.close()
        Line._latest = weakref.ref(self)
        # The size is given, as some pseudo-terminals claim to have no rows.
        super().__init__(file=sys.stdout, leave=False, ncols=80, nrows=20)

    def __str__(self) -> str:
        return self.text

    def paint(self, text: str) -> None:
        """Replace the text."""
        self.text = text
        self.refresh()


class ProgressBar:
    """The progress of an epoch, of an evaluation or of a prediction.

    Args:
        total: the number of steps, or None when it is not known.
        verbose: 1 for a bar, 2 for one line at the end, 0 for nothing. A bar becomes a
            line where nothing can be painted over.
        width: how many characters the bar has, if there is room.
        interval: seconds between repaints, a tenth by default.
        unit: what a step is called.

    Example:
        >>> bar = ProgressBar(3, verbose=2)
        >>> for step in range(3):
        ...     bar.update(step + 1, {"loss": 0.5})
        >>> bar.finish({"loss": 0.25})
        3/3 - 0s - .../step - loss: 0.2500
    """

    total: int | None
    verbose: int
    seen: int

    def __init__(
        self,
        total: int | None,
        verbose: int = 1,
        width: int = 20,
        interval: float | None = None,
        unit: str = "step",
    ) -> None:
        self.total = total
        self.width = width
        self.interval = _INTERVAL if interval is None else interval
        self.unit = unit
        self.verbose = 2 if verbose == 1 and not can_repaint() else verbose
        self.seen = 0
        self._line: Line | None = None
        self._start = self._now = time.perf_counter()
        self._first: float | None = None
        # So that the first step is noticed: it takes longer than those that follow.
        self._due = 0.0

    def update(self, current: int, logs: Logs = None) -> None:
        """Count steps up to `current`, and repaint if it is time to."""
        self.seen = current
        self._now = now = time.perf_counter()
        if now >= self._due:
            self._repaint(logs)

    def _repaint(self, logs: Logs) -> None:
        if self._first is None:
            self._first = self._now
        elif self.verbose == 1:
            text = self._fitted(sorted((logs or {}).items()))
            if self._line is None or self._line.disable:
                self._line = Line(text)
            else:
                self._line.paint(text)
        is_silent = self.verbose != 1
        self._due = float("inf") if is_silent else time.perf_counter() + self.interval

    def finish(self, logs: Logs = None) -> None:
        """Print the last state, on a line of its own that stays."""
        if self._line is not None:
            self._line.close()
        if self.total is None:
            self.total = self.seen
        values = list((logs or {}).items())
        elapsed = f"{time.perf_counter() - self._start:.0f}s"
        if self.verbose == 1:
            bar = _drawn(self.width, 1.0)
            count = _bold(f"{self.seen}/{self.total}")
            rate = f"{_bold(elapsed)} {self._rate()}"
            say(f"{count} {bar} {rate}{_described(values)}")
        elif self.verbose == 2:
            count = f"{self.seen}/{self.total}"
            say(f"{count} - {elapsed} - {self._rate()}{_described(values)}")

    def _fitted(self, values: list[tuple[str, Any]]) -> str:
        """Return the line of a running epoch, cut to the width of the terminal."""
        rate = f"{_bold(self._clock())} {self._rate()}{_described(values)}"
        room = shutil.get_terminal_size().columns - 1 if _is_terminal() else 10_000
        if not self.total:
            return disp_trim(f"{self.seen:7d}/Unknown {rate}", room)
        count = _bold(f"{self.seen:{len(str(self.total))}d}/{self.total}")
        width = room - disp_len(count) - disp_len(rate) - 2
        bar = _drawn(min(self.width, max(_NARROWEST, width)), self.seen / self.total)
        return disp_trim(f"{count} {bar} {rate}", room)

    def _clock(self) -> str:
        """Return the time left, or the time passed where the end is not known."""
        if not self.total:
            return f"{self._now - self._start:.0f}s"
        left = int(self._seconds_per_step() * max(self.total - self.seen, 0))
        if left > 3600:
            return f"{left // 3600}:{left % 3600 // 60:02d}:{left % 60:02d}"
        return f"{left // 60}:{left % 60:02d}" if left > 60 else f"{left}s"

    def _rate(self) -> str:
        seconds = self._seconds_per_step()
        if seconds >= 1 or seconds == 0:
            return f"{seconds:.0f}s/{self.unit}"
        if seconds >= 1e-3:
            return f"{seconds * 1e3:.0f}ms/{self.unit}"
        return f"{seconds * 1e6:.0f}us/{self.unit}"

    def _seconds_per_step(self) -> float:
        if self.seen > 1 and self._first is not None:
            return (self._now - self._first) / (self.seen - 1)
        return (self._now - self._start) / max(self.seen, 1)


def _described(values: list[tuple[str, Any]]) -> str:
    return "".join(f" - {name}: {_shown(value)}" for name, value in values)


def _shown(value: Any) -> str:
    number = value if isinstance(value, float) else float(np.mean(value))
    return f"{number:.4f}" if abs(number) > 1e-3 else f"{number:.4e}"


def _drawn(width: int, share: float) -> str:
    done = int(width * min(share, 1.0))
    full, rest = ("━", "─") if _takes("━─") else ("=", ".")
    return _colored(full * done, "32") + _colored(rest * (width - done), "37")


def _bold(text: str) -> str:
    return _colored(text, "1")


def _colored(text: str, code: str) -> str:
    if not text or os.environ.get("NO_COLOR"):
        return text
    return f"\x1b[{code}m{text}\x1b[0m"


def _takes(characters: str) -> bool:
    try:
        characters.encode(getattr(sys.stdout, "encoding", None) or "utf-8")
    except UnicodeEncodeError:
        return False
    return True


def _is_terminal() -> bool:
    isatty = getattr(sys.stdout, "isatty", None)
    return isatty is not None and isatty()
