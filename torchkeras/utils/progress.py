"""A progress bar for loops of one's own: the one of `fit`."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from torchkeras._core.errors import one_of
from torchkeras.callbacks.progress import ProgressBar


class Progbar:
    """A progress bar that averages the values it is told.

    Args:
        target: the number of steps; None where it is not known.
        width: how many characters the bar has.
        verbose: 1 for a bar, 2 for one line at the end, 0 for nothing. A bar becomes a
            line where nothing can be painted over.
        interval: seconds between repaints, at the least.
        stateful_metrics: names of values that are shown as they are; the others are
            averaged over the steps.
        stateless_metrics: names of values that are averaged; the others are shown as
            they are. Only one of both may be given.
        unit_name: what a step is called.

    Raises:
        ValueError: when both kinds of names are given.

    Example:
        >>> bar = Progbar(2, verbose=2)
        >>> bar.add(1, [("loss", 3.0)])
        >>> bar.update(2, [("loss", 1.0)], finalize=True)
        2/2 - 0s - .../step - loss: 1.0000
    """

    def __init__(
        self,
        target: int | None,
        width: int = 20,
        verbose: int = 1,
        interval: float = 0.05,
        stateful_metrics: Iterable[str] | None = None,
        stateless_metrics: Iterable[str] | None = None,
        unit_name: str = "step",
    ) -> None:
        if stateful_metrics is not None and stateless_metrics is not None:
            raise ValueError(
                "Progbar: only one of `stateful_metrics` and `stateless_metrics` may "
                "be given: the names that are not in it are of the other kind."
            )
        one_of("Progbar", "verbose", verbose, (0, 1, 2))
        self.target = target
        self.stateful_metrics = set(stateful_metrics or ())
        self.stateless_metrics = (
            None if stateless_metrics is None else set(stateless_metrics)
        )
        #: Of each value its sum, and over how many steps.
        self._sums: dict[str, tuple[Any, int]] = {}
        self._seen = 0
        self._bar = ProgressBar(
            target, verbose, width=width, interval=interval, unit=unit_name
        )

    def update(
        self,
        current: int,
        values: Iterable[tuple[str, Any]] | None = None,
        finalize: bool | None = None,
    ) -> None:
        """Count steps up to `current`.

        Args:
            current: the number of steps so far.
            values: names and values of the steps since the last call.
            finalize: whether it is the last call, in which values are final; when
                `current` reaches the target by default.
        """
        if finalize is None:
            finalize = self.target is not None and current >= self.target
        steps = max(current - self._seen, 1)
        for name, value in values or ():
            total, count = self._sums.get(name, (0.0, 0))
            if finalize or not self._averages(name):
                total, count, weight = 0.0, 0, 1
            else:
                weight = steps
            self._sums[name] = total + value * weight, count + weight
        self._seen = current
        self._bar.update(current, self._values())
        if finalize:
            self._bar.finish(self._values())

    def add(self, n: int, values: Iterable[tuple[str, Any]] | None = None) -> None:
        """Count `n` more steps."""
        self.update(self._seen + n, values)

    def _averages(self, name: str) -> bool:
        if self.stateless_metrics is not None:
            return name in self.stateless_metrics
        return name not in self.stateful_metrics

    def _values(self) -> Mapping[str, Any]:
        return {name: total / count for name, (total, count) in self._sums.items()}
