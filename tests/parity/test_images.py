"""Layers for images against Keras: its own draws give its own pictures and boxes.

Each row of `LAYERS` draws a transformation with Keras's layer, and has both apply it to
images, masks, labels and boxes, for both layouts, for one image and for batches.
"""

import copy
import dataclasses
import functools
from typing import Any

import keras
import numpy as np
import pytest
import torch

import torchkeras
from torchkeras import layers, tree

pytestmark = [
    # What Keras does on torch is warned of by NumPy, and by torch.
    pytest.mark.filterwarnings("ignore:__array__ implementation doesn't accept a copy"),
    pytest.mark.filterwarnings("ignore:Tensor.T is deprecated:UserWarning"),
]
SIZE = (9, 12)


@dataclasses.dataclass(frozen=True)
class Row:
    """A layer and how it is made.

    Args:
        name: the class.
        kwargs: its arguments.
        boxes: the formats of bounding boxes that Keras transforms as it should.
        draws: whether what Keras draws says all that is done.
        masks: whether Keras transforms masks as it should.
        layouts: those in which Keras takes heights and widths for what they are.
        atol: how far values may be apart.
    """

    name: str
    kwargs: dict[str, Any] = dataclasses.field(default_factory=dict)
    boxes: tuple[str, ...] = ("xyxy", "rel_xyxy", "center_xywh")
    draws: bool = True
    masks: bool = True
    layouts: tuple[str, ...] = ("channels_last", "channels_first")
    atol: float = 1e-4

    def __str__(self) -> str:
        """Return the id of the row."""
        return "-".join([self.name, *(f"{k}={v}" for k, v in self.kwargs.items())])

    def make(self, library: Any, **kwargs: Any) -> Any:
        """Make the layer of Keras or ours."""
        return getattr(library.layers, self.name)(**self.kwargs, **kwargs)


