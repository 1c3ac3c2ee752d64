"""Taking, sorting, searching, selecting."""

from __future__ import annotations

import functools
import math
import operator
import re
from collections.abc import Callable, Collection, Sequence
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from torchkeras._core import tree
from torchkeras._core.convert import as_tensor
from torchkeras._core.dtypes import result_type, to_torch_dtype
from torchkeras._core.errors import (
    counted_axis,
    invalid_argument,
    one_of,
    positive_integer,
)
from torchkeras._core.operation import Array, Arrays, Operand, as_tensors, operation
from torchkeras._core.symbolic import (
    KerasTensor,
    call_symbolic,
    infer_outputs,
    is_symbolic,
)
from torchkeras._core.variable import WeightView

__all__ = [
    "argmax",
    "argmin",
    "argpartition",
    "argsort",
    "digitize",
    "get_item",
    "nanargmax",
    "nanargmin",
    "nonzero",
    "searchsorted",
    "select",
    "sort",
    "take",
    "take_along_axis",
    "unique",
    "unravel_index",
    "vectorize",
    "where",
]


def _ordered(x: Tensor) -> Tensor:
    """Return booleans as numbers: torch doesn't order them on every device."""
    return x.to(torch.uint8) if x.dtype == torch.bool else x


def _require_vector(owner: str, name: str, x: Tensor, hint: str = "") -> None:
    if x.ndim != 1:
        raise ValueError(invalid_argument(owner, name, "a vector", x, hint))


@operation("numpy")
def argmax(x: Array, axis: int | None = None, keepdims: bool = False) -> Tensor:
    """Return where the largest values are; the first of equal ones.

    Args:
        x: the array.
        axis: the axis to search along; None searches the array as one row.
        keepdims: whether the axis stays, with size 1.

    Example:
        >>> argmax([[1, 3, 2], [6, 5, 4]], axis=1)
        tensor([1, 0], dtype=torch.int32)
    """
    return _ordered(x).argmax(axis, keepdims).to(torch.int32)


@operation("numpy")
def argmin(x: Array, axis: int | None = None, keepdims: bool = False) -> Tensor:
    """Return where the smallest values are; the first of equal ones.

    Args:
        x: the array.
        axis: the axis to search along; None searches the array as one row.
        keepdims: whether the axis stays, with size 1.

    Example:
        >>> argmin([[1, 3, 2], [6, 5, 4]], axis=1)
        tensor([0, 2], dtype=torch.int32)
    """
    return _ordered(x).argmin(axis, keepdims).to(torch.int32)


@operation("numpy")
def nanargmax(x: Array, axis: int | None = None, keepdims: bool = False) -> Tensor:
    """Return where the largest values are, NaN aside.

    Args:
        x: the array.
        axis: the axis to search along; None searches the array as one row.
        keepdims: whether the axis stays, with size 1.

    Example:
        >>> nan = float("nan")
        >>> nanargmax([[nan, 3.0, 2.0], [nan, nan, nan]], axis=1)  # all NaN: -1
        tensor([ 1, -1], dtype=torch.int32)
    """
    nan = x.isnan()
    index = argmax(x.masked_fill(nan, -math.inf) if x.is_floating_point() else x, axis)
    return _without_nan(index, nan, axis, keepdims)


@operation("numpy")
def nanargmin(x: Array, axis: int | None = None, keepdims: bool = False) -> Tensor:
    """Return where the smallest values are, NaN aside.

    Args:
        x: the array.
        axis: the axis to search along; None searches the array as one row.
        keepdims: whether the axis stays, with size 1.

    Example:
        >>> nan = float("nan")
        >>> nanargmin([[nan, 3.0, 2.0], [nan, nan, nan]], axis=1)  # all NaN: -1
        tensor([ 2, -1], dtype=torch.int32)
    """
    nan = x.isnan()
    index = argmin(x.masked_fill(nan, math.inf) if x.is_floating_point() else x, axis)
    return _without_nan(index, nan, axis, keepdims)


def _without_nan(
    index: Tensor, nan: Tensor, axis: int | None, keepdims: bool
) -> Tensor:
    """Return an index of each row, -1 for rows that are NaN throughout."""
    index = index.masked_fill(nan.all() if axis is None else nan.all(axis), -1)
    if not keepdims:
        return index
    return index.reshape((1,) * nan.ndim) if axis is None else index.unsqueeze(axis)


