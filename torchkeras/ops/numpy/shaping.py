"""Arrays joined, split, reshaped, turned, padded, repeated."""

from __future__ import annotations

import functools
import itertools
import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from torchkeras._core import limits
from torchkeras._core.convert import as_tensor
from torchkeras._core.errors import (
    counted_axis,
    invalid_argument,
    one_of,
    positive_integer,
)
from torchkeras._core.operation import Array, Arrays, Operand, operation
from torchkeras._core.symbolic import (
    KerasTensor,
    SymbolicNumber,
    call_symbolic,
    infer_outputs,
)

__all__ = [
    "append",
    "array_split",
    "broadcast_to",
    "concatenate",
    "diag",
    "diagflat",
    "diagonal",
    "dsplit",
    "dstack",
    "expand_dims",
    "flip",
    "fliplr",
    "flipud",
    "hsplit",
    "hstack",
    "moveaxis",
    "ndim",
    "pad",
    "ravel",
    "repeat",
    "reshape",
    "roll",
    "rot90",
    "size",
    "split",
    "squeeze",
    "stack",
    "swapaxes",
    "tile",
    "transpose",
    "tril",
    "triu",
    "vsplit",
    "vstack",
]

#: Where to cut: at these indices, or into that many equal parts.
Cuts = int | Sequence[int] | Tensor


def _parts(owner: str, name: str, xs: Any) -> list[Tensor]:
    """Return the arrays to join; nested lists among them came as lists of scalars."""
    parts = [x if isinstance(x, Tensor) else as_tensor(x) for x in xs]
    if not parts:
        raise ValueError(invalid_argument(owner, name, "a list of arrays", xs))
    return parts


def _require_axes(owner: str, x: Tensor, least: int, name: str = "x") -> None:
    if x.ndim < least:
        plural = "axes" if least > 1 else "axis"
        expected = f"an array with at least {least} {plural}"
        raise ValueError(invalid_argument(owner, name, expected, x))


def _plain(numbers: Any) -> Any:
    """Return integers, given in any form, as an int or a list of them."""
    if hasattr(numbers, "tolist"):
        return numbers.tolist()
    return list(numbers) if isinstance(numbers, Iterable) else numbers


def _depends(options: Any) -> bool:
    """Say whether sizes or numbers that are options depend on a symbolic tensor."""
    parts = options if isinstance(options, (list, tuple)) else (options,)
    return any(isinstance(part, KerasTensor) for part in parts)


# What follows refines the inference of shapes where stand-in sizes for unknown axes
# would not fit the known sizes beside them, or would pass for known ones.


def _on_meta(op: Callable[..., Any], *args: Any) -> Any:
    """Infer by a run on `meta`, past the operation's own `infer`."""
    return infer_outputs(functools.partial(op), args, {})


def _resized(x: KerasTensor, sizes: Mapping[int, int | None]) -> KerasTensor:
    """Return a symbolic tensor with other sizes along some axes."""
    shape = [sizes.get(axis, size) for axis, size in enumerate(x.static_shape)]
    result = KerasTensor(shape, x.static_dtype)
    first, second = (
        tuple(new if axis in sizes else old for axis, (new, old) in enumerate(pairs))
        for pairs in map(zip, result.sizes, x.sizes)
    )
    result.sizes = first, second
    return result


def _aligned(xs: Iterable[Any], axis: int | None = None) -> list[Any]:
    """Give unknown axes the sizes that they have in the other arrays.

    Args:
        xs: the arrays to join, some of them symbolic.
        axis: the axis along which sizes may differ.
    """
    arrays = [as_tensor(x) for x in xs]
    shapes = [getattr(x, "static_shape", None) or tuple(x.shape) for x in arrays]
    if len(set(map(len, shapes))) != 1:
        return arrays
    joined = axis + len(shapes[0]) if axis is not None and axis < 0 else axis
    first = next(x for x in arrays if isinstance(x, KerasTensor))
    known = {
        i: next((size for size in sizes if size is not None), None)
        for i, sizes in enumerate(zip(*shapes, strict=True))
        if i != joined
    }
    for place, x in enumerate(arrays):
        if isinstance(x, KerasTensor):
            unknown = [i for i in known if x.static_shape[i] is None]
            twin = _resized(x, {i: known[i] for i in unknown})
            one, other = (
                tuple(
                    shared[i] if i in unknown and known[i] is None else size
                    for i, size in enumerate(own)
                )
                for own, shared in zip(twin.sizes, first.sizes, strict=True)
            )
            twin.sizes = one, other
            arrays[place] = twin
    return arrays


