"""`Metric`: a torchmetrics metric with Keras's methods."""

from __future__ import annotations

import functools
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Self

import torch
import torchmetrics
from torch import Tensor

from torchkeras import initializers
from torchkeras._core import gate, limits, torch_private
from torchkeras._core.context import context
from torchkeras._core.convert import as_tensor
from torchkeras._core.dtypes import standardize_dtype, to_torch_dtype
from torchkeras._core.naming import auto_name, to_snake_case
from torchkeras._core.registry import Registry
from torchkeras._core.typing import DType, InitializerLike
from torchkeras._core.variable import IDENTITY, WeightView

metrics = Registry("metric", "keras.metrics")


def _prepared(update_state: Callable[..., None]) -> Callable[..., None]:
    """Move the states to the device of the inputs first, and record no gradients."""

    @functools.wraps(update_state)
    def prepared(self: Metric, *args: Any, **kwargs: Any) -> None:
        for value in args:
            if isinstance(value, Tensor):
                if context.probes:
                    return None  # a layer is asked for its shapes: nothing to count
                if value.device != self.device:
                    self.to(value.device)
                break
        if not torch.is_grad_enabled():
            return update_state(self, *args, **kwargs)
        with torch.no_grad():
            return update_state(self, *args, **kwargs)

    return prepared