@operation("numpy")
def argsort(x: Array, axis: int | None = -1) -> Tensor:
    """Return the indices that put values in ascending order, equal ones as they were.

    Args:
        x: the array.
        axis: the axis to sort along; None flattens `x` first.

    Example:
        >>> argsort([3, 1, 2])
        tensor([1, 2, 0], dtype=torch.int32)
    """
    if axis is None:
        x, axis = x.flatten(), 0
    return torch.argsort(_ordered(x), dim=axis, stable=True).to(torch.int32)


@operation("numpy")
def sort(x: Array, axis: int | None = -1) -> Tensor:
    """Return an array with its values in ascending order.

    Args:
        x: the array.
        axis: the axis to sort along; None flattens `x` first.

    Example:
        >>> sort([3, 1, 2])
        tensor([1, 2, 3], dtype=torch.int32)
    """
    if axis is None:
        x, axis = x.flatten(), 0
    return torch.sort(_ordered(x), dim=axis).values.to(x.dtype)


def _check_kth(kth: Any) -> int:
    if isinstance(kth, bool) or not hasattr(kth, "__index__"):
        raise ValueError(invalid_argument("argpartition", "kth", "an integer", kth))
    return operator.index(kth)


def _infer_argpartition(x: Any, kth: int, axis: int | None = -1) -> Any:
    _check_kth(kth)
    return infer_outputs(argsort, (x, axis), {})


@operation("numpy", infer=_infer_argpartition)
def argpartition(x: Array, kth: int, axis: int | None = -1) -> Tensor:
    """Return indices of the smaller values, then that of the k-th, then the larger.

    Args:
        x: the array.
        kth: the place, counted from 0, at which the value is the one that sorting
            would put there.
        axis: the axis to go along; None flattens `x` first.

    Example:
        >>> argpartition([3.5, 1.5, 1.7], 1)[1]
        tensor(2, dtype=torch.int32)
    """
    size = x.numel() if axis is None else x.shape[axis]
    if not -size <= _check_kth(kth) < size:
        expected = f"in [{-size}, {size}) as there are {size} values"
        raise ValueError(invalid_argument("argpartition", "kth", expected, kth))
    # Sorting gives a partition as well. Torch has no kernel for less: `topk` would give
    # one side only.
    return argsort(x, axis)


@operation("numpy")
def digitize(x: Array, bins: Array) -> Tensor:
    """Return the number of the bin that each value falls into.

    Args:
        x: the array.
        bins: the edges, in ascending order. Bin 0 lies below the first; a value equal
            to an edge belongs to the bin above it.

    Example:
        >>> digitize([0.0, 1.0, 3.0], bins=[1.0, 2.0])
        tensor([0, 1, 2], dtype=torch.int32)
    """
    _require_vector("digitize", "bins", bins)
    x, bins = _ordered(x).contiguous(), _ordered(bins).contiguous()
    return torch.bucketize(x, bins, right=True, out_int32=True)


@operation("numpy", class_name="SearchSorted")
def searchsorted(sorted_sequence: Array, values: Array, side: str = "left") -> Tensor:
    """Return where values would have to be inserted to keep a sequence sorted.

    Args:
        sorted_sequence: a vector in ascending order.
        values: the values, in any shape.
        side: ``"left"`` for the place before equal values, ``"right"`` for that after.

    Example:
        >>> searchsorted([1, 3, 3], [3, 4])
        tensor([1, 3], dtype=torch.int32)
        >>> searchsorted([1, 3, 3], [3, 4], side="right")
        tensor([3, 3], dtype=torch.int32)
    """
    hint = "Use `vectorized_map` for several sequences."
    _require_vector("searchsorted", "sorted_sequence", sorted_sequence, hint)
    one_of("searchsorted", "side", side, ("left", "right"))
    sequence = _ordered(sorted_sequence).contiguous()
    small = sequence.shape[0] <= torch.iinfo(torch.int32).max
    values = _ordered(values).contiguous()
    return torch.searchsorted(sequence, values, side=side, out_int32=small)


def _is_basic(part: Any) -> bool:
    """Say whether a part of a key is one that gives a view: no array, no mask."""
    if part is None or part is Ellipsis or isinstance(part, slice):
        return True
    return hasattr(part, "__index__") and not isinstance(
        part, (bool, Tensor, KerasTensor)
    )