def _infer_append(x1: Any, x2: Any, axis: int | None = None) -> Any:
    parts = (x1, x2) if axis is None else _aligned((x1, x2), axis)
    return _on_meta(append, *parts, axis)


@operation("numpy", infer=_infer_append)
def append(x1: Array, x2: Array, axis: int | None = None) -> Tensor:
    """Return `x2` joined to the end of `x1`.

    Args:
        x1: the first array.
        x2: the second one, of the same shape but for `axis`.
        axis: the axis to join along; None flattens both first.

    Example:
        >>> append([1, 2], [[3], [4]])
        tensor([1, 2, 3, 4], dtype=torch.int32)
    """
    if axis is None:
        return torch.cat((x1.flatten(), x2.flatten()))
    return torch.cat((x1, x2), axis)


def _infer_concatenate(xs: Any, axis: int = 0) -> Any:
    return _on_meta(concatenate, _aligned(xs, axis), axis)


@operation("numpy", infer=_infer_concatenate)
def concatenate(xs: Arrays, axis: int = 0) -> Tensor:
    """Return arrays joined along an axis that they have.

    Args:
        xs: the arrays, of one shape but for `axis`.
        axis: the axis to join along.

    Example:
        >>> concatenate([[[1, 2]], [[3, 4]]], axis=1)
        tensor([[1, 2, 3, 4]], dtype=torch.int32)
    """
    return torch.cat(_parts("concatenate", "xs", xs), axis)


def _infer_stack(x: Any, axis: int = 0) -> Any:
    return _on_meta(stack, _aligned(x), axis)


@operation("numpy", infer=_infer_stack)
def stack(x: Arrays, axis: int = 0) -> Tensor:
    """Return arrays joined along a new axis.

    Args:
        x: the arrays, of one shape.
        axis: where the new axis is in the result.

    Example:
        >>> stack([[1, 2], [3, 4]], axis=1)
        tensor([[1, 3],
                [2, 4]], dtype=torch.int32)
    """
    return torch.stack(_parts("stack", "x", x), axis)


def _infer_hstack(xs: Any) -> Any:
    arrays = _aligned(xs, 1)
    return _on_meta(hstack, _aligned(xs, 0) if arrays[0].ndim < 2 else arrays)


@operation("numpy", infer=_infer_hstack)
def hstack(xs: Arrays) -> Tensor:
    """Return arrays joined along the second axis, vectors along their only one.

    Args:
        xs: the arrays.

    Example:
        >>> hstack([[[1], [2]], [[3], [4]]])
        tensor([[1, 3],
                [2, 4]], dtype=torch.int32)
    """
    return torch.hstack(_parts("hstack", "xs", xs))


def _infer_vstack(xs: Any) -> Any:
    arrays = _aligned(xs, 0)
    return _on_meta(vstack, _aligned(xs) if arrays[0].ndim < 2 else arrays)


@operation("numpy", infer=_infer_vstack)
def vstack(xs: Arrays) -> Tensor:
    """Return arrays joined along the first axis; vectors become rows.

    Args:
        xs: the arrays.

    Example:
        >>> vstack([[1, 2], [3, 4]])
        tensor([[1, 2],
                [3, 4]], dtype=torch.int32)
    """
    return torch.vstack(_parts("vstack", "xs", xs))


def _infer_dstack(xs: Any) -> Any:
    return _on_meta(dstack, _aligned(xs, 2))


@operation("numpy", infer=_infer_dstack)
def dstack(xs: Arrays) -> Tensor:
    """Return arrays joined along the third axis, which they get if they lack it.

    Args:
        xs: the arrays. Vectors of size ``n`` count as ``(1, n, 1)``.

    Example:
        >>> dstack([[1, 2], [3, 4]])
        tensor([[[1, 3],
                 [2, 4]]], dtype=torch.int32)
    """
    return torch.dstack(_parts("dstack", "xs", xs))


