"""`Pass`: how an epoch, an evaluation or a prediction goes over its data."""

from __future__ import annotations

import warnings
from collections.abc import Generator, Iterator
from typing import Any

from torchkeras._core import config
from torchkeras.training.data import Batches


class Pass:
    """One pass over the data after another: how many batches, and where it stopped.

    Args:
        batches: the data.
        batch_size: samples per batch where that can be chosen; by default what `steps`
            batches need, or else 32.
        steps: how many batches a pass has; all there are by default.
        goes_on: whether a pass begins where the one before ended, and data that can be
            gone through again begins anew within it: so an epoch does. Else no sample
            is used twice.

    Example:
        >>> import torch
        >>> from torchkeras.training.data import as_batches
        >>> batches = as_batches(torch.arange(5.0), device=torch.device("cpu"))
        >>> epoch = Pass(batches, batch_size=2, steps=2, goes_on=True)
        >>> [x.tolist() for x in epoch], [x.tolist() for x in epoch]
        ([[0.0, 1.0], [2.0, 3.0]], [[4.0], [0.0, 1.0]])
    """

    batches: Batches
    #: How many batches were asked for, None for all.
    steps: int | None
    #: How many the pass gave that runs, or ran last.
    given: int

    def __init__(
        self,
        batches: Batches,
        batch_size: int | None = None,
        steps: int | None = None,
        goes_on: bool = False,
    ) -> None:
        batches.resize(batch_size, steps)
        self.batches = batches
        self.steps = _limited(steps, batches)
        self.given = 0
        self._goes_on = goes_on
        self._unfinished: Iterator[Any] | None = None

    @property
    def num_batches(self) -> int | None:
        """How many batches a pass is to have, None if that is not known."""
        return self.steps or self.batches.num_batches

    @property
    def _is_plain(self) -> bool:
        """Whether a pass is all of the data, so that nothing need be counted."""
        return self.steps is None and self.batches.restarts

    def __iter__(self) -> Generator[Any]:
        return iter(self.batches) if self._is_plain else self._counted()

    def _counted(self) -> Generator[Any]:
        self.given = 0
        source = self._unfinished if self._goes_on else None
        is_new, source = source is None, source or iter(self.batches)
        while self.steps is None or self.given < self.steps:
            batch = next(source, None)
            if batch is not None:
                is_new = False
                self.given += 1
                yield batch
            elif is_new or not (self._goes_on and self.batches.restarts):
                break  # no data, or no more of it
            else:
                is_new, source = True, iter(self.batches)
        self._unfinished = source

    def ended_early(self, advice: str = "") -> bool:
        """Say whether the last pass gave fewer batches than asked for, and warn.

        Args:
            advice: what to do about it.
        """
        if self._is_plain or self.given >= (self.steps or 1):
            return False
        wanted = "" if self.steps is None else f" of {self.steps}"
        message = f"The data ended after {self.given}{wanted} batches.{advice}"
        warnings.warn(message, stacklevel=3)
        return True


def _limited(steps: int | None, batches: Batches) -> int | None:
    """Return the number of batches to use, which a setting may lower."""
    limit = config.max_steps_per_epoch()
    if limit is None:
        return steps
    planned = steps or batches.num_batches
    if planned is not None and planned <= limit:
        return steps
    message = f"Limiting the batches of an epoch to {limit}: see "
    warnings.warn(f"{message}`set_max_steps_per_epoch`.", stacklevel=4)
    return limit
