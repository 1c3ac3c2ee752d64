"""What all operations share: conversion, shapes, control flow, scatter and slice."""

from __future__ import annotations

import builtins
import functools
import math
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor

from torchkeras._core import tree
from torchkeras._core.config import default_device
from torchkeras._core.convert import as_tensor
from torchkeras._core.dtypes import standardize_dtype, to_torch_dtype
from torchkeras._core.errors import invalid_argument, one_of, positive_integer
from torchkeras._core.limits import spend_list
from torchkeras._core.operation import Array, Arrays, Operand, operation
from torchkeras._core.symbolic import (
    KerasTensor,
    call_symbolic,
    infer_outputs,
    is_symbolic,
)
from torchkeras._core.typing import DType
from torchkeras._core.variable import WeightView, as_array

__all__ = [
    "associative_scan",
    "cast",
    "cond",
    "convert_to_numpy",
    "convert_to_tensor",
    "custom_gradient",
    "dtype",
    "fori_loop",
    "is_tensor",
    "map",
    "saturate_cast",
    "scan",
    "scatter",
    "scatter_update",
    "shape",
    "slice",
    "slice_update",
    "stop_gradient",
    "switch",
    "unstack",
    "vectorized_map",
    "while_loop",
]

# Tensors, arrays, dtypes


@operation("core", class_name="ConvertToTensor")
def _converted(
    x: Array,
    dtype: DType = None,
    sparse: bool | None = None,
    ragged: bool | None = None,
) -> Tensor:
    return x if dtype is None else x.to(to_torch_dtype(dtype))


def _exact(x: Any, target: torch.dtype | None) -> Any:
    """Return numbers as a tensor, not rounded on the way; all else as it is."""
    if isinstance(x, Tensor):
        return x
    leaves = tree.flatten(x) if isinstance(x, (list, tuple)) else [x]
    kinds = {type(leaf) for leaf in leaves}
    if not kinds <= {bool, int, float, complex}:
        return x
    if target is None:
        target = _dtype_of_numbers(kinds, leaves)
    return torch.tensor(x, dtype=target, device=default_device())


def _dtype_of_numbers(kinds: set[type], numbers: list[Any]) -> torch.dtype:
    if complex in kinds:
        return torch.complex64
    if float in kinds or not numbers:
        return to_torch_dtype(None)
    if int not in kinds:
        return torch.bool
    fits = min(numbers) >= -(2**31) and max(numbers) < 2**31
    return torch.int32 if fits else torch.int64


def convert_to_tensor(
    x: Any,
    dtype: DType = None,
    sparse: bool | None = None,
    ragged: bool | None = None,
) -> Tensor:
    """Return an array, a number or a nested list as a tensor; tensors as they are.

    Args:
        x: the value.
        dtype: the dtype to cast to. By default arrays keep theirs, Python floats become
            ``floatx``, integers ``int32``, or ``int64`` where they are too large.
        sparse: not supported.
        ragged: not supported.

    Raises:
        ValueError: for a sparse or ragged tensor.

    Example:
        >>> convert_to_tensor([1, 2], dtype="float32")
        tensor([1., 2.])
    """
    for name, value in (("sparse", sparse), ("ragged", ragged)):
        if value:
            hint = "Use dense tensors, padded and masked where lengths differ."
            expected = "None or False"
            raise ValueError(
                invalid_argument("convert_to_tensor", name, expected, value, hint)
            )
    target = None if dtype is None else to_torch_dtype(dtype)
    return _converted(_exact(x, target), dtype, sparse, ragged)


def convert_to_numpy(x: Any) -> np.ndarray:
    """Return a tensor, a weight or a list as a NumPy array of its own, off the device.

    NumPy has no ``bfloat16``: such a tensor becomes an array of ``float32``.

    Example:
        >>> convert_to_numpy(torch.ones(2)).tolist()
        [1.0, 1.0]
    """
    if isinstance(x, WeightView):
        x = x.value
    if isinstance(x, Tensor):
        return as_array(x)
    if isinstance(x, (list, tuple)) and any(isinstance(v, Tensor) for v in x):
        return np.array([convert_to_numpy(v) for v in x])
    return np.array(x)


def is_tensor(x: Any) -> bool:
    """Say whether a value is a torch tensor.

    Example:
        >>> is_tensor(torch.ones(1)), is_tensor([1.0])
        (True, False)
    """
    return isinstance(x, Tensor)