def _split(owner: str, x: Tensor, where: Any, axis: int) -> list[Tensor]:
    where = _plain(where)
    axis = counted_axis(owner, axis, x.ndim)
    if not isinstance(where, list):
        where = positive_integer(owner, "indices_or_sections", where)
        if x.shape[axis] % where:
            expected = f"a divisor of the size of axis {axis}, {x.shape[axis]}"
            hint = "Use `array_split` for parts of unequal sizes."
            name = "indices_or_sections"
            raise ValueError(invalid_argument(owner, name, expected, where, hint))
    return list(torch.tensor_split(x, where, dim=axis))


def _infer_parts(owner: str, x: KerasTensor, where: Any, axis: int) -> Any:
    """Infer the shapes of the parts of a symbolic tensor."""
    where = _plain(where)
    axis = counted_axis(owner, axis, x.ndim)
    if x.static_shape[axis] is not None:
        return infer_outputs(_split, (owner, x, where, axis), {})
    if not isinstance(where, list):
        count = positive_integer(owner, "indices_or_sections", where)
        limits.spend_list("tensors", count, 1_000)
        return [_resized(x, {axis: None}) for _ in range(count)]
    sizes: list[int | None] = [
        end - start if 0 <= start <= end else None
        for start, end in itertools.pairwise((0, *where))
    ]
    return [_resized(x, {axis: size}) for size in (*sizes, None)]


def _infer_split(x: Any, indices_or_sections: Cuts, axis: int = 0) -> Any:
    return _infer_parts("split", x, indices_or_sections, axis)


@operation("numpy", infer=_infer_split)
def split(x: Array, indices_or_sections: Cuts, axis: int = 0) -> list[Tensor]:
    """Return the parts of an array along an axis.

    Args:
        x: the array.
        indices_or_sections: the number of parts, which must divide the size; or the
            indices before which to cut.
        axis: the axis to cut.

    Raises:
        ValueError: when the axis can't be cut into so many equal parts.

    Example:
        >>> split([1, 2, 3, 4], [1])
        [tensor([1], dtype=torch.int32), tensor([2, 3, 4], dtype=torch.int32)]
    """
    return _split("split", x, indices_or_sections, axis)


def _infer_array_split(x: Any, indices_or_sections: int, axis: int = 0) -> Any:
    axis = counted_axis("array_split", axis, x.ndim)
    if x.static_shape[axis] is not None:
        where = indices_or_sections
        count = positive_integer("array_split", "indices_or_sections", where)
        limits.spend_list("tensors", count, 1_000)
        return _on_meta(array_split, x, indices_or_sections, axis)
    return _infer_parts("array_split", x, indices_or_sections, axis)


@operation("numpy", infer=_infer_array_split)
def array_split(x: Array, indices_or_sections: int, axis: int = 0) -> list[Tensor]:
    """Return a number of parts of an array, the first ones larger by one if needed.

    Args:
        x: the array.
        indices_or_sections: the number of parts.
        axis: the axis to cut.

    Example:
        >>> array_split([1, 2, 3], 2)
        [tensor([1, 2], dtype=torch.int32), tensor([3], dtype=torch.int32)]
    """
    count = positive_integer("array_split", "indices_or_sections", indices_or_sections)
    return list(
        torch.tensor_split(x, count, dim=counted_axis("array_split", axis, x.ndim))
    )


def _infer_hsplit(x: Any, indices_or_sections: Cuts) -> Any:
    return _infer_parts("hsplit", x, indices_or_sections, min(x.ndim - 1, 1))


@operation("numpy", infer=_infer_hsplit)
def hsplit(x: Array, indices_or_sections: Cuts) -> list[Tensor]:
    """Return the parts of an array along the second axis, a vector's only one.

    Args:
        x: the array.
        indices_or_sections: as in `split`.

    Example:
        >>> hsplit([[1, 2], [3, 4]], 2)
        [tensor([[1], [3]], dtype=torch.int32), tensor([[2], [4]], dtype=torch.int32)]
    """
    _require_axes("hsplit", x, 1)
    return _split("hsplit", x, indices_or_sections, min(x.ndim - 1, 1))


def _infer_vsplit(x: Any, indices_or_sections: Cuts) -> Any:
    _require_axes("vsplit", x, 2)
    return _infer_parts("vsplit", x, indices_or_sections, 0)


