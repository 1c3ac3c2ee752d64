"""Functional models in Keras's JSON schema, and back.

A graph is written as Keras writes it: each layer or operation once, with the arguments
of its calls, in which a tensor is named by the layer that made it, the number of that
layer's call and the position among its outputs.
"""

from __future__ import annotations

import importlib
import operator
from collections import deque
from collections.abc import Callable, Collection, Iterator, Mapping
from typing import Any

import numpy as np
from torch import Tensor, nn

from torchkeras._core import torch_functions, tree
from torchkeras._core.errors import UnsafeFileError, describe, unknown_name
from torchkeras._core.operation import Operation, operations
from torchkeras._core.registry import deserialize_object, serialize_object
from torchkeras._core.symbolic import (
    OPERATORS,
    KerasTensor,
    Node,
    call_symbolic,
    infer_outputs,
    symbolic_leaves,
)
from torchkeras._core.variable import WeightView
from torchkeras.layers.layer import Layer, layers
from torchkeras.models.graph import AddLoss, Graph

#: Keys and numbers that lead into a structure.
Path = tuple[Any, ...]


def is_graph(config: Mapping[str, Any]) -> bool:
    """Say whether the config of a model is that of a graph."""
    return {"layers", "input_layers", "output_layers"} <= set(config)


# To a config


def serialize_graph(graph: Graph) -> dict[str, Any]:
    """Return the layers of a graph, their calls, and what are inputs and outputs."""
    names = _names(graph)
    places = {
        tensor: (names[operation], number, position)
        for operation in graph.operations
        for number, node in enumerate(graph.nodes_of(operation))
        for position, tensor in enumerate(node.outputs)
    }

    def place(tensor: KerasTensor) -> list[Any]:
        name, number, position = places[tensor]
        made = tensor.history
        nested = (
            made is not None and getattr(made.op, "graph_of_calls", None) is not None
        )
        # Keras counts the calls of a model in a graph from 1, here and only here.
        return [name, number + 1 if nested else number, position]

    def shown(leaf: Any) -> Any:
        if not isinstance(leaf, KerasTensor):
            return leaf
        config = {"shape": list(leaf.shape), "dtype": leaf.dtype}
        history = {"keras_history": list(places[leaf])}
        return {"class_name": "__keras_tensor__", "config": {**config, **history}}

    def calls(operation: Any) -> list[dict[str, Any]]:
        return [
            _serialize_call(node, shown)
            for node in graph.nodes_of(operation)
            if node.inputs
        ]

    ends = {
        "input_layers": graph.input_structure,
        "output_layers": graph.output_structure,
    }
    tuples = {key: list(_tuples_in(structure)) for key, structure in ends.items()}
    return {
        "layers": [
            {
                **_serialize_operation(operation),
                "name": names[operation],
                "inbound_nodes": calls(operation),
            }
            for operation in graph.operations
        ],
        **{key: tree.map_structure(place, value) for key, value in ends.items()},
        # JSON knows lists only. Keras, which reads lists then, passes over this.
        **({"tuples": tuples} if any(tuples.values()) else {}),
    }


def _tuples_in(structure: Any, path: tuple[Any, ...] = ()) -> Iterator[list[Any]]:
    """Yield the paths of keys and numbers that lead to the tuples in a structure."""
    if isinstance(structure, tuple):
        yield list(path)
    if isinstance(structure, Mapping):
        for key, part in structure.items():
            yield from _tuples_in(part, (*path, key))
    elif isinstance(structure, (list, tuple)):
        for number, part in enumerate(structure):
            yield from _tuples_in(part, (*path, number))


def _names(graph: Graph) -> dict[Any, str]:
    """Return a name for each operation; a torch module has that of its first call."""
    named = (Layer, Node)
    names = {op: op.name for op in graph.operations if isinstance(op, named)}
    taken = set(names.values())
    for operation in graph.operations:
        if operation not in names:
            base = name = graph.nodes_of(operation)[0].name
            count = 0
            while name in taken:
                count += 1
                name = f"{base}_{count}"
            names[operation] = name
            taken.add(name)
    return names


def _serialize_operation(operation: Any) -> dict[str, Any]:
    if not isinstance(operation, Node):
        return serialize_object(operation)
    op = operation.op
    options: dict[str, Any] = {}
    if entry := getattr(op, "operation", None):
        module, name = entry.module, entry.class_name
        _, options = entry.split(operation.args, operation.kwargs)
    elif op in OPERATORS and (of_keras := _operator_name(operation)) is not None:
        module, name = "keras.src.ops.numpy", of_keras
    else:
        module, name = torch_functions.MODULE, _torch_name(operation)
    return {
        "module": module,
        "class_name": name,
        "config": {"name": operation.name, **serialize_object(options)},
        "registered_name": name,
    }