def _key(key: Any) -> Any:
    """Return a key; a list of what can't be indices of rows is one of axes."""
    if isinstance(key, list) and any(
        part is None or part is Ellipsis or isinstance(part, slice) for part in key
    ):
        return tuple(key)
    return key


def _on_unknown(part: Any) -> Any:
    """Return a part of a key that fits an axis of unknown size.

    Whether an index is inside the axis and how long a slice of it is, is not known:
    stand-in sizes would say.
    """
    if not isinstance(part, slice):
        return 0
    return part if (part.step or 1) < 0 else slice(None)  # negative: torch refuses it


def _infer_get_item(x: Any, key: Any) -> Any:
    key = _key(key)
    parts = list(key) if isinstance(key, tuple) else [key]
    if not all(map(_is_basic, parts)):
        return infer_outputs(operator.getitem, (x, key), {})
    rest = x.ndim - sum(part is not None and part is not Ellipsis for part in parts)
    if rest < 0 or parts.count(Ellipsis) > 1:
        expected = f"at most one `...` and {x.ndim} indices, as the array has axes"
        raise ValueError(invalid_argument("get_item", "key", expected, key))
    axis = 0
    for place, part in enumerate(parts):
        if part is None:
            continue
        if part is not Ellipsis and x.static_shape[axis] is None:
            parts[place] = _on_unknown(part)
        axis += rest if part is Ellipsis else 1
    return infer_outputs(operator.getitem, (x, tuple(parts)), {})


@operation("numpy", infer=_infer_get_item)
def get_item(x: Array, key: Operand) -> Tensor:
    """Return ``x[key]``.

    Args:
        x: the array.
        key: integers, slices with positive steps, ``...``, None for a new axis, arrays
            of indices or masks; several of them in a tuple.

    Example:
        >>> get_item([[1, 2], [3, 4]], (slice(None), 0))
        tensor([1, 3], dtype=torch.int32)
    """
    return x[_key(key)]


@operation("numpy")
def take(x: Array, indices: Operand, axis: int | None = None) -> Tensor:
    """Return the values at indices along an axis.

    Args:
        x: the array.
        indices: integers, in any shape; negative ones count from the end.
        axis: the axis that the indices stand for; None takes from `x` flattened.

    Shape:
        The axis gives way to the axes of `indices`.

    Example:
        >>> take([[1, 2], [3, 4]], [1, -1, 0], axis=0)
        tensor([[3, 4],
                [3, 4],
                [1, 2]], dtype=torch.int32)
    """
    # Not converted beside `x`, in whose dtype a large index could be another one.
    indices = as_tensor(indices, x.device)
    indices = indices.value if isinstance(indices, WeightView) else indices
    if axis is None:
        x, axis = x.flatten(), 0
    axis = counted_axis("take", axis, x.ndim)
    taken = x.index_select(axis, _from_front(indices.flatten(), x.shape[axis]))
    return taken.reshape(x.shape[:axis] + indices.shape + x.shape[axis + 1 :])


def _from_front(indices: Tensor, size: int) -> Tensor:
    """Return indices as torch's kernels take them: not negative, of 64 bits."""
    indices = indices.long()
    return torch.where(indices < 0, indices + size, indices)


@operation("numpy")
def take_along_axis(x: Array, indices: Array, axis: int | None = None) -> Tensor:
    """Return the values at indices along an axis, each row with indices of its own.

    Args:
        x: the array.
        indices: integers, with the axes of `x`; negative ones count from the end.
        axis: the axis that the indices stand for; None takes from `x` flattened.

    Example:
        >>> take_along_axis([[1, 2], [3, 4]], [[1], [0]], axis=1)
        tensor([[2],
                [3]], dtype=torch.int32)
    """
    if axis is None:
        x, axis = x.flatten(), 0
    if x.ndim != indices.ndim:
        expected = f"an array with {x.ndim} axes, as `x` has"
        message = invalid_argument("take_along_axis", "indices", expected, indices)
        raise ValueError(message)
    size = x.shape[counted_axis("take_along_axis", axis, x.ndim)]
    return x.take_along_dim(_from_front(indices, size), axis)


def _infer_where(condition: Any, x1: Any = None, x2: Any = None) -> Any:
    if x1 is None and x2 is None:
        return KerasTensor((condition.ndim, None), torch.int64)
    return infer_outputs(functools.partial(where), (condition, x1, x2), {})


