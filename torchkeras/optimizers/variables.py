"""An optimizer's state as Keras lists it: order, names and layout of its files."""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterable, Mapping, MutableMapping, Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
import torch
from torch import Tensor, no_grad, optim

from torchkeras._core.variable import Variable, WeightView, as_array, check_assigned

if TYPE_CHECKING:
    from torchkeras.optimizers.stages import Accumulation, Averages

Weight = Tensor | Variable | WeightView


class Slot(NamedTuple):
    """A tensor that an algorithm keeps for each weight.

    Args:
        name: what Keras calls it.
        key: what the torch optimizer's state calls it.
        initial: the first value.
    """

    name: str
    key: str
    initial: float = 0.0


class Entry(NamedTuple):
    """One variable of Keras's list.

    Args:
        name: its name below the optimizer's.
        read: returns its value, in Keras's layout.
        write: takes a value, in Keras's layout.
    """

    name: str
    read: Callable[[], Tensor]
    write: Callable[[Tensor], object]


def tensors_of(weight: Weight) -> tuple[Tensor, ...]:
    """Return torch's tensors of a weight."""
    return weight.tensors if isinstance(weight, WeightView) else (weight,)


def is_trainable(weight: Weight) -> bool:
    """Say whether gradients are taken with respect to a weight."""
    return any(t.requires_grad for t in tensors_of(weight))


def to_torch_layout(weight: Weight, value: Tensor) -> Sequence[Tensor]:
    """Return a value in a weight's layout as values beside its tensors."""
    return weight.layout.to_torch(value) if isinstance(weight, WeightView) else (value,)


def to_keras_layout(weight: Weight, values: Mapping[int, Tensor]) -> Tensor:
    """Return values beside a weight's tensors, found by their id, in its layout.

    Zeros stand for what is missing, as it is beside a part of a weight that is frozen.
    """
    tensors = tensors_of(weight)
    parts = [values[id(t)] if id(t) in values else torch.zeros_like(t) for t in tensors]
    return (
        weight.layout.to_keras(*parts) if isinstance(weight, WeightView) else parts[0]
    )


def variable_name(weight: Weight, name: str) -> str:
    """Return Keras's name for what is kept beside a weight."""
    path = getattr(weight, "path", None) or "variable"
    return f"{path.replace('/', '_')}_{name}"


def beside(weight: Weight, name: str, values: Mapping[int, Tensor]) -> Entry:
    """Return the variable made of values beside a weight's tensors."""

    def write(value: Tensor) -> None:
        parts = to_torch_layout(weight, value)
        for tensor, part in zip(tensors_of(weight), parts, strict=True):
            if id(tensor) in values:
                values[id(tensor)].copy_(part)

    read = functools.partial(to_keras_layout, weight, values)
    return Entry(variable_name(weight, name), read, write)