#: What Keras calls operators on integers; on booleans they are logical.
_BITWISE = {
    "LogicalNot": "BitwiseNot",
    "LogicalAnd": "BitwiseAnd",
    "LogicalOr": "BitwiseOr",
    "LogicalXor": "BitwiseXor",
}


def _operator_name(node: Node) -> str | None:
    """Return Keras's name of an operator; None if that gives another dtype."""
    name = OPERATORS[node.op]
    (made,) = node.outputs
    if made.static_dtype != "bool":
        name = _BITWISE.get(name, name)
    if node.op is operator.getitem or all(
        "float" in tensor.static_dtype for tensor in (*node.inputs, made)
    ):
        return name
    theirs = infer_outputs(_operations()[name].function, node.args, node.kwargs)
    return name if theirs.static_dtype == made.static_dtype else None


def _torch_name(node: Node) -> str:
    if node.op is getattr:
        if node.args[1] in torch_functions.ATTRIBUTES:
            return "getattr"
    elif node.op in torch_functions.NAMES:
        return torch_functions.NAMES[node.op]
    function = node.args[1] if node.op is getattr else _name_of_function(node.op)
    raise ValueError(
        f"The graph calls {function!r} (in '{node.name}'), which a file cannot name. "
        f"Use a function of `torchkeras.ops`, or {_WAYS_OUT}"
    )


_WAYS_OUT = (
    "call it in a layer of your own that is registered by "
    "`register_keras_serializable`; `save_weights` saves the weights of any model."
)


def _name_of_function(function: Any) -> str:
    return getattr(function, "__name__", repr(function))


# The arguments of calls


def _serialize_call(node: Node, shown: Callable[[Any], Any]) -> dict[str, Any]:
    """Return the arguments of a call, in which `shown` names the symbolic tensors."""
    args, kwargs = node.args, node.kwargs
    of_torch = _is_of_torch(node.op)
    if entry := getattr(node.op, "operation", None):
        # Keras passes the tensors; what is left makes up the operation's config.
        tensors, _ = entry.split(args, kwargs)
        args, kwargs = entry.positional(tensors)
    elif node.op is operator.getitem:
        args = (args[0], _indices(args[1]))

    def written(leaf: Any) -> Any:
        if isinstance(leaf, (nn.Parameter, WeightView)) or (
            isinstance(leaf, Tensor) and leaf.requires_grad
        ):
            raise ValueError(
                f"'{node.name}' is called on a weight, {describe(leaf)}, which a file "
                "cannot hold outside of a layer. Use the weight in a layer of your own "
                "that is registered by `register_keras_serializable`; `save_weights` "
                "saves the weights of any model."
            )
        return shown(leaf)

    try:
        args = [tree.map_structure(written, value) for value in args]
        kwargs = {k: tree.map_structure(written, v) for k, v in kwargs.items()}
        if of_torch:
            args, kwargs = map(torch_functions.as_arguments, (args, kwargs))
        return {"args": serialize_object(args), "kwargs": serialize_object(kwargs)}
    except TypeError as error:
        raise ValueError(
            f"'{node.name}' is called on an argument that a file cannot hold: {error} "
            f"Give it as a number or a tensor, or {_WAYS_OUT}"
        ) from error


def _is_of_torch(op: Any) -> bool:
    if isinstance(op, nn.Module):
        return not isinstance(op, Layer)
    return op not in OPERATORS and not hasattr(op, "operation")


def _indices(key: Any) -> Any:
    """Return an index in which no list stands: in a file a tuple is one."""
    if isinstance(key, tuple):
        return tuple(map(_indices, key))
    return np.asarray(key) if isinstance(key, (list, range)) else key


# From a config


#: The name of a layer, what is called, its options and the calls not made yet.
_Waiting = tuple[str, Any, dict[str, Any], deque[Any]]


