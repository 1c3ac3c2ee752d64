"""Where a model's weights stand in each kind of file.

Three layouts of files, one table of weights: `Layer.weights`, which shows every weight
in Keras's order and shape, serves Keras's formats; `state_dict` serves torch's.
"""

from __future__ import annotations

import contextlib
import dataclasses
from collections.abc import Iterable, Iterator
from typing import Any

from torch import Tensor, nn

from torchkeras._core.naming import to_snake_case
from torchkeras._core.tracking import ContainedModules
from torchkeras._core.variable import WeightView
from torchkeras.layers.layer import Layer
from torchkeras.layers.weights import weights_of


@dataclasses.dataclass(frozen=True)
class Slot:
    """A weight of a model and its place in a file.

    Args:
        path: the place.
        weight: the weight, in the layout that the file has.
        name: what the model calls it.
    """

    path: str
    weight: Any
    name: str

    @property
    def shape(self) -> tuple[int, ...]:
        """The shape that the file's tensor must have."""
        return tuple(self.weight.shape)

    @property
    def tensor(self) -> Tensor:
        """The values, in the layout that the file has."""
        weight = self.weight
        return (weight.value if isinstance(weight, WeightView) else weight).detach()

    def __str__(self) -> str:
        return self.path if self.name == self.path else f"{self.path} ({self.name})"


@dataclasses.dataclass(frozen=True)
class Place:
    """A layer's place in Keras's store.

    Args:
        layer: the layer.
        path: the path of its group.
        slots: its own weights, without those of layers inside it.
    """

    layer: Layer
    path: str
    slots: list[Slot]


def named_layers(model: Any) -> list[tuple[str, nn.Module]]:
    """Return the layers directly inside a model, each with a name of its own."""
    taken: dict[str, int] = {}
    pairs = []
    for layer in model.layers:
        name = layer.name if isinstance(layer, Layer) else _snake_name(layer)
        pairs.append((unique_name(name, taken), layer))
    return pairs


# Keras 3's store: one group for each layer, named by its class


def keras_places(model: nn.Module, skipped: Iterable[Any] = ()) -> Iterator[Place]:
    """Yield the layers of a model as Keras 3's store lists them, the model first.

    Args:
        model: the model.
        skipped: layers to leave out, with all inside them.
    """
    yield from _visit(model, "", {id(layer) for layer in skipped})


def keras_slots(model: nn.Module, skipped: Iterable[Any] = ()) -> dict[str, Slot]:
    """Return the weights of a model by their paths in Keras 3's store."""
    places = keras_places(model, skipped)
    return {slot.path: slot for place in places for slot in place.slots}


def _visit(module: nn.Module, path: str, seen: set[int]) -> Iterator[Place]:
    if id(module) in seen:
        return
    seen.add(id(module))
    if isinstance(module, Layer):
        group = f"{path}/vars".lstrip("/")
        named: dict[Any, Any] = dict(enumerate(_own_weights(module)))
        if hasattr(module, "named_variables"):  # of which Keras counts none
            named |= module.named_variables()  # type: ignore[operator]
        slots = [Slot(f"{group}/{key}", w, w.path) for key, w in named.items()]
        yield Place(module, path, slots)
    for name, child in _children(module):
        yield from _visit(child, f"{path}/{name}".lstrip("/"), seen)


def _children(module: nn.Module) -> Iterator[tuple[str, nn.Module]]:
    """Yield what Keras finds in the attributes of a layer, in its order.

    A stack or a graph shows its list of layers first; else attributes are visited in
    order of their names, private ones last.
    """
    shown = _shown_names(module)
    attributes: dict[str, Any] = {
        shown.get(name, name): child for name, child in module._modules.items()
    }
    if hasattr(module, "layers"):
        attributes["layers"] = module.layers
    first = "layers" if has_layers_only(module) else None
    order = sorted(attributes, key=lambda n: (n != first, n.startswith("_"), n))
    for name in order:
        child = attributes[name]
        if isinstance(child, (list, *_CONTAINERS)):
            yield from _members(name, child)
        elif isinstance(child, nn.Module):
            yield name, child


def _shown_names(module: nn.Module) -> dict[str, str]:
    """Return names of properties that show what is held under a private name.

    Keras comes upon ``dense`` before ``_dense``, and files name the first.
    """
    private = {
        id(child): name for name, child in module._modules.items() if name[0] == "_"
    }
    names: dict[str, str] = {}
    for name in dir(type(module)) if private else ():
        if isinstance(getattr(type(module), name), property) and name[0] != "_":
            with contextlib.suppress(Exception):  # it may have nothing to show yet
                held = private.get(id(getattr(module, name)))
                if held is not None:
                    names.setdefault(held, name)
    return names


