"""`Loss`: a module that computes one value per sample and reduces them to a number."""

from __future__ import annotations

import functools
from collections.abc import Callable, Mapping
from typing import Any, Self

import numpy as np
import torch
from torch import Tensor, nn

from torchkeras._core import gate, tree
from torchkeras._core.convert import as_tensor
from torchkeras._core.dtypes import standardize_dtype, to_torch_dtype
from torchkeras._core.errors import describe, one_of
from torchkeras._core.naming import auto_name, to_snake_case
from torchkeras._core.probabilities import keep_logits
from torchkeras._core.registry import deserialize_object
from torchkeras._core.typing import DType
from torchkeras._core.variable import WeightView
from torchkeras.losses.functions import losses
from torchkeras.losses.shapes import (
    append_axes,
    apply_mask,
    as_target,
    divide_no_nan,
    squeeze_or_expand_to_same_rank,
)
from torchkeras.losses.traits import traits_of

_MEAN_REDUCTIONS = ("sum_over_batch_size", "mean", "mean_with_sample_weight")
_REDUCTIONS = (*_MEAN_REDUCTIONS, "sum", "none", None)


@losses.register()
class Loss(nn.Module):
    """The base of losses, and of your own.

    Write ``call(y_true, y_pred)``, which returns one value per sample.

    Args:
        name: the name; the class's in snake case by default.
        reduction: ``"sum_over_batch_size"`` or ``"mean"`` for the mean, ``"sum"``,
            ``"mean_with_sample_weight"`` for the sum over the sum of the weights,
            ``"none"`` or None for the values themselves.
        dtype: the dtype of the computation; ``floatx`` by default.

    Raises:
        ValueError: for an unknown reduction.

    Example:
        >>> class Cubed(Loss):
        ...     def call(self, y_true, y_pred):
        ...         return (y_true - y_pred).abs().pow(3).mean(-1)
        >>> Cubed()(torch.zeros(2, 1), torch.tensor([[1.0], [2.0]]))
        tensor(4.5000)
    """

    name: str
    reduction: str | None
    #: Whether `call` wants targets as they come, instead of in the loss's dtype.
    takes_labels = False

    def __init__(
        self,
        name: str | None = None,
        reduction: str | None = "sum_over_batch_size",
        dtype: DType = None,
    ) -> None:
        super().__init__()
        self.name = name or auto_name(to_snake_case(type(self).__name__))
        self.reduction = one_of(
            type(self).__name__, "reduction", reduction, _REDUCTIONS
        )
        self._dtype = to_torch_dtype(dtype)
        self._mean: Callable[[Any, Tensor], Tensor] | None = None

    @property
    def dtype(self) -> str:
        """The name of the dtype of the computation."""
        return standardize_dtype(self._dtype)

    def call(self, y_true: Any, y_pred: Any) -> Tensor:
        """Return one value per sample."""
        raise NotImplementedError(
            f"{type(self).__name__} does not define `call(self, y_true, y_pred)`."
        )

    def forward(self, y_true: Any, y_pred: Any, sample_weight: Any = None) -> Tensor:
        """Return the reduced loss.

        Args:
            y_true: the targets.
            y_pred: the outputs; entries that their mask excludes do not count.
            sample_weight: a weight per sample, or per value that `call` returns.

        Raises:
            ValueError: when shapes do not fit.
        """
        mask = getattr(y_pred, "_keras_mask", None)
        y_pred = _cast(y_pred, self._dtype)
        if self._mean is not None and sample_weight is None and mask is None:
            return self._mean(y_true, y_pred)
        y_true = _cast(y_true, None if self.takes_labels else self._dtype)
        return self.reduced(self.call(y_true, y_pred), sample_weight, mask)

    def reduced(self, values: Any, sample_weight: Any, mask: Tensor | None) -> Tensor:
        """Return one number for the values of the samples, as `reduction` says.

        Args:
            values: what the loss gave.
            sample_weight: a weight per sample or per value, if any.
            mask: True where a value counts, if any.

        Raises:
            TypeError: when the loss gave no tensor.
            ValueError: when shapes do not fit.
        """
        if not isinstance(values, Tensor):
            values = self._as_values(values)
        own = getattr(values, "_keras_mask", None)
        if own is not None:
            mask = own if mask is None else mask & own
        sample_weight = apply_mask(sample_weight, mask, values.dtype, self.reduction)
        if sample_weight is not None:
            values, sample_weight = _weighted(values, sample_weight)
        return _reduce(values, sample_weight, self.reduction)

    def _as_values(self, values: Any) -> Tensor:
        if type(values) in (int, float) or isinstance(values, WeightView):
            return as_tensor(values)
        raise TypeError(
            f"The loss '{self.name}' must return a tensor, got {describe(values)}. "
            "Return what torch or `ops` compute of the outputs; through NumPy no "
            "gradient flows."
        )

    def get_config(self) -> dict[str, Any]:
        """Return the constructor's arguments."""
        return {"name": self.name, "reduction": self.reduction}

    @classmethod
    @gate.takes_config
    def from_config(cls, config: dict[str, Any]) -> Self:
        """Make a loss from the result of `get_config`."""
        return cls(**config)