def dtype(x: Any) -> str:
    """Return the name of the dtype that a value has, or would have as a tensor.

    Example:
        >>> dtype(torch.ones(1)), dtype(1)
        ('float32', 'int32')
    """
    own = getattr(x, "dtype", None)
    return standardize_dtype(convert_to_tensor(x).dtype if own is None else own)


def shape(x: Any) -> tuple[Any, ...]:
    """Return the sizes, None for the unknown ones of a symbolic tensor.

    Example:
        >>> shape(torch.ones(2, 3)), shape(KerasTensor((None, 3)))
        ((2, 3), (None, 3))
    """
    own = getattr(x, "shape", None)
    return tuple(convert_to_tensor(x).shape if own is None else own)


@operation("core", class_name="Cast")
def _cast(x: Array, dtype: DType) -> Tensor:
    return x.to(to_torch_dtype(dtype))


def cast(x: Any, dtype: DType) -> Tensor:
    """Return the values in another dtype.

    Args:
        x: the values.
        dtype: the dtype, by name or as torch's.

    Example:
        >>> cast([1.5, 2.5], "int32").tolist()
        [1, 2]
    """
    return _cast(_exact(x, to_torch_dtype(dtype)), dtype)


@operation("core")
def saturate_cast(x: Array, dtype: DType) -> Tensor:
    """Return the values in another dtype, its limits in place of what lies beyond them.

    Args:
        x: the values.
        dtype: the dtype, by name or as torch's.

    Example:
        >>> saturate_cast([-3.0, 300.0], "uint8").tolist()
        [0, 255]
    """
    target = to_torch_dtype(dtype)
    if x.dtype == torch.bool:
        return x.to(target)
    limits = [_limits(t, x.dtype) for t in (target, x.dtype)]
    low, high = max(a for a, _ in limits), min(b for _, b in limits)
    clipped = x.clamp(low, high).to(target)
    if not x.is_floating_point() or target.is_floating_point or target == torch.bool:
        return clipped
    # The limits that the floats can hold may lie within those of the integers.
    limit = torch.iinfo(target)
    if (low, high) == (limit.min, limit.max):
        return clipped
    return clipped.masked_fill(x < low, limit.min).masked_fill(x > high, limit.max)


def _limits(dtype: torch.dtype, own: torch.dtype) -> tuple[int, int]:
    """Return the limits of a dtype, rounded towards 0 to what another can hold."""
    if dtype == torch.bool:
        return 0, 1
    limits = (torch.finfo if dtype.is_floating_point else torch.iinfo)(dtype)
    if not own.is_floating_point:
        return int(limits.min), int(limits.max)
    digits = 1 - round(math.log2(torch.finfo(own).eps))

    def held(limit: int) -> int:
        return limit >> (excess := max(limit.bit_length() - digits, 0)) << excess

    return -held(-int(limits.min)), held(int(limits.max))


@operation("core")
def stop_gradient(variable: Array) -> Tensor:
    """Return the values, through which no gradient flows.

    Example:
        >>> stop_gradient(torch.ones(1, requires_grad=True)).requires_grad
        False
    """
    return variable.detach()


# Parts


def _infer_unstack(x: Any, num: int | None = None, axis: int = 0) -> Any:
    if not -x.ndim <= axis < x.ndim:
        expected = f"an axis of a tensor with {x.ndim}"
        raise ValueError(invalid_argument("unstack", "axis", expected, axis))
    if x.static_shape[axis] is not None:
        return infer_outputs(_unstacked, (x, num, axis), {})
    if num is None:
        expected = f"given where the size of axis {axis} is unknown"
        raise ValueError(invalid_argument("unstack", "num", expected, num))
    spend_list("tensors", num, 1_000)
    return [infer_outputs(torch.select, (x, axis, 0), {}) for _ in range(num)]


@operation("core", infer=_infer_unstack)
def unstack(x: Array, num: int | None = None, axis: int = 0) -> list[Tensor]:
    """Split into the tensors along an axis, without that axis.

    Args:
        x: the tensor.
        num: how many there are, checked; needed where the size is unknown.
        axis: the axis.

    Raises:
        ValueError: when `num` is not the size of the axis.

    Example:
        >>> [part.tolist() for part in unstack([[1, 2], [3, 4]])]
        [[1, 2], [3, 4]]
    """
    return _unstacked(x, num, axis)


