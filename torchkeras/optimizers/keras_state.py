"""An optimizer's state as Keras lists it: order, names and layout of its files."""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any, NamedTuple, Protocol

import numpy as np
import torch
from torch import Tensor, no_grad, optim

from torchkeras._core.variable import Variable, as_array, check_assigned
from torchkeras.optimizers.hyperparameters import Rate, checked_rate
from torchkeras.optimizers.stages import Accumulation, Averages
from torchkeras.optimizers.weights import (
    Weight,
    tensors_of,
    to_keras_layout,
    to_torch_layout,
    variable_name,
)

#: What torch keeps for each parameter, by names.
TorchState = Mapping[Tensor, Mapping[str, Any]]


def _as_it_is(value: Tensor) -> Tensor:
    return value


class Moment(NamedTuple):
    """A tensor that an algorithm keeps for each weight, such as a running mean.

    Args:
        name: what Keras calls it.
        key: what the torch optimizer's state calls it.
        initial: the first value, in torch.
        to_keras: makes Keras's values of torch's, which are those of the gradients
            where Keras's are those of the steps, and the like.
        to_torch: the inverse.

    Example:
        >>> Moment("momentum", "exp_avg").initial
        0.0
    """

    name: str
    key: str
    initial: float = 0.0
    to_keras: Callable[[Tensor], Tensor] = _as_it_is
    to_torch: Callable[[Tensor], Tensor] = _as_it_is


class StateVariable(NamedTuple):
    """One variable of Keras's list.

    Args:
        name: its name below the optimizer's.
        read: returns its value, in Keras's layout.
        write: takes a value, in Keras's layout.
        check: refuses a value that `write` could not take.
    """

    name: str
    read: Callable[[], Tensor]
    write: Callable[[Tensor], object]
    check: Callable[[Tensor], object] = _as_it_is


def beside(weight: Weight, name: str, values: Mapping[int, Tensor]) -> StateVariable:
    """Return the variable made of values beside a weight's tensors, by their ids."""

    def write(value: Tensor) -> None:
        parts = to_torch_layout(weight, value)
        for tensor, part in zip(tensors_of(weight), parts, strict=True):
            if id(tensor) in values:
                values[id(tensor)].copy_(part)

    read = functools.partial(to_keras_layout, weight, values)
    return StateVariable(variable_name(weight, name), read, write)


def moment_of(weight: Weight, moment: Moment, state: TorchState) -> StateVariable:
    """Return the variable that is a moment of a weight."""
    values = {id(t): state[t][moment.key] for t in tensors_of(weight) if t in state}
    kept = beside(weight, moment.name, values)
    return kept._replace(
        read=lambda: moment.to_keras(kept.read()),
        write=lambda value: kept.write(moment.to_torch(value)),
    )


class Shown(Protocol):
    """What an optimizer has to have for its state to be shown."""

    name: str
    built: bool
    torch: optim.Optimizer

    _rate: Rate
    _iterations: int
    _weights: list[Weight]
    _optimized: list[Tensor]
    _averages: Averages | None
    _accumulation: Accumulation | None
    _own_variables: list[Variable]

    def _build_or_check(self, variables: Sequence[Weight]) -> None: ...

    def _current_rate(self) -> float: ...

    def _set_learning_rate(self, rate: float) -> None: ...

    def _count_from(self, iterations: int) -> None: ...

    def _ensure_state(self) -> None: ...

    def _moment_variables(self) -> list[StateVariable]: ...

    def _after_load(self) -> None: ...

    def refresh(self) -> None:
        """Look at the torch optimizer again, after its state changed."""
        ...