class KerasVariables:
    """The part of an optimizer that shows its state as Keras does."""

    torch: optim.Optimizer
    name: str
    built: bool
    _rate: Any
    _accumulated: int
    _iterations: int
    _weights: list[Weight]
    _optimized: list[Tensor]
    _averages: Averages | None
    _accumulation: Accumulation | None

    @property
    def variables(self) -> list[Variable]:
        """The state as Keras lists it: the values of this moment, in Keras's layout."""
        made = []
        for entry in self._entries():
            value = entry.read().detach()
            variable = Variable(value, trainable=False, name=entry.name)
            variable.path = f"{self.name}/{entry.name}"
            made.append(variable)
        return made

    def state_for_keras(
        self, weights: Iterable[Weight] | None = None
    ) -> list[np.ndarray]:
        """Return the arrays that a Keras file holds for this optimizer, in its order.

        Args:
            weights: the weights, to build over where it was not built yet.
        """
        if weights is not None:
            self._build_or_check(list(weights))
        return [as_array(entry.read()) for entry in self._entries()]

    @no_grad()
    def load_state_from_keras(
        self, weights: Iterable[Weight] | None, arrays: Sequence[Any]
    ) -> None:
        """Restore what `state_for_keras`, or Keras itself, wrote.

        Args:
            weights: the weights, to build over where it was not built yet.
            arrays: the arrays, in Keras's order and layout.

        Raises:
            ValueError: when number or shapes of the arrays do not fit; nothing is
                changed then.
        """
        if weights is not None:
            self._build_or_check(list(weights))
        entries = self._entries()
        if len(arrays) != len(entries):
            raise ValueError(
                f"Optimizer '{self.name}' has {len(entries)} variables, got "
                f"{len(arrays)} arrays. Load them into an optimizer of the same class "
                "and arguments, built over the same weights."
            )
        values = [torch.as_tensor(array) for array in arrays]
        for entry, value in zip(entries, values, strict=True):
            path = f"{self.name}/{entry.name}"
            check_assigned(path, tuple(entry.read().shape), tuple(value.shape))
        for entry, value in zip(entries, values, strict=True):
            entry.write(value)
        self._after_load()
        self.refresh()

    def set_weights(self, weights: Sequence[Any]) -> None:
        """Set the values of `variables`.

        Raises:
            ValueError: when their number or shapes do not fit.
        """
        self.load_state_from_keras(None, weights)

    def save_own_variables(self, store: MutableMapping[str, Any]) -> None:
        """Write the variables into `store`, under their numbers."""
        for number, array in enumerate(self.state_for_keras()):
            store[str(number)] = array

    def load_own_variables(self, store: Mapping[str, Any]) -> None:
        """Read the variables from `store`."""
        self.load_state_from_keras(None, [store[str(i)] for i in range(len(store))])

    def _entries(self) -> list[Entry]:
        """Return Keras's variables, in its order."""
        entries = [Entry("iteration", self._read_iterations, self._write_iterations)]
        if not callable(self._rate):
            entries.append(Entry("learning_rate", self._read_rate, self._write_rate))
        if not self.built:
            return entries
        self._ensure_state()
        if self._averages is not None:
            entries += self._beside_all("average", self._averages.values)
        if self._accumulation is not None:
            sums = self._accumulation.sums(self._optimized)
            entries += self._beside_all("gradient_accumulator", sums)
        return entries + self._slot_entries() + self._own_entries()

    def _slot_entries(self) -> list[Entry]:
        return [
            self._slot_entry(weight, slot)
            for slots in self.slots()
            for weight in self._weights
            for slot in slots
        ]

    def _slot_entry(self, weight: Weight, slot: Slot) -> Entry:
        state = self.torch.state
        values = {id(t): state[t][slot.key] for t in tensors_of(weight) if t in state}
        entry = beside(weight, slot.name, values)
        return entry._replace(
            read=lambda: self._slot_to_keras(slot, entry.read()),
            write=lambda value: entry.write(self._slot_from_keras(slot, value)),
        )

    def _beside_all(self, name: str, values: Sequence[Tensor]) -> list[Entry]:
        found = {id(p): v for p, v in zip(self._optimized, values, strict=True)}
        return [beside(weight, name, found) for weight in self._weights]

    def _read_iterations(self) -> Tensor:
        return torch.tensor(self._iterations, dtype=torch.int32)

    def _write_iterations(self, value: Tensor) -> None:
        self._count_from(int(value))

    def _count_from(self, iterations: int) -> None:
        """Set the count of steps, and with it torch's own counters."""
        self._iterations = iterations
        if self._accumulation is not None:
            self._accumulation.count = iterations % self._accumulation.steps
        updates = self._updates()
        for state in self.torch.state.values() if self.built else ():
            if isinstance(state.get("step"), Tensor):
                state["step"].fill_(updates)
        for group in self.torch.param_groups if self.built else ():
            if "step" in group:
                group["step"] = updates

    def _read_rate(self) -> Tensor:
        return torch.tensor(self._current_rate())

    def _write_rate(self, value: Tensor) -> None:
        # Files hold float32: a rate equal to that precision keeps its own digits.
        if np.float32(self._current_rate()) != np.float32(float(value)):
            self.learning_rate = float(value)

    def _updates(self) -> int:
        return self._iterations // self._accumulated

    def _after_load(self) -> None:
        """Bring what depends on the loaded state up to date."""

    def _own_entries(self) -> list[Entry]:
        return []

    # What an optimizer does

    def refresh(self) -> None:
        """Look at the torch optimizer again, after its state or groups changed."""
        raise NotImplementedError

    def _build_or_check(self, variables: Sequence[Weight]) -> None:
        raise NotImplementedError

    def _current_rate(self) -> float:
        raise NotImplementedError

    # What a slot is, and how torch keeps it

    def slots(self) -> tuple[tuple[Slot, ...], ...]:
        """Return what is kept for each weight, in the order of Keras's files.

        The slots of an inner tuple are interleaved weight by weight.
        """
        return ()

    def _new_state(self, parameter: Tensor, group: dict[str, Any]) -> dict[str, Any]:
        """Return the state of a parameter before the first step."""
        state: dict[str, Any] = {}
        if "step" not in group:  # else the group counts
            on_device = group.get("fused") or group.get("capturable")
            device = parameter.device if on_device else None
            state["step"] = torch.zeros((), device=device)
        for slot in (slot for slots in self.slots() for slot in slots):
            state[slot.key] = torch.full_like(parameter, slot.initial)
        return state

    def _ensure_state(self) -> None:
        """Make the state of parameters that had no step yet."""
        for group in self.torch.param_groups:
            for parameter in group["params"]:
                if not self.torch.state.get(parameter):
                    state = self._new_state(parameter, group)
                    self.torch.state[parameter] = state

    def _slot_to_keras(self, slot: Slot, value: Tensor) -> Tensor:
        """Return a slot as Keras keeps it."""
        return value

    def _slot_from_keras(self, slot: Slot, value: Tensor) -> Tensor:
        """Return a slot as torch keeps it."""
        return value