@operation("numpy", infer=_infer_vsplit)
def vsplit(x: Array, indices_or_sections: Cuts) -> list[Tensor]:
    """Return the parts of an array along the first of its two or more axes.

    Args:
        x: the array.
        indices_or_sections: as in `split`.

    Example:
        >>> vsplit([[1, 2], [3, 4]], 2)
        [tensor([[1, 2]], dtype=torch.int32), tensor([[3, 4]], dtype=torch.int32)]
    """
    _require_axes("vsplit", x, 2)
    return _split("vsplit", x, indices_or_sections, 0)


def _infer_dsplit(x: Any, indices_or_sections: Cuts) -> Any:
    _require_axes("dsplit", x, 3)
    return _infer_parts("dsplit", x, indices_or_sections, 2)


@operation("numpy", infer=_infer_dsplit)
def dsplit(x: Array, indices_or_sections: Cuts) -> list[Tensor]:
    """Return the parts of an array along the third axis.

    Args:
        x: the array, with at least three axes.
        indices_or_sections: as in `split`.

    Example:
        >>> dsplit([[[1, 2]]], 2)
        [tensor([[[1]]], dtype=torch.int32), tensor([[[2]]], dtype=torch.int32)]
    """
    _require_axes("dsplit", x, 3)
    return _split("dsplit", x, indices_or_sections, 2)


_INTEGERS = (int, np.integer)


def _target(newshape: Any, shape: Sequence[Any]) -> list[Any]:
    """Return the sizes to reshape to, with -1 for the one that follows from the rest.

    Args:
        newshape: what the user gave: sizes, -1, None.
        shape: the shape before.
    """
    sizes = _plain(newshape)
    sizes = sizes if isinstance(sizes, list) else [sizes]
    known = [size for size in sizes if isinstance(size, _INTEGERS)]
    if sum(size == -1 for size in known) > 1 or any(size < -1 for size in known):
        expected = "sizes, at most one of them -1"
        raise ValueError(invalid_argument("reshape", "newshape", expected, newshape))
    open_places = [i for i, size in enumerate(sizes) if size is None]
    if not open_places:
        return sizes
    if len(open_places) == 1 and -1 not in known:
        return [-1 if size is None else size for size in sizes]
    if open_places[-1] >= len(shape):
        expected = f"without None past the {len(shape)} axes of the array"
        raise ValueError(invalid_argument("reshape", "newshape", expected, newshape))
    return [shape[i] if size is None else size for i, size in enumerate(sizes)]


def _infer_reshape(x: Any, newshape: Any) -> Any:
    if isinstance(newshape, KerasTensor) and newshape.ndim == 1:
        return KerasTensor(
            (None,) * (newshape.static_shape[0] or 0), as_tensor(x).dtype
        )
    try:
        return _on_meta(reshape, x, newshape)
    except RuntimeError:  # stand-in sizes need not fit where real ones would
        x = as_tensor(x)
        shape: Sequence[Any] = getattr(x, "static_shape", None) or tuple(x.shape)
        sizes = [
            int(size) if isinstance(size, _INTEGERS) else None
            for size in _target(newshape, shape)
        ]
        if None not in shape and None not in sizes:
            expected = f"a shape of {math.prod(shape)} values, as {shape} has"
            message = invalid_argument("reshape", "newshape", expected, newshape)
            raise ValueError(message) from None
        return KerasTensor([None if s == -1 else s for s in sizes], x.dtype)


@operation("numpy", infer=_infer_reshape)
def reshape(x: Array, newshape: Any) -> Tensor:
    """Return the values of an array, in their order, in another shape.

    Args:
        x: the array.
        newshape: the sizes. One may be -1: it follows from the others. A single None
            means the same; several, or one beside a -1, keep the size that `x` has at
            that axis.

    Example:
        >>> reshape([[1, 2, 3, 4]], (2, -1))
        tensor([[1, 2],
                [3, 4]], dtype=torch.int32)
    """
    if _depends(newshape):
        return call_symbolic(reshape, (x, newshape), {})
    return x.reshape(_target(newshape, x.shape))


@operation("numpy")
def ravel(x: Array) -> Tensor:
    """Return the values of an array as a vector.

    Example:
        >>> ravel([[1, 2], [3, 4]])
        tensor([1, 2, 3, 4], dtype=torch.int32)
    """
    return torch.ravel(x)


def _infer_broadcast_to(x: Any, shape: Sequence[int | None]) -> Any:
    if not isinstance(x, KerasTensor):
        return _on_meta(broadcast_to, x, shape)
    sizes = _plain(shape)[-x.ndim :] if x.ndim else []
    given = {
        axis: new
        for axis, (old, new) in enumerate(zip(x.static_shape, sizes, strict=False))
        if old is None and isinstance(new, int) and new != -1
    }
    return _on_meta(broadcast_to, _resized(x, given), shape)