def _unstacked(x: Tensor, num: int | None, axis: int) -> list[Tensor]:
    if num is not None and num != x.shape[axis]:
        expected = f"the size of axis {axis}, {x.shape[axis]}"
        raise ValueError(invalid_argument("unstack", "num", expected, num))
    return list(x.unbind(axis))


@operation("core")
def slice(inputs: Array, start_indices: Operand, shape: Sequence[int]) -> Tensor:
    """Cut a block out of a tensor.

    Args:
        inputs: the tensor.
        start_indices: where the block begins, for each axis.
        shape: the shape of the block; -1 for all that is left of an axis, where the
            index is an integer.

    Raises:
        ValueError: when the numbers of axes differ, or the block does not lie within
            the tensor.

    Example:
        >>> slice([[1, 2, 3], [4, 5, 6]], [0, 1], [2, 2]).tolist()
        [[2, 3], [5, 6]]
    """
    if is_symbolic(start_indices):
        return call_symbolic(slice, (inputs, start_indices, shape), {})
    start = _indices("slice", start_indices, inputs.ndim)
    if len(shape) != inputs.ndim:
        expected = f"a size for each of the {inputs.ndim} axes"
        raise ValueError(invalid_argument("slice", "shape", expected, shape))
    sizes = _block("slice", "shape", inputs, start, [int(size) for size in shape])
    if inputs.is_meta:  # perhaps smaller than what it stands for
        return inputs.new_empty(sizes)
    for axis, (first, size) in enumerate(zip(start, sizes, strict=True)):
        if isinstance(first, Tensor):  # not read, which would wait for the device
            rows = torch.arange(size, device=inputs.device) + first
            inputs = inputs.index_select(axis, rows)
        else:
            inputs = inputs.narrow(axis, first, size)
    return inputs


def _block(
    owner: str, argument: str, inputs: Tensor, start: list[Any], sizes: list[int]
) -> list[int]:
    """Check that a block lies within a tensor, and return its sizes."""
    sizes = [
        own - first if size == -1 and not isinstance(first, Tensor) else size
        for own, first, size in zip(inputs.shape, start, sizes, strict=True)
    ]
    for own, first, size in zip(inputs.shape, start, sizes, strict=True):
        known = not (isinstance(first, Tensor) or inputs.is_meta)
        if size < 0 or (known and not 0 <= first <= own - size):
            expected = (
                f"sizes that lie within shape {tuple(inputs.shape)} from {start} on"
            )
            raise ValueError(invalid_argument(owner, argument, expected, tuple(sizes)))
    return sizes


@operation("core")
def slice_update(inputs: Array, start_indices: Operand, updates: Array) -> Tensor:
    """Return a copy of a tensor in which a block is replaced.

    Args:
        inputs: the tensor.
        start_indices: where the block begins, for each axis.
        updates: the block.

    Raises:
        ValueError: when the numbers of axes differ, or the block does not lie within
            the tensor.

    Example:
        >>> slice_update([[0, 0], [0, 0]], [1, 0], [[7, 8]]).tolist()
        [[0, 0], [7, 8]]
    """
    start = _indices("slice_update", start_indices, inputs.ndim)
    if updates.ndim != inputs.ndim:
        expected = f"a block with {inputs.ndim} axes, as `inputs` has"
        raise ValueError(invalid_argument("slice_update", "updates", expected, updates))
    sizes = _block("slice_update", "updates", inputs, start, list(updates.shape))
    updates = updates.to(inputs.dtype)
    outputs = inputs.clone()
    if inputs.is_meta:
        return outputs
    if not any(isinstance(first, Tensor) for first in start):
        pairs = zip(start, sizes, strict=True)
        outputs[tuple(builtins.slice(a, a + size) for a, size in pairs)] = updates
        return outputs
    rows = [
        torch.arange(size, device=inputs.device) + first
        for first, size in zip(start, sizes, strict=True)
    ]
    grid = torch.meshgrid(*rows, indexing="ij")
    return outputs.index_put_(tuple(grid), updates)


