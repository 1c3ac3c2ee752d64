"""Functional models in Keras's JSON schema, and back.

A graph is written as Keras writes it: each layer or operation once, with the arguments
of its calls, in which a tensor is named by the layer that made it, the number of that
layer's call and the position among its outputs.
"""

from __future__ import annotations

import importlib
from collections.abc import Callable, Mapping
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from torchkeras._core import tree
from torchkeras._core.errors import UnsafeFileError, unknown_name
from torchkeras._core.operation import Operation, operations
from torchkeras._core.registry import deserialize_object, serialize_object
from torchkeras._core.symbolic import OPERATORS, KerasTensor, Node
from torchkeras.layers.layer import Layer, layers
from torchkeras.models.graph import AddLoss, Graph

#: The module that functions of torch are written under; Keras knows nothing like it.
_TORCH = "torch"

#: Functions of torch that a file may name, in the places where torch has them.
_TORCH_FUNCTIONS: dict[str, tuple[Any, str]] = {
    "torch": (
        torch,
        """
        abs absolute acos acosh add addmm all amax amin any argmax argmin argsort asin
        asinh atan atan2 atanh baddbmm bitwise_and bitwise_not bitwise_or bitwise_xor
        bmm broadcast_to bucketize cat cdist ceil chunk clamp clip clone concat
        concatenate conj cos cosh count_nonzero cross cummax cummin cumprod cumsum
        deg2rad diag diag_embed diagonal diff div divide dot einsum eq erf erfc erfinv
        exp exp2 expm1 eye_like flatten flip fliplr flipud floor floor_divide fmax fmin
        fmod frac full_like gather ge gt hypot imag index_select inner isclose isfinite
        isinf isnan kron ldexp le lerp log log10 log1p log2 log_softmax logaddexp
        logical_and logical_not logical_or logical_xor logit logsumexp lt masked_fill
        matmul max maximum mean median min minimum movedim moveaxis mul multiply
        nan_to_num narrow ne neg negative norm normal ones_like outer permute pow prod
        quantile rad2deg rand_like randn_like ravel real reciprocal relu remainder
        repeat_interleave reshape roll rot90 round rsqrt scatter scatter_add select
        selu sigmoid sign sin sinc sinh softmax sort split sqrt square squeeze stack std
        std_mean sub subtract sum swapaxes swapdims take_along_dim tan tanh tensordot
        threshold tile topk transpose tril triu true_divide trunc unbind unflatten
        unsqueeze var var_mean vdot view_as_complex view_as_real vstack hstack dstack
        where xlogy zeros_like
        """,
    ),
    "torch.nn.functional": (
        F,
        """
        adaptive_avg_pool1d adaptive_avg_pool2d adaptive_avg_pool3d
        adaptive_max_pool1d adaptive_max_pool2d adaptive_max_pool3d avg_pool1d
        avg_pool2d avg_pool3d batch_norm bilinear celu conv1d conv2d conv3d
        conv_transpose1d conv_transpose2d conv_transpose3d cosine_similarity dropout
        dropout1d dropout2d dropout3d elu embedding fold gelu glu grid_sample
        group_norm hardshrink hardsigmoid hardswish hardtanh instance_norm interpolate
        layer_norm leaky_relu linear local_response_norm log_softmax logsigmoid
        lp_pool1d lp_pool2d max_pool1d max_pool2d max_pool3d mish normalize one_hot pad
        pairwise_distance pixel_shuffle pixel_unshuffle prelu relu relu6 rms_norm
        scaled_dot_product_attention selu sigmoid silu softmax softmin softplus
        softshrink softsign tanh tanhshrink threshold unfold
        """,
    ),
    "torch.Tensor": (
        Tensor,
        """
        abs add all amax amin any argmax argmin bool chunk clamp clone contiguous cos
        cumprod cumsum detach div double exp expand expand_as flatten flip float gather
        half index_select int log logsumexp long masked_fill matmul max mean median min
        movedim mul narrow neg norm permute pow prod reciprocal relu repeat
        repeat_interleave reshape reshape_as roll round rsqrt select sigmoid sign sin
        size softmax sort split sqrt square squeeze std sub sum swapaxes swapdims t tan
        tanh tile to topk transpose tril triu type_as unbind unflatten unfold unsqueeze
        var view view_as where
        """,
    ),
}
_BY_NAME: dict[str, Callable[..., Any]] = {
    f"{place}.{word}": getattr(owner, word)
    for place, (owner, words) in _TORCH_FUNCTIONS.items()
    for word in words.split()
    if hasattr(owner, word)
}
_NAMES = {function: name for name, function in reversed(_BY_NAME.items())}
#: Attributes of a tensor that are read, such as ``x.T``.
_ATTRIBUTES = {"T", "mT", "H", "mH", "real", "imag"}