CLAHE = "ContrastLimitedAdaptiveHistogramEqualization"
LAYERS = [
    Row("RandomFlip", {"mode": "horizontal"}),
    Row("RandomFlip", {"mode": "vertical"}),
    Row("RandomFlip"),
    Row("RandomBrightness", {"factor": 0.4}),
    Row("RandomBrightness", {"factor": (-0.3, 0.6), "value_range": (0, 100)}),
    # Keras takes boxes for corners, whatever their format.
    Row("RandomRotation", {"factor": 0.3}, boxes=("xyxy",), atol=0.02),
    *(
        Row(
            "RandomRotation",
            {"factor": (-0.2, 0.4), "fill_mode": mode},
            ("xyxy",),
            atol=0.02,
        )
        for mode in ("constant", "nearest", "wrap")
    ),
    Row(
        "RandomTranslation",
        {"height_factor": 0.3, "width_factor": (0.1, 0.4)},
        atol=0.02,
    ),
    Row(
        "RandomTranslation",
        {"height_factor": (-0.3, 0.1), "width_factor": 0.2, "interpolation": "nearest"},
    ),
    Row("RandomZoom", {"height_factor": 0.4}, atol=0.02),
    Row(
        "RandomZoom",
        {
            "height_factor": (-0.4, -0.1),
            "width_factor": (0.1, 0.5),
            "fill_mode": "constant",
            "fill_value": 7.0,
        },
        atol=0.02,
    ),
    Row("RandomShear", {"x_factor": 0.3, "y_factor": (0.1, 0.4)}, atol=0.02),
    # Keras leaves boxes as corners, whatever their format.
    Row("RandomPerspective", {"factor": 0.7, "scale": 0.5}, ("xyxy",), atol=0.05),
    Row("RandomElasticTransform", {"scale": 0.5}, (), draws=False),
    Row("Resizing", {"height": 6, "width": 5}),
    Row("Resizing", {"height": 20, "width": 10, "interpolation": "bicubic"}, atol=0.02),
    Row("Resizing", {"height": 6, "width": 10, "crop_to_aspect_ratio": True}),
    Row("Resizing", {"height": 6, "width": 10, "pad_to_aspect_ratio": True}),
    Row("Resizing", {"height": 12, "width": 6, "antialias": True}, atol=0.05),
    Row("CenterCrop", {"height": 5, "width": 8}),
    Row("CenterCrop", {"height": 4, "width": 20}),
    # Keras takes the height off the columns of boxes, and distorts smaller images.
    Row("RandomCrop", {"height": 5, "width": 8}, ()),
    Row("RandomCrop", {"height": 12, "width": 8}, (), draws=False),
    Row("RandomContrast", {"factor": 0.4}),
    Row("RandomContrast", {"factor": (0.1, 0.9), "value_range": (0, 200)}),
    Row("RandomSaturation", {"factor": (0.2, 0.9)}, atol=0.01),
    Row("RandomHue", {"factor": 0.6}, atol=0.01),
    Row("RandomHue", {"factor": (0.2, 0.9), "value_range": (0, 255)}, atol=0.01),
    Row("RandomColorDegeneration", {"factor": 0.7}),
    Row("RandomGrayscale", {"factor": 0.5}, ()),
    Row("RandomInvert", {"factor": 0.6}),
    Row("RandomPosterization", {"factor": 5}),
    Row("RandomPosterization", {"factor": (2, 6), "value_range": (0, 255)}),
    Row("RandomSharpness", {"factor": 0.8}, atol=0.01),
    Row("RandomGaussianBlur", {"factor": 0.7, "sigma": (0.3, 0.9)}, atol=0.01),
    Row("RandomGaussianBlur", {"kernel_size": 5}, atol=0.01),
    Row("Solarization", {"addition_factor": 0.3, "threshold_factor": (0.2, 0.7)}),
    # Keras takes the lowest values along the first two axes, whatever they are.
    Row("AutoContrast", atol=0.01, layouts=("channels_last",)),
    Row("Equalization", atol=0.01),
    Row("Equalization", {"bins": 32, "value_range": (0, 200)}, atol=0.01),
    # Keras on torch rounds the limit down to an integer, and repeats the last pixels.
    Row(CLAHE, {"tile_grid_size": (3, 4), "clip_limit": 0.0}, (), masks=False),
    Row(
        CLAHE,
        {"tile_grid_size": (3, 4), "clip_limit": 28.446},
        (),
        atol=0.05,
        masks=False,
    ),
    # Keras draws while it transforms.
    Row(
        "RandomColorJitter",
        {"brightness_factor": 0.2, "contrast_factor": 0.3, "hue_factor": 0.1},
        draws=False,
    ),
    Row("RandomErasing", {"scale": (0.1, 0.6)}),
    Row("RandomErasing", {"factor": 0.6, "fill_value": 9}),
    # Keras puts the labels of boxes one after another, and mixes numbers of masks.
    Row("MixUp", {"alpha": 0.4}, (), masks=False),
    Row("CutMix", {"factor": (0.5, 1.0)}, (), masks=False),
    # Keras changes the brightness of the images themselves, whatever is chosen.
    Row("RandAugment", {"num_ops": 3}, (), draws=False),
    Row("AugMix", {"num_chains": 2}, (), atol=0.02, layouts=("channels_last",)),
    Row("MaxNumBoundingBoxes", {"max_number": 1}),
    Row("MaxNumBoundingBoxes", {"max_number": 4, "fill_value": -1}),
]


def images(data_format: str, channels: int = 3) -> np.ndarray:
    """Return a batch of images of whole numbers, from 0 to 255."""
    rng = np.random.default_rng(0)
    batch = rng.integers(0, 256, (4, *SIZE, channels)).astype("uint8")
    return np.moveaxis(batch, -1, 1) if data_format == "channels_first" else batch


def objects() -> dict[str, Any]:
    """Return two boxes for each image, as corners in pixels."""
    rng = np.random.default_rng(1)
    first = rng.uniform(0, 6, (4, 2, 2))
    boxes = np.concatenate([first, first + rng.uniform(1, 4, first.shape)], -1)
    return {"boxes": boxes.astype("float32"), "labels": np.array([[0, 1]] * 4)}


def same(ours: Any, theirs: Any, atol: float) -> None:
    """Compare structures of tensors, their dtypes too."""
    for own, other in zip(tree.flatten(ours), tree.flatten(theirs), strict=True):
        torch.testing.assert_close(own, other, atol=atol, rtol=1e-4, check_dtype=False)