def _indices(owner: str, start: Any, ndim: int) -> list[Any]:
    """Return where a block begins: integers, or tensors that are not read."""
    if isinstance(start, WeightView):
        start = start.value
    if isinstance(start, Tensor):
        start = start.reshape(-1).unbind()
    elif not isinstance(start, (list, tuple)):
        start = np.atleast_1d(np.asarray(start)).tolist()
    if len(start) != ndim:
        expected = f"an index for each of the {ndim} axes"
        raise ValueError(invalid_argument(owner, "start_indices", expected, start))
    return [first if isinstance(first, Tensor) else int(first) for first in start]


@operation("core")
def scatter(indices: Array, values: Array, shape: Sequence[int]) -> Tensor:
    """Put values into zeros; values for one place add up.

    Args:
        indices: the places, of shape ``(..., depth)``.
        values: the values, of shape ``(..., *shape[depth:])``.
        shape: the shape of the outputs.

    Example:
        >>> scatter([[0], [2], [2]], [1.0, 2.0, 3.0], [4])
        tensor([1., 0., 5., 0.])
    """
    depth = indices.shape[-1]
    places = indices.reshape(-1, depth).long().unbind(-1)
    rows = values.reshape(-1, *shape[depth:])
    return rows.new_zeros(tuple(shape)).index_put_(places, rows, accumulate=True)


@operation("core")
def scatter_update(
    inputs: Array, indices: Array, updates: Array, reduction: str | None = None
) -> Tensor:
    """Return a copy of a tensor in which values at given places are changed.

    Args:
        inputs: the tensor.
        indices: the places, of shape ``(updates, depth)``.
        updates: the values, of shape ``(updates, *inputs.shape[depth:])``.
        reduction: None to replace, or ``"add"``, ``"mul"``, ``"max"`` or ``"min"`` to
            combine with what is there.

    Raises:
        ValueError: for another reduction.

    Example:
        >>> scatter_update([1.0, 2.0, 3.0], [[0], [2]], [8.0, 9.0])
        tensor([8., 2., 9.])
    """
    if isinstance(reduction, str):
        reduction = reduction.lower()
    one_of("scatter_update", "reduction", reduction, (None, "add", "max", "min", "mul"))
    places = indices.long().unbind(-1)
    updates = updates.to(inputs.dtype)
    if reduction in (None, "add"):
        return inputs.index_put(places, updates, accumulate=reduction == "add")
    depth = len(places)
    rows = inputs.shape[:depth]
    flat = torch.zeros_like(places[0])
    for place, size in zip(places, rows, strict=True):
        flat = flat * size + torch.where(place < 0, place + size, place)
    rest = inputs.shape[depth:]
    table = inputs.reshape(-1, *rest)
    flat = flat.reshape(-1, *[1] * len(rest)).expand(-1, *rest)
    names = {"max": "amax", "min": "amin", "mul": "prod"}
    combined = reduce_into(table, flat, updates.expand_as(flat), names[str(reduction)])
    return combined.reshape(inputs.shape)


def reduce_into(table: Tensor, places: Tensor, data: Tensor, how: str) -> Tensor:
    """Combine the rows of a table with those of `data`, by ``scatter_reduce``."""
    if table.dtype != torch.bool:
        return table.scatter_reduce(0, places, data, how, include_self=True)
    # There is no kernel for booleans on CUDA.
    table, data = table.byte(), data.byte()
    return table.scatter_reduce(0, places, data, how, include_self=True).bool()


# Control flow: run by Python, step by step


def cond(pred: Any, true_fn: Callable[[], Any], false_fn: Callable[[], Any]) -> Any:
    """Return what one of two functions returns, by the value of a scalar.

    Args:
        pred: the scalar.
        true_fn: called without arguments where `pred` is true.
        false_fn: called without arguments where it is not.

    Raises:
        ValueError: when `pred` is symbolic and the results differ in structure, shape
            or dtype.

    Example:
        >>> cond(torch.tensor(2.0) > 1.0, lambda: "yes", lambda: "no")
        'yes'
    """
    _require_callables("cond", true_fn=true_fn, false_fn=false_fn)
    if isinstance(pred, KerasTensor):
        return _choice(pred, true_fn(), false_fn())
    if isinstance(pred, Tensor) and pred.is_meta:
        return true_fn()  # only shapes are asked for, which are those of both
    return true_fn() if pred else false_fn()


