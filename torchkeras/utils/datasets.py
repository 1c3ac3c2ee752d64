"""Data sets that are written by users: a batch at an index."""

from __future__ import annotations

from typing import Any

from torchkeras._core.errors import count


class PyDataset:
    """The base of a data set that gives its batches by their index.

    Write `__getitem__`, which returns ``(x, y)`` or ``(x, y, sample_weight)``, and
    `__len__` or the property `num_batches`, which is None for a data set without end.
    `fit`, `evaluate` and `predict` take it; with ``shuffle=True`` the batches come in
    another order each epoch.

    Args:
        workers: how many batches are made at once, in the background if more than 1.
        use_multiprocessing: make them in processes of their own, not in threads.
        max_queue_size: how many batches may be ready before they are needed.

    Raises:
        ValueError: when a number is not positive.

    Example:
        >>> import numpy as np
        >>> class Squares(PyDataset):
        ...     def __len__(self):
        ...         return 3
        ...
        ...     def __getitem__(self, index):
        ...         x = np.full((4, 1), index, "float32")
        ...         return x, x**2
        >>> from torchkeras.layers import Dense
        >>> from torchkeras.models import Sequential
        >>> model = Sequential([Dense(1)])
        >>> model.compile("sgd", "mse")
        >>> len(model.fit(Squares(workers=2), verbose=0).history["loss"])
        1
    """

    def __init__(
        self,
        workers: int = 1,
        use_multiprocessing: bool = False,
        max_queue_size: int = 10,
    ) -> None:
        owner = type(self).__name__
        self.workers = count(owner, "workers", workers, least=0)
        self.use_multiprocessing = use_multiprocessing
        self.max_queue_size = count(owner, "max_queue_size", max_queue_size)

    def __getitem__(self, index: int) -> Any:
        """Return the batch at an index."""
        raise NotImplementedError(
            f"{type(self).__name__}: write `__getitem__(self, index)`, which returns "
            "the batch at an index."
        )

    @property
    def num_batches(self) -> int | None:
        """The number of batches, None where there is no end: then give the steps."""
        own: Any = self
        if hasattr(own, "__len__"):
            return len(own)
        raise NotImplementedError(
            f"{type(self).__name__}: write `__len__(self)`, or the property "
            "`num_batches`, which gives the number of batches, None for no end."
        )

    def on_epoch_begin(self) -> None:
        """Do what is due before an epoch; nothing by default."""

    def on_epoch_end(self) -> None:
        """Do what is due after an epoch, such as to shuffle; nothing by default."""