@operation("numpy", infer=_infer_broadcast_to)
def broadcast_to(x: Array, shape: Sequence[int | None]) -> Tensor:
    """Return an array repeated along axes of size 1 and new ones before the others.

    The result is a view: its repeated values share memory.

    Args:
        x: the array.
        shape: the sizes of the result; None or -1 keeps the size that `x` has.

    Example:
        >>> broadcast_to([1, 2], (2, 2))
        tensor([[1, 2],
                [1, 2]], dtype=torch.int32)
    """
    if _depends(shape):
        return call_symbolic(broadcast_to, (x, shape), {})
    return x.expand([-1 if size is None else size for size in _plain(shape)])


@operation("numpy")
def expand_dims(x: Array, axis: int | Sequence[int]) -> Tensor:
    """Return an array with new axes of size 1.

    Args:
        x: the array.
        axis: where the new axes are in the result.

    Example:
        >>> expand_dims([1, 2], (0, 2)).shape
        torch.Size([1, 2, 1])
    """
    if isinstance(axis, int):
        return x.unsqueeze(counted_axis("expand_dims", axis, x.ndim + 1))
    ndim = x.ndim + len(axis)
    places = sorted(counted_axis("expand_dims", place, ndim) for place in axis)
    if len(set(places)) < len(places):
        expected = "different axes"
        raise ValueError(invalid_argument("expand_dims", "axis", expected, axis))
    for place in places:
        x = x.unsqueeze(place)
    return x


def _squeezed(shape: Sequence[Any], axis: int | Sequence[int]) -> tuple[int, ...]:
    """Return the axes to drop, after a look at their sizes."""
    axes = (axis,) if isinstance(axis, int) else axis
    places = tuple(counted_axis("squeeze", place, len(shape)) for place in axes)
    if any(shape[place] != 1 for place in places):
        expected = f"axes of size 1 of the shape {tuple(shape)}"
        raise ValueError(invalid_argument("squeeze", "axis", expected, axis))
    return places


def _infer_squeeze(x: Any, axis: int | Sequence[int] | None = None) -> Any:
    if axis is not None:
        _squeezed(x.static_shape, axis)
    return _on_meta(squeeze, x, axis)


@operation("numpy", infer=_infer_squeeze)
def squeeze(x: Array, axis: int | Sequence[int] | None = None) -> Tensor:
    """Return an array without axes of size 1.

    Args:
        x: the array.
        axis: the axes to drop; None drops all that have size 1.

    Raises:
        ValueError: when one of the given axes has another size, or an unknown one.

    Example:
        >>> squeeze([[1, 2]])
        tensor([1, 2], dtype=torch.int32)
    """
    return x.squeeze() if axis is None else x.squeeze(_squeezed(x.shape, axis))


@operation("numpy")
def transpose(x: Array, axes: Sequence[int] | None = None) -> Tensor:
    """Return an array with its axes in another order.

    Args:
        x: the array.
        axes: for each axis of the result, which one of `x` it is; None reverses them.

    Example:
        >>> transpose([[1, 2]])
        tensor([[1],
                [2]], dtype=torch.int32)
    """
    axes = range(x.ndim - 1, -1, -1) if axes is None else axes
    return x.permute(tuple(axes))


@operation("numpy")
def swapaxes(x: Array, axis1: int, axis2: int) -> Tensor:
    """Return an array with two axes swapped.

    Example:
        >>> swapaxes([[1, 2]], 0, 1)
        tensor([[1],
                [2]], dtype=torch.int32)
    """
    return x.transpose(axis1, axis2)


@operation("numpy")
def moveaxis(
    x: Array, source: int | Sequence[int], destination: int | Sequence[int]
) -> Tensor:
    """Return an array with some axes moved; the others keep their order.

    Args:
        x: the array.
        source: the axes to move.
        destination: where each of them is in the result.

    Example:
        >>> moveaxis([[[1, 2]]], 2, 0).shape
        torch.Size([2, 1, 1])
    """
    pair = [
        (axes,) if isinstance(axes, int) else axes for axes in (source, destination)
    ]
    if len(pair[0]) != len(pair[1]):
        expected = f"as many axes as `source`, {source}"
        raise ValueError(
            invalid_argument("moveaxis", "destination", expected, destination)
        )
    return torch.movedim(x, *map(tuple, pair))