#: Modules that stand for a list or a dict, as which Keras sees them.
_CONTAINERS = (nn.ModuleList, nn.ModuleDict, ContainedModules)


def _members(name: str, container: Any) -> Iterator[tuple[str, nn.Module]]:
    taken: dict[str, int] = {}
    if not isinstance(container, list):
        container = container._modules.values()  # with those that are there twice
    for member in container:
        if isinstance(member, _CONTAINERS):
            yield from _members(f"{name}/{unique_name('container', taken)}", member)
        elif isinstance(member, nn.Module):
            yield f"{name}/{unique_name(_snake_name(member), taken)}", member


def has_layers_only(module: nn.Module) -> bool:
    """Say whether a model is a stack or a graph: made of its layers and no more."""
    if not isinstance(module, Layer):
        return False  # torch has a Sequential too
    stack = any(base.__name__ == "Sequential" for base in type(module).__mro__)
    return stack or getattr(module, "graph_of_calls", None) is not None


def _own_weights(layer: Layer) -> list[Any]:
    """Return the weights of a layer that belong to no layer inside it.

    Those of torch modules inside a layer are the layer's own.
    """
    inner = {
        _identity(weight)
        for module in layer.modules()
        if isinstance(module, Layer) and module is not layer
        for weight in module.weights
    }
    return [weight for weight in layer.weights if _identity(weight) not in inner]


def _identity(weight: Any) -> Any:
    if isinstance(weight, WeightView):
        return id(weight.module), weight.names
    return id(weight)


def _snake_name(module: nn.Module) -> str:
    return to_snake_case(type(module).__name__)


def unique_name(name: str, taken: dict[str, int]) -> str:
    """Return `name`, then ``name_1``, ``name_2``, ... when it is taken.

    Args:
        name: the name.
        taken: how often each name was asked for, which is counted here.
    """
    count = taken.get(name, -1) + 1
    taken[name] = count
    return f"{name}_{count}" if count else name


# Keras's older HDF5 files: one group for each layer of the model, named by the layer


def legacy_groups(model: Any) -> list[tuple[str, list[Slot]]]:
    """Return the layers of a model with their weights.

    Everything inside a layer, such as a nested model, counts as the layer's.
    """
    return [
        (name, _named_apart(_weights_inside(layer)))
        for name, layer in named_layers(model)
    ]


def legacy_top_level(model: Any) -> list[Slot]:
    """Return the weights that belong to the model and to none of its layers."""
    inner = {_identity(w) for layer in model.layers for w in _weights_inside(layer)}
    return _named_apart([w for w in model.weights if _identity(w) not in inner])


def trained_first(weights: list[Slot], frozen: bool = True) -> list[Slot]:
    """Return weights in the order of a group in the file: those that are trained first.

    Args:
        weights: the weights.
        frozen: whether weights of frozen layers count as not trained.
    """
    if frozen:
        return sorted(weights, key=lambda slot: not slot.weight.trainable)
    return sorted(weights, key=lambda slot: not slot.weight.declared_trainable)


def _weights_inside(module: nn.Module) -> list[Any]:
    return module.weights if isinstance(module, Layer) else [*weights_of(module, set())]


def _named_apart(weights: list[Any]) -> list[Slot]:
    taken: dict[str, int] = {}
    return [Slot(unique_name(w.path, taken), w, w.path) for w in weights]


# Torch's state_dict


def stable_names(model: nn.Module) -> dict[str, str]:
    """Return names for the keys of `state_dict` that do not depend on layers' names.

    Names that nobody gave count up, and are others in each model of one kind. These
    begin, as in Keras's store, with the class of each layer.
    """
    places = {id(place.layer): place.path for place in keras_places(model)}
    owners = {n: places[id(m)] for n, m in model.named_modules() if id(m) in places}
    names = {}
    for key in model.state_dict():
        owner = key
        while owner not in owners:  # the model itself is called ""
            owner = owner.rpartition(".")[0]
        names[key] = f"{owners[owner]}:{key.removeprefix(f'{owner}.')}"
    return names


def torch_slots(model: nn.Module, skipped: Iterable[Any] = ()) -> dict[str, Slot]:
    """Return the tensors of a model by their keys in `state_dict`; shared ones once.

    Raises:
        ValueError: for state that is no tensor.
    """
    left_out = {
        id(tensor)
        for layer in skipped
        for tensor in (*layer.parameters(), *layer.buffers())
    }
    slots: dict[str, Slot] = {}
    for key, value in model.state_dict(keep_vars=True).items():
        if not isinstance(value, Tensor):
            raise ValueError(
                f"The state '{key}' is {type(value).__name__}, no tensor; files hold "
                "tensors only. Keep it in a buffer."
            )
        if id(value) not in left_out:
            left_out.add(id(value))
            slots[key] = Slot(key, value, key)
    return slots