def _cast(value: Any, dtype: torch.dtype | None) -> Any:
    """Return a tensor, or a structure of them, in a dtype; None keeps their own."""
    if isinstance(value, Tensor):
        if dtype is None or value.dtype == dtype:
            return value
        return keep_logits(value, lambda t: t.to(dtype))
    if tree.is_nested(value) and any(
        isinstance(leaf, (Tensor, np.ndarray)) for leaf in tree.flatten(value)
    ):
        return tree.map_structure(lambda leaf: _cast(leaf, dtype), value)
    return _cast(as_tensor(value), dtype)


@losses.register()
class LossFunctionWrapper(Loss):
    """A function of ``(y_true, y_pred)`` as a loss.

    Args:
        fn: the function, which returns one value per sample.
        reduction: how the values become one; see `Loss`.
        name: the name.
        dtype: the dtype of the computation.
        **kwargs: more arguments of `fn`.

    Example:
        >>> def power(y_true, y_pred, exponent):
        ...     return (y_true - y_pred).abs().pow(exponent).mean(-1)
        >>> loss = LossFunctionWrapper(power, exponent=3)
        >>> loss([[0.0]], [[2.0]])
        tensor(8.)
    """

    def __init__(
        self,
        fn: Callable[..., Tensor],
        reduction: str | None = "sum_over_batch_size",
        name: str | None = None,
        dtype: DType = None,
        **kwargs: Any,
    ) -> None:
        super().__init__(name=name, reduction=reduction, dtype=dtype)
        self.fn = fn
        self._fn_kwargs = kwargs
        self.takes_labels = traits_of(fn).labels
        self._mean = self._find_mean()

    def _find_mean(self) -> Callable[[Any, Tensor], Tensor] | None:
        """Return what computes the mean of all values at once, where there is such."""
        mean = traits_of(self.fn).mean
        overridden = type(self).call is not LossFunctionWrapper.call
        if mean is None or overridden or self.reduction not in _MEAN_REDUCTIONS:
            return None
        return functools.partial(mean, **self._fn_kwargs)

    def __getstate__(self) -> dict[str, Any]:
        # Functions that torch has in C++ cannot be pickled.
        return {**self.__dict__, "_mean": None}

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.__dict__.update(state)
        self._mean = self._find_mean()

    def call(self, y_true: Any, y_pred: Any) -> Tensor:
        """Return the function's values."""
        if isinstance(y_true, Tensor) and isinstance(y_pred, Tensor):
            y_true, y_pred = squeeze_or_expand_to_same_rank(y_true, y_pred)
        return self.fn(y_true, y_pred, **self._fn_kwargs)

    def get_config(self) -> dict[str, Any]:
        """Return the constructor's arguments."""
        return {**super().get_config(), "fn": self.fn, **self._fn_kwargs}

    @classmethod
    @gate.takes_config
    def from_config(cls, config: dict[str, Any]) -> Self:
        """Make a loss from the result of `get_config`."""
        arguments = {name: deserialize_object(value) for name, value in config.items()}
        if isinstance(arguments.get("fn"), str):
            arguments["fn"] = losses.lookup(arguments["fn"])
        return cls(**arguments)

    def extra_repr(self) -> str:
        """Return what `print` shows."""
        return ", ".join(f"{k}={v!r}" for k, v in self.get_config().items())


def _weighted(values: Tensor, sample_weight: Any) -> tuple[Tensor, Tensor]:
    sample_weight = as_target(sample_weight, values).to(values.dtype)
    shapes = tuple(sample_weight.shape), tuple(values.shape)
    values, sample_weight = squeeze_or_expand_to_same_rank(values, sample_weight)
    if (
        values.ndim
        and sample_weight.ndim
        and sample_weight.shape[0] in (1, values.shape[0])
    ):
        sample_weight = append_axes(sample_weight, values.ndim)  # one for each sample
    try:
        return values * sample_weight, sample_weight
    except RuntimeError as error:
        raise ValueError(
            f"`sample_weight` of shape {shapes[0]} does not fit losses of shape "
            f"{shapes[1]}. Give one weight per sample, or per value of the loss."
        ) from error


def _reduce(values: Tensor, sample_weight: Tensor | None, reduction: Any) -> Tensor:
    if reduction in (None, "none") or values.ndim == 0:
        return values
    if reduction == "sum" or values.numel() == 0:
        return values.sum()
    if reduction == "mean_with_sample_weight" and sample_weight is not None:
        return divide_no_nan(values.sum(), sample_weight.sum())
    return values.mean()


def get(identifier: Any) -> Any:
    """Return the loss that a name, a config, a function or an object stands for.

    The name of a function gives the function, the name of a class an instance.

    Raises:
        ValueError: for an unknown name.

    Example:
        >>> get("mse").__name__, get("MeanSquaredError").name
        ('mean_squared_error', 'mean_squared_error')
    """
    return losses.get(identifier)


def serialize(loss: Any) -> Any:
    """Return the name of a loss function, or the config of a loss."""
    return losses.serialize(loss)


def deserialize(name: Any, custom_objects: Mapping[str, Any] | None = None) -> Any:
    """Return the loss that a name or a config stands for."""
    return losses.deserialize(name, custom_objects)
