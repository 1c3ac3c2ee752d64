"""Weights of a layer: made, shown in Keras's layout, ordered, frozen, assigned."""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from torchkeras import constraints, initializers, regularizers
from torchkeras._core import dtypes, torch_private
from torchkeras._core.context import context
from torchkeras._core.tracking import ContainedModules
from torchkeras._core.undo import Undo, all_at_once
from torchkeras._core.variable import (
    IDENTITY,
    LayerWeight,
    Layout,
    Variable,
    WeightView,
)
from torchkeras.layers._state import LayerState, layers_in

#: What can be said of a weight, and how what is given becomes a function.
_OPTIONS: dict[str, Callable[[Any], Any]] = {
    "initializer": initializers.get,
    "regularizer": regularizers.get,
    "constraint": constraints.get,
}


def name_first(add_weight: Callable[..., Variable]) -> Callable[..., Variable]:
    """Take the arguments in Keras 2's order as well, where the name came first."""
    order = ("name", "shape", "dtype", "initializer", "regularizer", "trainable")

    @functools.wraps(add_weight)
    def wrapped(self: LayerState, *args: Any, **kwargs: Any) -> Variable:
        if not args or not isinstance(args[0], str):
            return add_weight(self, *args, **kwargs)
        given = dict(zip(order, args, strict=False))
        if len(args) > len(order) or given.keys() & kwargs.keys():
            raise TypeError(
                f"Layer '{self.name}' ({type(self).__name__}): `add_weight` takes each "
                f"argument once, in the order (shape, initializer, dtype, ...), got "
                f"{args} and {sorted(kwargs)}. Pass them by name: "
                "`add_weight(shape=..., name=...)`."
            )
        return add_weight(self, **given, **kwargs)

    return wrapped


def new_variable(
    layer: LayerState,
    name: str,
    shape: tuple[int, ...] | None,
    initializer: Any,
    dtype: Any,
    trainable: bool,
) -> Variable:
    """Make a weight, which is not yet the layer's.

    Raises:
        ValueError: for a shape that is not known.
    """
    shape = () if shape is None else tuple(np.atleast_1d(shape).tolist())
    if None in shape:
        raise ValueError(
            f"Layer '{layer.name}' ({type(layer).__name__}): the shape of the weight "
            f"'{name}' must be known, got {shape}. Call the layer on "
            "inputs of which the axes that it has weights for are known."
        )
    dtype = dtypes.standardize_dtype(dtype or layer.variable_dtype)
    if initializer is None:
        initializer = "glorot_uniform" if "float" in dtype else "zeros"
    value = initializers.get(initializer)
    variable = Variable(value, shape, dtype, trainable, name=name)
    variable.path = f"{layer.name}/{variable.name}"
    variable.declared_trainable = trainable
    return variable


def free_key(layer: LayerState, name: str) -> str:
    """Return the key of a new weight: its name, unless that is taken."""
    key = name.replace(".", "_").replace("/", "_")
    taken = {*layer._parameters, *layer._buffers, *layer._modules}
    while key in taken or hasattr(type(layer), key) or key in layer.__dict__:
        key = f"{key}_"
    return key


def keep_options(
    layer: LayerState, arguments: Mapping[str, Any], prefixes: tuple[str, ...]
) -> None:
    """Hold initializers, regularizers and constraints as attributes of a layer."""
    for kind, get in _OPTIONS.items():
        for prefix in prefixes:
            name = f"{prefix}_{kind}"
            if name in arguments:
                setattr(layer, name, get(arguments[name]))


def view_of(
    layer: LayerState,
    name: str,
    module: nn.Module,
    names: tuple[str, ...],
    initializer: Callable[..., Tensor] | None,
    layout: Layout,
    options: str,
) -> WeightView:
    """Fill tensors of a torch module, and return the weight that they make up."""
    view = WeightView(module, names, layout, name)
    view.regularizer = getattr(layer, f"{options}_regularizer", None)
    view.constraint = getattr(layer, f"{options}_constraint", None)
    initialize: Callable[..., Tensor] = (
        getattr(layer, f"{options}_initializer") if initializer is None else initializer
    )
    view.declared_trainable = view.trainable
    if not context.unfilled:
        with torch.no_grad():
            view.assign(initialize(view.shape, dtype=view.dtype))
    return view


