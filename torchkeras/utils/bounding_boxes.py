"""Bounding boxes of objects in images."""

from typing import TYPE_CHECKING

from torchkeras._core.boxes import (
    affine_transform,
    clip_to_image_size,
    compute_ciou,
    compute_iou,
    convert_format,
    crop,
    decode_deltas_to_boxes,
    encode_box_to_deltas,
    pad,
)
from torchkeras._core.missing import explain_missing

__all__ = [
    "affine_transform",
    "clip_to_image_size",
    "compute_ciou",
    "compute_iou",
    "convert_format",
    "crop",
    "decode_deltas_to_boxes",
    "encode_box_to_deltas",
    "pad",
]

if not TYPE_CHECKING:
    __getattr__ = explain_missing(__name__)
