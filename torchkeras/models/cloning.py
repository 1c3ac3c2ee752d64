"""`clone_model`: a model of the same layers with weights of its own."""

from __future__ import annotations

import functools
import itertools
from collections.abc import Callable, Iterator
from typing import Any, TypeVar

from torch import Tensor, nn

from torchkeras._core import sharing, tree
from torchkeras._core.errors import describe, invalid_argument
from torchkeras._core.registry import deserialize_object, serialize_object
from torchkeras._core.symbolic import KerasTensor, call_symbolic
from torchkeras._core.variable import WeightView
from torchkeras.layers.core import InputLayer
from torchkeras.layers.layer import Layer
from torchkeras.models.functional import Functional
from torchkeras.models.model import Model, name_is_given, name_of
from torchkeras.models.sequential import Sequential

M = TypeVar("M", bound=Model)


def clone_model(
    model: M,
    input_tensors: Any = None,
    clone_function: Callable[[Any], Any] | None = None,
    call_function: Callable[..., Any] | None = None,
    recursive: bool = False,
    **kwargs: Any,
) -> M:
    """Make a model of the same layers, with new weights.

    Args:
        model: a `Sequential` or functional model, or a subclassed one whose arguments
            make up its config.
        input_tensors: symbolic tensors to build on, in the structure of the inputs.
        clone_function: makes the new layer from the old one; ``from_config`` by
            default. It may return another layer, or the old one to share its weights.
        call_function: makes a call of the clone: ``call_function(layer, *args,
            **kwargs)``, where something else than the call is wanted.
        recursive: clone the layers of nested models by `clone_function` too.
        **kwargs: ``cache`` is accepted for Keras's signature.

    Raises:
        ValueError: for arguments that a model of this kind does not take.

    Example:
        >>> from torchkeras.layers import Dense, Input
        >>> inputs = Input((4,))
        >>> model = Model(inputs, Dense(2)(inputs))
        >>> clone_model(model).count_params()
        10
    """
    kwargs.pop("cache", None)
    if kwargs:
        raise TypeError(f"clone_model: unknown arguments {sorted(kwargs)}.")
    if not isinstance(model, Model):
        raise ValueError(invalid_argument("clone_model", "model", "a model", model))
    with sharing.cloning():
        clone = _Cloner(clone_function, recursive)
        return _clone(model, clone, input_tensors, call_function)


def _clone(
    model: Model,
    clone: _Cloner,
    input_tensors: Any = None,
    call_function: Callable[..., Any] | None = None,
) -> Any:
    if isinstance(model, Sequential):
        if call_function is not None:
            raise ValueError(
                "clone_model: `call_function` is for functional models; a Sequential "
                "calls its layers itself."
            )
        return _clone_stack(model, input_tensors, clone)
    if isinstance(model, Functional):
        return _clone_graph(model, input_tensors, clone, call_function)
    if input_tensors is not None or clone.function or call_function:
        raise ValueError(
            f"clone_model: the model '{model.name}' is subclassed and clones itself by "
            "its config, without `input_tensors`, `clone_function` or `call_function`."
        )
    return type(model).from_config(model.get_config())


class _Cloner:
    """Makes the twin of a layer, once for each at whatever depth it is used."""

    def __init__(self, function: Callable[[Any], Any] | None, recursive: bool) -> None:
        self.function = function
        self.recursive = recursive

    def __call__(self, layer: Any) -> Any:
        number = sharing.number_of(layer)
        made = sharing.find(number, type(layer))
        if made is None:
            made = self._make(layer)
            if isinstance(made, Layer) and made.name == name_of(layer):
                made._name_is_given = name_is_given(layer)
            sharing.keep(number, type(layer), made)
        return made

    def all(self, layers: list[Any]) -> None:
        """Make the twins of layers: a model may hold one of those beside it."""
        for layer in sorted(layers, key=lambda layer: isinstance(layer, Model)):
            self(layer)

    def input(self, layer: InputLayer) -> Any:
        """Return the twin of an input, which `function` never sees."""
        number = sharing.number_of(layer)
        made = sharing.find(number, InputLayer)
        if made is None:
            made = InputLayer.from_config(layer.get_config())
            sharing.keep(number, InputLayer, made)
        return made

    def _make(self, layer: Any) -> Any:
        if self.recursive and isinstance(layer, Model):
            return _clone(layer, self)
        if self.function is not None:
            clone = self.function(layer)
        elif isinstance(layer, Layer):
            clone = type(layer).from_config(layer.get_config())
        else:
            clone = deserialize_object(serialize_object(layer))
        if not isinstance(clone, nn.Module):
            raise ValueError(
                f"clone_model: `clone_function` must return a layer, got "
                f"{describe(clone)} for '{getattr(layer, 'name', layer)}'."
            )
        return clone


def _clone_stack(model: Sequential, input_tensors: Any, clone: _Cloner) -> Any:
    twin = type(model)(name=model.name, trainable=model.trainable)
    own = model._input_layer
    if input_tensors is not None:
        tensors = tree.flatten(input_tensors)
        if len(tensors) != 1 or not isinstance(tensors[0], KerasTensor):
            expected = "one symbolic tensor, made by `Input`"
            raise ValueError(
                invalid_argument("clone_model", "input_tensors", expected, tensors)
            )
        twin.add(InputLayer(batch_shape=tensors[0].shape, dtype=tensors[0].dtype))
    elif own is not None:
        twin.add(clone.input(own))
    clone.all(model.layers)
    for layer in model.layers:
        twin.add(clone(layer))
    return twin


