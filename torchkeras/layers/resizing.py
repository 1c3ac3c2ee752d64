"""Layers that change the size of spatial axes: cropping, zero padding, upsampling."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, ClassVar

import torch
import torch.nn.functional as F
from torch import Tensor

from torchkeras._core.config import standardize_data_format
from torchkeras._core.dtypes import to_torch_dtype
from torchkeras._core.errors import invalid_argument, one_of, positive_integer
from torchkeras._core.input_spec import InputSpec
from torchkeras._core.symbolic import KerasTensor
from torchkeras._core.windows import standardize_sizes
from torchkeras.layers.layer import Layer, layers
from torchkeras.layers.shapes import Sizes

Pair = tuple[int, int]
Pairs = tuple[Pair, ...]


def _standardize_pairs(owner: str, argument: str, value: Any, rank: int) -> Pairs:
    """Return a number, numbers or pairs of them as a pair for each spatial axis.

    Raises:
        TypeError: when one of them is not an integer.
        ValueError: when one of them is negative, or their number does not fit.
    """
    expected = "a non-negative integer or a pair of them"
    if rank > 1:
        expected = f"a non-negative integer, or a tuple of {rank} of them or of pairs"
    message = invalid_argument(owner, argument, expected, value)
    ends = list(value) if isinstance(value, (list, tuple)) else [value] * rank
    if rank == 1 and isinstance(value, (list, tuple)):
        ends = [value]
    pairs = [tuple(e) if isinstance(e, (list, tuple)) else (e, e) for e in ends]
    if len(pairs) != rank or any(len(pair) != 2 for pair in pairs):
        raise ValueError(message)
    numbers = [number for pair in pairs for number in pair]
    if any(isinstance(n, bool) or not hasattr(n, "__index__") for n in numbers):
        raise TypeError(message)
    if any(n < 0 for n in numbers):
        raise ValueError(message)
    return tuple((int(before), int(after)) for before, after in pairs)


class _Spatial(Layer):
    """The base of layers for ``(batch, *spatial, channels)`` or channels first."""

    rank: ClassVar[int]

    data_format: str
    #: The first spatial axis.
    _first: int

    def _set_layout(self, data_format: str | None) -> None:
        self.data_format = standardize_data_format(type(self).__name__, data_format)
        self.input_spec = InputSpec(ndim=self.rank + 2)
        self._first = 1 if self.data_format == "channels_last" else 2


class _Cropping(_Spatial):
    """The base of the croppings."""

    _pairs: Pairs
    #: What is kept of each axis.
    _window: tuple[slice, ...]

    def _set_cropping(self, pairs: Pairs, data_format: str | None) -> None:
        self._set_layout(data_format)
        self._pairs = pairs
        skipped = [slice(None)] * self._first
        kept = [slice(before, -after or None) for before, after in pairs]
        self._window = (*skipped, *kept)

    def _check_inputs(self, args: tuple[Any, ...]) -> None:
        super()._check_inputs(args)
        if args:
            self._check_sizes(tuple(getattr(args[0], "shape", ())))

    def _check_sizes(self, shape: tuple[int | None, ...]) -> None:
        """Refuse inputs of which nothing would be left."""
        pairs = zip(shape[self._first :], self._pairs, strict=False)
        if any(size is not None and size <= sum(pair) for size, pair in pairs):
            raise ValueError(
                f"Layer '{self.name}' ({type(self).__name__}): expected spatial axes "
                f"larger than what cropping={self._pairs} takes away, got an input of "
                f"shape {shape} in {self.data_format} order."
            )

    def compute_output_spec(self, *args: Any, **kwargs: Any) -> Any:
        # A size that stands for an unknown one might be too small to be cropped.
        shape, sample = list(args[0].shape), [1] * len(args[0].shape)
        for axis, pair in enumerate(self._pairs, self._first):
            sample[axis] += sum(pair)
            shape[axis] = None if shape[axis] is None else shape[axis] - sum(pair)
        dtype = to_torch_dtype(args[0].dtype)
        outputs = self(torch.empty(sample, dtype=dtype, device="meta"))
        return KerasTensor(shape, outputs.dtype)

    def call(self, inputs: Tensor) -> Tensor:
        self._check_sizes(tuple(inputs.shape))
        return inputs[self._window]


@layers.register()
class Cropping1D(_Cropping):
    """Cuts steps off both ends of sequences.

    Args:
        cropping: how many steps at each end, or a pair: at the beginning and the end.

    Shape:
        ``(batch, steps, features)`` to fewer steps.

    Raises:
        ValueError: for a negative number, and when nothing would be left.

    Example:
        >>> Cropping1D((1, 2))(torch.ones(2, 8, 3)).shape
        torch.Size([2, 5, 3])
    """

    rank = 1

    def __init__(self, cropping: int | Sequence[int] = (1, 1), **kwargs: Any) -> None:
        super().__init__(**kwargs)
        pairs = _standardize_pairs("Cropping1D", "cropping", cropping, 1)
        self._set_cropping(pairs, "channels_last")
        self.cropping = pairs[0]


@layers.register()
class Cropping2D(_Cropping):
    """Cuts rows and columns off the edges of images.

    Args:
        cropping: how many at each edge; a pair: of rows and of columns; or a pair of
            pairs: ``((top, bottom), (left, right))``.
        data_format: ``"channels_last"`` or ``"channels_first"``; the global setting by
            default.

    Shape:
        ``(batch, height, width, channels)`` to a smaller height and width.

    Raises:
        ValueError: for a negative number, and when nothing would be left.

    Example:
        >>> Cropping2D(((1, 2), (0, 1)))(torch.ones(2, 8, 8, 3)).shape
        torch.Size([2, 5, 7, 3])
    """

    rank = 2

    def __init__(
        self,
        cropping: int | Sequence[Any] = ((0, 0), (0, 0)),
        data_format: str | None = None,
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        pairs = _standardize_pairs("Cropping2D", "cropping", cropping, 2)
        self._set_cropping(pairs, data_format)
        self.cropping = pairs


@layers.register()
class Cropping3D(_Cropping):
    """Cuts planes off the faces of volumes; see `Cropping2D`.

    Example:
        >>> Cropping3D(1)(torch.ones(2, 6, 6, 6, 3)).shape
        torch.Size([2, 4, 4, 4, 3])
    """

    rank = 3

    def __init__(
        self,
        cropping: int | Sequence[Any] = ((1, 1), (1, 1), (1, 1)),
        data_format: str | None = None,
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        pairs = _standardize_pairs("Cropping3D", "cropping", cropping, 3)
        self._set_cropping(pairs, data_format)
        self.cropping = pairs


class _ZeroPadding(_Spatial):
    """The base of the zero paddings."""

    #: As `F.pad` takes them, and how many there are along each axis.
    _pads: list[int]
    _more: list[int]

    def _set_padding(self, pairs: Pairs, data_format: str | None) -> None:
        self._set_layout(data_format)
        # `F.pad` counts axes from the last.
        last = [(0, 0)] if self._first == 1 else []
        self._pads = [n for pair in (*last, *reversed(pairs)) for n in pair]
        self._more = [sum(pair) for pair in pairs]

    def _output_sizes(self, sizes: Sizes) -> Sizes:
        made = list(sizes)
        for axis, more in enumerate(self._more, self._first):
            made[axis] += more
        return tuple(made)

    def call(self, inputs: Tensor) -> Tensor:
        return F.pad(inputs, self._pads)


@layers.register()
class ZeroPadding1D(_ZeroPadding):
    """Puts zeros before and after sequences.

    Args:
        padding: how many steps at each end, or a pair: at the beginning and the end.
        data_format: ``"channels_last"`` or ``"channels_first"``; the global setting by
            default.

    Shape:
        ``(batch, steps, features)`` to more steps.

    Raises:
        ValueError: for a negative number.

    Example:
        >>> ZeroPadding1D((1, 0))(torch.ones(1, 2, 1)).flatten()
        tensor([0., 1., 1.])
    """

    rank = 1

    def __init__(
        self,
        padding: int | Sequence[int] = 1,
        data_format: str | None = None,
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        pairs = _standardize_pairs("ZeroPadding1D", "padding", padding, 1)
        self._set_padding(pairs, data_format)
        self.padding = pairs[0]


@layers.register()
class ZeroPadding2D(_ZeroPadding):
    """Puts zeros around images.

    Args:
        padding: how many at each edge; a pair: of rows and of columns; or a pair of
            pairs: ``((top, bottom), (left, right))``.
        data_format: ``"channels_last"`` or ``"channels_first"``; the global setting by
            default.

    Shape:
        ``(batch, height, width, channels)`` to a larger height and width.

    Raises:
        ValueError: for a negative number.

    Example:
        >>> ZeroPadding2D((1, 2))(torch.ones(2, 8, 8, 3)).shape
        torch.Size([2, 10, 12, 3])
    """

    rank = 2

    def __init__(
        self,
        padding: int | Sequence[Any] = (1, 1),
        data_format: str | None = None,
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        self.padding = _standardize_pairs("ZeroPadding2D", "padding", padding, 2)
        self._set_padding(self.padding, data_format)


@layers.register()
class ZeroPadding3D(_ZeroPadding):
    """Puts zeros around volumes; see `ZeroPadding2D`.

    Example:
        >>> ZeroPadding3D(1)(torch.ones(2, 6, 6, 6, 3)).shape
        torch.Size([2, 8, 8, 8, 3])
    """

    rank = 3

    def __init__(
        self,
        padding: int | Sequence[Any] = ((1, 1), (1, 1), (1, 1)),
        data_format: str | None = None,
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        self.padding = _standardize_pairs("ZeroPadding3D", "padding", padding, 3)
        self._set_padding(self.padding, data_format)


class _UpSampling(_Spatial):
    """The base of the upsamplings, which repeat values along the spatial axes."""

    _repeats: tuple[int, ...]

    def _repeated_sizes(self, sizes: Sizes) -> Sizes:
        made = list(sizes)
        for axis, repeats in enumerate(self._repeats, self._first):
            made[axis] *= repeats
        return tuple(made)

    _output_sizes = _repeated_sizes

    def call(self, inputs: Tensor) -> Tensor:
        # A new axis after each spatial one, all expanded and copied at once.
        view, sizes = inputs, list(inputs.shape)
        for place, repeats in enumerate(self._repeats):
            view = view.unsqueeze(self._first + 2 * place + 1)
            sizes[self._first + place] *= repeats
        expanded = [-1] * view.ndim
        expanded[self._first + 1 : self._first + 2 * self.rank : 2] = self._repeats
        return view.expand(expanded).reshape(sizes)


@layers.register()
class UpSampling1D(_UpSampling):
    """Repeats each step of sequences.

    Args:
        size: how many times.

    Shape:
        ``(batch, steps, features)`` to ``(batch, size * steps, features)``.

    Raises:
        TypeError: when `size` is no integer.
        ValueError: when it is not positive.

    Example:
        >>> UpSampling1D(2)(torch.tensor([[[1.0], [2.0]]])).flatten()
        tensor([1., 1., 2., 2.])
    """

    rank = 1

    def __init__(self, size: int = 2, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.size = positive_integer("UpSampling1D", "size", size)
        self._set_layout("channels_last")
        self._repeats = (self.size,)


_INTERPOLATIONS = ("nearest", "bilinear", "bicubic")


@layers.register()
class UpSampling2D(_UpSampling):
    """Enlarges images by whole factors.

    Args:
        size: the factor, or a pair: of the height and of the width.
        data_format: ``"channels_last"`` or ``"channels_first"``; the global setting by
            default.
        interpolation: ``"nearest"``, which repeats rows and columns, ``"bilinear"`` or
            ``"bicubic"``.

    Shape:
        ``(batch, height, width, channels)`` to a larger height and width.

    Raises:
        ValueError: when a factor is not positive, or for an unknown interpolation.
        NotImplementedError: for a Lanczos interpolation, which torch has not.

    Example:
        >>> UpSampling2D((2, 3))(torch.ones(2, 4, 4, 3)).shape
        torch.Size([2, 8, 12, 3])
    """

    rank = 2

    def __init__(
        self,
        size: int | Sequence[int] = (2, 2),
        data_format: str | None = None,
        interpolation: str = "nearest",
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        owner = "UpSampling2D"
        self.size = standardize_sizes(owner, "size", size, 2)
        self._set_layout(data_format)
        self._repeats = self.size
        interpolation = str(interpolation).lower()
        if interpolation in ("lanczos3", "lanczos5"):
            raise NotImplementedError(
                f"{owner}: interpolation={interpolation!r} is not supported, as torch "
                "has no such kernel. Take 'bicubic'."
            )
        self.interpolation = one_of(
            owner, "interpolation", interpolation, _INTERPOLATIONS
        )

    _output_sizes = _UpSampling._repeated_sizes

    def call(self, inputs: Tensor) -> Tensor:
        if self.interpolation == "nearest":
            return super().call(inputs)
        last = self._first == 1
        images = inputs.permute(0, 3, 1, 2) if last else inputs
        sizes = [n * k for n, k in zip(images.shape[2:], self.size, strict=True)]
        images = F.interpolate(images, sizes, mode=self.interpolation)
        return images.permute(0, 2, 3, 1) if last else images


@layers.register()
class UpSampling3D(_UpSampling):
    """Repeats values along the three spatial axes of volumes.

    Args:
        size: how many times, or a tuple of three numbers.
        data_format: ``"channels_last"`` or ``"channels_first"``; the global setting by
            default.

    Shape:
        ``(batch, depth, height, width, channels)`` to larger spatial axes.

    Raises:
        ValueError: when a number is not positive.

    Example:
        >>> UpSampling3D(2)(torch.ones(2, 3, 3, 3, 1)).shape
        torch.Size([2, 6, 6, 6, 1])
    """

    rank = 3

    def __init__(
        self,
        size: int | Sequence[int] = (2, 2, 2),
        data_format: str | None = None,
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        self.size = standardize_sizes("UpSampling3D", "size", size, 3)
        self._set_layout(data_format)
        self._repeats = self.size
