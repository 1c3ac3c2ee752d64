"""An optimizer's state in our own files: torch's tensors, by the names of weights."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from typing import Any

import torch
from torch import Tensor

from torchkeras.saving import slots

#: Marks the place of a tensor in the JSON.
_TENSOR = "__tensor__"
#: Where the class of torch's optimizer is named.
_KIND = "torch"
#: Where the weights are named that weight decay spares.
_SPARED = "spared"
#: The parts of a state that are torch's.
_TORCH = ("state", "param_groups")


# In Keras's formats


def listed(model: Any) -> Iterator[tuple[str, Any, list[tuple[str, Tensor]]]]:
    """Yield what Keras keeps of a model's optimizer, and of one inside it once more.

    Each time the path, the optimizer, and the variables in Keras's order, by names.
    """
    optimizer, path = getattr(model, "optimizer", None), "optimizer"
    if optimizer is not None and not optimizer.built and model.trainable_weights:
        # Keras expects all variables, also before the first step.
        twin = type(optimizer).from_config(optimizer.get_config())
        twin.load_state_from_keras(model.trained_weights(), optimizer.state_for_keras())
        optimizer = twin
    while optimizer is not None:
        inside = path != "optimizer"
        yield path, optimizer, optimizer._keras_state(inside).values()
        optimizer = getattr(optimizer, "inner_optimizer", None)
        path = f"{path}/inner_optimizer"


# In ours


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
    spared = {id(tensor) for tensor in optimizer.spared_from_weight_decay()}
    tensors: dict[str, Tensor] = {}
    state = optimizer.state_dict()
    # Hyperparameters are in the optimizer's config.
    del state["param_groups"]
    state[_KIND] = type(optimizer.torch).__name__
    names = _names_of_parameters(model)
    state[_SPARED] = [name for tensor, name in names.items() if tensor in spared]
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
    """Put what a file holds into the optimizer of a model, built over its weights.

    Args:
        model: the model.
        state: an unpacked state, or a list of tensors in Keras's order.
        names: what an unpacked state calls the model's weights.

    Raises:
        ValueError: when it does not fit; nothing is changed then.
    """
    optimizer, weights = model.optimizer, model.trained_weights()
    if isinstance(state, list):
        optimizer.load_state_from_keras(weights, state)
        return
    if not isinstance(state, dict) or not isinstance(state.get("state"), dict):
        raise ValueError("it is of another form")
    optimizer.bind(weights)
    kind = type(optimizer.torch).__name__
    if state.get(_KIND) != kind:
        raise ValueError(f"it is of the optimizer {state.get(_KIND)}, this is {kind}")
    keys, kept = _names_of_parameters(model), state["state"]
    found = [names.get(keys.get(id(p), ""), "") for p in _parameters(optimizer)]
    by_index = {index: kept[name] for index, name in enumerate(found) if name in kept}
    if len(by_index) < len(kept):
        raise ValueError("it belongs to weights that the model does not train")
    own = optimizer.state_dict()
    beside = {key: state.get(key) for key in own if key not in _TORCH}
    groups = own["param_groups"]
    optimizer.load_state_dict({**beside, "state": by_index, "param_groups": groups})


def spare(model: Any, state: Any, names: Mapping[str, str]) -> None:
    """Spare the weights from decay that a file names, in an optimizer made from it.

    Args:
        model: the model.
        state: an unpacked state.
        names: what it calls the model's weights.
    """
    spared = state.get(_SPARED) if isinstance(state, dict) else None
    if isinstance(spared, list) and spared:
        found = slots.torch_slots(model).items()
        tensors = [slot.weight for key, slot in found if names.get(key) in spared]
        model.optimizer._unbind()
        model.optimizer.exclude_from_weight_decay(tensors)


def _parameters(optimizer: Any) -> list[Tensor]:
    """Return the parameters in the order of the torch optimizer's state."""
    groups: list[dict[str, Any]] = optimizer.torch.param_groups
    return [parameter for group in groups for parameter in group["params"]]


def _names_of_parameters(model: torch.nn.Module) -> dict[int, str]:
    return {id(slot.weight): key for key, slot in slots.torch_slots(model).items()}
