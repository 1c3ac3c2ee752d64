"""Functions of images against Keras's."""

import keras
import numpy as np
import pytest
import torch

from tests.parity.ops.harness import CHECKS, Case
from torchkeras import KerasTensor, config, ops, random

rng = np.random.default_rng(0)


def values(*shape, dtype="float32"):
    if dtype == "float32":
        return rng.uniform(0.05, 0.95, size=shape).astype(dtype)
    return rng.integers(0, 100, size=shape).astype(dtype)


IMAGE = values(5, 6, 3)
IMAGES = values(2, 5, 6, 3)
FIRST = values(2, 3, 5, 6)
BYTES = values(2, 5, 6, 3, dtype="uint8")
LARGE = values(2, 13, 12, 3)
VOLUME = values(6, 5, 4, 2)
VOLUMES = values(2, 6, 5, 4, 2)
ZOOM = np.array([1.3, 0.1, -0.77, 0.2, 0.8, 1.37, 0, 0], "float32")
MOVES = np.stack([ZOOM, np.array([0.9, -0.3, 2.21, 0.1, 1.2, -1.63, 0, 0], "float32")])
CORNERS = np.array([[0, 0], [5, 0], [0, 4], [5, 4]], "float32")
MOVED = np.array([[0.6, 0.3], [4.8, 0.4], [-0.7, 4.2], [5.5, 3.6]], "float32")
POINTS = rng.uniform(-11.9, 13.1, size=(2, 4, 5)).astype("float32")
PLANE = values(5, 6)
FILL_MODES = ["constant", "nearest", "wrap", "mirror", "reflect"]
SCALE = np.array([1.7, 0.6], "float32")
SHIFT = np.array([-0.8, 0.45], "float32")

IN_PLACE = "Keras changes the transform in place, which a leaf does not allow"
POINT_DTYPE = "Keras casts points to the dtype of the images"

COLORS = [
    Case("image.rgb_to_grayscale", (IMAGE,)),
    Case("image.rgb_to_grayscale", (IMAGES,)),
    Case("image.rgb_to_grayscale", (IMAGES[..., :1],)),
    Case("image.rgb_to_grayscale", (BYTES,), lists=False),
    Case("image.rgb_to_grayscale", (FIRST,), {"data_format": "channels_first"}),
    Case("image.rgb_to_hsv", (IMAGE,)),
    Case("image.rgb_to_hsv", (IMAGES,)),
    Case("image.rgb_to_hsv", (np.round(IMAGES),), grad=False),
    Case("image.rgb_to_hsv", (FIRST,), {"data_format": "channels_first"}),
    Case("image.hsv_to_rgb", (IMAGE,)),
    Case("image.hsv_to_rgb", (IMAGES,)),
    Case("image.hsv_to_rgb", (FIRST,), {"data_format": "channels_first"}),
]

LAST = {"data_format": "channels_last"}
FILTERS = [
    Case("image.gaussian_blur", (IMAGE,), LAST),
    Case("image.gaussian_blur", (IMAGES, (5, 5), (2.0, 2.0)), LAST),
    Case("image.gaussian_blur", (FIRST, (3, 3)), {"data_format": "channels_first"}),
    Case("image.sobel_edges", (IMAGES,)),
    Case("image.sobel_edges", (LARGE,)),
    Case("image.sobel_edges", (FIRST,), {"data_format": "channels_first"}),
    Case("image.ssim", (LARGE, np.flip(LARGE, 1).copy())),
    Case("image.ssim", (LARGE[0], LARGE[1])),
    Case("image.ssim", (IMAGES, IMAGES * 0.9, 2.0, 3, 1.0, 0.02, 0.05)),
    Case(
        "image.ssim",
        (FIRST, FIRST * 0.8),
        {"filter_size": 5, "data_format": "channels_first"},
    ),
]

RESIZES = [
    Case("image.resize", (images, size), {"interpolation": kind, "antialias": smooth})
    for images, size in [(IMAGES, (8, 9)), (LARGE, (5, 7)), (IMAGE, (7, 3))]
    for kind in ["bilinear", "nearest", "bicubic"]
    for smooth in [False, True]
]
RESIZES += [
    Case("image.resize", (images, size, kind), kwargs, lists=images.dtype != "uint8")
    for images in [IMAGES, BYTES]
    for size in [(8, 3), (4, 11), (10, 12)]
    for kind, kwargs in [
        ("bilinear", {"crop_to_aspect_ratio": True}),
        ("nearest", {"pad_to_aspect_ratio": True}),
        ("bicubic", {"pad_to_aspect_ratio": True, "fill_value": 2.0}),
    ]
]
RESIZES += [
    Case("image.resize", (BYTES, (9, 4), "bicubic"), lists=False),
    Case("image.resize", (BYTES.astype("int32"), (9, 4))),
    Case("image.resize", (IMAGES.astype("float16"), (9, 4)), lists=False, grad=False),
    Case("image.resize", (FIRST, [4, 4]), {"data_format": "channels_first"}),
]