def is_graph(config: Mapping[str, Any]) -> bool:
    """Say whether the config of a model is that of a graph."""
    return {"layers", "input_layers", "output_layers"} <= set(config)


# To a config


def serialize_graph(graph: Graph) -> dict[str, Any]:
    """Return the layers of a graph, their calls, and what are inputs and outputs."""
    places = {
        tensor: (_name(operation), number, position)
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
        found = []
        for node in graph.nodes_of(operation):
            args, kwargs = (
                (node.args, node.kwargs)
                if operation is not node
                else _call_arguments(node)
            )
            if node.inputs:
                args = [tree.map_structure(shown, value) for value in args]
                kwargs = {k: tree.map_structure(shown, v) for k, v in kwargs.items()}
                found.append(
                    {"args": serialize_object(args), "kwargs": serialize_object(kwargs)}
                )
        return found

    return {
        "layers": [
            {
                **_serialize_operation(operation),
                "name": _name(operation),
                "inbound_nodes": calls(operation),
            }
            for operation in graph.operations
        ],
        "input_layers": tree.map_structure(place, graph.input_structure),
        "output_layers": tree.map_structure(place, graph.output_structure),
    }


def _name(operation: Any) -> str:
    return operation.name if isinstance(operation, (Layer, Node)) else ""


def _serialize_operation(operation: Any) -> dict[str, Any]:
    if not isinstance(operation, Node):
        if not isinstance(operation, Layer):
            raise ValueError(
                f"The graph has a torch module, {type(operation).__name__}, which has "
                "no config. Save the weights alone, or make it part of a layer of your "
                "own."
            )
        return serialize_object(operation)
    op = operation.op
    options: dict[str, Any] = {}
    if entry := getattr(op, "operation", None):
        module, name = entry.module, entry.class_name
        _, options = entry.split(operation.args, operation.kwargs)
    elif op in OPERATORS:
        module, name = "keras.src.ops.numpy", OPERATORS[op]
    else:
        module, name = _TORCH, _torch_name(operation)
    return {
        "module": module,
        "class_name": name,
        "config": {"name": operation.name, **serialize_object(options)},
        "registered_name": name,
    }


def _torch_name(node: Node) -> str:
    if node.op is getattr:
        if node.args[1] in _ATTRIBUTES:
            return "getattr"
    elif node.op in _NAMES:
        return _NAMES[node.op]
    function = getattr(node.op, "__name__", repr(node.op))
    raise ValueError(
        f"The graph calls {function!r} (in '{node.name}'), which a file cannot name. "
        "Use a function of `torchkeras.ops`, or call it in a layer of your own that is "
        "registered by `register_keras_serializable`."
    )


def _call_arguments(node: Node) -> tuple[Any, Any]:
    """Return the arguments that Keras passes when it calls an operation: the tensors.

    What is left of an operation's arguments makes up its config.
    """
    entry = getattr(node.op, "operation", None)
    if entry is None:
        return node.args, node.kwargs
    tensors, _ = entry.split(node.args, node.kwargs)
    return entry.positional(tensors)


# From a config


class _Reader:
    """Makes the layers of a config and calls them until all calls are made."""

    def __init__(self, config: Mapping[str, Any], custom_objects: Any) -> None:
        self.custom_objects = custom_objects
        self.made: dict[str, list[list[KerasTensor]]] = {}
        self.nested: set[str] = set()
        self.terms: list[KerasTensor] = []
        self._waiting: list[tuple[str, Any, dict[str, Any], list[Any]]] = []
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
        calls = list(entry.get("inbound_nodes") or ())
        if not calls:
            outputs = getattr(op, "output", None)
            self.made[name].append(tree.flatten(outputs))
        self._waiting.append((name, op, options, calls))

    def run(self) -> None:
        """Make all calls, each once the tensors it takes are there.

        Raises:
            ValueError: when some never are.
        """
        while any(calls for *_, calls in self._waiting):
            before = sum(len(calls) for *_, calls in self._waiting)
            for name, op, options, calls in self._waiting:
                while calls and self._is_ready(calls[0]):
                    self._call(name, op, options, calls.pop(0))
            if sum(len(calls) for *_, calls in self._waiting) == before:
                stuck = [name for name, _, _, calls in self._waiting if calls]
                raise ValueError(
                    f"The config of a model has a loop, or calls on tensors that "
                    f"nothing makes: the calls of {stuck} cannot be made."
                )

    def _call(self, name: str, op: Any, options: dict[str, Any], call: Any) -> None:
        args, kwargs = self._arguments(call)
        entry = getattr(op, "operation", None)
        if entry is not None and not isinstance(op, nn.Module):
            outputs = entry.call(args, kwargs, options)
        else:
            outputs = op(*args, **options, **kwargs)
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
            empty = [k for k, v in kwargs.items() if _is_empty(v)]
            return args, {k: v for k, v in kwargs.items() if k not in empty}
        # Keras 2: a list of [layer, call, output, keyword arguments].
        tensors = [self._tensor(*entry[:3]) for entry in call]
        kwargs = {}
        for entry in call:
            kwargs.update(
                {k: self._revive(v) for k, v in (entry[3:4] or [{}])[0].items()}
            )
        return (tensors[0] if len(tensors) == 1 else tensors,), kwargs

    def _is_ready(self, call: Any) -> bool:
        if isinstance(call, Mapping):
            found = list(_histories(call.get("args"))) + list(
                _histories(call.get("kwargs"))
            )
        else:
            found = [tuple(entry[:3]) for entry in call]
        return all(self._is_made(*history) for history in found)

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
            if "class_name" not in value:
                return {k: self._revive(v) for k, v in value.items()}
        if isinstance(value, (list, tuple)):
            return [self._revive(v) for v in value]
        return deserialize_object(value, self.custom_objects)

    def _tensor(self, name: str, number: int, position: int) -> KerasTensor:
        self._is_made(name, number, position)
        return self.made[name][number][position]

    def find(self, structure: Any) -> Any:
        """Return the tensors that a structure of ``[layer, call, output]`` names."""
        if isinstance(structure, Mapping):
            return {k: self.find(v) for k, v in structure.items()}
        if len(structure) == 3 and isinstance(structure[0], str):
            name, number, position = structure
            return self._tensor(name, number - (name in self.nested), position)
        return [self.find(item) for item in structure]


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
    try:
        inputs = reader.find(config["input_layers"])
        return inputs, reader.find(config["output_layers"]), reader.terms
    except (IndexError, TypeError, KeyError) as error:
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
        return module.startswith(("keras.src.ops.", "keras.ops")) or module == _TORCH
    return entry.get("class_name") in _operations() and "trainable" not in config


def _function_of(entry: Mapping[str, Any], module: str) -> Callable[..., Any]:
    """Return the function that a config names, from the closed tables."""
    name = entry.get("class_name")
    if module == _TORCH:
        if name == "getattr":
            return _read_attribute
        found = _BY_NAME.get(str(name))
        known: Any = _BY_NAME
    else:
        if name == "GetItem":
            return _item
        known = _operations()
        found = known[str(name)].function if name in known else None
    if found is None:
        raise UnsafeFileError(unknown_name("operation", name, known))
    return found


def _read_attribute(tensor: Any, name: str) -> Any:
    if name not in _ATTRIBUTES:
        raise UnsafeFileError(unknown_name("attribute of a tensor", name, _ATTRIBUTES))
    return getattr(tensor, name)


def _item(tensor: Any, key: Any) -> Any:
    return tensor[tuple(key) if isinstance(key, list) else key]


def _is_empty(value: Any) -> bool:
    return all(leaf is None for leaf in tree.flatten(value))


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