def weights_of(module: nn.Module, covered: set[int]) -> Iterator[LayerWeight]:
    """Yield a module's weights: views and Variables, then those of the modules inside.

    Tensors of a torch module that no view covers are shown as they are.
    """
    if isinstance(module, LayerState):
        own = own_weights(module)
        for weight in own:
            if isinstance(weight, WeightView) and weight.module is not module:
                covered.add(id(weight.module))
        yield from own
    elif id(module) not in covered and not isinstance(module, ContainedModules):
        unsaved = torch_private.unsaved_buffers(module)
        for name in (*module._parameters, *module._buffers):
            tensor = getattr(module, name)
            if isinstance(tensor, Variable):
                yield tensor
            elif tensor is not None and name not in unsaved:
                view = WeightView(module, (name,), IDENTITY, name)
                view.declared_trainable = name in module._parameters
                yield view
    for child in module._modules.values():
        if child is not None:
            yield from weights_of(child, covered)


def own_weights(layer: LayerState) -> list[LayerWeight]:
    """Return the weights that no layer inside has, those that are trained first."""
    own: list[LayerWeight] = list(layer._views.values())
    for holder in _holders(layer):
        hidden = torch_private.unsaved_buffers(holder)
        for name, tensor in {**holder._parameters, **holder._buffers}.items():
            if tensor is None or name in hidden:
                continue
            plain = not isinstance(tensor, Variable)
            own.append(_view_of_plain(layer, holder, name) if plain else tensor)
    return sorted(own, key=lambda w: not getattr(w, "declared_trainable", True))


def _holders(layer: LayerState) -> Iterator[nn.Module]:
    """Yield what holds the layer's own tensors: itself, then its containers."""
    waiting: list[nn.Module] = [layer]
    while waiting:
        holder = waiting.pop(0)
        yield holder
        inner = holder._modules.values()
        waiting += [m for m in inner if isinstance(m, ContainedModules)]


def _view_of_plain(layer: LayerState, holder: nn.Module, name: str) -> WeightView:
    """Show a tensor that was registered as torch's users do."""
    view = WeightView(holder, (name,), IDENTITY, name)
    view.path = f"{layer.name}/{name}"
    view.declared_trainable = name in holder._parameters
    return view


def all_weights(layer: LayerState) -> list[LayerWeight]:
    """Return all weights, each once: the layer's own, then those inside."""
    return list({_identity(w): w for w in weights_of(layer, set())}.values())


def trained(layer: LayerState, weights: Iterable[LayerWeight]) -> list[LayerWeight]:
    """Return those of a layer's weights that are trained."""
    trained = [weight for weight in weights if weight.trainable]
    if layer._trainable:
        return trained
    # As in Keras, a layer thawed inside a frozen one is not trained by that one;
    # a weight that torch thawed in a frozen layer is.
    thawed = {
        _identity(weight)
        for inner in layers_in(layer)
        if inner._trainable
        for weight in all_weights(inner)
    }
    return [w for w in trained if _identity(w) not in thawed]


def without(
    weights: Iterable[LayerWeight], others: Iterable[LayerWeight]
) -> list[LayerWeight]:
    """Return the weights that are not among others."""
    left_out = {_identity(weight) for weight in others}
    return [weight for weight in weights if _identity(weight) not in left_out]


def assign_all(layer: LayerState, own: list[Any], values: list[Any]) -> None:
    """Assign values to weights of a layer; all of them or none.

    Raises:
        ValueError: when the number or a shape does not fit.
    """
    if len(values) != len(own):
        raise ValueError(
            f"Layer '{layer.name}' has {len(own)} weights, set_weights got "
            f"{len(values)} arrays. Expected shapes: {[w.shape for w in own]}."
        )
    wrong = [
        f"{weight.path}: expected {tuple(weight.shape)}, got {np.shape(value)}"
        for weight, value in zip(own, values, strict=True)
        if tuple(weight.shape) != tuple(np.shape(value))
    ]
    if wrong:
        raise ValueError(
            f"Layer '{layer.name}' cannot take these weights: {'; '.join(wrong)}. "
            "Nothing was changed."
        )
    all_at_once(functools.partial(_assign, own, values))


def _assign(own: list[Any], values: list[Any], undo: Undo) -> None:
    for weight, value in zip(own, values, strict=True):
        undo.note(*weight.tensors)
        weight.assign(value)


def set_trainable(layer: LayerState, value: bool) -> None:
    """Say of a layer, and of those inside, whether they are trained."""
    for inner in layers_in(layer):
        inner._trainable = value
    LayerState.last_freezing = object()


def _identity(weight: Any) -> Any:
    """Return what two views of the same tensors have in common."""
    if isinstance(weight, WeightView):
        return id(weight.module), weight.names
    return id(weight)
