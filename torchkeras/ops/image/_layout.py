"""Images as a batch of planes, whatever their layout, and back."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor

from torchkeras._core.config import standardize_data_format
from torchkeras._core.errors import invalid_argument, positive_integer


def as_planes(
    owner: str, images: Tensor, data_format: str | None, argument: str = "images"
) -> tuple[Tensor, Callable[[Tensor], Tensor]]:
    """Return a view ``(batch, channels, height, width)``, and what undoes it.

    Raises:
        ValueError: when `images` is neither one image nor a batch of them.
    """
    last = standardize_data_format(owner, data_format) == "channels_last"
    check_rank(owner, images, argument)
    single = images.ndim == 3
    planes = images.unsqueeze(0) if single else images
    planes = planes.movedim(-1, 1) if last else planes

    def restore(planes: Tensor) -> Tensor:
        images = planes.movedim(1, -1) if last else planes
        return images.squeeze(0) if single else images

    return planes, restore


def check_rank(owner: str, images: Any, argument: str = "images") -> None:
    """Refuse what is neither an image nor a batch of images.

    Raises:
        ValueError: when there are not three or four axes.
    """
    if images.ndim not in (3, 4):
        expected = "an image, of 3 axes, or a batch of images, of 4"
        raise ValueError(invalid_argument(owner, argument, expected, images))


def spatial_axes(owner: str, data_format: str | None) -> tuple[int, int]:
    """Return the axes of height and width, counted from the end."""
    last = standardize_data_format(owner, data_format) == "channels_last"
    return (-3, -2) if last else (-2, -1)


def sizes_of(owner: str, argument: str, value: Any, count: int = 2) -> tuple[int, ...]:
    """Return a positive integer, or a sequence of them, as a tuple of `count`.

    Raises:
        ValueError: for another number of them, or one that is not positive.
        TypeError: for one that is not an integer.
    """
    if not isinstance(value, Sequence):
        value = (value,) * count
    if len(value) != count or isinstance(value, str):
        expected = f"a sequence of {count} integers"
        raise ValueError(invalid_argument(owner, argument, expected, value))
    return tuple(positive_integer(owner, argument, size) for size in value)


def working_dtype(dtype: torch.dtype) -> torch.dtype:
    """Return the dtype to compute in: float64 for itself, float32 for all others."""
    return dtype if dtype == torch.float64 else torch.float32


def cast_back(values: Tensor, dtype: torch.dtype) -> Tensor:
    """Return computed values in the dtype of the images, rounded for integers."""
    whole = not (dtype.is_floating_point or dtype.is_complex)
    if whole and values.is_floating_point():
        values = values.round()
    return values.to(dtype)
