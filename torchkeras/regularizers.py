"""Penalties on weights and outputs, added to the loss."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import torch
import torch.nn.functional as F
from torch import Tensor

from torchkeras._core import config
from torchkeras._core.configurable import Configurable
from torchkeras._core.convert import as_tensor
from torchkeras._core.errors import describe, number_in, one_of
from torchkeras._core.missing import explain_missing
from torchkeras._core.registry import Registry
from torchkeras._core.typing import RegularizerLike

regularizers = Registry("regularizer", "keras.regularizers")


class Regularizer(Configurable):
    """The base of penalties, and of your own.

    Write ``__call__(x)``, which takes a tensor in Keras's layout and returns a scalar.
    Arguments kept as attributes of their names make up the config.

    Example:
        >>> class Mean(Regularizer):
        ...     def __call__(self, x):
        ...         return x.mean()
        >>> Mean()(torch.ones(3))
        tensor(1.)
    """

    def __call__(self, x: Tensor) -> Tensor | float:
        """Return the penalty for a tensor."""
        return 0.0


@regularizers.register()
class L1(Regularizer):
    """The sum of absolute values, times `l1`.

    Args:
        l1: the factor.

    Raises:
        ValueError: when the factor is negative or not finite.

    Example:
        >>> L1(0.5)(torch.tensor([1.0, -3.0]))
        tensor(2.)
    """

    def __init__(self, l1: float = 0.01) -> None:
        self.l1 = _factor("L1", "l1", l1, default=0.01)

    def __call__(self, x: Tensor) -> Tensor:
        return self.l1 * torch.sum(torch.abs(as_tensor(x)))


@regularizers.register()
class L2(Regularizer):
    """The sum of squares, times `l2`.

    Args:
        l2: the factor.

    Raises:
        ValueError: when the factor is negative or not finite.

    Example:
        >>> L2(0.5)(torch.tensor([1.0, -3.0]))
        tensor(5.)
    """

    def __init__(self, l2: float = 0.01) -> None:
        self.l2 = _factor("L2", "l2", l2, default=0.01)

    def __call__(self, x: Tensor) -> Tensor:
        return self.l2 * torch.sum(torch.square(as_tensor(x)))


@regularizers.register()
class L1L2(Regularizer):
    """Both penalties: ``l1 * sum(abs(x)) + l2 * sum(square(x))``.

    Args:
        l1: the factor of absolute values.
        l2: the factor of squares.

    Raises:
        ValueError: when a factor is negative or not finite.

    Example:
        >>> L1L2(l1=1.0, l2=0.5)(torch.tensor([1.0, -3.0]))
        tensor(9.)
    """

    def __init__(self, l1: float = 0.0, l2: float = 0.0) -> None:
        self.l1 = _factor("L1L2", "l1", l1, default=0.0)
        self.l2 = _factor("L1L2", "l2", l2, default=0.0)

    def __call__(self, x: Tensor) -> Tensor:
        x = as_tensor(x)
        penalty = x.new_zeros(())
        if self.l1:
            penalty = penalty + self.l1 * torch.sum(torch.abs(x))
        if self.l2:
            penalty = penalty + self.l2 * torch.sum(torch.square(x))
        return penalty


@regularizers.register()
class OrthogonalRegularizer(Regularizer):
    """The mean absolute cosine between different rows (or columns) of a matrix.

    Args:
        factor: the factor of the penalty.
        mode: ``"rows"`` or ``"columns"``.

    Shape:
        A matrix; of one row or column the penalty is not a number, as in Keras.

    Raises:
        ValueError: for an illegal factor or mode, or a tensor that is no matrix.

    Example:
        >>> OrthogonalRegularizer()(torch.eye(3))
        tensor(0.)
    """

    def __init__(self, factor: float = 0.01, mode: str = "rows") -> None:
        self.factor = _factor("OrthogonalRegularizer", "factor", factor, default=0.01)
        self.mode = one_of("OrthogonalRegularizer", "mode", mode, ("rows", "columns"))

    def __call__(self, inputs: Tensor) -> Tensor:
        inputs = as_tensor(inputs)
        if inputs.ndim != 2:
            raise ValueError(
                "OrthogonalRegularizer: expected a matrix, of two axes, got "
                f"{describe(inputs)}. Reshape the weight, or use another regularizer."
            )
        vectors = inputs if self.mode == "rows" else inputs.T
        vectors = F.normalize(vectors, dim=1, eps=config.epsilon())
        cosines = torch.triu(torch.abs(vectors @ vectors.T), diagonal=1)
        size = len(vectors)
        return (
            self.factor * torch.sum(cosines) / cosines.new_tensor(size * (size - 1) / 2)
        )


def _factor(owner: str, argument: str, value: float | None, default: float) -> float:
    # None stands for the default, in Keras as well.
    return number_in(owner, argument, default if value is None else value, 0.0)


l1 = L1
l2 = L2
l1_l2 = L1L2
orthogonal_regularizer = OrthogonalRegularizer


def get(identifier: Any) -> Any:
    """Return the regularizer that a name, a config, a class or a function stands for.

    ``"l1_l2"`` is ``L1L2(0.01, 0.01)``, as Keras documents it; None stays None.

    Raises:
        ValueError: for an unknown name.
        TypeError: for a value of another kind.
    """
    return L1L2(0.01, 0.01) if identifier == "l1_l2" else regularizers.get(identifier)


def serialize(regularizer: RegularizerLike) -> Any:
    """Return the config of a regularizer, in Keras's form."""
    return regularizers.serialize(regularizer)


def deserialize(config: Any, custom_objects: Mapping[str, Any] | None = None) -> Any:
    """Return the regularizer that a config stands for."""
    return regularizers.deserialize(config, custom_objects)


if not TYPE_CHECKING:
    __getattr__ = explain_missing(__name__)