def _clone_graph(
    model: Functional,
    input_tensors: Any,
    clone: _Cloner,
    call_function: Callable[..., Any] | None,
) -> Any:
    graph = model.graph_of_calls
    values: dict[KerasTensor, KerasTensor] = {}
    given = _inputs(graph.inputs, input_tensors, clone)
    for tensor, twin in zip(graph.inputs, given, strict=True):
        values[tensor] = twin

    weights = _WeightsOfTwins(graph.layers, clone)

    def filled(structure: Any) -> Any:
        return tree.map_structure(
            lambda leaf: (
                values[leaf] if isinstance(leaf, KerasTensor) else weights(leaf)
            ),
            structure,
        )

    clone.all([layer for layer in graph.layers if not isinstance(layer, InputLayer)])
    for node in graph.nodes:
        if isinstance(node.op, InputLayer):
            continue
        op = node.op
        op = clone(op) if isinstance(op, nn.Module) else _on_symbolic_tensors(op)
        args, kwargs = filled(node.args), filled(node.kwargs)
        if call_function is None:
            made = op(*args, **kwargs)
        else:
            made = call_function(op, *args, **kwargs)
        outputs = [t for t in tree.flatten(made) if isinstance(t, KerasTensor)]
        for tensor, twin in zip(node.outputs, outputs, strict=True):
            values[tensor] = twin
            if twin.history is not None and not isinstance(op, nn.Module):
                twin.history.name = node.name
    inputs = filled(graph.input_structure)
    twin = type(model)(
        inputs=inputs, outputs=filled(graph.output_structure), name=model.name
    )
    if graph.terms:
        twin._add_terms([values[term] for term in graph.terms])
    if not model.trainable:
        twin.trainable = False
    return twin


class _WeightsOfTwins:
    """Finds, for a weight that a graph computes with itself, that of the clone."""

    def __init__(self, layers: list[Any], clone: _Cloner) -> None:
        self.layers = [layer for layer in layers if not isinstance(layer, InputLayer)]
        self.clone = clone
        self.copies: dict[int, Tensor] = {}

    def __call__(self, leaf: Any) -> Any:
        """Return what stands in the place of an argument, most of which stay."""
        if isinstance(leaf, WeightView):
            layer, found = self._find(leaf.tensors)
            return leaf if layer is None else _view(layer, found)
        if not isinstance(leaf, Tensor):
            return leaf
        layer, found = self._find((leaf,))
        if layer is not None:
            return found[0]
        if not isinstance(leaf, nn.Parameter):
            return leaf  # a constant
        copy = nn.Parameter(leaf.detach().clone(), leaf.requires_grad)
        return self.copies.setdefault(id(leaf), copy)

    def _find(self, tensors: tuple[Tensor, ...]) -> tuple[Any, list[Tensor]]:
        """Return the twin of the layer that owns tensors, and those of the twin."""
        for layer in self.layers:
            names = {id(tensor): name for name, tensor in _tensors_of(layer)}
            if any(id(tensor) not in names for tensor in tensors):
                continue
            twin = self.clone(layer)
            own = dict(_tensors_of(twin))
            wanted = [names[id(tensor)] for tensor in tensors]
            if not own.keys() >= set(wanted):
                raise ValueError(
                    f"clone_model: the graph computes with the weight {wanted[0]!r} of "
                    f"the layer '{name_of(layer)}', and its clone {describe(twin)} has "
                    "no such weight. Let `clone_function` return a layer that has it."
                )
            return twin, [own[name] for name in wanted]
        return None, []


def _tensors_of(layer: nn.Module) -> Iterator[tuple[str, Tensor]]:
    return itertools.chain(layer.named_parameters(), layer.named_buffers())


def _view(layer: Any, tensors: list[Any]) -> Any:
    """Return the weight of a layer that shows these tensors."""
    return next(
        weight
        for weight in layer.weights
        if [id(tensor) for tensor in weight.tensors] == [id(t) for t in tensors]
    )


def _on_symbolic_tensors(function: Callable[..., Any]) -> Callable[..., Any]:
    """Return a function to be called again: a method of torch takes only tensors."""

    @functools.wraps(function)
    def call(*args: Any, **kwargs: Any) -> Any:
        return call_symbolic(function, args, kwargs)

    return call


def _inputs(own: list[KerasTensor], given: Any, clone: _Cloner) -> list[KerasTensor]:
    if given is None:
        return [clone.input(tensor.history.op).output for tensor in own]  # type: ignore
    tensors = tree.flatten(given)
    if len(tensors) != len(own) or not all(isinstance(t, KerasTensor) for t in tensors):
        expected = f"{len(own)} symbolic tensor(s), made by `Input`"
        raise ValueError(
            invalid_argument("clone_model", "input_tensors", expected, tensors)
        )
    return tensors