@operation("numpy")
def flip(x: Array, axis: int | Sequence[int] | None = None) -> Tensor:
    """Return an array with the order of its values reversed.

    Args:
        x: the array.
        axis: the axes to reverse; None reverses all.

    Example:
        >>> flip([[1, 2], [3, 4]], axis=0)
        tensor([[3, 4],
                [1, 2]], dtype=torch.int32)
    """
    axis = range(x.ndim) if axis is None else axis
    return x.flip((axis,) if isinstance(axis, int) else tuple(axis))


@operation("numpy")
def fliplr(x: Array) -> Tensor:
    """Return an array with its second axis reversed.

    Example:
        >>> fliplr([[1, 2], [3, 4]])
        tensor([[2, 1],
                [4, 3]], dtype=torch.int32)
    """
    _require_axes("fliplr", x, 2)
    return x.flip(1)


@operation("numpy")
def flipud(x: Array) -> Tensor:
    """Return an array with its first axis reversed.

    Example:
        >>> flipud([[1, 2], [3, 4]])
        tensor([[3, 4],
                [1, 2]], dtype=torch.int32)
    """
    _require_axes("flipud", x, 1)
    return x.flip(0)


@operation("numpy")
def rot90(array: Array, k: int = 1, axes: Sequence[int] = (0, 1)) -> Tensor:
    """Return an array turned by 90 degrees, from the first axis to the second.

    Args:
        array: the array, with at least two axes.
        k: how many times it is turned.
        axes: the two axes of the plane.

    Example:
        >>> rot90([[1, 2], [3, 4]])
        tensor([[2, 4],
                [1, 3]], dtype=torch.int32)
    """
    _require_axes("rot90", array, 2, "array")
    plane = [counted_axis("rot90", axis, array.ndim, "axes") for axis in axes]
    if len(plane) != 2 or plane[0] == plane[1]:
        raise ValueError(invalid_argument("rot90", "axes", "two different axes", axes))
    return torch.rot90(array, k, plane)


@operation("numpy")
def roll(
    x: Array, shift: int | Sequence[int], axis: int | Sequence[int] | None = None
) -> Tensor:
    """Return an array with values moved along axes; the last ones come back first.

    Args:
        x: the array.
        shift: how far; one number for each axis.
        axis: the axes; None moves the values as if they were in one row.

    Example:
        >>> roll([1, 2, 3], 1)
        tensor([3, 1, 2], dtype=torch.int32)
    """
    axis = () if axis is None else axis
    return torch.roll(x, shift, axis if isinstance(axis, int) else tuple(axis))


@operation("numpy")
def tile(x: Array, repeats: int | Sequence[int] | Tensor) -> Tensor:
    """Return copies of an array, one after another.

    Args:
        x: the array.
        repeats: the number of copies along each axis, the last ones if there are fewer
            numbers than axes. With more, the array gets axes in front.

    Example:
        >>> tile([1, 2], 2)
        tensor([1, 2, 1, 2], dtype=torch.int32)
    """
    if _depends(repeats):
        return call_symbolic(tile, (x, repeats), {})
    counts = _plain(repeats)
    return torch.tile(x, tuple(counts) if isinstance(counts, list) else (counts,))


def _repeats(repeats: Any) -> Any:
    """Return numbers of copies as one number or a list of them."""
    counts = _plain(repeats)
    if min(counts, default=0) < 0 if isinstance(counts, list) else counts < 0:
        expected = "numbers that are not negative"
        raise ValueError(invalid_argument("repeat", "repeats", expected, repeats))
    return counts[0] if isinstance(counts, list) and len(counts) == 1 else counts


def _infer_repeat(x: Any, repeats: Any, axis: int | None = None) -> Any:
    counts = None if isinstance(repeats, KerasTensor) else _repeats(repeats)
    if isinstance(counts, int) or isinstance(repeats, SymbolicNumber):
        return _on_meta(repeat, x, repeats if counts is None else counts, axis)
    flat = _on_meta(ravel if axis is None else torch.clone, as_tensor(x))
    place = counted_axis("repeat", axis or 0, flat.ndim)
    size = flat.static_shape[place]
    if counts is not None and size not in (None, len(counts)):
        expected = f"one number, or {size} as there are values"
        raise ValueError(invalid_argument("repeat", "repeats", expected, repeats))
    return _resized(flat, {place: None if counts is None else sum(counts)})


