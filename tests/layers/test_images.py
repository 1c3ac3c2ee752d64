"""Layers for images: when they work, what they take, and what bad input gets."""

import copy
from typing import Any

import numpy as np
import pytest
import torch

import torchkeras
from torchkeras import layers

IMAGES = torch.arange(2 * 4 * 4 * 3, dtype=torch.float32).reshape(2, 4, 4, 3)


def changed(outputs):
    return not torch.equal(torch.as_tensor(outputs), IMAGES)


def brighter(**kwargs):
    return layers.RandomBrightness((0.5, 0.5), **kwargs)


class Outer(layers.Layer):
    def __init__(self):
        super().__init__()
        self.inner = brighter()

    def call(self, inputs):
        return self.inner(inputs)


def stacked():
    return torchkeras.Sequential([torchkeras.Input((4, 4, 3)), brighter()])


def late():
    return torchkeras.Sequential([brighter()])


def functional():
    inputs = torchkeras.Input((4, 4, 3))
    return torchkeras.Model(inputs, brighter()(inputs))


def nested():
    return torchkeras.Sequential([torchkeras.Input((4, 4, 3)), stacked()])


@pytest.mark.parametrize(
    "make",
    [brighter, Outer, stacked, late, functional, nested],
    ids=lambda f: f.__name__,
)
def test_images_are_varied_until_a_mode_is_said(make):
    layer = make()
    assert changed(layer(IMAGES))
    assert not changed(layer(IMAGES, training=False))
    assert changed(layer(IMAGES))
    assert changed(layer(IMAGES, training=True))
    twin = copy.deepcopy(layer)
    layer.eval()
    assert not changed(layer(IMAGES))
    assert changed(layer(IMAGES, training=True))
    assert not changed(layer(IMAGES))
    layer.train()
    assert changed(layer(IMAGES))
    assert changed(twin(IMAGES))


@pytest.mark.parametrize("make", [stacked, late, functional, nested])
def test_only_fit_varies_images(make):
    model = make()
    model.compile(
        loss=lambda y, p: (p - y).square().mean() + 0.0 * p.sum(), optimizer="sgd"
    )
    x = IMAGES.numpy()
    assert not changed(model.predict(x, verbose=0))
    assert model.evaluate(x, x, verbose=0) == 0.0
    model = make()
    model.compile(loss="mse", optimizer="sgd")
    assert model.test_on_batch(x, x) == 0.0
    assert not changed(model.predict_on_batch(x))


def test_one_image_and_a_batch():
    layer = layers.RandomFlip(seed=1)
    assert layer(IMAGES[0]).shape == (4, 4, 3)
    assert layer(IMAGES).shape == (2, 4, 4, 3)
    assert layer(IMAGES.to(torch.uint8)).dtype == torch.float32
    with pytest.raises(ValueError, match="of 3 axes, or a batch of images, of 4"):
        layer(IMAGES[0, 0])


def test_a_seed_gives_the_same_again():
    images = torch.rand(64, 4, 4, 3)
    first, second = layers.RandomFlip(seed=5), layers.RandomFlip(seed=5)
    for _ in range(2):
        assert torch.equal(first(images), second(images))
    assert not torch.equal(first(images), first(images))


def test_images_of_a_batch_are_varied_apart():
    images = torch.rand(200, 2, 2, 1)
    flipped = layers.RandomFlip("horizontal")(images)
    same = (flipped == images).flatten(1).all(1)
    assert 60 < int(same.sum()) < 140
    assert torch.equal(flipped[~same], images[~same].flip(-2))


def test_what_belongs_to_images_goes_with_them():
    layer = layers.RandomFlip("horizontal", bounding_box_format="xyxy")
    boxes = {"boxes": np.array([[0, 0, 1, 2]] * 2)[:, None], "labels": np.ones((2, 1))}
    data: Any = {
        "images": IMAGES,
        "labels": torch.tensor([1, 0]),
        "segmentation_masks": IMAGES[..., :1],
        "bounding_boxes": boxes,
        "name": ["a", "b"],
    }
    made: Any = layer(data)
    assert made["name"] == ["a", "b"]
    assert made["labels"].tolist() == [1, 0]
    for image, before, mask, box in zip(
        made["images"],
        IMAGES,
        made["segmentation_masks"],
        made["bounding_boxes"]["boxes"],
        strict=True,
    ):
        flipped = not torch.equal(image, before)
        assert torch.equal(mask, image[..., :1])
        assert box.tolist() == [[3, 0, 4, 2]] if flipped else [[0, 0, 1, 2]]
    assert boxes["boxes"].tolist() == [[[0, 0, 1, 2]]] * 2
    one: Any = layer({"images": IMAGES[0], "labels": torch.tensor(3)})
    assert one["images"].shape == (4, 4, 3)
    assert one["labels"].shape == ()


class Halved(layers.RandomFlip):
    def transform_images(self, images, transformation, training=True):
        return images[:, ::2]


def test_a_subclass_may_change_the_size_of_images():
    assert Halved()(torchkeras.Input((4, 4, 3))).shape == (None, 2, 4, 3)


def test_bounding_boxes_need_a_format():
    data = {"images": IMAGES, "bounding_boxes": {"boxes": [], "labels": []}}
    with pytest.raises(ValueError, match="bounding_box_format='xyxy'"):
        layers.RandomFlip()(data)
    layer = layers.RandomFlip(bounding_box_format="xyxy")
    with pytest.raises(ValueError, match="a dict of 'boxes' and 'labels'"):
        layer({**data, "bounding_boxes": [[1, 2, 3, 4]]})


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: layers.RandomFlip("both"), "one of 'horizontal'"),
        (lambda: layers.RandomFlip(bounding_box_format="xyxx"), "Did you mean"),
        (lambda: layers.RandomBrightness(2), "from -1 to 1"),
        (lambda: layers.RandomBrightness((0.1, 0.2, 0.3)), "a pair of them"),
        (lambda: layers.RandomBrightness("0.1"), "a number"),
        (lambda: layers.RandomBrightness(0.1, value_range=3), "the lowest and"),
        (lambda: layers.RandomBrightness(0.1, value_range=(1, 1)), "the lowest and"),
    ],
)
def test_bad_arguments(make, message):
    with pytest.raises(ValueError, match=message):
        make()
