"""Layers for images against Keras: its own draws give its own pictures and boxes.

Each row of `LAYERS` draws a transformation with Keras's layer, and has both apply it to
images, masks, labels and boxes, for both layouts, for one image and for batches.
"""

import dataclasses
import functools
from typing import Any

import keras
import numpy as np
import pytest
import torch

import torchkeras
from torchkeras import layers, tree

SIZE = (9, 12)


@dataclasses.dataclass(frozen=True)
class Row:
    """A layer and how it is made.

    Args:
        name: the class.
        kwargs: its arguments.
        boxes: whether Keras transforms bounding boxes.
        atol: how far values may be apart.
    """

    name: str
    kwargs: dict[str, Any] = dataclasses.field(default_factory=dict)
    boxes: bool = True
    atol: float = 1e-4

    def __str__(self) -> str:
        """Return the id of the row."""
        return "-".join([self.name, *(f"{k}={v}" for k, v in self.kwargs.items())])

    def make(self, library: Any, **kwargs: Any) -> Any:
        """Make the layer of Keras or ours."""
        return getattr(library.layers, self.name)(**self.kwargs, **kwargs)


LAYERS = [
    Row("RandomFlip", {"mode": "horizontal"}),
    Row("RandomFlip", {"mode": "vertical"}),
    Row("RandomFlip"),
    Row("RandomBrightness", {"factor": 0.4}),
    Row("RandomBrightness", {"factor": (-0.3, 0.6), "value_range": (0, 100)}),
]


def images(data_format: str, channels: int = 3) -> np.ndarray:
    """Return a batch of images of whole numbers, from 0 to 255."""
    rng = np.random.default_rng(0)
    batch = rng.integers(0, 256, (4, *SIZE, channels)).astype("uint8")
    return np.moveaxis(batch, -1, 1) if data_format == "channels_first" else batch


def objects() -> dict[str, np.ndarray]:
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


@pytest.mark.parametrize("data_format", ["channels_last", "channels_first"])
@pytest.mark.parametrize("row", LAYERS, ids=str)
def test_the_same_draw_gives_the_same_picture(row, data_format):
    make = functools.partial(row.make, data_format=data_format)
    theirs, ours = make(keras), make(torchkeras)
    x = torch.as_tensor(images(data_format))
    masks = torch.as_tensor(images(data_format, 1)) % 5
    for _ in range(3):
        draw = drawn(theirs, x)
        same(
            ours.transform_images(x.float(), draw),
            theirs.transform_images(x.float(), draw),
            row.atol,
        )
        same(
            ours.transform_segmentation_masks(masks.float(), draw),
            theirs.transform_segmentation_masks(masks.float(), draw),
            row.atol,
        )


@pytest.mark.parametrize("row", [row for row in LAYERS if row.boxes], ids=str)
@pytest.mark.parametrize("source", ["xyxy", "rel_xyxy", "center_xywh"])
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


@pytest.mark.parametrize("row", LAYERS, ids=str)
def test_configs_are_exchanged(row):
    theirs, ours = row.make(keras, name="x"), row.make(torchkeras, name="x")
    own, other = (
        {
            k: list(v) if isinstance(v, tuple) else v
            for k, v in layer.get_config().items()
        }
        for layer in (ours, theirs)
    )
    own.pop("dtype"), other.pop("dtype")
    assert own == other
    twin = layers.deserialize(keras.layers.serialize(theirs))
    assert type(twin).__name__ == row.name
    keras.layers.deserialize(layers.serialize(ours))


@pytest.mark.parametrize("row", LAYERS, ids=str)
def test_what_is_drawn_has_the_range_of_keras(row):
    """Many draws of both layers have the same lowest, highest and mean values."""
    x = torch.zeros(4000, *SIZE, 3)
    found = []
    for library in (keras, torchkeras):
        layer = row.make(library, seed=7)
        draw = drawn(layer, x)
        values = [t.float() for t in tree.flatten(draw) if isinstance(t, torch.Tensor)]
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