class _Reader:
    """Makes the layers of a config and calls them until all calls are made."""

    def __init__(self, config: Mapping[str, Any], custom_objects: Any) -> None:
        self.custom_objects = custom_objects
        self.made: dict[str, list[list[KerasTensor]]] = {}
        self.nested: set[str] = set()
        self.terms: list[KerasTensor] = []
        self._waiting: list[_Waiting] = []
        for entry in config["layers"]:
            self._read(entry)

    def _read(self, entry: Mapping[str, Any]) -> None:
        module = str(entry.get("module"))
        inner = dict(entry.get("config") or {})
        name = entry.get("name") or inner.get("name")
        if not isinstance(name, str) or name in self.made:
            raise ValueError(f"The config of a model has two layers named {name!r}.")
        self.made[name] = []
        options: dict[str, Any] = {}
        if _is_operation(entry, module, inner):
            op = _function_of(entry, module)
            inner.pop("name", None)
            options = {
                k: deserialize_object(v, self.custom_objects) for k, v in inner.items()
            }
        else:
            op = deserialize_object(entry, self.custom_objects, family=layers)
            if not isinstance(op, nn.Module):
                raise ValueError(
                    f"The config of a model names {entry.get('class_name')!r} as the "
                    f"layer {name!r}, and that is no layer."
                )
            if getattr(op, "graph_of_calls", None) is not None:
                self.nested.add(name)
        calls = deque(entry.get("inbound_nodes") or ())
        if not calls:
            outputs = getattr(op, "output", None)
            self.made[name].append(tree.flatten(outputs))
        self._waiting.append((name, op, options, calls))

    def run(self) -> None:
        """Make all calls, each once the tensors it takes are there.

        Raises:
            ValueError: when some never are.
        """
        ready = deque(self._waiting)
        # Those that stopped at a call on tensors of a layer, by its name.
        stopped: dict[str, list[_Waiting]] = {}
        while ready:
            entry = ready.popleft()
            name, op, options, calls = entry
            while calls:
                if (needed := self._missing(calls[0])) is not None:
                    stopped.setdefault(needed, []).append(entry)
                    break
                self._call(name, op, options, calls.popleft())
                ready.extend(stopped.pop(name, ()))
        if stopped:
            stuck = [name for name, _, _, calls in self._waiting if calls]
            raise ValueError(
                f"The config of a model has a loop, or calls on tensors that "
                f"nothing makes: the calls of {stuck} cannot be made."
            )

    def _call(self, name: str, op: Any, options: dict[str, Any], call: Any) -> None:
        args, kwargs = self._arguments(call)
        if not symbolic_leaves((args, kwargs)):
            raise ValueError(
                f"The config of a model calls {name!r} on no tensor of the model. What "
                "it gives would be computed now, and be of any size."
            )
        if isinstance(op, Layer):
            outputs = op(*args, **_without_empty(kwargs))
        elif isinstance(op, nn.Module):
            outputs = call_symbolic(op, args, kwargs)
        elif entry := getattr(op, "operation", None):
            outputs = entry.call(args, _without_empty(kwargs), options)
        elif op in torch_functions.NAMES:
            outputs = call_symbolic(op, args, kwargs)
        else:
            outputs = op(*args, **kwargs)
        leaves = [t for t in tree.flatten(outputs) if isinstance(t, KerasTensor)]
        if not isinstance(op, nn.Module):
            node = leaves[0].history
            if node is not None:
                node.name = name
        elif isinstance(op, AddLoss):
            self.terms += leaves
        self.made[name].append(leaves)

    def _arguments(self, call: Any) -> tuple[tuple[Any, ...], dict[str, Any]]:
        if isinstance(call, Mapping):
            args = tuple(self._revive(a) for a in call.get("args") or ())
            kwargs = {k: self._revive(v) for k, v in (call.get("kwargs") or {}).items()}
            return args, kwargs
        # Keras 2: a list of [layer, call, output, keyword arguments].
        tensors = [self._tensor(*entry[:3]) for entry in call]
        kwargs = {}
        for entry in call:
            kwargs.update(
                {k: self._revive(v) for k, v in (entry[3:4] or [{}])[0].items()}
            )
        return (tensors[0] if len(tensors) == 1 else tensors,), kwargs

    def _missing(self, call: Any) -> str | None:
        """Return the name of a layer whose call must come first, None if none must."""
        if isinstance(call, Mapping):
            parts = [call.get("args"), call.get("kwargs")]
            found = [history for part in parts for history in _histories(part)]
        else:
            found = [tuple(entry[:3]) for entry in call]
        return next((h[0] for h in found if not self._is_made(*h)), None)

    def _is_made(self, name: str, number: int, _: int) -> bool:
        if name not in self.made:
            raise ValueError(
                f"The config of a model names the layer {name!r}, which it does not "
                "have."
            )
        return len(self.made[name]) > number

    def _revive(self, value: Any) -> Any:
        if isinstance(value, Mapping):
            if value.get("class_name") == "__keras_tensor__":
                return self._tensor(*value["config"]["keras_history"])
            if value.get("class_name") == "__tuple__":
                return tuple(map(self._revive, value["config"]))
            if "class_name" not in value:
                return {k: self._revive(v) for k, v in value.items()}
        if isinstance(value, (list, tuple)):
            return [self._revive(v) for v in value]
        return deserialize_object(value, self.custom_objects)

    def _tensor(self, name: str, number: int, position: int) -> KerasTensor:
        self._is_made(name, number, position)
        return self.made[name][number][position]

    def find(
        self, structure: Any, tuples: Collection[Path] = (), path: Path = ()
    ) -> Any:
        """Return the tensors that a structure of ``[layer, call, output]`` names.

        Args:
            structure: the structure.
            tuples: the paths to what is a list in JSON and was a tuple.
            path: the path to this part of it.
        """
        if isinstance(structure, Mapping):
            return {k: self.find(v, tuples, (*path, k)) for k, v in structure.items()}
        if len(structure) == 3 and isinstance(structure[0], str):
            name, number, position = structure
            return self._tensor(name, number - (name in self.nested), position)
        found = [self.find(v, tuples, (*path, i)) for i, v in enumerate(structure)]
        is_tuple = isinstance(structure, tuple) or path in tuples
        return tuple(found) if is_tuple else found