def _choice(pred: KerasTensor, first: Any, second: Any) -> Any:
    def choose(*branches: Any) -> Any:
        if branches[0] is None and branches[1] is None:
            return None
        branches = tuple(as_tensor(branch) for branch in branches)
        shapes = [shape(branch) for branch in branches]
        dtypes = [dtype(branch) for branch in branches]
        if shapes[0] != shapes[1] or dtypes[0] != dtypes[1]:
            raise ValueError(f"Got {shapes[0]}, {dtypes[0]}, {shapes[1]}, {dtypes[1]}.")
        return call_symbolic(_chosen, (pred, *branches), {})

    try:
        return tree.map_structure(choose, first, second)
    except ValueError as error:
        raise ValueError(
            "cond: `true_fn` and `false_fn` must return the same structure of tensors, "
            f"each pair of one shape and dtype. {error}"
        ) from None


def _chosen(pred: Tensor, first: Any, second: Any) -> Any:
    return first if pred.is_meta or pred else second


def switch(index: Any, branches: Sequence[Callable[..., Any]], *operands: Any) -> Any:
    """Call one of several functions, by an index that is clipped to their number.

    Args:
        index: the number of the function.
        branches: the functions.
        *operands: their arguments.

    Example:
        >>> int(switch(1, [lambda x: x + 1, lambda x: x * 10], 3))
        30
    """
    _require_callables(
        "switch", **{f"branches[{i}]": f for i, f in enumerate(branches)}
    )
    leaves = tree.flatten((index, operands))
    if any(isinstance(leaf, KerasTensor) for leaf in leaves):
        return call_symbolic(switch, (index, branches, *operands), {})
    operands = tree.map_structure(as_tensor, operands)
    if isinstance(index, Tensor) and index.is_meta:
        return branches[0](*operands)
    return branches[min(max(int(index), 0), len(branches) - 1)](*operands)


@operation("core")
def map(f: Operand, xs: Arrays) -> Any:
    """Apply a function to each slice along the first axis, and stack the results.

    `vectorized_map` is the same in one go, where the function allows it.

    Args:
        f: the function, of a slice of `xs`.
        xs: a tensor or a structure of them.

    Example:
        >>> map(lambda x: x * 2, torch.tensor([1, 2, 3])).tolist()
        [2, 4, 6]
    """
    _require_callables("map", f=f)
    _, outputs = _scan(lambda carry, x: (carry, f(x)), None, xs, None, False)
    return outputs


@operation("core")
def scan(
    f: Operand,
    init: Operand,
    xs: Arrays = None,
    length: int | None = None,
    reverse: bool = False,
    unroll: int | bool = 1,
) -> tuple[Any, Any]:
    """Call a function on each slice along the first axis, passing a state on.

    Args:
        f: ``(carry, x)`` to ``(carry, y)``.
        init: the first `carry`, a tensor or a structure of them.
        xs: a tensor or a structure of them; None where only `length` counts.
        length: the number of steps; that of the slices by default.
        reverse: begin at the last slice.
        unroll: accepted for Keras's signature.

    Returns:
        The last `carry`, and the stacked `y`.

    Raises:
        ValueError: when the lengths differ, there are fewer slices than steps, or the
            number of steps is not known.

    Example:
        >>> last, sums = scan(lambda c, x: (c + x, c + x), 0, torch.arange(1, 4))
        >>> int(last), sums.tolist()
        (6, [1, 3, 6])
    """
    _require_callables("scan", f=f)
    if not isinstance(unroll, bool):
        positive_integer("scan", "unroll", unroll)
    given = [leaf for leaf in tree.flatten((init, xs)) if isinstance(leaf, Tensor)]
    device = given[0].device if given else None
    init = tree.map_structure(
        lambda leaf: None if leaf is None else _on(leaf, device), init
    )
    return _scan(f, init, xs, length, reverse)


def _on(value: Any, device: torch.device | None) -> Any:
    """Return a value as a tensor, of its own dtype."""
    return value.value if isinstance(value, WeightView) else as_tensor(value, device)