@metrics.register()
class Metric(torchmetrics.Metric):
    """The base of metrics, and of your own.

    Make states by `add_variable` in the constructor, and write ``update_state(y_true,
    y_pred, sample_weight=None)`` and ``result()``. It is a torchmetrics metric too:
    ``update(preds, target)`` calls the one, and ``compute()`` the other, on states that
    are summed over all processes.

    Args:
        dtype: the dtype of the states and the result; ``floatx`` by default.
        name: the name; the class's in snake case by default.

    Example:
        >>> class Positives(Metric):
        ...     def __init__(self, name="positives", **kwargs):
        ...         super().__init__(name=name, **kwargs)
        ...         self.seen = self.add_variable(shape=(), initializer="zeros")
        ...
        ...     def update_state(self, y_true, y_pred, sample_weight=None):
        ...         self.seen.assign_add((y_pred > 0.5).sum())
        ...
        ...     def result(self):
        ...         return self.seen.value
        >>> Positives()(torch.ones(3), torch.tensor([0.2, 0.7, 0.9]))
        tensor(2.)
    """

    full_state_update = False
    #: Whether one update by several batches joined equals an update by each.
    batchable = False

    name: str

    def __init_subclass__(cls, **kwargs: Any) -> None:
        super().__init_subclass__(**kwargs)
        if "update_state" in cls.__dict__:
            cls.update_state = _prepared(cls.__dict__["update_state"])

    def __init__(self, dtype: DType = None, name: str | None = None) -> None:
        # The result of a call would be kept, as `update_state` does not tell of itself.
        super().__init__(compute_with_cache=False)
        self.name = name or auto_name(to_snake_case(type(self).__name__))
        self._state_dtype = to_torch_dtype(dtype)

    @property
    def dtype(self) -> str:  # pyright: ignore[reportIncompatibleMethodOverride]
        """The name of the dtype of the states and the result."""
        return standardize_dtype(self._state_dtype)

    @property
    def update_called(self) -> bool:
        """Always True: in Keras a metric has a result before the first update."""
        return True

    # Keras's methods

    def update_state(self, *args: Any, **kwargs: Any) -> None:
        """Add a batch to the states."""
        raise NotImplementedError(
            f"{type(self).__name__} does not define `update_state(self, y_true, "
            "y_pred, sample_weight=None)`."
        )

    def result(self) -> Any:
        """Return the value: a scalar tensor, or a dict of them."""
        raise NotImplementedError(
            f"{type(self).__name__} does not define `result(self)`."
        )

    def reset_state(self) -> None:
        """Set the states to their first values."""
        super().reset()
        for child in self.children():
            if isinstance(child, Metric):
                child.reset_state()

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        """Add a batch, ``(y_true, y_pred, sample_weight=None)``; return the value."""
        self.update_state(*args, **kwargs)
        return self.result()

    def add_variable(
        self,
        shape: Sequence[int],
        initializer: InitializerLike,
        dtype: DType = None,
        aggregation: str | None = "sum",
        name: str | None = None,
    ) -> WeightView:
        """Make a state.

        Args:
            shape: its shape.
            initializer: gives its first value: a name or an object.
            dtype: its dtype; the metric's by default.
            aggregation: how processes are joined: ``"sum"``, ``"mean"`` or None.
            name: its name.

        Example:
            >>> Metric().add_variable((2,), "ones").assign_add([1.0, 2.0]).numpy()
            array([2., 3.], dtype=float32)
        """
        name = name or f"variable_{len(torch_private.states_of(self))}"
        # The user's attribute, which holds the view, has the plain name as a rule.
        state = f"{name}_state"
        while state in torch_private.states_of(self):
            state += "_"
        dtype = self._state_dtype if dtype is None else to_torch_dtype(dtype)
        limits.spend(f"the state '{name}' of '{self.name}'", shape, dtype)
        value = initializers.get(initializer or "zeros")(tuple(shape), dtype=dtype)
        value = as_tensor(value).to(self.device)
        self.add_state(state, value, None if aggregation == "none" else aggregation)
        return WeightView(self, (state,), IDENTITY, name)

    def add_weight(
        self,
        shape: Sequence[int] = (),
        initializer: InitializerLike = None,
        dtype: DType = None,
        name: str | None = None,
    ) -> WeightView:
        """Make a state: `add_variable` under its older name."""
        return self.add_variable(shape, initializer, dtype=dtype, name=name)

    @property
    def variables(self) -> list[WeightView]:
        """The states, and those of the metrics that this one holds."""
        views = [
            WeightView(self, (state,), IDENTITY, state.removesuffix("_state"))
            for state in torch_private.states_of(self)
        ]
        for child in self.children():
            if isinstance(child, Metric):
                views += child.variables
        return views

    def get_config(self) -> dict[str, Any]:
        """Return the constructor's arguments."""
        return {"name": self.name, "dtype": self.dtype}

    @classmethod
    @gate.takes_config
    def from_config(cls, config: dict[str, Any]) -> Self:
        """Make a metric from the result of `get_config`."""
        return cls(**config)

    # torchmetrics' methods

    def update(self, preds: Any, target: Any = None, **kwargs: Any) -> None:
        """Add a batch, in torchmetrics' order of arguments."""
        batch = (preds,) if target is None else (target, preds)
        self.update_state(*batch, **kwargs)

    def compute(self) -> Any:
        """Return the value over all processes."""
        return self.result()

    def reset(self) -> None:
        """Set the states to their first values."""
        self.reset_state()

    def __repr__(self) -> str:
        return f"<{type(self).__name__} name={self.name}>"

    # For the metrics of this package

    def add_zeros(self, *names: str, shape: tuple[int, ...] = ()) -> None:
        """Make states that are attributes of these names and begin at 0."""
        for name in names:
            limits.spend(
                f"the state '{name}' of '{self.name}'", shape, self._state_dtype
            )
            value = torch.zeros(shape, dtype=self._state_dtype, device=self.device)
            self.add_state(name, value, "sum")

    def as_input(self, value: Any) -> Tensor:
        """Return an input as a tensor of the metric's dtype, next to the states."""
        if not isinstance(value, Tensor):
            value = as_tensor(value).to(self.device)
        return (
            value if value.dtype == self._state_dtype else value.to(self._state_dtype)
        )


def get(identifier: Any) -> Any:
    """Return the metric that a name, a config, a function or an object stands for.

    A name stands for an object, where there is a class for it.

    Raises:
        ValueError: for an unknown name.

    Example:
        >>> get("mse").name
        'mean_squared_error'
    """
    return metrics.get(identifier)


def serialize(metric: Any) -> Any:
    """Return the name of a metric function, or the config of a metric."""
    return metrics.serialize(metric)


def deserialize(config: Any, custom_objects: Mapping[str, Any] | None = None) -> Any:
    """Return the metric that a name or a config stands for."""
    return metrics.deserialize(config, custom_objects)
