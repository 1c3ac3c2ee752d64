"""Functions of images against Keras's."""

from typing import Any

import keras
import numpy as np
import pytest
import torch

from tests.parity.ops.harness import CHECKS, Case
from torchkeras import KerasTensor, config, ops, random

keras_image: Any = keras.ops.image

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
        rtol=1e-4,
        atol=1e-4,
    )
    for method in ["linear", "bilinear", "cubic", "lanczos3", "lanczos5"]
    for smooth in [True, False]
]
STRETCHES += [
    Case(
        "image.scale_and_translate",
        (BYTES, (2, 8, 6, 3), SCALE[1:], SHIFT[1:], (-3,), "trilinear"),
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
    Case("image.extract_patches", (FIRST, 2, 1), {"data_format": "channels_first"}),
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


# Where Keras differs


def test_a_blur_has_a_size_and_a_deviation_for_each_axis():
    # Keras swaps the deviations, and adds to the size of images for an even kernel.
    kernel = [np.exp(-0.5 * ((np.arange(n) - (n - 1) / 2) / s) ** 2) for n, s in SIZES]
    window = np.outer(kernel[0] / kernel[0].sum(), kernel[1] / kernel[1].sum())
    padded = np.pad(LARGE, ((0, 0), (1, 1), (2, 2), (0, 0)))
    windows = np.lib.stride_tricks.sliding_window_view(padded, (3, 5), (1, 2))
    expected = np.einsum("nhwcij,ij->nhwc", windows, window)
    (height, sigma1), (width, sigma2) = SIZES
    blurred = ops.image.gaussian_blur(LARGE, (height, width), (sigma1, sigma2))
    np.testing.assert_allclose(blurred, expected, rtol=1e-5, atol=1e-6)
    assert ops.image.gaussian_blur(LARGE, (4, 2)).shape == LARGE.shape


SIZES = [(3, 0.8), (5, 2.0)]


def test_an_integer_image_has_a_real_likeness():
    # Keras cuts it to an integer.
    first, second = BYTES, BYTES[::-1].copy()
    likeness = ops.image.ssim(first, second, 100.0, 3)
    expected = keras_image.ssim(
        first.astype("float32"), second.astype("float32"), 100.0, 3
    )
    np.testing.assert_allclose(likeness, expected, rtol=1e-5)


def test_a_transform_may_be_projective():
    # Keras reads the last two numbers as a shift that depends on the channel.
    transform = np.array([1.1, 0.2, -0.4, 0.1, 0.9, 0.3, 0.02, 0.03], "float32")
    y, x = np.mgrid[:5, :6]
    a, b, c = transform[:3], transform[3:6], transform[6:]
    scale = c[0] * x + c[1] * y + 1
    at = np.stack(
        [(b[0] * x + b[1] * y + b[2]) / scale, (a[0] * x + a[1] * y + a[2]) / scale]
    )
    for mode in FILL_MODES:
        moved = ops.image.affine_transform(IMAGE, transform, fill_mode=mode)
        for i in range(3):
            expected = keras_image.map_coordinates(IMAGE[..., i], at, 1, mode)
            np.testing.assert_allclose(moved[..., i], expected, rtol=1e-4, atol=1e-4)


def test_a_transform_stays_as_it_is_and_serves_all_images():
    transform = torch.tensor(ZOOM)
    moved = ops.image.affine_transform(IMAGES, transform)
    np.testing.assert_array_equal(transform, ZOOM)
    for image, expected in zip(IMAGES, moved, strict=True):
        assert torch.equal(ops.image.affine_transform(image, transform), expected)


def test_gradients_of_moved_images():
    images = torch.tensor(IMAGES, dtype=torch.float64)[:, :3, :3].requires_grad_()
    moves = torch.tensor(MOVES, dtype=torch.float64).requires_grad_()
    for mode in FILL_MODES:
        torch.autograd.gradcheck(
            lambda i, m, mode=mode: ops.image.affine_transform(i, m, fill_mode=mode),
            (images, moves),
        )


def test_points_of_integer_images_are_not_rounded():
    # Keras casts them to the dtype of the images.
    moved = ops.image.perspective_transform(BYTES, CORNERS, MOVED)
    assert moved.dtype == torch.uint8
    expected = keras_image.perspective_transform(
        BYTES.astype("float32"), CORNERS, MOVED
    )
    np.testing.assert_allclose(moved, expected, atol=0.51)


@pytest.mark.parametrize("kind", ["lanczos3", "lanczos5"])
@pytest.mark.parametrize("antialias", [False, True])
def test_resizing_with_a_lanczos_kernel(kind, antialias):
    # Keras has it on other backends only.
    resized = ops.image.resize(LARGE, (7, 20), kind, antialias)
    scale = np.array([7 / 13, 20 / 12], "float32")
    expected = keras_image.scale_and_translate(
        LARGE, (2, 7, 20, 3), scale, np.zeros(2, "float32"), (1, 2), kind, antialias
    )
    np.testing.assert_allclose(resized, expected, rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("kind", ["bicubic", "lanczos3"])
def test_small_integers_do_not_overflow(kind):
    images = np.kron(np.array([[127, -128], [-128, 127]], "int8"), np.ones((4, 4)))
    images = images.astype("int8")[..., None]
    resized = ops.image.resize(images, (16, 16), kind)
    exact = ops.image.resize(images.astype("float32"), (16, 16), kind)
    np.testing.assert_allclose(resized, exact.clamp(-128, 127), atol=0.51)
    assert exact.max() > 127


def test_coordinates_far_away():
    far = np.array([[np.inf, -np.inf, 1e30, 2]], "float32")
    filled = ops.image.map_coordinates(PLANE[:, 0], far, 1, fill_value=7.0)
    np.testing.assert_allclose(filled, [7, 7, 7, PLANE[2, 0]])
    for mode in FILL_MODES[1:]:  # one element has no period
        found = ops.image.map_coordinates([5.0], [[-3.3, 0.0, 8.6]], 1, mode)
        np.testing.assert_allclose(found, [5, 5, 5])


def test_coordinates_may_be_a_list_of_tensors():
    rows, columns = torch.tensor(POINTS)
    found = ops.image.map_coordinates(PLANE, [rows, columns], 1)
    assert torch.equal(found, ops.image.map_coordinates(PLANE, POINTS, 1))


# Elastic maps


def test_elastic_maps():
    elastic = ops.image.elastic_transform
    first = elastic(LARGE, seed=3)
    assert torch.equal(first, elastic(LARGE, seed=3))
    assert not torch.equal(first, elastic(LARGE, seed=4))
    assert not torch.allclose(first, torch.tensor(LARGE))
    seed = random.SeedGenerator(3)
    assert not torch.equal(elastic(LARGE, seed=seed), elastic(LARGE, seed=seed))
    np.testing.assert_allclose(elastic(LARGE, alpha=0.0), LARGE, atol=1e-6)
    twice = elastic(np.stack([LARGE[0]] * 2), seed=3)
    assert not torch.allclose(twice[0], twice[1])
    assert elastic(BYTES, seed=0).dtype == torch.uint8
    np.testing.assert_allclose(
        elastic(FIRST, seed=5, data_format="channels_first").movedim(1, -1),
        elastic(FIRST.transpose(0, 2, 3, 1), seed=5),
    )


def test_elastic_maps_move_as_far_as_those_of_keras():
    ramp = np.broadcast_to(np.arange(60.0, dtype="float32"), (60, 60))
    ramp = np.broadcast_to(ramp[None, ..., None], (8, 60, 60, 1)).copy()
    options = {"alpha": 20.0, "sigma": 3.0, "fill_mode": "nearest"}
    ours, theirs = (
        np.std(np.asarray(module.image.elastic_transform(ramp, **options)) - ramp)
        for module in (ops, keras.ops)
    )
    assert abs(ours / theirs - 1) < 0.15


# Layouts, symbols, compilation


@pytest.fixture
def channels_first():
    config.set_image_data_format("channels_first")
    yield
    config.set_image_data_format("channels_last")


LAYOUTS: dict[str, tuple[Any, ...]] = {
    "affine_transform": (MOVES,),
    "crop_images": (1, 2, 1, 1),
    "extract_patches": (2,),
    "gaussian_blur": (),
    "hsv_to_rgb": (),
    "pad_images": (1, 2, 1, 1),
    "perspective_transform": (CORNERS, MOVED),
    "resize": ((7, 3),),
    "rgb_to_grayscale": (),
    "rgb_to_hsv": (),
    "sobel_edges": (),
}


@pytest.mark.usefixtures("channels_first")
@pytest.mark.parametrize("name", LAYOUTS)
def test_the_default_layout(name):
    function: Any = getattr(ops.image, name)
    first = function(FIRST, *LAYOUTS[name])
    last = function(
        FIRST.transpose(0, 2, 3, 1), *LAYOUTS[name], data_format="channels_last"
    )
    torch.testing.assert_close(first, last.movedim(3, 1))


@pytest.mark.parametrize("name", LAYOUTS)
def test_compiled(name):
    torch.compiler.reset()  # all operations share one frame
    function = getattr(ops.image, name)
    compiled = torch.compile(function, backend="eager", fullgraph=True)
    arguments: list[Any] = [
        torch.tensor(a) if isinstance(a, np.ndarray) else a for a in LAYOUTS[name]
    ]
    images = torch.tensor(IMAGES)
    torch.testing.assert_close(
        compiled(images, *arguments), function(images, *arguments)
    )


def test_unknown_sizes():
    images = KerasTensor((None, None, None, 3))
    assert ops.image.resize(images, (4, 5)).shape == (None, 4, 5, 3)
    assert ops.image.gaussian_blur(images).shape == (None, None, None, 3)
    target: dict[str, Any] = {"target_height": 100, "target_width": 2}
    padded = ops.image.pad_images(images, top_padding=1, left_padding=0, **target)
    assert padded.shape == (None, 100, 2, 3)
    cropped = ops.image.crop_images(images, top_cropping=1, left_cropping=0, **target)
    assert cropped.shape == (None, 100, 2, 3)
    margins = dict.fromkeys(["top", "left", "bottom", "right"], 1)
    functions: list[Any] = [
        (ops.image.crop_images, "cropping"),
        (ops.image.pad_images, "padding"),
    ]
    for function, name in functions:
        framed = function(images, **{f"{k}_{name}": v for k, v in margins.items()})
        assert framed.shape == (None, None, None, 3)
    assert ops.image.extract_patches(images, 2).shape == (None, None, None, 12)


# Bad input

WRONG = [
    ("affine_transform", (IMAGES, MOVES[:, :6]), "`transform` must be of shape"),
    ("affine_transform", (IMAGES, MOVES[[0, 0, 1]]), "one for each of the 2 images"),
    ("affine_transform", (IMAGES, ZOOM, "bicubic"), "`interpolation` must be one of"),
    ("affine_transform", (IMAGES, ZOOM, "nearest", "edge"), "`fill_mode` must be one"),
    ("affine_transform", (PLANE, ZOOM), "`images` must be an image, of 3 axes"),
    ("crop_images", (IMAGES, 1, 1, 1), "exactly two of `left_cropping`"),
    ("crop_images", (IMAGES, 4, 1, 4, 1), "`target_height` must be a non-negative"),
    ("elastic_transform", (IMAGES, 1.0, 0.0), "`sigma` must be a positive number"),
    ("elastic_transform", (PLANE,), "`images` must be an image, of 3 axes"),
    ("extract_patches", (IMAGES, (1, 2, 3, 4)), "`size` must be an integer, or a"),
    ("extract_patches", (IMAGES, 7), "`images` must be at least as large"),
    ("extract_patches", (PLANE, 2), "`images` must be an image, of 3 axes"),
    ("extract_patches", (IMAGES, 2, 1, 1, "full"), "`padding` must be one of"),
    ("extract_patches_3d", (VOLUMES, (2, 2)), "`size` must be a sequence of 3"),
    ("gaussian_blur", (IMAGES, (0, 3)), "`kernel_size` must be a positive integer"),
    ("gaussian_blur", (IMAGES, (3, 3), (1.0, 0.0)), "`sigma` must be a positive"),
    ("gaussian_blur", (PLANE,), "`images` must be an image, of 3 axes"),
    ("hsv_to_rgb", (BYTES,), "`images` must be of a floating-point dtype"),
    ("map_coordinates", (PLANE, POINTS[:1], 1), "`coordinates` must be of shape"),
    ("map_coordinates", (PLANE, POINTS, 1, "edge"), "`fill_mode` must be one of"),
    ("pad_images", (IMAGES,), "exactly two of `top_padding`"),
    ("pad_images", (IMAGES, -1, 1, 1, 1), "`top_padding` must be a non-negative"),
    (
        "perspective_transform",
        (IMAGES, CORNERS[:3], MOVED),
        "`start_points` must be of shape",
    ),
    ("resize", (IMAGES, (2, 3), "cubic"), "`interpolation` must be one of"),
    ("resize", (IMAGES, (2, 3, 4)), "`size` must be a sequence of 2"),
    ("resize", (IMAGES, (2, 0)), "`size` must be a positive integer"),
    ("resize", (PLANE, (2, 3)), "`images` must be an image, of 3 axes"),
    ("resize", (IMAGES, (2, 3), "nearest", False, True, True), "only one of"),
    (
        "resize",
        (IMAGES, (2, 3), "nearest", False, False, True, "wrap"),
        "`fill_mode` must be one of",
    ),
    (
        "resize",
        (IMAGES, (2, 3), "nearest", *[False] * 3, "constant", 0, "last"),
        "form",
    ),
    ("rgb_to_grayscale", (IMAGES[..., :2],), "of 1 or 3 channels, channels_last"),
    ("rgb_to_hsv", (BYTES,), "`images` must be of a floating-point dtype"),
    (
        "scale_and_translate",
        (IMAGES, (2, 8, 9, 3), SCALE, SHIFT, (1, 2), "area"),
        "`method` must be one of",
    ),
    (
        "scale_and_translate",
        (IMAGES, (2, 8, 9, 3), SCALE[:1], SHIFT, (1, 2), "cubic"),
        "`scale` must be one number for each",
    ),
    (
        "scale_and_translate",
        (IMAGES, (2, 8, 9, 3), SCALE[:1], SHIFT[:1], (1,), "cubic"),
        "`output_shape` must be that of `images`",
    ),
    ("sobel_edges", (IMAGE,), "`images` must be a batch of images"),
    ("ssim", (IMAGES, IMAGE), "`image2` must be of the shape of `image1`"),
    ("ssim", (IMAGES, IMAGES), "`image1` must be at least 11"),
]


@pytest.mark.parametrize(("name", "arguments", "message"), WRONG)
def test_bad_input(name, arguments, message):
    with pytest.raises(ValueError, match=message):
        getattr(ops.image, name)(*arguments)


def test_orders_that_are_not_there():
    with pytest.raises(NotImplementedError, match=r"use scipy\.ndimage"):
        ops.image.map_coordinates(PLANE, POINTS, 3)
