"""An optimizer's state in our own files: torch's tensors, by the names of weights."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import torch
from torch import Tensor

from torchkeras.saving import slots

#: Marks the place of a tensor in the JSON.
_TENSOR = "__tensor__"
#: Where the class of torch's optimizer is named.
_KIND = "torch"


def pack(model: Any, prefix: str) -> tuple[Any, dict[str, Tensor]]:
    """Return the state of a model's optimizer as JSON, and the tensors that it names.

    Args:
        model: the model.
        prefix: how the names of the tensors begin.

    Raises:
        TypeError: for state that is neither JSON nor tensors.
    """
    optimizer = model.optimizer
    if optimizer is None or not optimizer.built:
        return None, {}
    tensors: dict[str, Tensor] = {}
    state = optimizer.state_dict()
    # Hyperparameters are in the optimizer's config.
    del state["param_groups"]
    state[_KIND] = type(optimizer.torch).__name__
    names = _names_of_parameters(model)
    positions = dict(enumerate(_parameters(optimizer)))
    state["state"] = {
        names[id(positions[index])]: values for index, values in state["state"].items()
    }
    return _pack(state, prefix, tensors), tensors


def _pack(value: Any, name: str, tensors: dict[str, Tensor]) -> Any:
    if isinstance(value, Tensor):
        tensors[name] = value.detach()
        return {_TENSOR: name}
    if isinstance(value, Mapping):
        return {str(k): _pack(v, f"{name}.{k}", tensors) for k, v in value.items()}
    if isinstance(value, (list, tuple)):
        return [_pack(v, f"{name}.{i}", tensors) for i, v in enumerate(value)]
    if value is None or isinstance(value, (bool, int, float, str)):
        return value
    raise TypeError(f"The optimizer's state '{name}' is {type(value).__name__}.")


def names_in(packed: Any) -> list[str]:
    """Return the names of the tensors that a packed state refers to."""
    if isinstance(packed, list):
        return [name for item in packed for name in names_in(item)]
    if not isinstance(packed, dict):
        return []
    if _TENSOR in packed:
        return [str(packed[_TENSOR])]
    return [name for item in packed.values() for name in names_in(item)]


def unpack(packed: Any, read: Callable[[str], Tensor]) -> Any:
    """Return a packed state with its tensors in their places.

    Args:
        packed: the JSON.
        read: returns the tensor of a name.
    """
    if isinstance(packed, list):
        return [unpack(item, read) for item in packed]
    if not isinstance(packed, dict):
        return packed
    if _TENSOR in packed:
        return read(str(packed[_TENSOR]))
    return {key: unpack(item, read) for key, item in packed.items()}


def restore(model: Any, state: Any, names: Mapping[str, str]) -> None:
    """Put an unpacked state into the optimizer of a model, built over its weights.

    Args:
        model: the model.
        state: the state.
        names: what the state calls the model's weights.

    Raises:
        ValueError: when it does not fit; nothing is changed then.
    """
    optimizer = model.optimizer
    optimizer.build(model.trained_weights())
    kind = type(optimizer.torch).__name__
    if not isinstance(state, dict) or not isinstance(state.get("state"), dict):
        raise ValueError("it is of another form")
    if state.get(_KIND) != kind:
        raise ValueError(f"it is of the optimizer {state.get(_KIND)}, this is {kind}")
    _ = optimizer.variables  # which makes the state that a first step would make
    own = optimizer.state_dict()
    keys = _names_of_parameters(model)
    by_index = {}
    for index, parameter in enumerate(_parameters(optimizer)):
        name = names.get(keys[id(parameter)], "")
        if name in state["state"]:
            by_index[index] = state["state"][name]
            _check_beside(name, parameter, by_index[index], own["state"].get(index))
    if len(by_index) < len(state["state"]):
        raise ValueError("it belongs to weights that the model does not train")
    rest = {key: state.get(key) for key in own if key not in ("state", "param_groups")}
    for key, value in rest.items():
        _check_alike(key, own[key], value)
    optimizer.load_state_dict({**own, **rest, "state": by_index})


def _check_beside(name: str, parameter: Tensor, values: Any, own: Any) -> None:
    """Check what is kept beside a parameter: kernels trust its shape."""
    if own and values.keys() != own.keys():
        raise ValueError(f"it keeps {sorted(values)} beside {name}, not {sorted(own)}")
    for key, value in values.items():
        if isinstance(value, Tensor) and value.ndim and value.shape != parameter.shape:
            raise ValueError(
                f"'{key}' of {name} has shape {tuple(value.shape)}, expected "
                f"{tuple(parameter.shape)}"
            )


def _check_alike(name: str, own: Any, value: Any) -> None:
    """Check that a value is of the form of another."""
    if isinstance(own, dict) and isinstance(value, dict) and own.keys() == value.keys():
        for key in own:
            _check_alike(f"{name}.{key}", own[key], value[key])
    elif isinstance(own, list) and isinstance(value, list) and len(own) == len(value):
        for index, pair in enumerate(zip(own, value, strict=True)):
            _check_alike(f"{name}.{index}", *pair)
    elif isinstance(own, Tensor) and isinstance(value, Tensor):
        if own.shape != value.shape:
            raise ValueError(f"'{name}' has shape {tuple(value.shape)}")
    elif not (_is_number(own) and _is_number(value)):
        raise ValueError(f"'{name}' is of another form")


def _is_number(value: Any) -> bool:
    return isinstance(value, (int, float))


def _parameters(optimizer: Any) -> list[Tensor]:
    """Return the parameters in the order of the torch optimizer's state."""
    groups: list[dict[str, Any]] = optimizer.torch.param_groups
    return [parameter for group in groups for parameter in group["params"]]


def _names_of_parameters(model: torch.nn.Module) -> dict[int, str]:
    return {id(slot.weight): key for key, slot in slots.torch_slots(model).items()}
