"""Projections of weights, applied after each update."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from torchkeras._core import config
from torchkeras._core.configurable import Configurable
from torchkeras._core.convert import as_tensor
from torchkeras._core.errors import invalid_argument, number_in
from torchkeras._core.missing import explain_missing
from torchkeras._core.registry import Registry
from torchkeras._core.typing import ConstraintLike

constraints = Registry("constraint", "keras.constraints")

Axis = int | Sequence[int] | None


class Constraint(Configurable):
    """The base of projections, and of your own.

    Write ``__call__(w)``, which takes a weight in Keras's layout and returns the values
    it shall have. Arguments kept as attributes of their names make up the config.

    Example:
        >>> class Clipped(Constraint):
        ...     def __call__(self, w):
        ...         return w.clamp(-1, 1)
        >>> Clipped()(torch.tensor([0.5, 3.0]))
        tensor([0.5000, 1.0000])
    """

    def __call__(self, w: Tensor) -> Tensor:
        """Return the projected weight; by default the weight itself."""
        return w


@constraints.register()
class MaxNorm(Constraint):
    """Scale down vectors whose norm is over `max_value`.

    Args:
        max_value: the largest norm.
        axis: the axis or axes that a vector runs along, in Keras's layout: 0 for the
            kernel of a Dense layer, ``[0, 1, 2]`` for that of a Conv2D.

    Raises:
        ValueError: when `max_value` is negative or not finite.

    Example:
        >>> MaxNorm(2)(torch.tensor([[3.0, 1.0], [4.0, 1.0]]))
        tensor([[1.2000, 1.0000],
                [1.6000, 1.0000]])
    """

    def __init__(self, max_value: float = 2, axis: Axis = 0) -> None:
        self.max_value = _bound("MaxNorm", "max_value", max_value)
        self.axis = _checked_axis("MaxNorm", axis)

    def __call__(self, w: Tensor) -> Tensor:
        w, norms = _with_norms(w, self.axis)
        desired = torch.clamp(norms, max=self.max_value)
        return w * (desired / (config.epsilon() + norms))


@constraints.register()
class NonNeg(Constraint):
    """Replace negative values by zero.

    Example:
        >>> NonNeg()(torch.tensor([-1.0, 2.0]))
        tensor([0., 2.])
    """

    def __call__(self, w: Tensor) -> Tensor:
        return torch.relu(as_tensor(w))


@constraints.register()
class UnitNorm(Constraint):
    """Scale vectors to norm 1.

    Args:
        axis: the axis or axes that a vector runs along, in Keras's layout.

    Example:
        >>> UnitNorm()(torch.tensor([[3.0], [4.0]]))
        tensor([[0.6000],
                [0.8000]])
    """

    def __init__(self, axis: Axis = 0) -> None:
        self.axis = _checked_axis("UnitNorm", axis)

    def __call__(self, w: Tensor) -> Tensor:
        w, norms = _with_norms(w, self.axis)
        return w / (config.epsilon() + norms)


@constraints.register()
class MinMaxNorm(Constraint):
    """Scale vectors so that their norm is between two bounds, or comes nearer.

    Args:
        min_value: the smallest norm.
        max_value: the largest norm.
        rate: the share of the way to the bound that one call goes: 1 enforces it.
        axis: the axis or axes that a vector runs along, in Keras's layout.

    Raises:
        ValueError: when a bound is negative, the bounds are in the wrong order, or
            `rate` is not in [0, 1].

    Example:
        >>> MinMaxNorm(0.5, 1.0)(torch.tensor([[3.0], [4.0]]))
        tensor([[0.6000],
                [0.8000]])
    """

    def __init__(
        self,
        min_value: float = 0.0,
        max_value: float = 1.0,
        rate: float = 1.0,
        axis: Axis = 0,
    ) -> None:
        self.min_value = _bound("MinMaxNorm", "min_value", min_value)
        self.max_value = _bound("MinMaxNorm", "max_value", max_value)
        if min_value > max_value:
            expected = f"at most `max_value`, which is {max_value}"
            raise ValueError(
                invalid_argument("MinMaxNorm", "min_value", expected, min_value)
            )
        number_in("MinMaxNorm", "rate", rate, 0.0, 1.0)
        self.rate = rate
        self.axis = _checked_axis("MinMaxNorm", axis)

    def __call__(self, w: Tensor) -> Tensor:
        w, norms = _with_norms(w, self.axis)
        clipped = torch.clamp(norms, self.min_value, self.max_value)
        desired = self.rate * clipped + (1 - self.rate) * norms
        return w * (desired / (config.epsilon() + norms))


def _bound(owner: str, argument: str, value: float) -> float:
    number_in(owner, argument, value, 0.0)
    return value


def _checked_axis(owner: str, axis: Axis) -> Axis:
    axes = axis if isinstance(axis, (list, tuple)) else [axis]
    if axis is not None and not all(
        hasattr(a, "__index__") and not isinstance(a, bool) for a in axes
    ):
        expected = "an integer, a list of integers or None"
        raise TypeError(invalid_argument(owner, "axis", expected, axis))
    return axis


def _with_norms(w: Tensor, axis: Axis) -> tuple[Tensor, Tensor]:
    w = as_tensor(w)
    dim = tuple(axis) if isinstance(axis, Sequence) else axis
    return w, torch.linalg.vector_norm(w, dim=dim, keepdim=True)


max_norm = MaxNorm
non_neg = NonNeg
unit_norm = UnitNorm
min_max_norm = MinMaxNorm


def get(identifier: Any) -> Any:
    """Return the constraint that a name, a config, a class or a function stands for.

    Raises:
        ValueError: for an unknown name.
        TypeError: for a value of another kind.
    """
    return constraints.get(identifier)


def serialize(constraint: ConstraintLike) -> Any:
    """Return the config of a constraint, in Keras's form."""
    return constraints.serialize(constraint)


def deserialize(config: Any, custom_objects: Mapping[str, Any] | None = None) -> Any:
    """Return the constraint that a config stands for."""
    return constraints.deserialize(config, custom_objects)


if not TYPE_CHECKING:
    __getattr__ = explain_missing(__name__)