@operation("numpy", infer=_infer_repeat)
def repeat(
    x: Array, repeats: int | Sequence[int] | Tensor, axis: int | None = None
) -> Tensor:
    """Return an array with each value repeated.

    Args:
        x: the array.
        repeats: how often: one number, or one for each value along the axis. In a
            tensor, numbers decide on the shape of the result only as it runs.
        axis: the axis to repeat along; None flattens `x` first.

    Example:
        >>> repeat([1, 2], [2, 1])
        tensor([1, 1, 2], dtype=torch.int32)
    """
    if _depends(repeats):
        return call_symbolic(repeat, (x, repeats, axis), {})
    if axis is None:
        x, axis = x.flatten(), 0
    if isinstance(repeats, Tensor):
        return x.repeat_interleave(repeats.long(), axis)
    counts = _repeats(repeats)
    if isinstance(counts, int):
        return x.repeat_interleave(counts, axis)
    each = torch.tensor(counts, device=x.device)
    return x.repeat_interleave(each, axis, output_size=sum(counts))


def _infer_diag(x: Any, k: int = 0) -> Any:
    result = _on_meta(diag, x, k)
    unknown = x.ndim == 2 and None in x.static_shape
    return _resized(result, {0: None}) if unknown else result


@operation("numpy", infer=_infer_diag)
def diag(x: Array, k: int = 0) -> Tensor:
    """Return the diagonal of a matrix, or the matrix with a diagonal.

    Args:
        x: a matrix or a vector.
        k: which diagonal; positive ones lie above the main one.

    Example:
        >>> diag([1, 2])
        tensor([[1, 0],
                [0, 2]], dtype=torch.int32)
    """
    if x.ndim not in (1, 2):
        raise ValueError(invalid_argument("diag", "x", "a vector or a matrix", x))
    return torch.diag(x, k)


@operation("numpy")
def diagflat(x: Array, k: int = 0) -> Tensor:
    """Return the matrix whose diagonal has the values of an array.

    Args:
        x: the array, of any shape.
        k: which diagonal; positive ones lie above the main one.

    Example:
        >>> diagflat([[1, 2]])
        tensor([[1, 0],
                [0, 2]], dtype=torch.int32)
    """
    return torch.diagflat(x, k)


def _infer_diagonal(x: Any, offset: int = 0, axis1: int = 0, axis2: int = 1) -> Any:
    result = _on_meta(diagonal, x, offset, axis1, axis2)
    unknown = None in (x.static_shape[axis1], x.static_shape[axis2])
    return _resized(result, {result.ndim - 1: None}) if unknown else result


@operation("numpy", infer=_infer_diagonal)
def diagonal(x: Array, offset: int = 0, axis1: int = 0, axis2: int = 1) -> Tensor:
    """Return the diagonals of matrices, along a new last axis.

    Args:
        x: the array, with at least two axes.
        offset: which diagonal; positive ones lie above the main one.
        axis1: the axis of the rows.
        axis2: the axis of the columns.

    Example:
        >>> diagonal([[1, 2], [3, 4]])
        tensor([1, 4], dtype=torch.int32)
    """
    _require_axes("diagonal", x, 2)
    row = counted_axis("diagonal", axis1, x.ndim, "axis1")
    if row == counted_axis("diagonal", axis2, x.ndim, "axis2"):
        expected = f"another axis than `axis1`, {axis1}"
        raise ValueError(invalid_argument("diagonal", "axis2", expected, axis2))
    return torch.diagonal(x, offset, axis1, axis2)


@operation("numpy")
def tril(x: Array, k: int = 0) -> Tensor:
    """Return matrices with zeros above a diagonal.

    Args:
        x: the array; its last two axes are the matrices.
        k: which diagonal; positive ones lie above the main one.

    Example:
        >>> tril([[1, 2], [3, 4]])
        tensor([[1, 0],
                [3, 4]], dtype=torch.int32)
    """
    _require_axes("tril", x, 2)
    return torch.tril(x, k)


