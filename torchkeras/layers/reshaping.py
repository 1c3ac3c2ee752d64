"""Layers that move values about: `Flatten`, `Reshape`, `Permute`, `RepeatVector`."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

from torchkeras._core.config import standardize_data_format
from torchkeras._core.errors import invalid_argument, positive_integer
from torchkeras._core.input_spec import InputSpec
from torchkeras.layers.layer import Layer, layers
from torchkeras.layers.shapes import Sizes


@layers.register()
class Flatten(Layer):
    """Makes one axis of all axes but the batch.

    Args:
        data_format: with ``"channels_first"`` the channels are moved to the end first,
            so that the order of the outputs is that of channels-last inputs.

    Shape:
        ``(batch, ...)`` to ``(batch, size)``.

    Example:
        >>> Flatten()(torch.ones(2, 3, 4)).shape
        torch.Size([2, 12])
    """

    data_format: str
    _channels_first: bool

    def __init__(self, data_format: str | None = None, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.data_format = standardize_data_format("Flatten", data_format)
        self.input_spec = InputSpec(min_ndim=1)
        self._channels_first = self.data_format == "channels_first"

    def _output_sizes(self, sizes: Sizes) -> Sizes:
        return (sizes[0], math.prod(sizes[1:]))

    def call(self, inputs: Tensor) -> Tensor:
        if inputs.ndim < 2:
            return inputs.unsqueeze(1)
        if self._channels_first:
            inputs = inputs.movedim(1, -1)
        return torch.flatten(inputs, 1)


@layers.register()
class Reshape(Layer):
    """Gives the axes after the batch other sizes.

    Args:
        target_shape: the new sizes; -1, at most once, for the one that follows from the
            others.

    Shape:
        ``(batch, ...)`` to ``(batch, *target_shape)``.

    Raises:
        ValueError: for an illegal shape, or one that does not fit the inputs.

    Example:
        >>> Reshape((3, -1))(torch.ones(2, 12)).shape
        torch.Size([2, 3, 4])
    """

    target_shape: tuple[int, ...]
    #: The product of the sizes given, and whether one is left to infer.
    _known: int
    _infers: bool

    def __init__(self, target_shape: Sequence[int], **kwargs: Any) -> None:
        super().__init__(**kwargs)
        sizes = tuple(target_shape)
        legal = all(hasattr(s, "__index__") and (s == -1 or s > 0) for s in sizes)
        if not legal or sizes.count(-1) > 1:
            expected = "a tuple of positive integers with at most one -1"
            raise ValueError(
                invalid_argument("Reshape", "target_shape", expected, target_shape)
            )
        self.target_shape = sizes
        self._known = math.prod(s for s in sizes if s != -1)
        self._infers = -1 in sizes

    def _check_inputs(self, args: tuple[Any, ...]) -> None:
        super()._check_inputs(args)
        sizes: tuple[Any, ...] = tuple(getattr(args[0], "shape", ()))[1:]
        if None in sizes:
            return
        count = math.prod(sizes)
        if count % self._known or not (self._infers or count == self._known):
            raise ValueError(
                f"Layer '{self.name}' (Reshape): expected an input that can take "
                f"target_shape={self.target_shape}, got an input of shape "
                f"{tuple(args[0].shape)} with {count} values per sample."
            )

    def _output_sizes(self, sizes: Sizes) -> Sizes | None:
        made = self._sizes_for(sizes)
        return made if math.prod(made) == math.prod(sizes) else None

    def _sizes_for(self, sizes: Sizes) -> Sizes:
        if not self._infers:
            return (sizes[0], *self.target_shape)
        free = math.prod(sizes[1:]) // self._known
        return (sizes[0], *(free if n == -1 else n for n in self.target_shape))

    def call(self, inputs: Tensor) -> Tensor:
        return inputs.reshape(self._sizes_for(inputs.shape))


@layers.register()
class Permute(Layer):
    """Puts the axes after the batch in another order.

    Args:
        dims: the order, counted from 1.

    Shape:
        ``(batch, ...)`` to the same sizes in that order.

    Raises:
        ValueError: when `dims` is not a permutation of 1, 2, ...

    Example:
        >>> Permute((2, 1))(torch.ones(2, 3, 4)).shape
        torch.Size([2, 4, 3])
    """

    dims: tuple[int, ...]

    def __init__(self, dims: Sequence[int], **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.dims = tuple(dims)
        if sorted(self.dims) != list(range(1, len(self.dims) + 1)):
            expected = "a permutation of 1, 2, ..."
            raise ValueError(invalid_argument("Permute", "dims", expected, dims))
        self.input_spec = InputSpec(ndim=len(self.dims) + 1)

    def _output_sizes(self, sizes: Sizes) -> Sizes:
        return (sizes[0], *(sizes[axis] for axis in self.dims))

    def call(self, inputs: Tensor) -> Tensor:
        return inputs.permute(0, *self.dims)


@layers.register()
class RepeatVector(Layer):
    """Repeats each vector, to make a sequence of it.

    Args:
        n: the number of times.

    Shape:
        ``(batch, features)`` to ``(batch, n, features)``.

    Raises:
        ValueError: when `n` is not positive.

    Example:
        >>> RepeatVector(3)(torch.ones(2, 4)).shape
        torch.Size([2, 3, 4])
    """

    def __init__(self, n: int, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.n = positive_integer("RepeatVector", "n", n)
        self.input_spec = InputSpec(ndim=2)

    def _output_sizes(self, sizes: Sizes) -> Sizes:
        return (sizes[0], self.n, sizes[1])

    def call(self, inputs: Tensor) -> Tensor:
        return inputs.unsqueeze(1).repeat(1, self.n, 1)
