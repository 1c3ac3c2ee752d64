"""Bounding boxes: formats, clipping, maps, overlap, and distances from anchors."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from typing import Any

import torch
from torch import Tensor

from torchkeras._core.config import epsilon
from torchkeras._core.convert import as_tensor
from torchkeras._core.dtypes import to_torch_dtype
from torchkeras._core.errors import describe, invalid_argument, one_of
from torchkeras._core.typing import DType

#: The size of an image, or of each of a batch.
Size = Any

_RELATIVE = "rel_"


def _flipped(boxes: Tensor) -> Tensor:
    """Swap the coordinates of both points."""
    return boxes[..., [1, 0, 3, 2]]


def _from_corner(boxes: Tensor) -> Tensor:
    corner, extent = boxes.split(2, -1)
    return torch.cat([corner, corner + extent], -1)


def _to_corner(boxes: Tensor) -> Tensor:
    first, last = boxes.split(2, -1)
    return torch.cat([first, last - first], -1)


def _from_center(boxes: Tensor) -> Tensor:
    center, extent = boxes.split(2, -1)
    return torch.cat([center - extent / 2, center + extent / 2], -1)


def _to_center(boxes: Tensor) -> Tensor:
    first, last = boxes.split(2, -1)
    return torch.cat([first + (last - first) / 2, last - first], -1)


def _same(boxes: Tensor) -> Tensor:
    return boxes


#: How each format becomes ``(left, top, right, bottom)``, and how that becomes it.
_FORMATS: dict[str, tuple[Callable[[Tensor], Tensor], Callable[[Tensor], Tensor]]] = {
    "xyxy": (_same, _same),
    "yxyx": (_flipped, _flipped),
    "xywh": (_from_corner, _to_corner),
    "center_xywh": (_from_center, _to_center),
    "center_yxhw": (
        lambda b: _from_center(_flipped(b)),
        lambda b: _flipped(_to_center(b)),
    ),
}
_RELATIVE_FORMATS = ("rel_xyxy", "rel_yxyx", "rel_xywh", "rel_center_xywh")
FORMATS = (*_FORMATS, *_RELATIVE_FORMATS)


def convert_format(
    boxes: Any,
    source: str,
    target: str,
    height: Size = None,
    width: Size = None,
    dtype: DType = "float32",
) -> Any:
    """Return bounding boxes in another format.

    The formats are ``"xyxy"`` (left, top, right, bottom), ``"yxyx"``, ``"xywh"`` (left,
    top, width, height), ``"center_xywh"``, ``"center_yxhw"``, and with ``rel_`` before
    them (but for the last) in parts of the image's size.

    Args:
        boxes: the boxes, or a dict that has them as ``"boxes"``.
        source: their format.
        target: the format to return.
        height: the height of the image, which relative formats need; a tensor that
            broadcasts against the coordinates for images of several sizes.
        width: the width.
        dtype: the dtype of the result.

    Shape:
        ``(..., 4)`` to the same, in pixels or in parts of the image's size.

    Raises:
        ValueError: for an unknown format, boxes of another shape, or a size that is
            missing.

    Example:
        >>> convert_format([[10, 20, 30, 60]], "xyxy", "center_xywh")
        tensor([[20., 40., 20., 40.]])
        >>> convert_format([[10, 20, 30, 60]], "xyxy", "rel_xywh", height=100, width=50)
        tensor([[0.2000, 0.2000, 0.4000, 0.4000]])
    """
    if isinstance(boxes, Mapping):
        converted = convert_format(boxes["boxes"], source, target, height, width, dtype)
        return {**boxes, "boxes": converted}
    owner = "convert_format"
    source = one_of(owner, "source", str(source).lower(), FORMATS)
    target = one_of(owner, "target", str(target).lower(), FORMATS)
    boxes = _checked(owner, boxes).to(to_torch_dtype(dtype))
    relative = source.startswith(_RELATIVE), target.startswith(_RELATIVE)
    if any(relative) and (height is None or width is None):
        raise ValueError(
            f"{owner}: `height` and `width` of the image are needed for relative "
            f"formats, got height={describe(height)} and width={describe(width)} for "
            f"source={source!r} and target={target!r}."
        )
    if source == target:
        return boxes
    boxes = _FORMATS[source.removeprefix(_RELATIVE)][0](boxes)
    if relative[0] != relative[1]:
        size = _size(boxes, height, width)
        boxes = boxes * size if relative[0] else boxes / size
    return _FORMATS[target.removeprefix(_RELATIVE)][1](boxes)


def _checked(owner: str, boxes: Any) -> Tensor:
    boxes = as_tensor(boxes)
    if boxes.ndim < 1 or boxes.shape[-1] != 4:
        raise ValueError(invalid_argument(owner, "boxes", "of shape (..., 4)", boxes))
    return boxes


def _size(boxes: Tensor, height: Size, width: Size) -> Tensor:
    """Return width and height twice, to go with the coordinates of corners."""
    height, width = (
        torch.as_tensor(size, dtype=boxes.dtype, device=boxes.device)
        for size in (height, width)
    )
    width, height = torch.broadcast_tensors(width, height)
    if width.ndim and width.shape[-1] == 1:
        return torch.cat([width, height, width, height], -1)
    return torch.stack([width, height, width, height], -1)


def _only_xyxy(owner: str, bounding_box_format: str, known: tuple[str, ...]) -> None:
    if bounding_box_format not in known:
        formats = " or ".join(map(repr, known))
        raise NotImplementedError(
            f"{owner}: `bounding_box_format` must be {formats}, got "
            f"{bounding_box_format!r}. Convert with `convert_format` first."
        )


def clip_to_image_size(
    bounding_boxes: Mapping[str, Any],
    height: Size = None,
    width: Size = None,
    bounding_box_format: str = "xyxy",
) -> dict[str, Any]:
    """Return bounding boxes cut off at the border; what has no area left is no object.

    Args:
        bounding_boxes: a dict of ``"boxes"`` and, if there are any, ``"labels"``, which
            become -1 where nothing of a box is left.
        height: the height of the image; not needed for ``"rel_xyxy"``.
        width: the width.
        bounding_box_format: ``"xyxy"`` or ``"rel_xyxy"``.

    Shape:
        Boxes ``(..., n, 4)`` and labels ``(..., n)`` to the same.

    Raises:
        NotImplementedError: for another format.
        ValueError: when a size is missing.

    Example:
        >>> boxes = {"boxes": [[-10.0, 0.0, 20.0, 30.0]], "labels": [3]}
        >>> clip_to_image_size(boxes, height=25, width=15)["boxes"]
        tensor([[ 0.,  0., 15., 25.]])
    """
    owner = "clip_to_image_size"
    _only_xyxy(owner, bounding_box_format, ("xyxy", "rel_xyxy"))
    if bounding_box_format == "rel_xyxy":
        height = width = 1.0
    if height is None or width is None:
        raise ValueError(
            f"{owner}: `height` and `width` of the image are needed for the format "
            f"'xyxy', got height={height!r} and width={width!r}."
        )
    boxes = _checked(owner, bounding_boxes["boxes"])
    boxes = torch.minimum(boxes.clamp(min=0), _size(boxes, height, width))
    result = {**bounding_boxes, "boxes": boxes}
    if bounding_boxes.get("labels") is not None:
        labels = as_tensor(bounding_boxes["labels"])
        result["labels"] = labels.where(_area(boxes) > 0, -1)
    return result


def _area(boxes: Tensor) -> Tensor:
    return (boxes[..., 2:] - boxes[..., :2]).prod(-1)


def affine_transform(
    boxes: Any,
    angle: Any,
    translate_x: Any,
    translate_y: Any,
    scale: Any,
    shear_x: Any,
    shear_y: Any,
    height: Size,
    width: Size,
    center_x: Any = None,
    center_y: Any = None,
    bounding_box_format: str = "xyxy",
) -> Tensor:
    """Return the upright boxes around what boxes become where an image is moved.

    Args:
        boxes: the boxes.
        angle: the rotation of each image, in degrees.
        translate_x: the shift of each image, in parts of its width.
        translate_y: the shift, in parts of its height.
        scale: the scale of each image.
        shear_x: the shear along x, in degrees.
        shear_y: the shear along y, in degrees.
        height: the height of the images.
        width: the width.
        center_x: the center of the rotation, in parts of the width; 0.5 by default.
        center_y: the center, in parts of the height.
        bounding_box_format: ``"xyxy"``.

    Shape:
        ``(batch, n, 4)`` to the same; ``(batch,)`` for what is said of each image.

    Raises:
        NotImplementedError: for another format.

    Example:
        >>> one, none = torch.ones(1), torch.zeros(1)
        >>> boxes = torch.tensor([[[0.0, 0.0, 4.0, 2.0]]])
        >>> affine_transform(boxes, none, 0.5 * one, none, one, none, none, 9, 9)
        tensor([[[4., 0., 8., 2.]]])
    """
    _only_xyxy("affine_transform", bounding_box_format, ("xyxy",))
    angle = as_tensor(angle)
    matrix = _affine_matrix(
        0.5 if center_x is None else center_x,
        0.5 if center_y is None else center_y,
        angle, translate_x, translate_y, scale, shear_x, shear_y, height, width,
    )  # fmt: skip
    boxes = _checked("affine_transform", boxes).to(matrix.dtype)
    corners = boxes[..., [0, 1, 2, 1, 2, 3, 0, 3]].unflatten(-1, (4, 2))
    corners = torch.cat([corners, torch.ones_like(corners[..., :1])], -1)
    moved = torch.einsum("bnpj,bij->bnpi", corners, matrix)
    return torch.cat([moved.amin(-2), moved.amax(-2)], -1)


def _affine_matrix(
    center_x: Any,
    center_y: Any,
    angle: Tensor,
    translate_x: Any,
    translate_y: Any,
    scale: Any,
    shear_x: Any,
    shear_y: Any,
    height: Size,
    width: Size,
) -> Tensor:
    """Return where points of each image go: rows for x and y, over ``(x, y, 1)``."""
    turn = torch.deg2rad(-angle)
    shear_x, shear_y = (
        torch.deg2rad(-torch.as_tensor(shear, dtype=turn.dtype, device=turn.device))
        for shear in (shear_x, shear_y)
    )
    x, y = center_x * (width - 1), center_y * (height - 1)
    # The inverse of rotation and shear, whose determinant is 1.
    a = torch.cos(turn - shear_y) / torch.cos(shear_y)
    b = a * torch.tan(shear_x) + torch.sin(turn)
    c = -torch.sin(turn - shear_y) / torch.cos(shear_y)
    d = torch.cos(turn) - c * torch.tan(shear_x)
    a0, a1, b0, b1 = d * scale, -b * scale, -c * scale, a * scale
    from_x = x - translate_x * (width - 1)
    from_y = y - translate_y * (height - 1)
    a2 = x - a0 * from_x - a1 * from_y
    b2 = y - b0 * from_x - b1 * from_y
    return torch.stack([a0, a1, a2, b0, b1, b2], -1).unflatten(-1, (2, 3))


def crop(
    boxes: Any,
    top: Any,
    left: Any,
    height: Size,
    width: Size,
    bounding_box_format: str = "xyxy",
) -> Tensor:
    """Return boxes as they are in a region that is cut out of their image.

    Args:
        boxes: the boxes.
        top: where the region begins, in pixels.
        left: where the region begins.
        height: its height.
        width: its width.
        bounding_box_format: ``"xyxy"``.

    Shape:
        ``(..., 4)`` to the same.

    Raises:
        NotImplementedError: for another format.

    Example:
        >>> crop([[10.0, 20.0, 50.0, 60.0]], top=10, left=20, height=40, width=30)
        tensor([[ 0., 10., 30., 40.]])
    """
    _only_xyxy("crop", bounding_box_format, ("xyxy",))
    boxes = _checked("crop", boxes)
    boxes = boxes - _size(boxes, top, left)
    return torch.minimum(boxes.clamp(min=0), _size(boxes, height, width))


def pad(
    boxes: Any,
    top: Any,
    left: Any,
    height: Size = None,
    width: Size = None,
    bounding_box_format: str = "xyxy",
) -> Tensor:
    """Return boxes as they are in an image that is made larger above and to the left.

    Args:
        boxes: the boxes.
        top: how many pixels are added above.
        left: how many are added to the left.
        height: accepted for Keras's signature.
        width: accepted for Keras's signature.
        bounding_box_format: ``"xyxy"``.

    Shape:
        ``(..., 4)`` to the same.

    Raises:
        NotImplementedError: for another format.

    Example:
        >>> pad([[10.0, 20.0, 50.0, 60.0]], top=1, left=2)
        tensor([[12., 21., 52., 61.]])
    """
    _only_xyxy("pad", bounding_box_format, ("xyxy",))
    boxes = _checked("pad", boxes)
    return boxes + _size(boxes, top, left)


# Overlap


def compute_iou(
    boxes1: Any,
    boxes2: Any,
    bounding_box_format: str,
    use_masking: bool = False,
    mask_val: float = -1,
    image_shape: Any = None,
) -> Tensor:
    """Return the intersection over union of each pair of boxes.

    Args:
        boxes1: boxes.
        boxes2: boxes.
        bounding_box_format: their format.
        use_masking: whether pairs with a box of negative coordinates are marked.
        mask_val: the mark.
        image_shape: the shape of the image, ``(height, width, channels)``, for relative
            formats.

    Shape:
        ``(m, 4)`` and ``(n, 4)`` to ``(m, n)``; a batch of either, ``(batch, m, 4)``,
        to ``(batch, m, n)``.

    Raises:
        ValueError: for another number of axes, or a missing `image_shape`.

    Example:
        >>> compute_iou([[0, 0, 2, 2]], [[1, 0, 3, 2], [4, 4, 5, 5]], "xyxy")
        tensor([[0.3333, 0.0000]])
    """
    owner = "compute_iou"
    first, second = (
        _corners(owner, name, boxes, bounding_box_format, image_shape)
        for name, boxes in (("boxes1", boxes1), ("boxes2", boxes2))
    )
    rows, columns = first.unsqueeze(-2), second.unsqueeze(-3)
    shared = _intersection(rows, columns)
    union = _area(rows) + _area(columns) - shared
    overlap = shared / (union + epsilon())
    if not use_masking:
        return overlap
    masked = (rows.amax(-1) < 0) | (columns.amax(-1) < 0)
    return overlap.masked_fill(masked, mask_val)


def _corners(
    owner: str, argument: str, boxes: Any, source: str, image_shape: Any
) -> Tensor:
    boxes = as_tensor(boxes)
    if boxes.ndim not in (2, 3):
        expected = "of shape (n, 4) or (batch, n, 4)"
        raise ValueError(invalid_argument(owner, argument, expected, boxes))
    return convert_format(boxes, source, "xyxy", *_size_for(owner, source, image_shape))


def _size_for(owner: str, source: str, image_shape: Any) -> tuple[Size, Size]:
    """Return height and width of an image, which boxes in parts of it need."""
    if image_shape is not None:
        height, width = tuple(image_shape)[:2]
        return height, width
    if "rel" in source:
        raise ValueError(
            f"{owner}: `image_shape` is needed for the relative format {source!r}. "
            "Give (height, width, channels)."
        )
    return None, None


def _intersection(first: Tensor, second: Tensor) -> Tensor:
    start = torch.maximum(first[..., :2], second[..., :2])
    end = torch.minimum(first[..., 2:], second[..., 2:])
    return (end - start).clamp(min=0).prod(-1)


def compute_ciou(
    boxes1: Any, boxes2: Any, bounding_box_format: str, image_shape: Any = None
) -> Tensor:
    """Return the complete intersection over union of boxes, one by one.

    It takes the distance of the centers and the proportions of the sides into account.

    Source: Zheng et al. 2020, https://arxiv.org/abs/1911.08287.

    Args:
        boxes1: boxes.
        boxes2: as many boxes.
        bounding_box_format: their format.
        image_shape: the shape of the image, for relative formats.

    Shape:
        ``(..., 4)`` twice, to ``(...)``.

    Raises:
        ValueError: for a missing `image_shape`.

    Example:
        >>> compute_ciou([[0.0, 0.0, 2.0, 2.0]], [[0.0, 0.0, 2.0, 2.0]], "xyxy")
        tensor([1.])
    """
    size = _size_for("compute_ciou", bounding_box_format, image_shape)
    first, second = (
        convert_format(boxes, bounding_box_format, "xyxy", *size)
        for boxes in (boxes1, boxes2)
    )
    tiny = epsilon()
    sizes = [boxes[..., 2:] - boxes[..., :2] for boxes in (first, second)]
    widths, heights = zip(*((s[..., 0], s[..., 1] + tiny) for s in sizes), strict=True)
    shared = _intersection(first, second)
    areas = widths[0] * heights[0] + widths[1] * heights[1]
    overlap = shared / (areas - shared + 2 * tiny)
    around = (
        torch.maximum(first, second)[..., 2:] - torch.minimum(first, second)[..., :2]
    )
    diagonal = around.square().sum(-1) + tiny
    centers = [(boxes[..., :2] + boxes[..., 2:]) / 2 for boxes in (first, second)]
    distance = (centers[0] - centers[1]).square().sum(-1)
    angles = torch.atan(widths[1] / heights[1]) - torch.atan(widths[0] / heights[0])
    unlike = 4 / math.pi**2 * angles.square()
    weight = unlike / (unlike - overlap + (1 + tiny))
    return overlap - (distance / diagonal + unlike * weight)


# Anchors


def encode_box_to_deltas(
    anchors: Any,
    boxes: Any,
    anchor_format: str,
    box_format: str,
    encoding_format: str = "center_yxhw",
    variance: Any = None,
    image_shape: Any = None,
) -> Tensor:
    """Return how boxes differ from anchors: shifts in sizes of these, logs of ratios.

    Args:
        anchors: the anchors.
        boxes: the boxes.
        anchor_format: the format of the anchors.
        box_format: the format of the boxes.
        encoding_format: ``"center_yxhw"`` or ``"center_xywh"``.
        variance: four numbers that differences are divided by.
        image_shape: the shape of the image, ``(height, width, channels)``, for relative
            formats.

    Shape:
        Anchors ``(n, 4)`` and boxes ``(..., n, 4)`` to ``(..., n, 4)``.

    Raises:
        ValueError: for another encoding or another number of variances.

    Example:
        >>> anchors, boxes = [[0.0, 0.0, 4.0, 4.0]], [[1.0, 0.0, 5.0, 4.0]]
        >>> encode_box_to_deltas(anchors, boxes, "xyxy", "xyxy")
        tensor([[0.0000, 0.2500, 0.0000, 0.0000]])
    """
    owner = "encode_box_to_deltas"
    convert, scale = _coding(
        owner, "encoding_format", encoding_format, variance, image_shape
    )
    anchors = convert(anchors, anchor_format, encoding_format)
    boxes = convert(boxes, box_format, encoding_format)
    own, theirs = (t[..., 2:].clamp(min=epsilon()) for t in (anchors, boxes))
    shift = (boxes[..., :2] - anchors[..., :2]) / own
    return torch.cat([shift, (theirs / own).log()], -1) / scale


def decode_deltas_to_boxes(
    anchors: Any,
    boxes_delta: Any,
    anchor_format: str,
    box_format: str,
    encoded_format: str = "center_yxhw",
    variance: Any = None,
    image_shape: Any = None,
) -> Any:
    """Return the boxes that differ from anchors as `encode_box_to_deltas` says.

    Args:
        anchors: the anchors, or a dict of them by level.
        boxes_delta: the differences, in the same structure.
        anchor_format: the format of the anchors.
        box_format: the format of the boxes to return.
        encoded_format: ``"center_yxhw"`` or ``"center_xywh"``.
        variance: four numbers that differences are multiplied by.
        image_shape: the shape of the image, ``(height, width, channels)``, for relative
            formats.

    Shape:
        Anchors ``(n, 4)`` and differences ``(..., n, 4)`` to ``(..., n, 4)``.

    Raises:
        ValueError: for another encoding or another number of variances.

    Example:
        >>> deltas = [[0.0, 0.25, 0.0, 0.0]]
        >>> decode_deltas_to_boxes([[0.0, 0.0, 4.0, 4.0]], deltas, "xyxy", "xyxy")
        tensor([[1., 0., 5., 4.]])
    """
    owner = "decode_deltas_to_boxes"
    convert, scale = _coding(
        owner, "encoded_format", encoded_format, variance, image_shape
    )

    def decode(anchors: Any, deltas: Any) -> Tensor:
        anchors = convert(anchors, anchor_format, encoded_format)
        deltas = as_tensor(deltas) * scale
        extent = anchors[..., 2:]
        center = deltas[..., :2] * extent + anchors[..., :2]
        boxes = torch.cat([center, deltas[..., 2:].exp() * extent], -1)
        return convert(boxes, encoded_format, box_format)

    if isinstance(anchors, Mapping) and isinstance(boxes_delta, Mapping):
        return {level: decode(anchors[level], boxes_delta[level]) for level in anchors}
    return decode(anchors, boxes_delta)


def _coding(
    owner: str, argument: str, encoding: str, variance: Any, image_shape: Any
) -> tuple[Callable[[Any, str, str], Tensor], Tensor]:
    """Return a converter for images of that shape, and the variances."""
    one_of(owner, argument, encoding, ("center_xywh", "center_yxhw"))
    scale = as_tensor([1.0] * 4 if variance is None else variance)
    if scale.shape[-1:] != (4,):
        raise ValueError(invalid_argument(owner, "variance", "four numbers", variance))
    height, width = (None, None) if image_shape is None else tuple(image_shape)[:2]

    def convert(boxes: Any, source: str, target: str) -> Tensor:
        return convert_format(boxes, source, target, height, width)

    return convert, scale.float()
