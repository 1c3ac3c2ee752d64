"""Shapes: of arguments, as symbolic tensors, of torch modules yet to be filled."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from typing import Any

import torch
from torch import nn

from torchkeras._core import config, dtypes, tree
from torchkeras._core.context import context
from torchkeras._core.symbolic import KerasTensor, Node
from torchkeras.layers._state import LayerState


def as_shape(value: Any) -> Any:
    """Return a shape of a config, in lists, as tuples."""
    if isinstance(value, dict):
        return {k: as_shape(v) for k, v in value.items()}
    if isinstance(value, (list, tuple)):
        if all(v is None or isinstance(v, int) for v in value):
            return tuple(value)
        return [as_shape(v) for v in value]
    return value


def shapes_of(structure: Any) -> Any:
    """Return the shapes of the tensors in a structure; no batch size in a probe."""

    def shape_of(leaf: Any) -> Any:
        if isinstance(leaf, KerasTensor):
            return leaf.static_shape
        if not hasattr(leaf, "shape"):
            return leaf
        shape = tuple(leaf.shape)
        return (None, *shape[1:]) if context.probes and shape else shape

    return tree.map_structure(shape_of, structure)


def symbolic_tensors(shape: Any, dtype: Any) -> Any:
    """Return symbolic tensors for a shape or a nested structure of shapes."""
    if isinstance(shape, dict):
        return {k: symbolic_tensors(v, dtype) for k, v in shape.items()}
    if all(v is None or isinstance(v, int) for v in shape):
        return KerasTensor(shape, dtype)
    return type(shape)(symbolic_tensors(v, dtype) for v in shape)


def take_input_shape(kwargs: dict[str, Any]) -> tuple[int | None, ...] | None:
    """Take Keras 2's ``input_shape=``, ``input_dim=``, ... out of the keywords."""
    batch_size = kwargs.pop("batch_size", None)
    input_dim, length = (
        kwargs.pop("input_dim", None),
        kwargs.pop("input_length", None),
    )
    shape = kwargs.pop("input_shape", None)
    batch_shape = kwargs.pop("batch_input_shape", None)
    batch_shape = kwargs.pop("batch_shape", batch_shape)
    if batch_shape is not None:
        return tuple(batch_shape)
    if shape is None and input_dim is not None:
        shape = (input_dim,) if length is None else (length, input_dim)
    if shape is None:
        return None
    return (batch_size, *((shape,) if isinstance(shape, int) else shape))


def build_arguments(
    build: Callable[..., None],
    call: Callable[..., Any],
    args: tuple[Any, ...],
    kwargs: dict[str, Any],
) -> dict[str, Any]:
    """Return what `build` is told of a call: the shapes it has parameters for."""
    parameters = list(inspect.signature(build).parameters)
    if len(parameters) <= 1:
        shape = shapes_of(args[0]) if args else None
        return dict.fromkeys(parameters, shape)
    bound = inspect.signature(call).bind(*args, **kwargs).arguments
    shapes = {f"{k}_shape": shapes_of(v) for k, v in bound.items() if v is not None}
    return {k: v for k, v in shapes.items() if k in parameters}


def inputs_of_shapes(
    dtype: str, args: tuple[Any, ...], kwargs: dict[str, Any]
) -> tuple[list[Any], dict[str, Any]]:
    """Return symbolic arguments of a call for what `compute_output_shape` is told."""
    inputs = [
        None if shape is None else symbolic_tensors(shape, dtype) for shape in args
    ]
    named = {
        name.removesuffix("_shape"): symbolic_tensors(shape, dtype)
        for name, shape in kwargs.items()
        if shape is not None
    }
    if "input" in named:  # Keras's name for that of the first argument
        inputs.insert(0, named.pop("input"))
    return inputs, named


def empty_module(
    layer: LayerState, factory: Callable[..., nn.Module], *args: Any, **kwargs: Any
) -> Any:
    """Make a torch module whose tensors hold nothing yet, to be filled by initializers.

    It is on the default device and of the layer's variable dtype; torch's own random
    initialization is neither paid for nor allowed to move the random state.
    """
    if any(arg is None for arg in args):
        raise ValueError(
            f"Layer '{layer.name}' ({type(layer).__name__}): the number of features or "
            "channels of the inputs must be known, got None. Give it in `Input(shape)`."
        )
    ambient = torch.get_default_device()
    device = ambient if ambient.type == "meta" else config.default_device()
    with torch.device("meta"):
        dtype = dtypes.DTYPES[layer.variable_dtype]
        module = factory(*args, dtype=dtype, **kwargs)
    return module if device.type == "meta" else module.to_empty(device=device)


def record(
    op: Any, args: Any, kwargs: Any, outputs: Any, name: str | None = None
) -> Node:
    """Enter a call that made symbolic tensors, at the layer that was called too."""
    node = Node(op, args, kwargs, outputs, name)
    if isinstance(op, LayerState):
        op._nodes.append(node)
    return node
