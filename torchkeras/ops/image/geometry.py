"""Images moved by affine, perspective and elastic maps."""

from __future__ import annotations

import functools
import itertools
from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor

from torchkeras._core.errors import invalid_argument, number_in, one_of
from torchkeras._core.operation import Array, operation
from torchkeras.ops.image._layout import as_planes, cast_back, working_dtype
from torchkeras.ops.image.color import blur
from torchkeras.random import Seed, draw

__all__ = [
    "affine_transform",
    "elastic_transform",
    "map_coordinates",
    "perspective_transform",
]

_ORDERS = {"nearest": 0, "bilinear": 1}


# Values between pixels


def _inside(index: Tensor, size: int) -> Tensor:
    return index.clamp(0, size - 1)


def _wrapped(index: Tensor, size: int) -> Tensor:
    return index.remainder(size)


def _mirrored(index: Tensor, size: int) -> Tensor:
    """Turn back at the center of the last pixel, which appears once."""
    period = max(2 * (size - 1), 1)
    index = index.remainder(period)
    return torch.minimum(index, period - index).clamp(max=size - 1)


def _reflected(index: Tensor, size: int) -> Tensor:
    """Turn back at the edge of the last pixel, which appears twice."""
    index = index.remainder(2 * size)
    return torch.minimum(index, 2 * size - 1 - index)


#: Which pixel stands at an index beyond the border.
_FILLED: dict[str, Callable[[Tensor, int], Tensor]] = {
    "constant": _inside,
    "mirror": _mirrored,
    "nearest": _inside,
    "reflect": _reflected,
    "wrap": _wrapped,
}

#: Along one axis: the pixel, whether it is within the image, its weight or None for 1.
_Tap = tuple[Tensor, Tensor, Tensor | None]


def _taps(at: Tensor, size: int, order: int, fill_mode: str) -> list[_Tap]:
    """Return the pixels along one axis that values at coordinates are made of."""
    if fill_mode == "constant":
        # Farther out nothing changes, and infinity has no neighbors.
        at = at.clamp(-2, size + 1)
    elif fill_mode == "nearest":
        at = at.clamp(0, size - 1)
    fill = _FILLED[fill_mode]

    def tap(index: Tensor, weight: Tensor | None) -> _Tap:
        return fill(index, size), (index >= 0) & (index < size), weight

    if order == 0:
        return [tap(at.detach().round().long(), None)]
    floor = at.detach().floor()
    above, index = at - floor, floor.long()
    return [tap(index, 1 - above), tap(index + 1, above)]


def _interpolate(
    values: Tensor,
    coordinates: Sequence[Tensor],
    order: int,
    fill_mode: str,
    fill_value: float,
) -> Tensor:
    """Return values at coordinates, as ``(batch, channels, points)``.

    The values are ``(batch, channels, *sizes)``, the coordinates one ``(batch,
    points)`` for each axis of `sizes`; a batch of 1 serves all.
    """
    batch, channels, *sizes = values.shape
    whole = not (values.is_floating_point() or values.is_complex())
    fill = int(fill_value) if whole else fill_value
    flat = values.flatten(2)
    if order == 1 and (whole or flat.element_size() < 4):
        flat = flat.to(torch.float32)
    axes = [
        _taps(at, size, order, fill_mode)
        for at, size in zip(coordinates, sizes, strict=True)
    ]
    total: Any = 0
    for corner in itertools.product(*axes):
        indices, within, weights = zip(*corner, strict=True)
        place = functools.reduce(
            lambda flat, axis: flat * axis[1] + axis[0],
            zip(indices[1:], sizes[1:], strict=True),
            indices[0],
        ).unsqueeze(1)
        part = flat.gather(2, place.expand(batch, channels, -1))
        if fill_mode == "constant":
            valid = functools.reduce(torch.logical_and, within).unsqueeze(1)
            part = torch.where(valid, part, fill)
        if order == 1:
            part = part * functools.reduce(torch.mul, weights).unsqueeze(1)
        total = total + part
    return cast_back(total, values.dtype)


def _real_coordinates(coordinates: Tensor) -> Tensor:
    """Return coordinates in a dtype that holds fractions of them."""
    return coordinates.to(working_dtype(coordinates.dtype))