def _scan(
    f: Callable[..., Any], carry: Any, xs: Any, length: int | None, reverse: bool
) -> tuple[Any, Any]:
    leaves = [leaf for leaf in tree.flatten(xs) if leaf is not None]
    lengths = {leaf.shape[0] for leaf in leaves}
    steps = min(lengths) if length is None and lengths else length
    if steps is None or len(lengths) > 1 or (lengths and steps > min(lengths)):
        raise ValueError(
            "scan: the first axes of `xs` must agree and have at least `length` slices,"
            f" and `xs` or `length` be given. Got the lengths {sorted(lengths)} and "
            f"`length={length}`."
        )

    def at(step: int) -> Any:
        return tree.map_structure(lambda t: None if t is None else t[step], xs)

    def repeated(y: Any) -> Any:
        return tree.map_structure(
            lambda t: None if t is None else torch.as_tensor(t).expand(steps, *t.shape),
            y,
        )

    if not steps:  # what a step would give tells the shapes
        with torch.no_grad():
            zeros = tree.map_structure(
                lambda t: None if t is None else t.new_zeros(t.shape[1:]), xs
            )
            return carry, repeated(f(carry, zeros)[1])
    if builtins.any(leaf.is_meta for leaf in leaves):
        carry, y = f(carry, at(0))  # every step has the same shapes
        return carry, repeated(y)
    order = range(steps)
    outputs = []
    for step in reversed(order) if reverse else order:
        carry, y = f(carry, at(step))
        outputs.append(y)
    if reverse:
        outputs.reverse()
    return carry, tree.map_structure(_stacked, *outputs)


def _stacked(*parts: Any) -> Any:
    if parts[0] is None:
        return None
    return torch.stack([torch.as_tensor(part) for part in parts])


