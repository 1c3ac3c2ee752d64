"""An optimizer's state as Keras lists it: order, names and layout of its files."""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any, NamedTuple, Protocol

import torch
from torch import Tensor, no_grad, optim

from torchkeras._core.undo import Undo, all_at_once
from torchkeras._core.variable import Variable, check_assigned
from torchkeras.optimizers.hyperparameters import Rate, checked_rate
from torchkeras.optimizers.stages import TorchState
from torchkeras.optimizers.weights import (
    Weight,
    tensors_of,
    to_keras_layout,
    to_torch_layout,
    variable_name,
)

#: What Keras calls the count of steps.
_COUNT = "iteration"


def _as_it_is(value: Tensor) -> Tensor:
    return value


class Moment(NamedTuple):
    """A tensor that an algorithm keeps for each weight, such as a running mean.

    Args:
        name: what Keras calls it.
        key: what the torch optimizer's state calls it.
        initial: the first value, in torch.
        to_keras: makes Keras's values of torch's, which are those of the gradients
            where Keras's are those of the steps, and the like; both in float64, in
            which nothing is lost on the way to Keras and back.
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
        dtype: what Keras keeps it in, where `read` returns more digits than that.
        loose: whether Keras finds it by its attribute alone, and so not within another
            optimizer.
    """

    name: str
    read: Callable[[], Tensor]
    write: Callable[[Tensor], object]
    check: Callable[[Tensor], object] = _as_it_is
    dtype: torch.dtype | None = None
    loose: bool = False


def beside(weight: Weight, name: str, values: Mapping[int, Tensor]) -> StateVariable:
    """Return the variable made of values beside a weight's tensors, by their ids."""

    def write(value: Tensor) -> None:
        parts = to_torch_layout(weight, value)
        for tensor, part in zip(tensors_of(weight), parts, strict=True):
            if id(tensor) in values:
                own = values[id(tensor)]
                own.copy_(part.to(own.dtype))  # first: some devices have no float64

    read = functools.partial(to_keras_layout, weight, values)
    return StateVariable(variable_name(weight, name), read, write)


def moment_of(weight: Weight, moment: Moment, state: TorchState) -> StateVariable:
    """Return the variable that is a moment of a weight."""
    values = {id(t): state[t][moment.key] for t in tensors_of(weight) if t in state}
    kept = beside(weight, moment.name, values)
    if moment.to_keras is _as_it_is:
        return kept
    return kept._replace(
        read=lambda: moment.to_keras(kept.read().cpu().double()),
        write=lambda value: kept.write(moment.to_torch(value.cpu().double())),
        dtype=tensors_of(weight)[0].dtype,
    )


class Shown(Protocol):
    """What an optimizer has to have for its state to be shown."""

    name: str
    built: bool
    torch: optim.Optimizer

    _rate: Rate
    _iterations: int
    _weights: list[Weight]
    _own_variables: list[Variable]

    def _build_or_check(self, variables: Sequence[Weight]) -> None: ...

    def _current_rate(self) -> float: ...

    def _set_learning_rate(self, rate: float) -> None: ...

    def _count_from(self, iterations: int) -> None: ...

    def _steps(self) -> int: ...

    def _settle(self) -> float: ...

    def _next_rate(self) -> float: ...

    def _ensure_state(self) -> None: ...

    def _kept_by_stages(self) -> tuple[str, ...]: ...

    def _moment_variables(self, state: TorchState) -> list[StateVariable]: ...

    def _whole_state(self) -> TorchState: ...

    def _after_load(self, rate: float) -> None: ...

    def refresh(self) -> None:
        """Look at the torch optimizer again, after its state changed."""
        ...


