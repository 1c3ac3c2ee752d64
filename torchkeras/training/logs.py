"""The numbers of a training: sums on the device, computed when somebody reads them."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, MutableMapping
from typing import Any

import torch
from torch import Tensor

#: Loss values are summed when this many have come.
_LOSSES = 256


class Logs(MutableMapping[str, Any]):
    """The numbers of a step or an epoch, computed when the first of them is read.

    What is set lasts until the next step.

    Args:
        compute: gives the numbers.

    Example:
        >>> logs = Logs(lambda: {"loss": 0.5})
        >>> logs["loss"], dict(logs)
        (0.5, {'loss': 0.5})
    """

    def __init__(self, compute: Callable[[], Mapping[str, Any]]) -> None:
        self._compute = compute
        self._values: dict[str, Any] | None = None

    def expire(self) -> Logs:
        """Forget the numbers, because something was added to them."""
        self._values = None
        return self

    def _read(self) -> dict[str, Any]:
        if self._values is None:
            self._values = as_numbers(self._compute())
        return self._values

    def __getitem__(self, name: str) -> Any:
        return self._read()[name]

    def __setitem__(self, name: str, value: Any) -> None:
        self._read()[name] = value

    def __delitem__(self, name: str) -> None:
        del self._read()[name]

    def __iter__(self) -> Iterator[str]:
        return iter(self._read())

    def __len__(self) -> int:
        return len(self._read())

    def copy(self) -> dict[str, Any]:
        """Return the numbers as a dict of their own."""
        return dict(self._read())

    def __repr__(self) -> str:
        return repr(self._read())


def as_numbers(values: Mapping[str, Any]) -> dict[str, Any]:
    """Turn results into Python floats, arrays into lists, nested dicts into flat."""
    numbers: dict[str, Any] = {}
    for name, value in values.items():
        if isinstance(value, Mapping):
            numbers.update(as_numbers(value))
        elif isinstance(value, Tensor):
            value = value.detach()
            numbers[name] = value.item() if value.numel() == 1 else value.tolist()
        else:
            numbers[name] = float(value) if hasattr(value, "__float__") else value
    return numbers


class LossTracker:
    """The mean of a loss over the samples seen, kept on the device.

    Args:
        name: the name in the logs.
    """

    def __init__(self, name: str = "loss") -> None:
        self.name = name
        self.reset_state()

    def reset_state(self) -> None:
        """Begin again."""
        self._values: list[Tensor] = []
        self._counts: list[int] = []
        self._total: Tensor | float = 0.0
        self._count = 0

    def update_state(self, loss: Tensor, count: int = 1) -> None:
        """Add the mean loss of `count` samples."""
        self._values.append(loss.detach())
        self._counts.append(count)
        if len(self._values) >= _LOSSES:
            self._fold()

    def _fold(self) -> None:
        values = torch.stack(self._values)
        wide = values if values.device.type == "mps" else values.double()
        counts = torch.tensor(self._counts, dtype=wide.dtype).to(wide.device)
        self._total = self._total + torch.dot(wide, counts)
        self._count += sum(self._counts)
        self._values, self._counts = [], []

    def result(self) -> Tensor | float:
        """Return the mean; 0 before any loss came."""
        if self._values:
            self._fold()
        return self._total / max(self._count, 1)

    def __repr__(self) -> str:
        return f"<LossTracker name={self.name}>"
