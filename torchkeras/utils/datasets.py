"""Data sets that are written by users: a batch at an index."""

from __future__ import annotations

from typing import Any

from torchkeras._core.errors import positive_integer


class PyDataset:
    """The base of a data set that gives its batches by their index.

    Write `__getitem__`, which returns ``(x, y)`` or ``(x, y, sample_weight)``, and
    `__len__`. `fit`, `evaluate` and `predict` take it; with ``shuffle=True`` the
    batches come in another order each epoch.

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
        self.workers = positive_integer(owner, "workers", workers)
        self.use_multiprocessing = use_multiprocessing
        self.max_queue_size = positive_integer(owner, "max_queue_size", max_queue_size)

    def __getitem__(self, index: int) -> Any:
        """Return the batch at an index."""
        raise NotImplementedError(
            f"{type(self).__name__}: write `__getitem__(self, index)`, which returns "
            "the batch at an index."
        )

    def __len__(self) -> int:
        """Return the number of batches."""
        raise NotImplementedError(
            f"{type(self).__name__}: write `__len__(self)`, which returns the number "
            "of batches."
        )

    @property
    def num_batches(self) -> int:
        """The number of batches of an epoch."""
        return len(self)

    def on_epoch_begin(self) -> None:
        """Do what is due before an epoch; nothing by default."""

    def on_epoch_end(self) -> None:
        """Do what is due after an epoch, such as to shuffle; nothing by default."""
