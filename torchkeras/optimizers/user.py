"""Optimizers that users write: variables beside weights, and `update_step`."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from typing import Any

import torch

from torchkeras import initializers
from torchkeras._core.variable import Variable, to_tensor
from torchkeras.optimizers.variables import (
    Entry,
    KerasVariables,
    Weight,
    is_trainable,
    tensors_of,
    to_keras_layout,
    variable_name,
)


class UpdateSteps(torch.optim.Optimizer):
    """The torch optimizer of a user's class: it calls `update_step` on each weight.

    Args:
        owner: the optimizer that defines `update_step`.
        groups: the parameter groups.
    """

    owner: UserVariables

    def __init__(self, owner: UserVariables, groups: list[dict[str, Any]]) -> None:
        super().__init__(groups, {"lr": 0.0})
        self.owner = owner

    @torch.no_grad()
    def step(self, closure: Callable[[], Any] | None = None) -> Any:
        """Update the weights by their gradients."""
        loss = None
        if closure is not None:
            with torch.enable_grad():
                loss = closure()
        grads = {
            id(p): p.grad
            for group in self.param_groups
            for p in group["params"]
            if p.grad is not None
        }
        for weight in filter(is_trainable, self.owner._weights):
            if any(id(t) in grads for t in tensors_of(weight)):
                gradient = to_keras_layout(weight, grads)
                self.owner.update_step(gradient, weight, self.param_groups[0]["lr"])
        return loss

    def __getstate__(self) -> dict[str, Any]:
        return {**super().__getstate__(), "owner": self.owner}


class UserVariables(KerasVariables):
    """The part of an optimizer that serves classes written by users."""

    _own_variables: list[Variable]

    def update_step(self, gradient: Any, variable: Any, learning_rate: Any) -> None:
        """Update one variable by its gradient: for optimizers of your own."""
        raise NotImplementedError

    def _own_entries(self) -> list[Entry]:
        return [Entry(v.name, v.detach, v.assign) for v in self._own_variables]

    def _get_variable_index(self, variable: Weight) -> int:
        """Return the position of a weight among those it was built over."""
        return next(i for i, w in enumerate(self._weights) if w is variable)

    def add_variable(
        self,
        shape: Sequence[int],
        initializer: Any = "zeros",
        dtype: Any = None,
        aggregation: str = "none",
        layout: Any = None,
        name: str | None = None,
    ) -> Variable:
        """Make a variable that is part of the optimizer's state.

        Args:
            shape: the shape.
            initializer: the first value: a name or a function of ``(shape, dtype=)``.
            dtype: the dtype, ``floatx`` by default.
            aggregation: accepted for Keras's signature.
            layout: accepted for Keras's signature.
            name: the name.
        """
        first = initializers.get(initializer)
        variable = Variable(first, tuple(shape), dtype, trainable=False, name=name)
        self._own_variables.append(variable)
        return variable

    def add_variable_from_reference(
        self,
        reference_variable: Weight,
        name: str | None = None,
        initializer: Any = "zeros",
    ) -> Variable:
        """Make a variable of the shape, dtype and device of a weight.

        Args:
            reference_variable: the weight.
            name: what the variable is to the weight, such as ``"momentum"``.
            initializer: the first value: a name or a function of ``(shape, dtype=)``.
        """
        weight = reference_variable
        full = variable_name(weight, name or "var")
        shape = tuple(weight.shape)
        variable = self.add_variable(shape, initializer, weight.dtype, name=full)
        variable.data = variable.data.to(weight.device)
        return variable

    def add_optimizer_variables(
        self,
        trainable_variables: Iterable[Weight],
        name: str | Sequence[str],
        initializer: Any = "zeros",
    ) -> Any:
        """Make a variable beside each weight, or several where several are named.

        Args:
            trainable_variables: the weights.
            name: what the variables are to the weight: one name or several.
            initializer: one for all, or a list with one for each name.

        Returns:
            A list of variables, or a tuple of lists for several names.
        """
        names = [name] if isinstance(name, str) else list(name)
        several = isinstance(initializer, (list, tuple))
        firsts = list(initializer) if several else [initializer] * len(names)
        made = [
            [
                self.add_variable_from_reference(weight, each, first)
                for each, first in zip(names, firsts, strict=True)
            ]
            for weight in trainable_variables
        ]
        lists = tuple([row[i] for row in made] for i in range(len(names)))
        return lists[0] if isinstance(name, str) else lists

    def assign(self, variable: Any, value: Any) -> None:
        """Replace the value of a weight or a variable in place."""
        if hasattr(variable, "assign"):
            variable.assign(value)
        else:
            variable.copy_(to_tensor(value, variable))

    def assign_add(self, variable: Any, value: Any) -> None:
        """Add to a weight or a variable in place."""
        self.assign(variable, variable + value)

    def assign_sub(self, variable: Any, value: Any) -> None:
        """Subtract from a weight or a variable in place."""
        self.assign(variable, variable - value)