@operation("image")
def map_coordinates(
    inputs: Array,
    coordinates: Array,
    order: int,
    fill_mode: str = "constant",
    fill_value: float = 0,
) -> Tensor:
    """Return an array's values at coordinates, which may lie between its elements.

    Args:
        inputs: the array.
        coordinates: where to look, in elements: along its first axis, one entry for
            each axis of `inputs`.
        order: 0 for the nearest element, 1 for linear interpolation.
        fill_mode: what is beyond the border of ``a b c d``: ``"constant"``
            (`fill_value`), ``"nearest"`` (``a a | d d``), ``"wrap"`` (``c d | a b``),
            ``"mirror"`` (``c b | c b``) or ``"reflect"`` (``b a | d c``).
        fill_value: the constant.

    Shape:
        ``(axes, *points)`` of coordinates to ``points``.

    Raises:
        ValueError: for coordinates that do not fit, or another `fill_mode`.
        NotImplementedError: for another `order`.

    Example:
        >>> map_coordinates([0.0, 10.0, 20.0], [[0.5, 1.75, 9.0]], order=1)
        tensor([ 5.0000, 17.5000,  0.0000])
    """
    owner = "map_coordinates"
    one_of(owner, "fill_mode", fill_mode, sorted(_FILLED))
    if order not in (0, 1):
        raise NotImplementedError(
            f"{owner}: `order` must be 0 (nearest) or 1 (linear), got {order!r}. For "
            "splines of higher order use scipy.ndimage.map_coordinates."
        )
    if coordinates.ndim < 2 or len(coordinates) != inputs.ndim or inputs.ndim == 0:
        expected = f"of shape ({inputs.ndim}, *points), the axes of `inputs` first"
        raise ValueError(invalid_argument(owner, "coordinates", expected, coordinates))
    points = coordinates.shape[1:]
    at = _real_coordinates(coordinates).reshape(inputs.ndim, 1, points.numel())
    values = inputs[None, None]
    found = _interpolate(values, at.unbind(0), order, fill_mode, fill_value)
    return found.reshape(points)


# Maps of images


def _grid(planes: Tensor, dtype: torch.dtype) -> tuple[Tensor, Tensor]:
    """Return the rows and columns of all pixels, as (1, points) each."""
    height, width = planes.shape[2:]
    row = torch.arange(height, dtype=dtype, device=planes.device)
    column = torch.arange(width, dtype=dtype, device=planes.device)
    rows, columns = torch.meshgrid(row, column, indexing="ij")
    return rows.reshape(1, -1), columns.reshape(1, -1)


def _projected(planes: Tensor, transform: Tensor) -> tuple[Tensor, Tensor]:
    """Return where the pixels of a projective map come from: rows, columns."""
    rows, columns = _grid(planes, transform.dtype)
    a0, a1, a2, b0, b1, b2, c0, c1 = transform.unsqueeze(-1).unbind(1)
    scale = c0 * columns + c1 * rows + 1
    return (
        (b0 * columns + b1 * rows + b2) / scale,
        (a0 * columns + a1 * rows + a2) / scale,
    )


def _check_batch(owner: str, argument: str, value: Tensor, planes: Tensor) -> None:
    if len(value) not in (1, len(planes)):
        expected = f"one, or one for each of the {len(planes)} images"
        raise ValueError(invalid_argument(owner, argument, expected, value))


@operation("image")
def affine_transform(
    images: Array,
    transform: Array,
    interpolation: str = "bilinear",
    fill_mode: str = "constant",
    fill_value: float = 0,
    data_format: str | None = None,
) -> Tensor:
    """Return images moved by maps of their coordinates.

    The pixel at column ``x`` and row ``y`` comes from ``((a0 x + a1 y + a2) / k, (b0 x
    + b1 y + b2) / k)``, where ``k = c0 x + c1 y + 1``.

    Args:
        images: an image or a batch of images.
        transform: the numbers ``a0, a1, a2, b0, b1, b2, c0, c1``, or a row of them for
            each image; one row serves all.
        interpolation: ``"bilinear"`` or ``"nearest"``.
        fill_mode: what is beyond the border of ``a b c d``: ``"constant"``
            (`fill_value`), ``"nearest"`` (``a a | d d``), ``"wrap"`` (``c d | a b``),
            ``"mirror"`` (``c b | c b``) or ``"reflect"`` (``b a | d c``).
        fill_value: the constant.
        data_format: ``"channels_last"`` or ``"channels_first"``;
            `image_data_format` by default.

    Shape:
        ``([batch,] height, width, channels)`` to the same.

    Raises:
        ValueError: for another number of axes, of rows or of numbers.

    Example:
        >>> image = torch.arange(4.0).reshape(1, 4, 1)
        >>> affine_transform(image, [1.0, 0.0, 1.0, 0.0, 1.0, 0.0, 0.0, 0.0])[0, :, 0]
        tensor([1., 2., 3., 0.])
    """
    owner = "affine_transform"
    order = _order(owner, interpolation, fill_mode)
    planes, restore = as_planes(owner, images, data_format)
    if transform.ndim not in (1, 2) or transform.shape[-1] != 8:
        expected = "of shape (8,) or (batch, 8)"
        raise ValueError(invalid_argument(owner, "transform", expected, transform))
    transform = _real_coordinates(transform.reshape(-1, 8))
    _check_batch(owner, "transform", transform, planes)
    at = _projected(planes, transform)
    moved = _interpolate(planes, at, order, fill_mode, fill_value)
    return restore(moved.reshape(planes.shape))


def _order(owner: str, interpolation: str, fill_mode: str) -> int:
    one_of(owner, "fill_mode", fill_mode, sorted(_FILLED))
    return _ORDERS[one_of(owner, "interpolation", interpolation, list(_ORDERS))]