@operation("numpy", infer=_infer_where)
def where(condition: Array, x1: Array | None = None, x2: Array | None = None) -> Tensor:
    """Return values of `x1` where a condition holds, and of `x2` elsewhere.

    Args:
        condition: an array of booleans.
        x1: the values for True.
        x2: the values for False. Without both, the result is the indices of what is
            True: one row for each axis, in a number that depends on the values.

    Example:
        >>> where([True, False], [1, 2], [3, 4])
        tensor([1, 4], dtype=torch.int32)
        >>> where([True, False, True])
        tensor([[0, 2]])
    """
    condition = condition.bool()
    if x1 is not None and x2 is not None:
        return torch.where(condition, x1, x2)
    if x1 is not None or x2 is not None:
        name = "x1" if x1 is None else "x2"
        expected = "given as well as the other, or neither"
        raise ValueError(invalid_argument("where", name, expected, None))
    return condition.nonzero().T


def _infer_nonzero(x: Any) -> Any:
    return tuple(KerasTensor((None,), torch.int32) for _ in range(x.ndim))


@operation("numpy", infer=_infer_nonzero)
def nonzero(x: Array) -> tuple[Tensor, ...]:
    """Return the indices of what is not zero: for each axis, a vector.

    Their number depends on the values.

    Example:
        >>> nonzero([[1, 0], [0, 2]])
        (tensor([0, 1], dtype=torch.int32), tensor([0, 1], dtype=torch.int32))
    """
    return x.nonzero().to(torch.int32).unbind(1)


@operation("numpy")
def select(condlist: Arrays, choicelist: Arrays, default: Array = 0) -> Tensor:
    """Return values chosen by the first of several conditions that holds.

    Args:
        condlist: arrays of booleans.
        choicelist: as many arrays, with the values for each condition.
        default: the value where none holds.

    Example:
        >>> x = torch.tensor([1, 5, 9])
        >>> select([x < 3, x < 7], [x, 10 * x], default=-1)
        tensor([ 1, 50, -1])
    """
    for name, given in (("condlist", condlist), ("choicelist", choicelist)):
        if not isinstance(given, (list, tuple)) or not given:
            raise ValueError(
                invalid_argument("select", name, "a list of arrays", given)
            )
    if len(condlist) != len(choicelist):
        expected = f"as long as `condlist`, {len(condlist)}"
        raise ValueError(invalid_argument("select", "choicelist", expected, choicelist))
    conditions, choices = map(as_tensor, condlist), [as_tensor(c) for c in choicelist]
    result = as_tensor(default, choices[0].device)
    for condition, choice in reversed([*zip(conditions, choices, strict=True)]):
        result = torch.where(condition.bool(), choice, result)
    return result


def _fit(x: Tensor, axis: int, size: int | None, fill: Any) -> Tensor:
    """Cut or fill an axis to a size."""
    if size is None:
        return x
    missing = max(size - x.shape[axis], 0)
    x = x.narrow(axis, 0, min(size, x.shape[axis]))
    after = x.ndim - 1 - axis
    return F.pad(x, (0, 0) * after + (0, missing), value=fill) if missing else x


def _infer_unique(
    x: Any,
    sorted: bool = True,
    return_index: bool = False,
    return_inverse: bool = False,
    return_counts: bool = False,
    axis: int | None = None,
    size: int | None = None,
    fill_value: Any = None,
) -> Any:
    shape: list[int | None] = [size]
    inverse = x.static_shape
    if axis is not None:
        place = counted_axis("unique", axis, x.ndim)
        shape = [size if i == place else s for i, s in enumerate(x.static_shape)]
        inverse = inverse[place : place + 1]
    outputs = [KerasTensor(shape, x.static_dtype)]
    if return_index:
        outputs.append(KerasTensor((size,), torch.int64))
    if return_inverse:
        outputs.append(KerasTensor(inverse, torch.int64))
    if return_counts:
        outputs.append(KerasTensor((size,), torch.int64))
    return outputs[0] if len(outputs) == 1 else tuple(outputs)