@operation("core")
def associative_scan(
    f: Operand, elems: Arrays, reverse: bool = False, axis: int = 0
) -> Any:
    """Combine all first slices along an axis, in a number of steps that is logarithmic.

    Args:
        f: an associative function of two structures like `elems`, over many slices at
            once.
        elems: a tensor or a structure of them.
        reverse: combine from the last slice on.
        axis: the axis.

    Raises:
        ValueError: when the sizes of the axis differ.

    Example:
        >>> associative_scan(lambda a, b: a + b, torch.arange(1, 5)).tolist()
        [1, 3, 6, 10]
    """
    _require_callables("associative_scan", f=f)
    leaves = tree.flatten(elems)
    sizes = {leaf.shape[axis] for leaf in leaves}
    if len(sizes) > 1:
        raise ValueError(
            f"associative_scan: all tensors need one size on axis {axis}, got shapes "
            f"{[tuple(leaf.shape) for leaf in leaves]}."
        )

    def each(function: Callable[..., Tensor], *structures: Any) -> Any:
        return tree.map_structure(function, *structures)

    def run(items: Any) -> Any:
        size = tree.flatten(items)[0].shape[0]
        if size < 2:
            return items
        pairs = f(
            each(lambda t: t[: size - 1 : 2], items), each(lambda t: t[1::2], items)
        )
        odd = run(pairs)
        before = each(lambda t: t[: (size - 1) // 2], odd)
        even = f(before, each(lambda t: t[2::2], items))
        even = each(lambda t, e: torch.cat([t[:1], e.to(t.dtype)]), items, even)
        return each(_interleaved, even, odd)

    def turned(tensor: Tensor) -> Tensor:
        tensor = tensor.movedim(axis, 0)
        return tensor.flip(0) if reverse else tensor

    def back(tensor: Tensor) -> Tensor:
        return (tensor.flip(0) if reverse else tensor).movedim(0, axis)

    return each(back, run(each(turned, elems)))


def _interleaved(even: Tensor, odd: Tensor) -> Tensor:
    """Return the first of `even`, the first of `odd`, the second of `even`, ..."""
    count = odd.shape[0]
    pairs = torch.stack([even[:count], odd.to(even.dtype)], dim=1).flatten(0, 1)
    return pairs if even.shape[0] == count else torch.cat([pairs, even[count:]])


@operation("core")
def while_loop(
    cond: Callable[..., Any],
    body: Callable[..., Any],
    loop_vars: Operand,
    maximum_iterations: int | None = None,
) -> Any:
    """Call a function on its own results as long as a condition holds.

    Args:
        cond: says of the variables whether to go on.
        body: makes the next variables of the last ones.
        loop_vars: the first variables: a tuple or list of them, or one.
        maximum_iterations: the largest number of calls of `body`.

    Returns:
        The last variables, in the structure of `loop_vars`.

    Example:
        >>> while_loop(lambda i: i < 10, lambda i: i * 2, 3)
        tensor(12, dtype=torch.int32)
    """
    _require_callables("while_loop", cond=cond, body=body)
    loop_vars = tree.map_structure(as_tensor, loop_vars)
    leaves = tree.flatten(loop_vars)
    several = isinstance(loop_vars, (list, tuple))
    values = tuple(loop_vars) if several else (loop_vars,)
    if any(isinstance(leaf, Tensor) and leaf.is_meta for leaf in leaves):
        return loop_vars  # the variables keep their shapes
    count = 0
    while (maximum_iterations is None or count < maximum_iterations) and cond(*values):
        result = body(*values)
        values = tuple(result) if isinstance(result, (list, tuple)) else (result,)
        count += 1
    return type(loop_vars)(values) if several else values[0]


@operation("core")
def fori_loop(
    lower: Any, upper: Any, body_fun: Callable[[Any, Any], Any], init_val: Arrays
) -> Any:
    """Call a function for each integer of a range, passing a value on.

    Args:
        lower: the first integer.
        upper: the integer after the last.
        body_fun: ``(i, value)`` to the next value.
        init_val: the first value, a tensor or a structure of them.

    Example:
        >>> int(fori_loop(0, 5, lambda i, total: total + i, 0))
        10
    """
    _require_callables("fori_loop", body_fun=body_fun)
    leaves = tree.flatten(init_val)
    if any(isinstance(leaf, Tensor) and leaf.is_meta for leaf in leaves):
        return init_val
    for step in range(int(lower), int(upper)):
        init_val = body_fun(step, init_val)
    return init_val


@operation("core")
def vectorized_map(function: Callable[..., Any], elements: Arrays) -> Any:
    """Apply a function of one element to all along the first axis, by `torch.vmap`.

    Random numbers differ between the elements.

    Args:
        function: the function, of an element.
        elements: a tensor or a structure of them.

    Example:
        >>> vectorized_map(lambda x: x * 2, torch.tensor([1, 2, 3])).tolist()
        [2, 4, 6]
    """
    _require_callables("vectorized_map", function=function)
    return torch.vmap(function, randomness="different")(elements)


# Gradients


class _CustomGradient(torch.autograd.Function):
    """Calls a function, and on the way back the gradient that it returned."""

    @staticmethod
    def forward(ctx: Any, function: Callable[..., Any], *args: Any) -> Any:
        outputs, ctx.gradient = function(*args)
        tensors = [isinstance(arg, Tensor) for arg in args]
        ctx.save_for_backward(*[a for a, t in zip(args, tensors, strict=True) if t])
        ctx.args = [None if t else a for a, t in zip(args, tensors, strict=True)]
        ctx.tensors = tensors
        return outputs

    @staticmethod
    def backward(ctx: Any, *upstream: Any) -> Any:
        saved = iter(ctx.saved_tensors)
        pairs = zip(ctx.args, ctx.tensors, strict=True)
        args = [next(saved) if tensor else arg for arg, tensor in pairs]
        grads = ctx.gradient(
            *args, upstream=upstream[0] if len(upstream) == 1 else upstream
        )
        grads = grads if isinstance(grads, (tuple, list)) else (grads,)
        return (None, *grads, *[None] * (len(args) - len(grads)))


def custom_gradient(f: Callable[..., Any]) -> Callable[..., Any]:
    """Give a function a gradient of its own.

    Args:
        f: returns its outputs and a function ``grad(*args, upstream)``, which returns
            the gradient with respect to each argument.

    Example:
        >>> @custom_gradient
        ... def halved(x):
        ...     def grad(*args, upstream):
        ...         return 0.5 * upstream
        ...
        ...     return x * 1.0, grad
        >>> x = torch.ones(2, requires_grad=True)
        >>> halved(x).sum().backward()
        >>> x.grad
        tensor([0.5000, 0.5000])
    """

    @functools.wraps(f)
    def call(*args: Any) -> Any:
        if is_symbolic(args):
            return call_symbolic(call, args, {})
        shown = [arg.value if isinstance(arg, WeightView) else arg for arg in args]
        return _CustomGradient.apply(f, *shown)

    return call


def _require_callables(owner: str, **functions: Any) -> None:
    for name, function in functions.items():
        if not callable(function):
            raise TypeError(invalid_argument(owner, name, "a function", function))
