"""What optimizers that users write stand on: variables, and a step of `update_step`."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from typing import Any

import torch
from torch import Tensor

from torchkeras import initializers
from torchkeras._core.typing import DType, InitializerLike
from torchkeras._core.variable import Variable, to_tensor
from torchkeras.optimizers.weights import (
    Weight,
    is_trainable,
    tensors_of,
    to_keras_layout,
    variable_name,
)

#: Updates a weight by its gradient, in the weight's layout, at a learning rate.
UpdateStep = Callable[[Tensor, Weight, float], object]


class UpdateSteps(torch.optim.Optimizer):
    """The torch optimizer of a user's class: it calls `update_step` on each weight.

    Args:
        groups: the parameter groups.
        weights: the weights that these parameters are of.
        update_step: the function of ``(gradient, weight, learning_rate)``.
    """

    weights: list[Weight]
    update_step: UpdateStep

    def __init__(
        self,
        groups: list[dict[str, Any]],
        weights: list[Weight],
        update_step: UpdateStep,
    ) -> None:
        super().__init__(groups, {"lr": 0.0})
        self.weights = weights
        self.update_step = update_step

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
        for weight in filter(is_trainable, self.weights):
            if any(id(t) in grads for t in tensors_of(weight)):
                gradient = to_keras_layout(weight, grads)
                self.update_step(gradient, weight, self.param_groups[0]["lr"])
        return loss

    def __getstate__(self) -> dict[str, Any]:
        kept = {"weights": self.weights, "update_step": self.update_step}
        return {**super().__getstate__(), **kept}


class AddedVariables:
    """The variables that an optimizer adds to its state, and changes in place.

    It knows nothing else of the optimizer that it is a part of.
    """

    _own_variables: list[Variable]

    def __init__(self) -> None:
        self._own_variables = []

    def add_variable(
        self,
        shape: Sequence[int],
        initializer: InitializerLike = "zeros",
        dtype: DType = None,
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
        initializer: InitializerLike = "zeros",
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
        initializer: InitializerLike = "zeros",
    ) -> Any:
        """Make a variable beside each weight, or several where several are named.

        Args:
            trainable_variables: the weights.
            name: what the variables are to the weight: one name or several.
            initializer: one for all, or a list with one for each name.

        Returns:
            A list of variables, or a tuple of lists for several names.

        Example:
            >>> bias = Variable([1.0], name="bias")
            >>> both = AddedVariables().add_optimizer_variables([bias], ["m", "v"])
            >>> [[variable.name for variable in some] for some in both]
            [['bias_m'], ['bias_v']]
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

    def assign(self, variable: Weight, value: Any) -> None:
        """Replace the value of a weight or a variable in place.

        Args:
            variable: the weight or the variable.
            value: the new value, in its layout.
        """
        if isinstance(variable, Tensor) and not isinstance(variable, Variable):
            variable.copy_(to_tensor(value, variable))
        else:
            variable.assign(value)

    def assign_add(self, variable: Weight, value: Any) -> None:
        """Add to a weight or a variable in place.

        Args:
            variable: the weight or the variable.
            value: what to add, in its layout.
        """
        self.assign(variable, variable + value)

    def assign_sub(self, variable: Weight, value: Any) -> None:
        """Subtract from a weight or a variable in place.

        Args:
            variable: the weight or the variable.
            value: what to subtract, in its layout.
        """
        self.assign(variable, variable - value)