@operation("image")
def perspective_transform(
    images: Array,
    start_points: Array,
    end_points: Array,
    interpolation: str = "bilinear",
    fill_value: float = 0,
    data_format: str | None = None,
) -> Tensor:
    """Return images seen so that four points come to lie on four others.

    Args:
        images: an image or a batch of images.
        start_points: the column and row of each of the four points.
        end_points: those where they end.
        interpolation: ``"bilinear"`` or ``"nearest"``.
        fill_value: the value of what comes from beyond the border.
        data_format: ``"channels_last"`` or ``"channels_first"``;
            `image_data_format` by default.

    Shape:
        ``([batch,] height, width, channels)`` to the same; the points are ``(4, 2)``,
        or ``(batch, 4, 2)``.

    Raises:
        ValueError: for another number of axes or of points.
        RuntimeError: when three of the points are on one line.

    Example:
        >>> image = torch.arange(4.0).reshape(2, 2, 1)
        >>> corners = torch.tensor([[0.0, 0.0], [1.0, 0.0], [0.0, 1.0], [1.0, 1.0]])
        >>> perspective_transform(image, corners, corners.flip(0))[..., 0].round()
        tensor([[3., 2.],
                [1., 0.]])
    """
    owner = "perspective_transform"
    order = _order(owner, interpolation, "constant")
    planes, restore = as_planes(owner, images, data_format)
    given = {"start_points": start_points, "end_points": end_points}
    for name, points in given.items():
        if points.ndim not in (2, 3) or points.shape[-2:] != (4, 2):
            expected = "of shape (4, 2) or (batch, 4, 2)"
            raise ValueError(invalid_argument(owner, name, expected, points))
        _check_batch(owner, name, points.reshape(-1, 4, 2), planes)
    transform = homography(*(p.reshape(-1, 4, 2) for p in given.values()))
    at = _projected(planes, transform)
    moved = _interpolate(planes, at, order, "constant", fill_value)
    return restore(moved.reshape(planes.shape))


def homography(start: Tensor, end: Tensor) -> Tensor:
    """Return the eight numbers of the map that gives the start of each end."""
    dtype = working_dtype(torch.promote_types(start.dtype, end.dtype))
    start, end = torch.broadcast_tensors(start.to(dtype), end.to(dtype))
    from_end = torch.cat([end, torch.ones_like(end[..., :1])], dim=-1)
    none = torch.zeros_like(from_end)
    x, y = start[..., :1], start[..., 1:]
    matrix = torch.cat(
        [
            torch.cat([from_end, none, -x * end], dim=-1),
            torch.cat([none, from_end, -y * end], dim=-1),
        ],
        dim=1,
    )
    return torch.linalg.solve(matrix, torch.cat([x, y], dim=1)).squeeze(-1)


@operation("image")
def elastic_transform(
    images: Array,
    alpha: float = 20.0,
    sigma: float = 5.0,
    interpolation: str = "bilinear",
    fill_mode: str = "reflect",
    fill_value: float = 0.0,
    seed: Seed = None,
    data_format: str | None = None,
) -> Tensor:
    """Return images whose pixels are moved about at random, neighbors together.

    Args:
        images: an image or a batch of images; each moves in its own way.
        alpha: how far the pixels move.
        sigma: the standard deviation of the Gaussian that joins neighbors.
        interpolation: ``"bilinear"`` or ``"nearest"``.
        fill_mode: what is beyond the border of ``a b c d``: ``"constant"``
            (`fill_value`), ``"nearest"`` (``a a | d d``), ``"wrap"`` (``c d | a b``),
            ``"mirror"`` (``c b | c b``) or ``"reflect"`` (``b a | d c``).
        fill_value: the constant.
        seed: an integer, a `SeedGenerator` or None.
        data_format: ``"channels_last"`` or ``"channels_first"``;
            `image_data_format` by default.

    Shape:
        ``([batch,] height, width, channels)`` to the same.

    Raises:
        ValueError: for another number of axes, or a `sigma` that is not positive.

    Example:
        >>> images = torch.ones(2, 8, 8, 3)
        >>> bool(elastic_transform(images, seed=0).isclose(images).all())
        True
    """
    owner = "elastic_transform"
    order = _order(owner, interpolation, fill_mode)
    planes, restore = as_planes(owner, images, data_format)
    alpha = number_in(owner, "alpha", alpha)
    if number_in(owner, "sigma", sigma, 0.0) == 0:
        raise ValueError(invalid_argument(owner, "sigma", "a positive number", sigma))
    batch, _, height, width = planes.shape
    size = int(6 * sigma) | 1
    dtype = working_dtype(images.dtype)
    shape = (batch, 2, height, width)
    noise = draw(shape, dtype, seed, Tensor.normal_, 0.0, sigma, device=images.device)
    shift = alpha * blur(noise, (size, size), (sigma, sigma)).flatten(2)
    at = [axis + shift[:, i] for i, axis in enumerate(_grid(planes, dtype))]
    moved = _interpolate(planes, at, order, fill_mode, fill_value)
    return restore(moved.reshape(planes.shape))
