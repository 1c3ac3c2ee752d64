"""Functional models: the calls between symbolic tensors, as a `torch.fx` graph."""

from __future__ import annotations

import keyword
import operator
import re
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence, ValuesView
from typing import Any

import numpy as np
import torch
from torch import Tensor, fx, nn

from torchkeras._core import tree
from torchkeras._core.dtypes import DTYPES, STRING
from torchkeras._core.errors import describe, did_you_mean
from torchkeras._core.strings import is_strings
from torchkeras._core.symbolic import OPERATORS, KerasTensor, Node, like
from torchkeras._core.variable import WeightView
from torchkeras.layers.core import InputLayer
from torchkeras.layers.layer import Layer, layers
from torchkeras.layers.shapes import record


@layers.register()
class AddLoss(Layer):
    """Adds its input, a scalar, to the loss of the functional model that it is in."""

    def __init__(self, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self._has_losses = True

    def call(self, inputs: Tensor) -> Tensor:
        self.add_loss(inputs)
        return inputs


class Graph:
    """The calls that lead from symbolic inputs to symbolic outputs.

    Args:
        inputs: a symbolic tensor or a structure of them.
        outputs: a symbolic tensor or a structure of them.
        terms: what layers of `AddLoss` returned: calls that no output needs.

    Raises:
        ValueError: when an output needs an input that is not given.
    """

    #: The calls, inputs first; each after those that it needs.
    nodes: list[Node]
    #: What is called, once each, in Keras's order: layers and modules, and for a
    #: function the node of its call.
    operations: list[Any]

    def __init__(
        self, inputs: Any, outputs: Any, terms: Sequence[KerasTensor] = ()
    ) -> None:
        inputs, outputs = (
            list(part) if isinstance(part, ValuesView) else part
            for part in (inputs, outputs)
        )
        for argument, value in (("inputs", inputs), ("outputs", outputs)):
            _require_symbolic(argument, value)
        inputs, outputs = _sorted(inputs), _sorted(outputs)
        if not all(_is_input(t) for t in tree.flatten(inputs)):
            inputs, outputs = _cut(inputs, outputs)
        self._set(inputs, outputs, terms)

    def _set(self, inputs: Any, outputs: Any, terms: Sequence[KerasTensor]) -> None:
        self.input_structure, self.output_structure = inputs, outputs
        self.inputs: list[KerasTensor] = tree.flatten(inputs)
        self.outputs: list[KerasTensor] = tree.flatten(outputs)
        self.terms = list(terms)
        nodes, seen = trace(self.inputs, [*self.outputs, *self.terms])
        missing = [t.history for t in self.inputs if t.history not in nodes]
        self.nodes = [*missing, *nodes]  # type: ignore[list-item]
        seen.update({_operation(node): -1 for node in missing})  # type: ignore
        _check_connected(self.inputs, nodes)
        self._calls: dict[int, list[Node]] = {}
        for node in self.nodes:
            self._calls.setdefault(id(node.op), []).append(node)
        self.operations = _in_order_of_depth(nodes, missing, seen)
        _settle_names(self.operations)
        #: The number of axes of an only input, which may come as a bare tensor.
        bare = len(self.inputs) == 1 and not isinstance(inputs, dict)
        self.rank = self.inputs[0].ndim if bare else None

    # Names

    @property
    def layers(self) -> list[Any]:
        """The layers and modules, in Keras's order, inputs among them."""
        return [op for op in self.operations if isinstance(op, nn.Module)]

    @property
    def is_chain(self) -> bool:
        """Whether each call takes what the one before gave, each of another layer."""
        taken = [node.inputs for node in self.nodes[1:]]
        given = [node.outputs for node in self.nodes[:-1]]
        return (
            len(self.inputs) == 1
            and len(self.operations) == len(self.nodes)
            and all(
                len(own) == len(before) == 1 and own[0] is before[0]
                for own, before in zip(taken, given, strict=True)
            )
        )

    @property
    def output_names(self) -> list[str]:
        """The names of what makes the outputs."""
        return [_made_by(tensor).name for tensor in self.outputs]

    def nodes_of(self, operation: Any) -> list[Node]:
        """Return the calls of a layer within this graph, in the order of making."""
        if isinstance(operation, Node):
            return [operation]
        own = self._calls.get(id(operation), [])
        if isinstance(operation, Layer) and len(own) > 1:
            called = set(map(id, own))
            return [node for node in operation._nodes if id(node) in called]
        return list(own)

    # Inputs

    def arrange(self, model: str, inputs: Any) -> list[Any]:
        """Return the inputs of a call as a list in the graph's order, checked.

        Args:
            model: the model's name, for messages.
            inputs: tensors in the structure the model was made with, in a dict by the
                names of the inputs, or, where no dict is expected, in a list.

        Raises:
            ValueError: naming what is missing, or whose shape does not fit.
        """
        expected = self.input_structure
        if isinstance(inputs, dict) and not isinstance(expected, dict):
            expected = {tensor.name: tensor for tensor in self.inputs}
        flat = _in_order(model, expected, inputs)
        if len(flat) != len(self.inputs):
            names = [f"'{t.name}' of shape {t.shape}" for t in self.inputs]
            raise ValueError(
                f"Model '{model}': expected {len(names)} input(s): "
                f"{', '.join(names)}; got {len(flat)}: "
                f"{[describe(leaf) for leaf in flat]}. Pass a list in that order, or a "
                "dict by name."
            )
        pairs = zip(flat, self.inputs, strict=True)
        return [_fitted(model, value, tensor) for value, tensor in pairs]

    # The function

    def compile(self, owner: nn.Module, keys: dict[int, str]) -> fx.Graph:
        """Return the graph of `torch.fx` whose calls name the modules of `owner`.

        Args:
            owner: the model, which gets the tensors that the graph holds.
            keys: the name in `owner` of each module, by its `id`.
        """
        emitter = _Emitter(owner, keys)
        for tensor in self.inputs:
            emitter.placeholder(tensor)
        for node in self.nodes:
            if not isinstance(node.op, InputLayer):
                emitter.emit(node)
        structure = self.output_structure
        if isinstance(structure, (list, tuple)) and len(structure) == 1:
            structure = structure[0]  # as in Keras: a list of one is its element
        emitter.graph.output(emitter.filled(structure))
        return emitter.graph

    # Copies

    def __getstate__(self) -> dict[str, Any]:
        places = {
            tensor: _Place(index, position)
            for index, node in enumerate(self.nodes)
            for position, tensor in enumerate(node.outputs)
        }

        def placed(structure: Any) -> Any:
            return _map(lambda t: places.get(t, t), structure)

        return {
            "nodes": [
                (n.op, placed(n.args), placed(n.kwargs), n.structure, n.name)
                for n in self.nodes
            ],
            "inputs": placed(self.input_structure),
            "outputs": placed(self.output_structure),
            "terms": placed(self.terms),
        }

    def __setstate__(self, state: dict[str, Any]) -> None:
        nodes: list[Node] = []

        def found(structure: Any) -> Any:
            return tree.map_structure(
                lambda leaf: (
                    nodes[leaf.node].outputs[leaf.output]
                    if isinstance(leaf, _Place)
                    else leaf
                ),
                structure,
            )

        for op, args, kwargs, outputs, name in state["nodes"]:
            nodes.append(record(op, found(args), found(kwargs), outputs, name))
        self._set(*(found(state[key]) for key in ("inputs", "outputs", "terms")))


class _Place:
    """Stands for a symbolic tensor in a copy: an output of a node, by position."""

    def __init__(self, node: int, output: int) -> None:
        self.node = node
        self.output = output


def _map(function: Callable[[KerasTensor], Any], structure: Any) -> Any:
    """Apply a function to the symbolic tensors in a structure."""
    return tree.map_structure(
        lambda leaf: function(leaf) if isinstance(leaf, KerasTensor) else leaf,
        structure,
    )


# Building


def _sorted(structure: Any) -> Any:
    """Return a structure with dicts in the order of their keys, as Keras has them."""
    if isinstance(structure, dict):
        return {key: _sorted(structure[key]) for key in sorted(structure)}
    if type(structure) in (list, tuple):
        return type(structure)(map(_sorted, structure))
    return structure


def _require_symbolic(argument: str, value: Any) -> None:
    leaves = tree.flatten(value)
    wrong = next((v for v in leaves if not isinstance(v, KerasTensor)), None)
    if wrong is not None or not leaves:
        what = "nothing" if not leaves else describe(wrong)
        hint = (
            "Make inputs by `Input(shape)`"
            if argument == "inputs"
            else "Call layers on `Input(shape)` and pass what they return"
        )
        raise ValueError(
            f"Model: `{argument}` must be symbolic tensors, got {what}. {hint}."
        )


def _is_input(tensor: KerasTensor) -> bool:
    return tensor.history is not None and isinstance(tensor.history.op, InputLayer)


def _made_by(tensor: KerasTensor) -> Node:
    node = tensor.history
    if node is None:
        raise ValueError(
            f"Graph disconnected: the symbolic tensor '{tensor.name}' of shape "
            f"{tensor.shape} comes from no `Input`. Begin with "
            f"`Input({tensor.shape[1:]})`."
        )
    return node


def _operation(node: Node) -> Any:
    """Return what is called: a module for all of its calls, a function each time."""
    return node.op if isinstance(node.op, nn.Module) else node


def trace(
    inputs: list[KerasTensor], outputs: list[KerasTensor]
) -> tuple[list[Node], dict[Any, int]]:
    """Walk from the outputs back to the inputs.

    Returns:
        The calls, each after those that it needs, and for each operation the position
        at which the walk came upon it.
    """
    given = {id(t) for t in inputs if not _is_input(t)}
    order: dict[Node, None] = {}
    seen: dict[Any, int] = {}
    entered: set[Node] = set()
    for output in outputs:
        stack: list[tuple[Node, Iterator[KerasTensor]]] = []

        def enter(
            tensor: KerasTensor,
            stack: list[tuple[Node, Iterator[KerasTensor]]] = stack,
        ) -> None:
            if id(tensor) in given:
                return
            node = _made_by(tensor)
            if node in entered:
                return
            entered.add(node)
            seen.setdefault(_operation(node), len(seen))
            stack.append((node, iter(node.inputs)))

        enter(output)
        while stack:
            node, parents = stack[-1]
            parent = next(parents, None)
            if parent is None:
                order[node] = None
                stack.pop()
            else:
                enter(parent)
    return list(order), seen


def _cut(inputs: Any, outputs: Any) -> tuple[Any, Any]:
    """Return new inputs in place of tensors inside a graph, and their outputs."""
    nodes, _ = trace(tree.flatten(inputs), tree.flatten(outputs))
    fresh: dict[KerasTensor, KerasTensor] = {}
    for tensor in tree.flatten(inputs):
        fresh[tensor] = tensor
        if not _is_input(tensor):
            layer = InputLayer(batch_shape=tensor.shape, dtype=tensor.dtype)
            fresh[tensor] = layer.output
    for node in nodes:
        if isinstance(node.op, InputLayer):
            continue
        made = _map(
            lambda t: fresh.setdefault(t, like(t)),
            node.structure,
        )
        args, kwargs = (
            _map(lambda t: fresh.get(t, t), part) for part in (node.args, node.kwargs)
        )
        record(node.op, args, kwargs, made, node.name)
    outputs = _map(lambda t: fresh.get(t, t), outputs)
    return _map(lambda t: fresh[t], inputs), outputs


def _check_connected(inputs: list[KerasTensor], nodes: list[Node]) -> None:
    given = {id(t.history) for t in inputs}
    reached: list[str] = []
    for node in nodes:
        if isinstance(node.op, InputLayer) and id(node) not in given:
            made = node.outputs[0]
            users = [n.name for n in nodes if any(t is made for t in n.inputs)]
            needed = f"which '{users[0]}' needs" if users else "which is an output"
            raise ValueError(
                f"Graph disconnected: the input '{node.name}' of shape "
                f"{node.outputs[0].shape}, {needed}, is not among `inputs` "
                f"{[t.name for t in inputs]}. Reached without it: {reached}."
            )
        reached.append(node.name)


def _settle_names(operations: list[Any]) -> None:
    """Refuse two layers of one name; a function of that name gets another one."""
    names = [op.name for op in operations if isinstance(op, Layer)]
    taken = set(names)
    for node in operations:
        if isinstance(node, Node):
            base, count = node.name, 0
            while node.name in taken:
                count += 1
                node.name = f"{base}_{count}"
            taken.add(node.name)
    counts = Counter(names)
    if twice := sorted(name for name, count in counts.items() if count > 1):
        raise ValueError(
            f"Model: the name '{twice[0]}' belongs to {counts[twice[0]]} layers. "
            "Give each layer of a model a name of its own."
        )


def _in_order_of_depth(
    nodes: list[Node], unused: Iterable[Any], seen: dict[Any, int]
) -> list[Any]:
    """Return operations by their distance from the outputs, the farthest first."""
    depths: dict[Node, int] = {}
    deepest: dict[Any, int] = {_operation(node): 0 for node in unused}
    for node in reversed(nodes):
        operation = _operation(node)
        depth = max(depths.get(node, 0), deepest.get(operation, 0))
        deepest[operation] = depths[node] = depth
        for tensor in node.inputs:
            parent = _made_by(tensor)
            depths[parent] = max(depth + 1, depths.get(parent, 0))
    return sorted(deepest, key=lambda op: (-deepest[op], seen[op]))


# Inputs of a call


def _in_order(model: str, expected: Any, given: Any) -> list[Any]:
    """Return the leaves of the inputs given, in the order of those expected."""
    if isinstance(expected, dict) and isinstance(given, dict):
        if missing := sorted(set(expected) - set(given)):
            hint = "".join(did_you_mean(name, given) for name in missing)
            raise ValueError(
                f"Model '{model}': the inputs are {sorted(expected)}, got "
                f"{sorted(given)}, so {missing} are missing.{hint}"
            )
        parts = [(part, given[name]) for name, part in expected.items()]
    elif (
        isinstance(expected, (list, tuple))
        and isinstance(given, (list, tuple))
        and len(expected) == len(given)
    ):
        parts = list(zip(expected, given, strict=True))
    elif names := _names_needed(expected):
        # A list has no names, and the order of a dict says nothing.
        raise ValueError(
            f"Model '{model}': the inputs have the names {names}, got "
            f"{[describe(leaf) for leaf in tree.flatten(given)]} without names. Pass a "
            "dict by these names."
        )
    else:
        return tree.flatten(given)
    return [leaf for part in parts for leaf in _in_order(model, *part)]


def _names_needed(expected: Any) -> list[str]:
    """Return the keys of the first dict that several inputs are in."""
    if isinstance(expected, dict) and len(tree.flatten(expected)) > 1:
        return sorted(expected)
    parts = expected if isinstance(expected, (list, tuple)) else ()
    return next(filter(None, map(_names_needed, parts)), [])


def _fitted(model: str, value: Any, expected: KerasTensor) -> Any:
    """Return an input in the dtype and of the rank that the graph was made for."""
    if value is None:
        if getattr(expected._history.op, "optional", False):  # type: ignore
            return None
        raise ValueError(
            f"Model '{model}': the input '{expected.name}' got None. Pass a tensor of "
            f"shape {expected.static_shape}, or make it by `Input(..., optional=True)`."
        )
    mask = getattr(value, "_keras_mask", None)
    if is_strings(value) != (expected.static_dtype == STRING):
        raise ValueError(
            f"Model '{model}': the input '{expected.name}' must be of dtype "
            f"{expected.static_dtype}, got {describe(value)}."
        )
    dtype = DTYPES.get(expected.static_dtype)
    if isinstance(value, Tensor) and value.dtype != dtype:
        # The model has cast floats to its own dtype, or leaves them to autocast.
        floating = value.is_floating_point() and dtype.is_floating_point  # type: ignore
        value = value if floating else value.to(dtype)
    shape, rank = tuple(value.shape), expected.ndim
    if len(shape) == rank + 1 and shape[-1] == 1:
        value = value[..., 0]
    elif len(shape) == rank - 1 and expected.static_shape[-1] == 1:
        value = value[..., None]
    elif (
        len(shape) != rank
        or any(
            own is not None and size is not None and own != size  # type: ignore
            for own, size in zip(expected.static_shape[1:], shape[1:], strict=True)
        )
    ):
        hint = " For one sample write x[None]." if len(shape) == rank - 1 else ""
        raise ValueError(
            f"Model '{model}': the input '{expected.name}' must have the shape "
            f"{expected.static_shape}, got {shape}.{hint}"
        )
    if mask is not None:
        value._keras_mask = mask  # type: ignore
    return value


# From calls to a graph of torch.fx


class _Emitter:
    """Writes the calls of symbolic tensors as nodes of `torch.fx`."""

    def __init__(self, owner: nn.Module, keys: dict[int, str]) -> None:
        self.owner = owner
        self.keys = keys
        self.graph = fx.Graph()
        self._values: dict[KerasTensor, fx.Node] = {}
        self._held: dict[int, fx.Node] = {}

    def placeholder(self, tensor: KerasTensor) -> None:
        """Write an argument of the function."""
        name = identifier(tensor.name)
        self._values[tensor] = self.graph.placeholder(name)

    def emit(self, node: Node) -> None:
        """Write a call, and how its outputs are taken from what it returns."""
        args, kwargs = self.filled(node.args), self.filled(node.kwargs)
        if not all(map(_can_be_written, tree.flatten((args, kwargs)))):
            made = self.graph.call_function(*_with_values_bound(node, self._values))
        elif isinstance(node.op, nn.Module):
            made = self.graph.call_module(self.keys[id(node.op)], args, kwargs)
        elif _is_method(node.op):
            made = self.graph.call_method(node.op.__name__, args, kwargs)
        else:
            made = self.graph.call_function(self._target(node), args, kwargs)
        paths = tree.flatten_with_path(node.structure)
        for path, leaf in paths:
            if isinstance(leaf, KerasTensor):
                value = made
                for key in path:
                    index = getattr(key, "idx", None)
                    index = key.key if index is None else index  # type: ignore
                    value = self.graph.call_function(operator.getitem, (value, index))
                self._values[leaf] = value

    @staticmethod
    def _target(node: Node) -> Callable[..., Any]:
        """Return the function to call: an operation's inner one where that will do."""
        entry = getattr(node.op, "operation", None)
        if entry is not None:
            tensors, _ = entry.split(node.args, node.kwargs)
            if all(isinstance(v, KerasTensor) for v in tree.flatten(tensors)):
                return node.op.__wrapped__  # type: ignore[attr-defined]
        return node.op

    def filled(self, structure: Any) -> Any:
        """Return arguments with the graph's values in place of tensors."""
        return tree.map_structure(self._value, structure)

    def _value(self, leaf: Any) -> Any:
        if isinstance(leaf, KerasTensor):
            return self._values[leaf]
        if isinstance(leaf, WeightView):
            return self._view(leaf)
        if isinstance(leaf, Tensor):
            return self._hold(leaf)
        if hasattr(leaf, "__array__") and getattr(leaf, "ndim", 0):
            return self._hold(torch.as_tensor(leaf))
        if isinstance(leaf, slice):
            parts = (leaf.start, leaf.stop, leaf.step)
            return slice(*(p if p is None else operator.index(p) for p in parts))
        return leaf.item() if isinstance(leaf, np.generic) else leaf

    def _hold(self, tensor: Tensor) -> fx.Node:
        """Make a tensor in the graph an attribute of the model: a weight is trained."""
        if id(tensor) not in self._held:
            if tensor.grad_fn is not None:
                raise ValueError(
                    f"Model: a tensor of shape {tuple(tensor.shape)} in the graph was "
                    "computed from weights before, so it would not follow them. Pass "
                    "the weight itself, or compute with it in a layer of your own."
                )
            kind = "weight" if isinstance(tensor, nn.Parameter) else "constant"
            key = f"{kind}_{len(self._held)}"
            if isinstance(tensor, nn.Parameter):
                self.owner.register_parameter(key, tensor)
            else:
                self.owner.register_buffer(key, tensor, persistent=False)
            self._held[id(tensor)] = self.graph.get_attr(key)
        return self._held[id(tensor)]

    def _view(self, view: WeightView) -> fx.Node:
        """Write a layer's weight, in Keras's layout, as an argument."""
        paths = {id(m): path for path, m in self.owner.named_modules()}
        path = paths.get(id(view.module))
        if path is None:
            raise ValueError(
                f"Model: the weight '{view.path}' is used in the graph, and its layer "
                "is not a part of it. Use the weight inside a layer of your own."
            )
        tensors = [self.graph.get_attr(f"{path}.{name}") for name in view.names]
        to_keras = view.layout.to_keras

        def in_keras_layout(*tensors: Tensor) -> Tensor:
            return to_keras(*tensors)

        return self.graph.call_function(in_keras_layout, tuple(tensors))


def _is_method(op: Any) -> bool:
    own = getattr(Tensor, getattr(op, "__name__", ""), None)
    return own is op and op not in OPERATORS


def _can_be_written(leaf: Any) -> bool:
    """Say whether the source of a function can hold a value as it is."""
    return leaf is None or leaf is Ellipsis or isinstance(leaf, _WRITTEN)


#: Types of values that have a form in source code.
_WRITTEN = (
    *(fx.Node, str, bool, int, float, complex, slice, range),
    *(torch.dtype, torch.device, torch.memory_format, torch.layout, torch.Size),
)


def _with_values_bound(
    node: Node, values: dict[KerasTensor, fx.Node]
) -> tuple[Callable[..., Any], tuple[fx.Node, ...]]:
    """Return a function of the tensors only, and these: functions cannot be written."""
    op = node.op
    leaves, structure = tree.flatten_with_structure((node.args, node.kwargs))
    slots = [i for i, leaf in enumerate(leaves) if isinstance(leaf, KerasTensor)]
    constants = [None if isinstance(leaf, KerasTensor) else leaf for leaf in leaves]

    def call(*tensors: Any) -> Any:
        filled = list(constants)
        for slot, tensor in zip(slots, tensors, strict=True):
            filled[slot] = tensor
        args, kwargs = tree.unflatten(filled, structure)
        return op(*args, **kwargs)

    call.__name__ = identifier(node.name)
    return call, tuple(values[leaves[slot]] for slot in slots)


def identifier(name: str) -> str:
    """Return a name that can stand in source code.

    Example:
        >>> identifier("lambda"), identifier("conv2d/3x3")
        ('lambda_', 'conv2d_3x3')
    """
    name = re.sub(r"\W", "_", name)
    return f"{name}_" if keyword.iskeyword(name) else name


def function_of(graph: fx.Graph, owner: nn.Module) -> tuple[Callable[..., Any], str]:
    """Return the function that a graph describes, and its source.

    Args:
        graph: the graph; its modules are attributes of the function's first argument.
        owner: the model that has the modules.
    """
    written = fx.GraphModule(owner, graph)
    return type(written).forward, written.code


class Attributes:
    """An object whose attributes are the modules of another one.

    The generated function reads its layers from it, which costs a look into a dict in
    place of the walk that `nn.Module.__getattr__` is.

    Args:
        modules: the table of modules; changes to it show.
    """

    def __init__(self, modules: dict[str, Any]) -> None:
        self.__dict__ = modules


def holds_tensors(graph: fx.Graph) -> bool:
    """Say whether a graph reads tensors of the model, beside calling its modules."""
    return any(node.op == "get_attr" for node in graph.nodes)