class KerasState:
    """The state of an optimizer, listed, read and written as Keras does.

    Args:
        optimizer: the optimizer; it owns all of the state.
        inside: whether it is within another one.

    Example:
        >>> from torchkeras.optimizers import Adam
        >>> optimizer = Adam(0.5)
        >>> optimizer.build([Variable([1.0], name="bias")])
        >>> [variable.name for variable in KerasState(optimizer).listed()]
        ['iteration', 'learning_rate', 'bias_momentum', 'bias_velocity']
    """

    optimizer: Shown
    inside: bool

    def __init__(self, optimizer: Shown, inside: bool = False) -> None:
        self.optimizer = optimizer
        self.inside = inside

    def listed(self) -> list[StateVariable]:
        """Return Keras's variables, in its order."""
        if not self.optimizer.built:
            return self.before_build()
        self.optimizer._ensure_state()
        return self.of_state(self.optimizer.torch.state)

    def before_build(self) -> list[StateVariable]:
        """Return what there is before the optimizer is built."""
        found = [StateVariable(_COUNT, self._read_count, self._write_count)]
        if not callable(self.optimizer._rate):
            found.append(self._learning_rate())
        return found

    def of_state(self, state: TorchState) -> list[StateVariable]:
        """Return what there is afterwards.

        Args:
            state: what torch keeps for each parameter.
        """
        optimizer, found = self.optimizer, self.before_build()
        for name in optimizer._kept_by_stages():
            moment = Moment(name, name)
            found += [moment_of(weight, moment, state) for weight in optimizer._weights]
        own = optimizer._own_variables
        moments = optimizer._moment_variables(state)
        found += [m for m in moments if not (self.inside and m.loose)]
        return found + [StateVariable(v.name, v.detach, v.assign) for v in own]

    def variables(self) -> list[Variable]:
        """Return the values of this moment, by Keras's names and paths."""
        made = []
        for listed in self.listed():
            value = listed.read().detach()
            value = value.to(listed.dtype or value.dtype)
            variable = Variable(value, trainable=False, name=listed.name)
            variable.path = self._path(listed)
            made.append(variable)
        return made

    def values(
        self, weights: Iterable[Weight] | None = None
    ) -> list[tuple[str, Tensor]]:
        """Return what a Keras file holds: names, and values with all of their digits.

        Args:
            weights: the weights, to build over where it was not built yet.
        """
        if weights is not None:
            self.optimizer._build_or_check(list(weights))
        self.optimizer._settle()
        return [(listed.name, listed.read().detach()) for listed in self.listed()]

    def load(self, weights: Iterable[Weight] | None, arrays: Sequence[Any]) -> None:
        """Write the values of a Keras file: all of them, or none.

        Args:
            weights: the weights, to build over where it was not built yet.
            arrays: the values, in Keras's order and layout.

        Raises:
            ValueError: when the arrays do not fit; nothing is changed then.
        """
        known = None if weights is None else list(weights)
        all_at_once(functools.partial(self._load, known, arrays))

    @no_grad()
    def _load(
        self, weights: list[Weight] | None, arrays: Sequence[Any], undo: Undo
    ) -> None:
        undo.note_state(self.optimizer)
        if weights is not None:
            self.optimizer._build_or_check(weights)
        values = [torch.as_tensor(array) for array in arrays]
        variables, state = self.before_build(), self.optimizer.torch.state
        if not self._begins(variables, values):
            state = self.optimizer._whole_state()
            variables = self.of_state(state)
        if len(values) != len(variables):
            raise ValueError(
                f"Optimizer '{self.optimizer.name}' has {len(variables)} variables, "
                f"got {len(values)} arrays. Load them into an optimizer of the same "
                "class and arguments, built over the same weights."
            )
        for listed, value in zip(variables, values, strict=True):
            shape = tuple(listed.read().shape)
            check_assigned(self._path(listed), shape, tuple(value.shape))
            listed.check(value)
        for listed, value in zip(variables, values, strict=True):
            listed.write(value)
        self.optimizer.torch.state.update(state)
        self.optimizer._after_load(self.optimizer._next_rate())
        self.optimizer.refresh()

    def _begins(
        self, variables: Sequence[StateVariable], values: Sequence[Tensor]
    ) -> bool:
        """Say whether values were saved before the first step, and come before it."""
        if len(values) != len(variables) or self.optimizer._steps():
            return False
        pairs = zip(variables, values, strict=True)
        return not any(int(v) for listed, v in pairs if listed.name == _COUNT)

    def _path(self, listed: StateVariable) -> str:
        return f"{self.optimizer.name}/{listed.name}"

    def _read_count(self) -> Tensor:
        return torch.tensor(self.optimizer._iterations, dtype=torch.int32)

    def _write_count(self, value: Tensor) -> None:
        self.optimizer._count_from(int(value))

    def _learning_rate(self) -> StateVariable:
        optimizer = self.optimizer
        owner = type(optimizer).__name__

        def read() -> Tensor:
            return torch.tensor(optimizer._current_rate(), dtype=torch.float64)

        def write(value: Tensor) -> None:
            # A rate equal to the precision of the value keeps its own digits.
            own = torch.tensor(optimizer._current_rate(), dtype=value.dtype)
            if float(own) != float(value):
                optimizer._set_learning_rate(float(value))

        def check(value: Tensor) -> None:
            checked_rate(owner, float(value))

        return StateVariable("learning_rate", read, write, check, torch.float32)