def deserialize_graph(
    config: Mapping[str, Any], custom_objects: Mapping[str, Any] | None = None
) -> tuple[Any, Any, list[KerasTensor]]:
    """Return the symbolic inputs, outputs and loss terms of a config, with new layers.

    Args:
        config: what `serialize_graph` or Keras wrote.
        custom_objects: names of your own classes and functions.

    Raises:
        ValueError: for a config that is not one of a graph.
    """
    reader = _Reader(config, custom_objects)
    reader.run()
    tuples: Any = config.get("tuples") or {}
    try:
        inputs, outputs = (
            reader.find(config[key], {*map(tuple, tuples.get(key, ()))})
            for key in ("input_layers", "output_layers")
        )
        return inputs, outputs, reader.terms
    except (IndexError, TypeError, KeyError, AttributeError) as error:
        raise ValueError(
            "The config of a model names inputs or outputs that its layers do not "
            f"make: {config['input_layers']}, {config['output_layers']}."
        ) from error


def _operations() -> Mapping[str, Operation]:
    """Return the table of operations, which the package fills when it is loaded."""
    # A model without operations has no use for it: it is a tenth of the start-up.
    importlib.import_module("torchkeras.ops")
    return operations


def _is_operation(
    entry: Mapping[str, Any], module: str, config: Mapping[str, Any]
) -> bool:
    """Say whether an entry is a function: older files do not say where it is from."""
    if "module" in entry:
        return (
            module.startswith(("keras.src.ops.", "keras.ops"))
            or module == torch_functions.MODULE
        )
    return entry.get("class_name") in _operations() and "trainable" not in config


def _function_of(entry: Mapping[str, Any], module: str) -> Callable[..., Any]:
    """Return the function that a config names, from the closed tables."""
    name = entry.get("class_name")
    if module == torch_functions.MODULE:
        if name == "getattr":
            return _read_attribute
        found = torch_functions.BY_NAME.get(str(name))
        known: Any = torch_functions.BY_NAME
    else:
        if name == "GetItem":
            return _item
        known = _operations()
        found = known[str(name)].function if name in known else None
    if found is None:
        raise UnsafeFileError(unknown_name("operation", name, known))
    return found


def _read_attribute(tensor: Any, name: str) -> Any:
    if name not in torch_functions.ATTRIBUTES:
        raise UnsafeFileError(
            unknown_name("attribute of a tensor", name, torch_functions.ATTRIBUTES)
        )
    return getattr(tensor, name)


def _item(tensor: Any, key: Any) -> Any:
    return tensor[tuple(key) if isinstance(key, list) else key]


def _without_empty(kwargs: dict[str, Any]) -> dict[str, Any]:
    """Leave out arguments that are None, such as masks that are not there."""
    return {
        name: value
        for name, value in kwargs.items()
        if any(leaf is not None for leaf in tree.flatten(value))
    }


def _histories(value: Any) -> Any:
    """Yield the places of the tensors that a call takes."""
    if isinstance(value, Mapping):
        if value.get("class_name") == "__keras_tensor__":
            yield tuple(value["config"]["keras_history"])
            return
        value = list(value.values())
    if isinstance(value, (list, tuple)):
        for item in value:
            yield from _histories(item)
