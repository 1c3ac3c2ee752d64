"""Shapes: of arguments, as symbolic tensors, of torch modules yet to be filled."""

from __future__ import annotations

import contextlib
import inspect
import itertools
from collections.abc import Callable, Iterable
from typing import Any

import torch
from torch import nn

from torchkeras._core import config, dtypes, torch_private, tree
from torchkeras._core.context import context
from torchkeras._core.signatures import signature_of
from torchkeras._core.symbolic import KerasTensor, Node, of_sizes
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


#: The sizes of a tensor, all known.
Sizes = tuple[int, ...]


def same_sizes(layer: LayerState, sizes: Sizes) -> Sizes:
    """Return the sizes of the inputs: the rule of a layer that keeps them."""
    return sizes


def ruled_outputs(
    layer: LayerState, args: tuple[Any, ...], kwargs: dict[str, Any]
) -> Any:
    """Return the symbolic outputs of a call by the layer's rule for sizes.

    The rule is asked twice, for the sizes that stand for unknown ones in the two runs
    by which shapes are inferred otherwise, and gives what the runs would.

    Returns:
        The outputs; None where there is no rule, or where it does not say all: of other
        arguments, of inputs that are not cast, of a call that hooks may change.
    """
    rule = layer._output_sizes
    if rule is None or len(args) != 1 or kwargs.keys() - {"training"}:
        return None
    dtype = ruled_dtype(layer, args)
    if dtype is None or any(map(torch_private.hooks_calls, layer.modules())):
        return None
    first, second = args[0].sizes
    made = rule(first)
    other = made if first == second else rule(second)
    return None if made is None or other is None else of_sizes(made, other, dtype)


def ruled_dtype(layer: LayerState, inputs: Iterable[Any]) -> str | None:
    """Return the dtype of the outputs of a layer that casts all of its inputs.

    Returns:
        The dtype; None where inputs are something else, or stay what they are.
    """
    policy = layer._dtype_policy
    for x in inputs:
        if type(x) is not KerasTensor or x.static_dtype == dtypes.STRING:
            return None
        dtype = dtypes.DTYPES[x.static_dtype]
        if policy.is_mixed and not layer.casts_itself:  # autocast does, by function
            if x.static_dtype != policy.variable_dtype:
                return None
            continue
        casts = layer.autocast and (dtype.is_floating_point or layer.casts_integers)
        if not casts and dtype not in layer.index_dtypes:
            return None
    if policy.is_mixed and not layer.casts_itself:
        return policy.variable_dtype
    return policy.compute_dtype


def with_sizes(
    output: KerasTensor, rule: Callable[[Any], Any], inputs: Any
) -> KerasTensor:
    """Let a tensor have the sizes that a rule for shapes gives in the two runs.

    Where they do not fit together, as a size that stands for an unknown one does beside
    a known one, they stay what stands for a new unknown size.
    """
    with contextlib.suppress(TypeError, ValueError):
        first, second = (tuple(rule(_sizes_in(inputs, run))) for run in (0, 1))
        shape = tuple(a if a == b else None for a, b in zip(first, second, strict=True))
        if shape == output.static_shape and None not in first:
            output.sizes = (first, second)
    return output


def _sizes_in(structure: Any, run: int) -> Any:
    return tree.map_structure(
        lambda x: x.sizes[run] if isinstance(x, KerasTensor) else tuple(x.shape),
        structure,
    )


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


def _parameters_of(build: Callable[..., None]) -> list[str]:
    """Return the names of the parameters of a bound `build`."""
    if inspect.ismethod(build):
        return list(signature_of(build.__func__).parameters)[1:]
    return list(inspect.signature(build).parameters)


def build_arguments(
    build: Callable[..., None],
    call: Callable[..., Any],
    args: tuple[Any, ...],
    kwargs: dict[str, Any],
) -> dict[str, Any]:
    """Return what `build` is told of a call: the shapes it has parameters for."""
    parameters = _parameters_of(build)
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
    if device.type == "meta":
        return module
    if context.budget is not None:
        tensors = itertools.chain(module.parameters(), module.buffers())
        context.budget.charge(f"the layer '{layer.name}'", tensors)
    return module.to_empty(device=device)


def record(
    op: Any, args: Any, kwargs: Any, outputs: Any, name: str | None = None
) -> Node:
    """Enter a call that made symbolic tensors, at the layer that was called too."""
    node = Node(op, args, kwargs, outputs, name)
    if isinstance(op, LayerState):
        op._nodes.append(node)
    return node