@operation("numpy", infer=_infer_unique)
def unique(
    x: Array,
    sorted: bool = True,
    return_index: bool = False,
    return_inverse: bool = False,
    return_counts: bool = False,
    axis: int | None = None,
    size: int | None = None,
    fill_value: Any = None,
) -> Any:
    """Return the different values of an array, or the different slices along an axis.

    Args:
        x: the array.
        sorted: whether the values are in ascending order.
        return_index: whether to return where each value comes first as well.
        return_inverse: whether to return, for all of `x`, which of the values it is.
        return_counts: whether to return how often each value comes.
        axis: the axis to compare slices along; None compares single values.
        size: the number of values in the result, which depends on the values of `x`
            otherwise. What is too much is dropped.
        fill_value: what stands for values that are missing, 0 by default. Their count
            is 0, their index 1.

    Returns:
        The values; with any of the other results, a tuple of all in the order above.

    Example:
        >>> unique([3, 1, 3], return_counts=True)
        (tensor([1, 3], dtype=torch.int32), tensor([1, 2]))
    """
    if size is not None:
        positive_integer("unique", "size", size)
    place = 0 if axis is None else counted_axis("unique", axis, x.ndim)
    found: Any = torch.unique(
        x,
        sorted=sorted,
        return_inverse=return_index or return_inverse,
        return_counts=return_counts,
        dim=None if axis is None else place,
    )
    values, *others = found if isinstance(found, tuple) else (found,)
    outputs = [_fit(values, place, size, fill_value)]
    if return_index:
        outputs.append(_fit(_first(others[0], values.shape[place]), 0, size, 1))
    if return_inverse:
        outputs.append(others[0])
    if return_counts:
        outputs.append(_fit(others[-1], 0, size, 0))
    return outputs[0] if len(outputs) == 1 else tuple(outputs)


def _first(inverse: Tensor, count: int) -> Tensor:
    """Return where each of so many numbers comes first."""
    number = inverse.flatten()
    place = torch.arange(number.numel(), device=number.device)
    first = number.new_empty(count)
    return first.scatter_reduce_(0, number, place, "amin", include_self=False)


@operation("numpy")
def unravel_index(indices: Array, shape: int | Sequence[int]) -> tuple[Tensor, ...]:
    """Return indices along each axis for indices into the flattened array.

    Args:
        indices: integers, less than the number of values; this is not checked.
        shape: the shape of the array.

    Example:
        >>> unravel_index([1, 5], (2, 3))
        (tensor([0, 1], dtype=torch.int32), tensor([1, 2], dtype=torch.int32))
    """
    if indices.is_floating_point() or indices.dtype == torch.bool:
        raise TypeError(
            invalid_argument("unravel_index", "indices", "integers", indices)
        )
    sizes = (shape,) if isinstance(shape, int) else tuple(shape)
    dtype = to_torch_dtype(result_type(indices.dtype))
    return tuple(index.to(dtype) for index in torch.unravel_index(indices, sizes))


_ARGUMENT = r"\((?:\w+(?:,\w+)*)?\)"
_SIGNATURE = re.compile(rf"{_ARGUMENT}(?:,{_ARGUMENT})*->{_ARGUMENT}(?:,{_ARGUMENT})*")

#: The names of the axes that the function itself works on, for each array.
_Axes = list[tuple[str, ...]]


def _parse_signature(signature: str | None) -> tuple[_Axes | None, _Axes | None]:
    """Return the axes of the inputs and outputs in a signature like ``(n),(n)->()``."""
    if signature is None:
        return None, None
    text = "".join(signature.split())
    if not _SIGNATURE.fullmatch(text):
        expected = "like '(m,n),(n)->(m)'"
        raise ValueError(
            invalid_argument("vectorize", "signature", expected, signature)
        )
    inputs, outputs = (
        [tuple(re.findall(r"\w+", part)) for part in re.findall(_ARGUMENT, side)]
        for side in text.split("->")
    )
    return inputs, outputs


def _measure(
    sizes: dict[str, int], array: Tensor, names: tuple[str, ...], exact: bool = False
) -> None:
    """Compare the last axes of an array with the sizes of their names so far."""
    short = array.ndim < len(names) or (exact and array.ndim > len(names))
    core = array.shape[array.ndim - len(names) :]
    if short or any(
        sizes.setdefault(name, size) != size
        for name, size in zip(names, core, strict=True)
    ):
        raise ValueError(
            f"vectorize: an array of shape {tuple(array.shape)} doesn't fit the axes "
            f"({','.join(names)}) of the signature with the sizes {sizes}."
        )


