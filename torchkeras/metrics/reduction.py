"""Sums and means of values, and of what a function makes of each batch."""

from __future__ import annotations

import inspect
import math
from collections.abc import Callable
from typing import Any, Self

import torch
from torch import Tensor

from torchkeras._core import gate
from torchkeras._core.convert import as_tensor
from torchkeras._core.registry import deserialize_object
from torchkeras._core.typing import DType
from torchkeras.losses.functions import losses
from torchkeras.losses.shapes import (
    apply_mask,
    as_target,
    divide_no_nan,
    squeeze_or_expand_to_same_rank,
)
from torchkeras.losses.traits import traits_of
from torchkeras.metrics.metric import Metric, metrics

Reducer = Callable[[Tensor, list[int]], Tensor]


def _per_sample(values: Tensor, reducer: Reducer, start: int = 1) -> Tensor:
    axes = list(range(start, values.ndim))
    return reducer(values, axes) if axes else values


def _weighted(
    values: Tensor, sample_weight: Any, reducer: Reducer
) -> tuple[Tensor, Tensor]:
    """Return weighted values and weights, one of each per sample."""
    sample_weight = as_target(sample_weight, values).to(values.dtype)
    mask = getattr(values, "_keras_mask", None)
    sample_weight = apply_mask(sample_weight, mask, values.dtype, "sum")
    shapes = tuple(sample_weight.shape), tuple(values.shape)
    values, sample_weight = squeeze_or_expand_to_same_rank(values, sample_weight)
    values = _per_sample(values, reducer, sample_weight.ndim)
    try:
        sample_weight = sample_weight.expand(values.shape)
    except RuntimeError as error:
        raise ValueError(
            f"`sample_weight` of shape {shapes[0]} does not fit values of shape "
            f"{shapes[1]}. Give one weight per sample, or per value."
        ) from error
    weighted = _per_sample(values * sample_weight, reducer)
    return weighted, _per_sample(sample_weight, reducer)


@metrics.register()
class Sum(Metric):
    """The sum of the values seen, each times its weight.

    Args:
        name: the name.
        dtype: the dtype of the state and the result.

    Example:
        >>> metric = Sum()
        >>> metric.update_state([1, 3, 5])
        >>> metric([7], sample_weight=[2])
        tensor(23.)
    """

    total: Tensor

    def __init__(self, name: str | None = "sum", dtype: DType = None) -> None:
        super().__init__(name=name, dtype=dtype)
        self.add_zeros("total")

    def update_state(self, values: Any, sample_weight: Any = None) -> None:
        """Add values."""
        values = self.as_input(values)
        if sample_weight is not None:
            values, _ = _weighted(values, sample_weight, torch.sum)
        self.total.add_(values.sum())

    def result(self) -> Tensor:
        """Return the sum."""
        return self.total.clone()


@metrics.register()
class Mean(Metric):
    """The mean of the values seen, each times its weight, over the sum of the weights.

    Args:
        name: the name.
        dtype: the dtype of the states and the result.

    Example:
        >>> metric = Mean()
        >>> metric.update_state([1, 3, 5, 7])
        >>> metric.result()
        tensor(4.)
        >>> metric.reset_state()
        >>> metric([1, 3, 5, 7], sample_weight=[1, 1, 0, 0])
        tensor(2.)
    """

    total: Tensor
    count: Tensor

    def __init__(self, name: str | None = "mean", dtype: DType = None) -> None:
        super().__init__(name=name, dtype=dtype)
        self.add_zeros("total", "count")

    def update_state(self, values: Any, sample_weight: Any = None) -> None:
        """Add values."""
        values = as_tensor(values)
        mask = getattr(values, "_keras_mask", None)
        values = self.as_input(values)
        if sample_weight is None:
            # A sample counts once, whatever the number of its values.
            self.total.add_(values.sum(), alpha=1 / max(math.prod(values.shape[1:]), 1))
            self.count.add_(values.shape[0] if values.ndim else 1)
            return
        if mask is not None:
            sample_weight = apply_mask(sample_weight, mask, values.dtype, "sum")
        values, weights = _weighted(values, sample_weight, torch.mean)
        self.total.add_(values.sum())
        self.count.add_(weights.sum())

    def result(self) -> Tensor:
        """Return the mean; 0 before the first update."""
        return divide_no_nan(self.total, self.count)


@metrics.register()
class MeanMetricWrapper(Mean):
    """The mean of what a function gives for each sample.

    Outputs of one number per sample may be of shape ``(n,)`` or ``(n, 1)``: unlike in
    Keras, both give the mean over the samples, whatever the sizes of the batches.

    Args:
        fn: a function of ``(y_true, y_pred)``.
        name: the name.
        dtype: the dtype of the states and the result.
        **kwargs: more arguments of `fn`.

    Example:
        >>> metric = MeanMetricWrapper(lambda y_true, y_pred: (y_true - y_pred) ** 2)
        >>> metric(torch.zeros(2), torch.tensor([1.0, 3.0]))
        tensor(5.)
    """

    def __init__(
        self,
        fn: Callable[..., Tensor],
        name: str | None = None,
        dtype: DType = None,
        **kwargs: Any,
    ) -> None:
        super().__init__(name=name, dtype=dtype)
        self._fn = fn
        self._fn_kwargs = kwargs
        traits = traits_of(fn)
        self._elementwise = traits.elementwise
        self.batchable = traits.per_sample and kwargs.get("axis", -1) == -1

    def update_state(  # pyright: ignore[reportIncompatibleMethodOverride]
        self, y_true: Any, y_pred: Any, sample_weight: Any = None
    ) -> None:
        """Add a batch."""
        y_pred = as_tensor(y_pred)
        mask = getattr(y_pred, "_keras_mask", None)
        if self._elementwise and y_pred.ndim == 1:
            y_true = as_target(y_true, y_pred)
            if y_true.ndim == 1:
                y_true, y_pred = y_true.unsqueeze(-1), y_pred.unsqueeze(-1)
        values = self._fn(y_true, y_pred, **self._fn_kwargs)
        if mask is not None:
            sample_weight = apply_mask(sample_weight, mask, self._state_dtype, "sum")
        super().update_state(values, sample_weight)

    def get_config(self) -> dict[str, Any]:
        """Return the constructor's arguments."""
        return {**super().get_config(), "fn": self._fn, **self._fn_kwargs}

    @classmethod
    @gate.takes_config
    def from_config(cls, config: dict[str, Any]) -> Self:
        """Make a metric from the result of `get_config`."""
        arguments = {
            name: deserialize_object(value)
            for name, value in config.items()
            if name != "fn"
        }
        if "fn" in config:
            arguments["fn"] = _function(config["fn"])
        return cls(**arguments)


def _function(config: Any) -> Any:
    """Return the function that a config stands for; its name may be a class's too."""
    name = config.get("config") if isinstance(config, dict) else config
    for family in (metrics, losses):
        for member, canonical in family.canonical.items():
            if canonical == name and inspect.isfunction(member):
                return member
    return deserialize_object(config)


class BuiltInMetric(MeanMetricWrapper):
    """A built-in function as a class: its arguments are attributes and config."""

    def __init__(
        self,
        fn: Callable[..., Tensor],
        name: str | None,
        dtype: DType,
        **kwargs: Any,
    ) -> None:
        super().__init__(fn, name, dtype, **kwargs)
        for argument, value in kwargs.items():
            setattr(self, argument, value)

    def get_config(self) -> dict[str, Any]:
        """Return the constructor's arguments."""
        return {**Metric.get_config(self), **self._fn_kwargs}
