"""Layers that make one tensor of several: `Add`, `Concatenate`, `Dot`, ..."""

from __future__ import annotations

import functools
from collections.abc import Callable, Sequence
from typing import Any, ClassVar

import torch
import torch.nn.functional as F
from torch import Tensor

from torchkeras._core import config
from torchkeras._core.dtypes import to_torch_dtype
from torchkeras._core.errors import describe, invalid_argument
from torchkeras._core.symbolic import KerasTensor
from torchkeras._core.typing import Mask
from torchkeras.layers._masks import as_mask, as_tensors
from torchkeras.layers.layer import Layer, layers
from torchkeras.layers.shapes import ruled_dtype, with_sizes

Shape = tuple[int | None, ...]
Masks = Sequence[Tensor | None]


class _Merge(Layer):
    """The base of layers that are called on a list of tensors."""

    _makes_mask = False
    #: How many inputs are merged; None for any number.
    _count: ClassVar[int | None] = None

    def __init__(self, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.supports_masking = True

    def _merged_shape(self, shapes: Sequence[Shape]) -> Shape:
        """Return the shape of the outputs; raise a `ValueError` if there is none."""
        raise NotImplementedError

    def build(self, input_shape: Any) -> None:
        self._checked_shape(input_shape)

    def _check_inputs(self, args: tuple[Any, ...]) -> None:
        super()._check_inputs(args)
        inputs = args[0] if args else None
        if not isinstance(inputs, (list, tuple)):
            raise ValueError(self._refusal(f"got {describe(inputs)}"))
        self._checked_shape([getattr(x, "shape", x) for x in inputs])

    def _checked_shape(self, shapes: Any) -> Shape:
        is_list = isinstance(shapes, (list, tuple))
        if not is_list or not all(isinstance(s, (list, tuple)) for s in shapes):
            raise ValueError(self._refusal(f"got {describe(shapes)}"))
        if len(shapes) != (self._count or max(len(shapes), 1)):
            raise ValueError(self._refusal(f"got {len(shapes)} of them"))
        return self._merged_shape([tuple(shape) for shape in shapes])

    def _refusal(self, got: str) -> str:
        count = f"{self._count} " if self._count else ""
        return (
            f"Layer '{self.name}' ({type(self).__name__}): expected a list of {count}"
            f"tensors, {got}. Call it like `layer([first, second])`."
        )

    def _mismatch(self, expected: str, shapes: Sequence[Shape]) -> ValueError:
        listing = ", ".join(str(tuple(shape)) for shape in shapes)
        return ValueError(
            f"Layer '{self.name}' ({type(self).__name__}): expected {expected}, got "
            f"inputs of shapes {listing}."
        )

    def _choose_path(self) -> None:
        super()._choose_path()
        self._fast_path = False  # that is for a single tensor

    def compute_output_spec(self, *args: Any, **kwargs: Any) -> Any:
        # Sizes that stand for unknown ones would not fit the known ones beside them.
        inputs = args[0]
        if not self._built:
            self._build_from(args, kwargs)
        shape = self._checked_shape([x.shape for x in inputs])
        dtype = ruled_dtype(self, inputs)
        if dtype is None:
            dtype = self([_sample(x) for x in inputs]).dtype
        return with_sizes(KerasTensor(shape, dtype), self._merged_shape, inputs)

    def compute_mask(self, inputs: Any, mask: Mask = None) -> Tensor | None:  # pyright: ignore[reportIncompatibleMethodOverride]
        if mask is None:
            return None
        inputs = as_tensors(inputs)
        return self._merged_mask(inputs, self._checked_masks(inputs, mask))

    def _checked_masks(self, inputs: Sequence[Any], masks: Any) -> Masks:
        if not isinstance(masks, (list, tuple)) or len(masks) != len(inputs):
            raise ValueError(
                f"Layer '{self.name}' ({type(self).__name__}): `mask` must be a list "
                f"of one mask, or None, for each of the {len(inputs)} inputs, got "
                f"{describe(masks)}."
            )
        return [as_mask(mask, x) for x, mask in zip(inputs, masks, strict=True)]

    def _merged_mask(self, inputs: Sequence[Tensor], masks: Masks) -> Tensor | None:
        """Return the mask of the outputs: what any of the inputs' masks leaves in."""
        rank = max(x.ndim for x in inputs)
        found = [
            _with_rank(mask, mask.ndim + rank - x.ndim)
            for x, mask in zip(inputs, masks, strict=True)
            if mask is not None
        ]
        if len(found) < len(masks):
            return None
        return functools.reduce(torch.logical_or, found)


def _sample(x: Any) -> Tensor:
    """Return a tensor of one value, of the rank and the dtype of a symbolic one."""
    dtype = to_torch_dtype(x.dtype)
    return torch.empty([1] * len(x.shape), dtype=dtype, device="meta")


def _with_rank(x: Tensor, rank: int) -> Tensor:
    """Give a tensor more axes, of size 1 and after the batch."""
    if x.ndim in (0, rank):
        return x
    return x[(slice(None), *[None] * (rank - x.ndim))]


class _Elementwise(_Merge):
    """The base of layers whose inputs broadcast."""

    def _merged_shape(self, shapes: Sequence[Shape]) -> Shape:
        rank = max(len(shape) for shape in shapes)
        if rank == 0:
            return ()
        aligned = [
            (*(shape[:1] or (1,)), *(1,) * (rank - max(len(shape), 1)), *shape[1:])
            for shape in shapes
        ]
        sizes = []
        for axis, found in enumerate(zip(*aligned, strict=True)):
            size = _broadcast(found)
            if size == _NONE_FITS:
                what = "one batch size" if axis == 0 else "shapes that broadcast"
                raise self._mismatch(what, shapes)
            sizes.append(size)
        return tuple(sizes)

    def call(self, inputs: Sequence[Tensor], mask: Masks | None = None) -> Tensor:
        rank = max(x.ndim for x in inputs)
        values = [_with_rank(x, rank) for x in inputs]
        if mask is None:
            return self._merge(values)
        masks = [
            None
            if m is None
            else _with_rank(m.reshape(*m.shape, *[1] * (x.ndim - m.ndim)), rank)
            for x, m in zip(inputs, self._checked_masks(inputs, mask), strict=True)
        ]
        return self._merge_masked(values, masks)

    def _merge(self, inputs: Sequence[Tensor]) -> Tensor:
        """Merge inputs of one rank."""
        raise NotImplementedError

    def _merge_masked(self, inputs: Sequence[Tensor], masks: Masks) -> Tensor:
        """Merge inputs with masks that broadcast to them."""
        return self._merge(inputs)


#: No size of an axis: what sizes that do not broadcast give.
_NONE_FITS = -1


def _broadcast(sizes: Sequence[int | None]) -> int | None:
    """Return the size that sizes of an axis broadcast to, None for an unknown one."""
    result = 1
    for size in sizes:
        if size is None or size == 1 or size == result:
            continue
        if result != 1:
            return _NONE_FITS
        result = size
    return None if result == 1 and None in sizes else result


@layers.register()
class Add(_Elementwise):
    """The sum of the inputs.

    Shape:
        A list of shapes that broadcast. Inputs of fewer axes get axes of size 1 after
        the batch.

    Raises:
        ValueError: for what is no list of tensors, or shapes that do not broadcast.

    Example:
        >>> Add()([torch.ones(2, 3), torch.ones(2, 3)])
        tensor([[2., 2., 2.],
                [2., 2., 2.]])
        >>> Add()([torch.ones(2, 5, 3), torch.ones(2, 3)]).shape
        torch.Size([2, 5, 3])
    """

    def _merge(self, inputs: Sequence[Tensor]) -> Tensor:
        return functools.reduce(torch.add, inputs)


@layers.register()
class Subtract(_Elementwise):
    """The first input minus the second.

    Shape:
        A list of two shapes, as for `Add`.

    Raises:
        ValueError: for what is no list of two tensors, and for shapes that do not
            broadcast.

    Example:
        >>> Subtract()([torch.ones(1, 3), torch.tensor([[0.0, 1.0, 2.0]])])
        tensor([[ 1.,  0., -1.]])
    """

    _count = 2

    def _merge(self, inputs: Sequence[Tensor]) -> Tensor:
        return inputs[0] - inputs[1]


@layers.register()
class Multiply(_Elementwise):
    """The product of the inputs.

    What a mask leaves out of an input counts as 1; what all masks leave out is 0.

    Shape:
        A list of shapes, as for `Add`.

    Raises:
        ValueError: for what is no list of tensors, or shapes that do not broadcast.

    Example:
        >>> Multiply()([torch.tensor([[1.0, 2.0]]), torch.tensor([[3.0, 4.0]])])
        tensor([[3., 8.]])
    """

    def _merge(self, inputs: Sequence[Tensor]) -> Tensor:
        return functools.reduce(torch.mul, inputs)

    def _merge_masked(self, inputs: Sequence[Tensor], masks: Masks) -> Tensor:
        found = [mask for mask in masks if mask is not None]
        product = self._merge(
            [
                x if mask is None else x.where(mask, 1)
                for x, mask in zip(inputs, masks, strict=True)
            ]
        )
        if len(found) < len(masks):
            return product
        return product.where(functools.reduce(torch.logical_or, found), 0)


@layers.register()
class Average(_Elementwise):
    """The mean of the inputs.

    Shape:
        A list of shapes, as for `Add`.

    Raises:
        ValueError: for what is no list of tensors, or shapes that do not broadcast.

    Example:
        >>> Average()([torch.zeros(1, 2), torch.ones(1, 2)])
        tensor([[0.5000, 0.5000]])
    """

    def _merge(self, inputs: Sequence[Tensor]) -> Tensor:
        return functools.reduce(torch.add, inputs) / len(inputs)


class _Extreme(_Elementwise):
    """The base of `Maximum` and `Minimum`."""

    _choose: ClassVar[Callable[..., Tensor]]

    def _merge(self, inputs: Sequence[Tensor]) -> Tensor:
        return functools.reduce(type(self)._choose, inputs)

    def _merge_masked(self, inputs: Sequence[Tensor], masks: Masks) -> Tensor:
        choose = type(self)._choose
        result, seen = inputs[0], masks[0]
        for x, mask in zip(inputs[1:], masks[1:], strict=True):
            other = x if mask is None else x.where(mask, result)
            if seen is not None:
                result = result.where(seen, other)
            result = choose(result, other)
            seen = None if seen is None or mask is None else seen | mask
        return result


@layers.register()
class Maximum(_Extreme):
    """The largest of the inputs, element by element.

    What a mask leaves out of an input is not compared.

    Shape:
        A list of shapes, as for `Add`.

    Raises:
        ValueError: for what is no list of tensors, or shapes that do not broadcast.

    Example:
        >>> Maximum()([torch.tensor([[1.0, 5.0]]), torch.tensor([[3.0, 4.0]])])
        tensor([[3., 5.]])
    """

    _choose = torch.maximum


@layers.register()
class Minimum(_Extreme):
    """The smallest of the inputs, element by element; see `Maximum`.

    Example:
        >>> Minimum()([torch.tensor([[1.0, 5.0]]), torch.tensor([[3.0, 4.0]])])
        tensor([[1., 4.]])
    """

    _choose = torch.minimum


@layers.register()
class Concatenate(_Merge):
    """Puts the inputs one after another.

    Args:
        axis: the axis along which they are joined.

    Shape:
        A list of shapes that differ on `axis` only, to one whose size there is the sum.

    Raises:
        TypeError: when `axis` is no integer.
        ValueError: for what is no list of tensors, and for shapes that differ on
            another axis.

    Example:
        >>> Concatenate()([torch.ones(2, 3), torch.ones(2, 4)]).shape
        torch.Size([2, 7])
    """

    _makes_mask = False

    def __init__(self, axis: int = -1, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.axis = _integer("Concatenate", "axis", axis)

    def _merged_shape(self, shapes: Sequence[Shape]) -> Shape:
        axis, rank = self.axis, len(shapes[0])
        if not -rank <= axis < rank:
            raise self._mismatch(f"inputs that have an axis {axis}", shapes)
        expected = f"inputs of one shape, except for axis {axis}"
        if any(len(shape) != rank for shape in shapes):
            raise self._mismatch(expected, shapes)
        result: list[int | None] = []
        for place, sizes in enumerate(zip(*shapes, strict=True)):
            known = [size for size in sizes if size is not None]
            if place == axis % rank:
                result.append(sum(known) if len(known) == len(sizes) else None)
                continue
            if any(size != known[0] for size in known):
                raise self._mismatch(expected, shapes)
            result.append(known[0] if known else None)
        return tuple(result)

    def call(self, inputs: Sequence[Tensor]) -> Tensor:
        return torch.cat(tuple(inputs), self.axis)

    def _merged_mask(self, inputs: Sequence[Tensor], masks: Masks) -> Tensor | None:
        if all(mask is None for mask in masks):
            return None
        full = []
        for x, mask in zip(inputs, masks, strict=True):
            if mask is None:
                mask = x.new_ones((), dtype=torch.bool)
            else:
                mask = mask.reshape(*mask.shape, *[1] * (x.ndim - mask.ndim))
            full.append(mask.expand(x.shape))
        return torch.cat(full, self.axis).any(-1)


@layers.register()
class Dot(_Merge):
    """Products of two inputs, summed over an axis of each, for each sample.

    Args:
        axes: the axis of both inputs over which is summed, or a pair of axes, one of
            each; never the batch.
        normalize: whether vectors along these axes are scaled to length 1 first, which
            gives cosines.

    Shape:
        ``(batch, ...)`` and ``(batch, ...)`` to the batch, the other axes of the first
        input and those of the second; ``(batch, 1)`` where none are left.

    Raises:
        TypeError: when `axes` is neither an integer nor a pair.
        ValueError: for the batch axis, for what is no list of two tensors, and for
            sizes that differ.

    Example:
        >>> Dot(axes=1)([torch.ones(2, 3), torch.ones(2, 3)])
        tensor([[3.],
                [3.]])
        >>> Dot(axes=(2, 1))([torch.ones(2, 4, 3), torch.ones(2, 3, 5)]).shape
        torch.Size([2, 4, 5])
    """

    _makes_mask = False
    _count = 2

    axes: int | Sequence[int]
    normalize: bool
    #: The axis of each input.
    _pair: tuple[int, int]

    def __init__(
        self, axes: int | Sequence[int], normalize: bool = False, **kwargs: Any
    ) -> None:
        super().__init__(**kwargs)
        expected = "an axis other than 0, or a pair of such axes"
        message = invalid_argument("Dot", "axes", expected, axes)
        both: Any = axes
        pair = list(both) if isinstance(both, (list, tuple)) else [both, both]
        if any(isinstance(a, bool) or not hasattr(a, "__index__") for a in pair):
            raise TypeError(message)
        if len(pair) != 2 or 0 in pair:
            raise ValueError(message)
        self.axes = axes
        self.normalize = normalize
        self._pair = int(pair[0]), int(pair[1])

    def _merged_shape(self, shapes: Sequence[Shape]) -> Shape:
        axes: list[int] = []
        for axis, shape in zip(self._pair, shapes, strict=True):
            rank = len(shape)
            if rank < 2 or not -rank < axis < rank:
                raise self._mismatch(f"inputs with axes={self.axes}", shapes)
            axes.append(axis % rank)
        first, second = (list(shape) for shape in shapes)
        batch = _broadcast((first[0], second[0]))
        sizes = first.pop(axes[0]), second.pop(axes[1])
        if batch == _NONE_FITS:
            raise self._mismatch("one batch size", shapes)
        if None not in sizes and sizes[0] != sizes[1]:
            expected = f"equal sizes on the axes {tuple(axes)} to sum over"
            raise self._mismatch(expected, shapes)
        rest = [*first[1:], *second[1:]]
        return (batch, *(rest or [1]))

    def call(self, inputs: Sequence[Tensor]) -> Tensor:
        first, second = inputs
        one, other = (a % x.ndim for a, x in zip(self._pair, inputs, strict=True))
        if self.normalize:
            first = F.normalize(first, dim=one, eps=config.epsilon())
            second = F.normalize(second, dim=other, eps=config.epsilon())
        # The axes by number: 0 for the batch, those of the second input after those of
        # the first, and the same number for the two that are summed over.
        numbers = list(range(first.ndim))
        others = [0, *range(first.ndim, first.ndim + second.ndim - 1)]
        others[other] = one
        rest = [n for n in (*numbers, *others[1:]) if n != one]
        outputs = torch.einsum(first, numbers, second, others, rest)
        return outputs.unsqueeze(1) if outputs.ndim == 1 else outputs

    def compute_mask(self, inputs: Any, mask: Mask = None) -> None:  # pyright: ignore[reportIncompatibleMethodOverride]
        return None


def _integer(owner: str, argument: str, value: Any) -> int:
    if isinstance(value, bool) or not hasattr(value, "__index__"):
        raise TypeError(invalid_argument(owner, argument, "an integer", value))
    return int(value)


def add(inputs: Sequence[Any], **kwargs: Any) -> Tensor:
    """Return the sum of the inputs.

    The keyword arguments are those of the layer, `Add`.

    Example:
        >>> add([torch.ones(2), torch.ones(2)])
        tensor([2., 2.])
    """
    return Add(**kwargs)(inputs)


def subtract(inputs: Sequence[Any], **kwargs: Any) -> Tensor:
    """Return the first input minus the second.

    The keyword arguments are those of the layer, `Subtract`.

    Example:
        >>> subtract([torch.ones(2), torch.ones(2)])
        tensor([0., 0.])
    """
    return Subtract(**kwargs)(inputs)


def multiply(inputs: Sequence[Any], **kwargs: Any) -> Tensor:
    """Return the product of the inputs.

    The keyword arguments are those of the layer, `Multiply`.

    Example:
        >>> multiply([torch.ones(2), torch.ones(2)])
        tensor([1., 1.])
    """
    return Multiply(**kwargs)(inputs)


def average(inputs: Sequence[Any], **kwargs: Any) -> Tensor:
    """Return the mean of the inputs.

    The keyword arguments are those of the layer, `Average`.

    Example:
        >>> average([torch.zeros(2), torch.ones(2)])
        tensor([0.5000, 0.5000])
    """
    return Average(**kwargs)(inputs)


def maximum(inputs: Sequence[Any], **kwargs: Any) -> Tensor:
    """Return the largest of the inputs, element by element.

    The keyword arguments are those of the layer, `Maximum`.

    Example:
        >>> maximum([torch.zeros(2), torch.ones(2)])
        tensor([1., 1.])
    """
    return Maximum(**kwargs)(inputs)


def minimum(inputs: Sequence[Any], **kwargs: Any) -> Tensor:
    """Return the smallest of the inputs, element by element.

    The keyword arguments are those of the layer, `Minimum`.

    Example:
        >>> minimum([torch.zeros(2), torch.ones(2)])
        tensor([0., 0.])
    """
    return Minimum(**kwargs)(inputs)


def concatenate(inputs: Sequence[Any], axis: int = -1, **kwargs: Any) -> Tensor:
    """Return the inputs put one after another.

    Args:
        inputs: a list of tensors.
        axis: the axis along which they are joined.
        **kwargs: arguments of the layer, `Concatenate`.

    Example:
        >>> concatenate([torch.zeros(2), torch.ones(2)])
        tensor([0., 0., 1., 1.])
    """
    return Concatenate(axis=axis, **kwargs)(inputs)


def dot(inputs: Sequence[Any], axes: int | Sequence[int] = -1, **kwargs: Any) -> Tensor:
    """Return products of two inputs, summed over an axis of each, for each sample.

    Args:
        inputs: a list of two tensors.
        axes: the axis of both inputs over which is summed, or a pair of axes.
        **kwargs: arguments of the layer, `Dot`.

    Example:
        >>> dot([torch.ones(2, 3), torch.ones(2, 3)])
        tensor([[3.],
                [3.]])
    """
    return Dot(axes=axes, **kwargs)(inputs)