class KerasState:
    """The state of an optimizer, listed, read and written as Keras does.

    Args:
        optimizer: the optimizer; it owns all of the state.

    Example:
        >>> from torchkeras.optimizers import Adam
        >>> optimizer = Adam(0.5)
        >>> optimizer.build([Variable([1.0], name="bias")])
        >>> [variable.name for variable in KerasState(optimizer).listed()]
        ['iteration', 'learning_rate', 'bias_momentum', 'bias_velocity']
    """

    optimizer: Shown

    def __init__(self, optimizer: Shown) -> None:
        self.optimizer = optimizer

    def listed(self) -> list[StateVariable]:
        """Return Keras's variables, in its order."""
        optimizer = self.optimizer
        found = [StateVariable("iteration", self._read_count, self._write_count)]
        if not callable(optimizer._rate):
            found.append(self._learning_rate())
        if not optimizer.built:
            return found
        optimizer._ensure_state()
        if (averages := optimizer._averages) is not None:
            found += self._beside_all("average", averages.values)
        if (accumulation := optimizer._accumulation) is not None:
            sums = accumulation.sums(optimizer._optimized)
            found += self._beside_all("gradient_accumulator", sums)
        own = optimizer._own_variables
        found += optimizer._moment_variables()
        return found + [StateVariable(v.name, v.detach, v.assign) for v in own]

    def variables(self) -> list[Variable]:
        """Return the values of this moment, by Keras's names and paths."""
        made = []
        for listed in self.listed():
            value = listed.read().detach()
            variable = Variable(value, trainable=False, name=listed.name)
            variable.path = self._path(listed)
            made.append(variable)
        return made

    def arrays(self, weights: Iterable[Weight] | None = None) -> list[np.ndarray]:
        """Return the values as a Keras file holds them.

        Args:
            weights: the weights, to build over where it was not built yet.
        """
        if weights is not None:
            self.optimizer._build_or_check(list(weights))
        return [as_array(listed.read()) for listed in self.listed()]

    @no_grad()
    def load(self, weights: Iterable[Weight] | None, arrays: Sequence[Any]) -> None:
        """Write the values of a Keras file: all of them, or none.

        Args:
            weights: the weights, to build over where it was not built yet.
            arrays: the values, in Keras's order and layout.

        Raises:
            ValueError: when the arrays do not fit; nothing is changed then.
        """
        if weights is not None:
            self.optimizer._build_or_check(list(weights))
        variables = self.listed()
        if len(arrays) != len(variables):
            raise ValueError(
                f"Optimizer '{self.optimizer.name}' has {len(variables)} variables, "
                f"got {len(arrays)} arrays. Load them into an optimizer of the same "
                "class and arguments, built over the same weights."
            )
        values = [torch.as_tensor(array) for array in arrays]
        for listed, value in zip(variables, values, strict=True):
            shape = tuple(listed.read().shape)
            check_assigned(self._path(listed), shape, tuple(value.shape))
            listed.check(value)
        for listed, value in zip(variables, values, strict=True):
            listed.write(value)
        self.optimizer._after_load()
        self.optimizer.refresh()

    def _path(self, listed: StateVariable) -> str:
        return f"{self.optimizer.name}/{listed.name}"

    def _beside_all(self, name: str, values: Sequence[Tensor]) -> list[StateVariable]:
        pairs = zip(self.optimizer._optimized, values, strict=True)
        found = {id(parameter): value for parameter, value in pairs}
        return [beside(weight, name, found) for weight in self.optimizer._weights]

    def _read_count(self) -> Tensor:
        return torch.tensor(self.optimizer._iterations, dtype=torch.int32)

    def _write_count(self, value: Tensor) -> None:
        self.optimizer._count_from(int(value))

    def _learning_rate(self) -> StateVariable:
        optimizer = self.optimizer
        owner = type(optimizer).__name__

        def read() -> Tensor:
            return torch.tensor(optimizer._current_rate())

        def write(value: Tensor) -> None:
            # Files hold float32: a rate equal to that precision keeps its own digits.
            if np.float32(optimizer._current_rate()) != np.float32(float(value)):
                optimizer._set_learning_rate(float(value))

        def check(value: Tensor) -> None:
            checked_rate(owner, float(value))

        return StateVariable("learning_rate", read, write, check)