STRETCHES = [
    Case(
        "image.scale_and_translate",
        (IMAGES, (2, 8, 4, 3), SCALE, SHIFT, (1, 2), method),
        {"antialias": smooth},
        symbolic="Keras's operation takes no symbolic scale beside numbers",
        rtol=1e-4,
        atol=1e-4,
    )
    for method in ["linear", "bilinear", "cubic", "lanczos3", "lanczos5"]
    for smooth in [True, False]
]
STRETCHES += [
    Case(
        "image.scale_and_translate",
        (BYTES, (2, 8, 6, 3), SCALE[:1], SHIFT[:1], (-3,), "trilinear"),
        symbolic="Keras's operation takes no symbolic scale beside numbers",
        lists=False,
    )
]

TOP = {"top_padding": 1, "target_height": 8, "left_padding": 0, "right_padding": 3}
CUT = {"bottom_cropping": 1, "target_height": 3, "left_cropping": 2, "target_width": 4}
BORDERS = [
    Case("image.pad_images", (IMAGE, 1, 2, 3, 4)),
    Case("image.pad_images", (IMAGES,), TOP),
    Case("image.pad_images", (BYTES,), TOP, lists=False),
    Case("image.pad_images", (FIRST,), TOP | {"data_format": "channels_first"}),
    Case("image.crop_images", (IMAGE, 1, 2, 1, 0)),
    Case("image.crop_images", (IMAGES,), CUT),
    Case("image.crop_images", (BYTES,), CUT, lists=False),
    Case("image.crop_images", (FIRST,), CUT | {"data_format": "channels_first"}),
]

PATCHES = [
    Case("image.extract_patches", (IMAGE, 2)),
    Case("image.extract_patches", (IMAGES, (2, 3))),
    Case("image.extract_patches", (IMAGES, (3, 2), (1, 2), 1, "same")),
    Case("image.extract_patches", (IMAGES, 2, 1, 2)),
    Case("image.extract_patches", (IMAGES, (2, 2), 1, 2, "same")),
    Case(
        "image.extract_patches", (FIRST, 2, 1), {"data_format": "channels_first"}
    ),
    Case("image.extract_patches", (VOLUMES, (2, 1, 3), (1, 2, 1))),
    Case("image.extract_patches_3d", (VOLUME, 2)),
    Case("image.extract_patches_3d", (VOLUMES, (3, 2, 2), 1)),
    Case("image.extract_patches_3d", (VOLUMES, 3, 2, 1, "same")),
    Case(
        "image.extract_patches_3d",
        (VOLUMES, (3, 2, 2), (2, 1, 1)),
        {"data_format": "channels_first"},
    ),
]

MAPS = [
    Case("image.map_coordinates", (inputs, POINTS, order, mode, fill))
    for inputs in [PLANE, (PLANE * 50).astype("int32")]
    for order in [0, 1]
    for mode, fill in [(mode, 0.5) for mode in FILL_MODES]
]
MAPS += [
    Case("image.map_coordinates", (VOLUME[..., 0], POINTS[[0, 1, 0]], 1)),
    Case("image.map_coordinates", (PLANE[0], np.array([[0.5, 2.25, 7]], "float32"), 1)),
    Case("image.map_coordinates", (PLANE, POINTS.astype("int32"), 1, "wrap")),
    Case("image.map_coordinates", (PLANE[:1, :2], POINTS, 1, "nearest")),
]
MAPS += [
    Case("image.affine_transform", (images, moves, kind, mode, 0.3), grad=False)
    for images, moves in [(IMAGE, ZOOM), (IMAGES, MOVES)]
    for kind in ["bilinear", "nearest"]
    for mode in FILL_MODES
]
MAPS += [
    Case("image.affine_transform", (BYTES, MOVES), grad=False, lists=False),
    Case(
        "image.affine_transform",
        (FIRST, MOVES),
        {"data_format": "channels_first"},
        grad=False,
    ),
    Case("image.perspective_transform", (IMAGE, CORNERS, MOVED), rtol=1e-4, atol=1e-4),
    Case("image.perspective_transform", (IMAGES, CORNERS, MOVED, "nearest", 0.5)),
    Case(
        "image.perspective_transform",
        (FIRST, np.stack([CORNERS, MOVED]), np.stack([MOVED, CORNERS])),
        {"data_format": "channels_first"},
        rtol=1e-4,
        atol=1e-4,
    ),
    Case("image.elastic_transform", (IMAGE,), values="random"),
    Case("image.elastic_transform", (IMAGES, 10.0, 2.0), values="random"),
    Case(
        "image.elastic_transform",
        (FIRST,),
        {"data_format": "channels_first"},
        values="random",
    ),
]

CASES = COLORS + FILTERS + RESIZES + STRETCHES + BORDERS + PATCHES + MAPS


@pytest.mark.parametrize("check", CHECKS)
@pytest.mark.parametrize("case", CASES, ids=str)
def test_parity(case, check):
    check(case)