@operation("numpy")
def triu(x: Array, k: int = 0) -> Tensor:
    """Return matrices with zeros below a diagonal.

    Args:
        x: the array; its last two axes are the matrices.
        k: which diagonal; positive ones lie above the main one.

    Example:
        >>> triu([[1, 2], [3, 4]])
        tensor([[1, 2],
                [0, 4]], dtype=torch.int32)
    """
    _require_axes("triu", x, 2)
    return torch.triu(x, k)


#: For each mode of padding, which value of an axis of `size` is at a place outside it.
_PADDING: dict[str, Callable[[Tensor, int], Tensor]] = {
    "edge": lambda place, size: place.clamp(0, size - 1),
    "reflect": lambda place, size: _fold(place, 2 * size - 2),
    "symmetric": lambda place, size: _fold(place, 2 * size, 1),
    "wrap": lambda place, size: place % size,
}
_PADDING["circular"] = _PADDING["wrap"]


def _fold(place: Tensor, period: int, repeated: int = 0) -> Tensor:
    """Return places that run forth and back, with the ends repeated or not."""
    place = place % max(period, 1)  # an axis of size 1 has nothing to reflect
    return torch.minimum(place, period - repeated - place).clamp(min=0)


def _widths(pad_width: Any, ndim: int) -> list[tuple[int, int]]:
    """Return how much to pad before and after each axis."""
    given = _plain(pad_width)
    if not isinstance(given, list) or all(isinstance(width, int) for width in given):
        given = [given]
    pairs = []
    for item in given:
        widths = (item,) if isinstance(item, int) else tuple(item)
        if len(widths) not in (1, 2) or any(width < 0 for width in widths):
            expected = "one or two numbers for each axis, none of them negative"
            raise ValueError(invalid_argument("pad", "pad_width", expected, pad_width))
        pairs.append((widths[0], widths[-1]))
    if len(pairs) not in (1, ndim):
        expected = f"one pair, or {ndim} as the array has axes"
        raise ValueError(invalid_argument("pad", "pad_width", expected, pad_width))
    return pairs * ndim if len(pairs) == 1 else pairs


def _pad_with(x: Tensor, widths: list[tuple[int, int]], value: Any) -> Tensor:
    flat = [width for pair in reversed(widths) for width in pair]
    if value is None or isinstance(value, (int, float)):
        return F.pad(x, flat, value=value)
    inside = F.pad(torch.ones_like(x, dtype=torch.bool), flat)
    return torch.where(inside, F.pad(x, flat), as_tensor(value, x.device).to(x.dtype))


@operation("numpy")
def pad(
    x: Array, pad_width: Any, mode: str = "constant", constant_values: Operand = None
) -> Tensor:
    """Return an array with values put around it.

    Args:
        x: the array.
        pad_width: how many values: a number, a pair (before, after), or one of these
            for each axis.
        mode: ``"constant"``, or where the values come from: ``"edge"`` repeats the
            outermost, ``"reflect"`` mirrors at it, ``"symmetric"`` mirrors behind it,
            ``"wrap"`` (also ``"circular"``) goes on at the other end.
        constant_values: the value of the mode ``"constant"``, 0 by default.

    Raises:
        ValueError: for a value with another mode, or widths that don't fit the axes.

    Example:
        >>> pad([1, 2, 3], (2, 1), mode="reflect")
        tensor([3, 2, 1, 2, 3, 2], dtype=torch.int32)
    """
    one_of("pad", "mode", mode, ["constant", *_PADDING])
    widths = _widths(pad_width, x.ndim)
    if mode == "constant":
        return _pad_with(x, widths, constant_values)
    if constant_values is not None:
        expected = f"None with mode {mode!r}"
        raise ValueError(
            invalid_argument("pad", "constant_values", expected, constant_values)
        )
    for axis, (before, after) in enumerate(widths):
        if before or after:
            size = x.shape[axis]
            place = torch.arange(-before, size + after, device=x.device)
            x = x.index_select(axis, _PADDING[mode](place, size))
    return x


@operation("numpy")
def ndim(x: Array) -> int:
    """Return the number of axes, also of a symbolic tensor.

    Example:
        >>> ndim([[1, 2]])
        2
    """
    return x.ndim


@operation("numpy")
def size(x: Array) -> Tensor:
    """Return the number of values, as a tensor.

    Example:
        >>> size([[1, 2], [3, 4]])
        tensor(4)
    """
    return torch.full((), x.numel(), dtype=torch.int64, device=x.device)