def drawn(layer: Any, data: Any) -> Any:
    """Let Keras draw, from its layer's own generator."""
    return layer.get_random_transformation(data, training=True)


@pytest.mark.parametrize(
    ("row", "data_format"),
    [(row, layout) for row in LAYERS if row.draws for layout in row.layouts],
    ids=str,
)
def test_the_same_draw_gives_the_same_picture(row, data_format):
    make = functools.partial(row.make, data_format=data_format)
    theirs, ours = make(keras), make(torchkeras)
    x = torch.as_tensor(images(data_format))
    masks = torch.as_tensor(images(data_format, 1)) % 5
    for _ in range(3):
        draw = drawn(theirs, x)
        parts = (
            {"images": x, "segmentation_masks": masks} if row.masks else {"images": x}
        )
        for name, part in parts.items():
            own, other = (
                # Keras writes into the matrices that are drawn.
                getattr(layer, f"transform_{name}")(part.float(), copy.deepcopy(draw))
                for layer in (ours, theirs)
            )
            same(own, other, row.atol)


@pytest.mark.parametrize(
    ("row", "source"),
    [(row, source) for row in LAYERS for source in row.boxes],
    ids=str,
)
def test_the_same_draw_gives_the_same_boxes(row, source):
    theirs, ours = (
        row.make(library, bounding_box_format=source) for library in (keras, torchkeras)
    )
    x, data = torch.as_tensor(images("channels_last")), objects()
    data["boxes"] = keras.utils.bounding_boxes.convert_format(
        data["boxes"], "xyxy", source, *SIZE
    )
    data["labels"] = torch.as_tensor(data["labels"])
    for _ in range(3):
        draw = drawn(theirs, x)
        own = ours.transform_bounding_boxes(dict(data), draw)
        other = theirs.transform_bounding_boxes(dict(data), draw)
        same(own["boxes"], other["boxes"], row.atol)
        same(own["labels"], other["labels"], 0)


def config_of(layer):
    """Return the config without what is Keras's own, or drawn."""
    return {
        key: list(value) if isinstance(value, tuple) else value
        for key, value in layer.get_config().items()
        if key not in ("dtype", "seed")
    }


@pytest.mark.parametrize("row", LAYERS, ids=str)
def test_configs_are_exchanged(row):
    theirs, ours = row.make(keras, name="x"), row.make(torchkeras, name="x")
    own, other = config_of(ours), config_of(theirs)
    assert own == {**own, **other}
    assert own.keys() - other.keys() <= {"fill_value"}  # which Keras forgets
    twin = layers.deserialize(keras.layers.serialize(theirs))
    assert config_of(twin) == own
    if row.name != "RandomShear":  # whose own config Keras does not read
        keras.layers.deserialize(layers.serialize(ours))


def draws(row):
    """Say whether anything is drawn, and Keras says what."""
    return row.draws and row.name != "AugMix" and hasattr(row.make(keras), "seed")


@pytest.mark.parametrize("row", list(filter(draws, LAYERS)), ids=str)
def test_what_is_drawn_has_the_range_of_keras(row):
    """Many draws of both layers have the same lowest, highest and mean values."""
    x = torch.zeros(4000, *SIZE, 3)
    found = []
    for library in (keras, torchkeras):
        layer = row.make(library, seed=7)
        draw = drawn(layer, x)
        values = [t.float() for t in tree.flatten(draw) if isinstance(t, torch.Tensor)]
        values = [v for v in values if v.numel() >= len(x)]
        found.append([(v.min(), v.max(), v.mean(), v.std()) for v in values])
    for own, other in zip(*found, strict=True):
        scale = max(float(other[1] - other[0]), 1e-6)
        torch.testing.assert_close(
            torch.stack(own), torch.stack(other), atol=0.06 * scale, rtol=0
        )


#: Layers for images, which must all have a row.
@pytest.mark.parametrize(
    "name",
    [
        n
        for n, m in vars(layers).items()
        if isinstance(m, type) and hasattr(m, "transform_images")
    ],
)
def test_every_layer_has_a_row(name):
    assert name in {row.name for row in LAYERS}
