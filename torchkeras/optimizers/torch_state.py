"""An optimizer's state as torch keeps it: compared whole before any of it is taken."""

from __future__ import annotations

import functools
from collections.abc import Mapping
from typing import Any, Protocol

from torch import Tensor, no_grad, optim

from torchkeras._core.undo import Undo, all_at_once
from torchkeras.optimizers.hyperparameters import checked_rate
from torchkeras.optimizers.stages import TorchState

#: Where a state has what is kept beside the torch optimizer's own.
BESIDE = "keras"


class Kept(Protocol):
    """What an optimizer has to have for its state to be kept."""

    name: str
    torch: optim.Optimizer

    def _beside_torch(self) -> dict[str, Any]: ...

    def _take_beside(self, kept: Mapping[str, Any]) -> None: ...

    def _beside_of_torch(self, state: Mapping[str, Any]) -> dict[str, Any]: ...

    def _whole_state(self) -> TorchState: ...


def dump(optimizer: Kept) -> dict[str, Any]:
    """Return the state of the torch optimizer, and what is kept beside it."""
    beside = optimizer._beside_torch()  # first: it brings the state to the rate
    return {**optimizer.torch.state_dict(), BESIDE: beside}


def load(optimizer: Kept, state: Mapping[str, Any]) -> None:
    """Restore what `dump` returned, or the torch optimizer itself: all of it or none.

    Args:
        optimizer: the optimizer.
        state: the state.

    Raises:
        ValueError: when it is not of this optimizer; nothing is changed then.
    """
    all_at_once(functools.partial(_load, optimizer, state))


@no_grad()
def _load(optimizer: Kept, state: Mapping[str, Any], undo: Undo) -> None:
    undo.note_state(optimizer)
    given = dict(state)
    if not isinstance(given.get("state"), Mapping) or "param_groups" not in given:
        raise ValueError(
            f"Optimizer '{optimizer.name}': expected what `state_dict` returns, got a "
            f"mapping of {sorted(map(str, given))}."
        )
    beside = given.pop(BESIDE, None)
    if beside is None:
        beside = optimizer._beside_of_torch(given)
    try:
        _check_beside(optimizer, beside)
        _check_parameters(optimizer, given["state"])
    except ValueError as error:
        reason = str(error).rstrip(".")
        raise ValueError(
            f"Optimizer '{optimizer.name}' cannot take this state: {reason}. Load it "
            "into an optimizer of the same class and arguments, built over the same "
            "weights."
        ) from None
    optimizer.torch.load_state_dict(given)
    optimizer._take_beside(beside)


def _check_beside(optimizer: Kept, given: Any) -> None:
    _check_alike("", optimizer._beside_torch(), given)
    count = given["iterations"]
    if not isinstance(count, int) or count < 0:
        raise ValueError(f"the count of steps is {count}")
    checked_rate(type(optimizer).__name__, given["learning_rate"])


def _check_parameters(optimizer: Kept, given: Mapping[Any, Any]) -> None:
    """Check what is kept beside each parameter: kernels trust its shape."""
    groups = optimizer.torch.param_groups
    params = [parameter for group in groups for parameter in group["params"]]
    known = optimizer._whole_state()
    for index, values in given.items():
        if not isinstance(index, int) or not 0 <= index < len(params):
            raise ValueError(f"it is of more than {len(params)} parameters")
        found = _present(values)
        if found:
            own = _present(known.get(params[index], {}))
            _check_alike(f"parameter {index}", own, found)


def _present(values: Mapping[str, Any]) -> dict[str, Any]:
    return {key: value for key, value in values.items() if value is not None}


def _check_alike(name: str, own: Any, value: Any) -> None:
    """Check that a value is of the form of another."""
    if isinstance(own, Tensor) and isinstance(value, Tensor):
        if own.shape != value.shape:
            expected, got = tuple(own.shape), tuple(value.shape)
            raise ValueError(f"{name} has shape {got}, expected {expected}")
    elif isinstance(own, Mapping) and isinstance(value, Mapping):
        if own.keys() != value.keys():
            keys, known = sorted(map(str, value)), sorted(map(str, own))
            raise ValueError(f"{name or 'it'} has {keys}, expected {known}")
        for key in own:
            _check_alike(f"{name} '{key}'".lstrip(), own[key], value[key])
    elif isinstance(own, (list, tuple)) and isinstance(value, (list, tuple)):
        if len(own) != len(value):
            raise ValueError(f"{name} has {len(value)} parts, expected {len(own)}")
        for index, pair in enumerate(zip(own, value, strict=True)):
            _check_alike(f"{name} {index}", *pair)
    elif not (isinstance(own, (int, float)) and isinstance(value, (int, float))):
        raise ValueError(f"{name} is {type(value).__name__}")