def _map_over(
    function: Callable[..., Any], arrays: list[Tensor], ranks: list[int]
) -> Any:
    """Map a function over all but the last axes of arrays, which broadcast.

    Args:
        function: the function of arrays that have but their last axes.
        arrays: the arrays.
        ranks: how many axes of each are the function's own.
    """
    leads = [a.shape[: a.ndim - rank] for a, rank in zip(arrays, ranks, strict=True)]
    lead = torch.broadcast_shapes(*leads)
    count = math.prod(lead)
    if count == 0:
        raise ValueError(f"vectorize: nothing to map over in arrays of shape {lead}.")
    rows: list[Tensor] = []
    dims: list[int | None] = []
    for array, own in zip(arrays, leads, strict=True):
        core = array.shape[len(own) :]
        shared = math.prod(own) == 1
        rows.append(
            array.reshape(core)
            if shared
            else array.expand(lead + core).reshape(count, *core)
        )
        dims.append(None if shared else 0)
    if all(dim is None for dim in dims):
        return tree.map_structure(lambda y: y.expand(lead + y.shape), function(*rows))
    mapped = torch.vmap(function, in_dims=tuple(dims), randomness="different")
    return tree.map_structure(lambda y: y.unflatten(0, lead), mapped(*rows))


def vectorize(
    pyfunc: Callable[..., Any],
    *,
    excluded: Collection[int | str] | None = None,
    signature: str | None = None,
) -> Callable[..., Any]:
    """Return a function that applies another one to each value of arrays.

    The arrays broadcast. `torch.vmap` runs the function once, for all values together:
    its code can't depend on values, and calls torch's functions or those of `ops`.

    Args:
        pyfunc: a function of tensors without axes, or of those that `signature` says.
        excluded: positions of arguments that are passed on as they are, as None and
            keyword arguments always are.
        signature: the axes of the inputs and outputs that the function works on, such
            as ``"(m,n),(n)->(m)"`` for a product of a matrix and a vector.

    Example:
        >>> add = vectorize(lambda a, b: a + b)
        >>> add([[1], [2]], [10, 20])
        tensor([[11, 21],
                [12, 22]], dtype=torch.int32)
        >>> vectorize(torch.dot, signature="(n),(n)->()")([[1.0, 2.0]], [3.0, 4.0])
        tensor([11.])
    """
    if not callable(pyfunc):
        raise ValueError(invalid_argument("vectorize", "pyfunc", "callable", pyfunc))
    fixed = frozenset(excluded or ())
    inputs, outputs = _parse_signature(signature)

    @functools.wraps(pyfunc, updated=())  # what marks an operation is not its
    def vectorized(*args: Any, **kwargs: Any) -> Any:
        if is_symbolic((args, kwargs)):
            return call_symbolic(vectorized, args, kwargs)
        mapped = [i for i, arg in enumerate(args) if i not in fixed and arg is not None]
        if not mapped:
            return pyfunc(*args, **kwargs)
        arrays = as_tensors([args[i] for i in mapped], ["Array"] * len(mapped))
        axes = [()] * len(arrays) if inputs is None else inputs
        if len(axes) != len(arrays):
            raise TypeError(
                f"vectorize: the signature {signature!r} has {len(axes)} inputs, got "
                f"{len(arrays)} arrays."
            )
        sizes: dict[str, int] = {}
        for array, names in zip(arrays, axes, strict=True):
            _measure(sizes, array, names)

        def function(*rows: Tensor) -> Any:
            full = list(args)
            for i, row in zip(mapped, rows, strict=True):
                full[i] = row
            result = tree.map_structure(
                lambda y: as_tensor(y, rows[0].device), pyfunc(*full, **kwargs)
            )
            if outputs is not None:
                _check_outputs(result, outputs, dict(sizes))
            return result

        return _map_over(function, arrays, list(map(len, axes)))

    return vectorized


def _check_outputs(result: Any, outputs: _Axes, sizes: dict[str, int]) -> None:
    """Compare what a function returned with its signature."""
    given = tree.flatten(result)
    if len(given) != len(outputs):
        raise TypeError(
            f"vectorize: the signature has {len(outputs)} outputs, but the function "
            f"returned {len(given)}."
        )
    for array, names in zip(given, outputs, strict=True):
        _measure(sizes, array, names, exact=True)
