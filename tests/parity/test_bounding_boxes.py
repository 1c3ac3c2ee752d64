"""Bounding boxes: each function against Keras, in every format."""

import itertools
from typing import Any

import keras
import numpy as np
import pytest
import torch

from torchkeras._core.boxes import FORMATS
from torchkeras.utils import bounding_boxes

theirs = keras.utils.bounding_boxes
SIZE = {"height": 40, "width": 60}


def boxes(count=5, batch=(2,), seed=0):
    """Return boxes in pixels, as corners; some end beyond the border."""
    rng = np.random.default_rng(seed)
    first = rng.uniform(0, 30, (*batch, count, 2))
    return np.concatenate([first, first + rng.uniform(1, 40, first.shape)], -1).astype(
        "float32"
    )


def same(ours, expected):
    np.testing.assert_allclose(
        torch.as_tensor(ours).numpy(),
        expected.numpy(),
        rtol=1e-5,
        atol=1e-5,
    )


@pytest.mark.parametrize(
    ("source", "target"), list(itertools.product(FORMATS, FORMATS))
)
def test_convert_format(source, target):
    x = boxes() / (50 if source.startswith("rel_") else 1)
    args = (x, source, target, 40, 60)
    same(bounding_boxes.convert_format(*args), theirs.convert_format(*args))


def test_convert_format_of_a_dict_leaves_it_alone():
    given = {"boxes": boxes(), "labels": np.arange(5)}
    made = bounding_boxes.convert_format(given, "xyxy", "xywh")
    assert made["labels"] is given["labels"]
    np.testing.assert_array_equal(given["boxes"], boxes())
    same(made["boxes"], theirs.convert_format(boxes(), "xyxy", "xywh"))


@pytest.mark.parametrize("relative", [False, True])
def test_clip_to_image_size(relative):
    x = boxes()
    x[0, 0] = [100, 100, 120, 130]  # nothing of it is left
    name = "rel_xyxy" if relative else "xyxy"
    given = {"boxes": x / 40 if relative else x, "labels": np.arange(10).reshape(2, 5)}
    args = {"bounding_box_format": name, **({} if relative else SIZE)}
    made = bounding_boxes.clip_to_image_size(given, **args)
    expected = theirs.clip_to_image_size(
        {k: keras.ops.convert_to_tensor(v) for k, v in given.items()}, **args
    )
    same(made["boxes"], expected["boxes"])
    same(made["labels"], expected["labels"])
    assert made["labels"][0, 0] == -1


def test_affine_transform():
    rng = np.random.default_rng(1)
    numbers = [
        torch.tensor(rng.uniform(*between, 2), dtype=torch.float32)
        for between in ((-90, 90), (-1, 1), (-1, 1), (0.5, 2), (-30, 30), (-30, 30))
    ]
    for center in ((None, None), (0.2, 0.9)):
        args: Any = (torch.tensor(boxes()), *numbers, 40, 60, *center)
        same(bounding_boxes.affine_transform(*args), theirs.affine_transform(*args))


def test_crop_and_pad():
    args = (boxes(), 5, 8, 20, 25)
    same(bounding_boxes.crop(*args), theirs.crop(*args))
    same(bounding_boxes.pad(*args[:3]), theirs.pad(*args[:3]))


@pytest.mark.parametrize("masking", [False, True])
@pytest.mark.parametrize("batches", [((), ()), ((2,), (2,)), ((2,), ()), ((), (2,))])
def test_compute_iou(batches, masking):
    first, second = boxes(4, batches[0]), boxes(4, batches[1], seed=1)
    first[..., 0, :] = second[..., 1, :] = -1
    if masking and batches in (((2,), ()), ((), (2,))):
        return  # Keras cannot
    args = (first, second, "xyxy", masking)
    same(bounding_boxes.compute_iou(*args), theirs.compute_iou(*args))


def test_compute_iou_of_relative_boxes():
    args = (boxes() / 50, boxes(seed=1) / 50, "rel_xywh")
    same(
        bounding_boxes.compute_iou(*args, image_shape=(40, 60, 3)),
        theirs.compute_iou(*args, image_shape=(40, 60, 3)),
    )


def test_compute_ciou():
    args = (boxes(), boxes(seed=1), "xyxy")
    same(bounding_boxes.compute_ciou(*args), theirs.compute_ciou(*args))


@pytest.mark.parametrize("encoding", ["center_xywh", "center_yxhw"])
@pytest.mark.parametrize("variance", [None, [0.1, 0.1, 0.2, 0.2]])
def test_deltas(encoding, variance):
    anchors, x = boxes(batch=()), boxes(seed=1)
    args = (anchors, x, "xyxy", "yxyx", encoding, variance)
    deltas = bounding_boxes.encode_box_to_deltas(*args)
    same(deltas, theirs.encode_box_to_deltas(*args))
    args = (anchors, deltas, "xyxy", "xywh", encoding, variance)
    same(
        bounding_boxes.decode_deltas_to_boxes(*args),
        theirs.decode_deltas_to_boxes(*args),
    )
    by_level = bounding_boxes.decode_deltas_to_boxes(
        {3: anchors}, {3: deltas}, *args[2:]
    )
    same(by_level[3], theirs.decode_deltas_to_boxes(*args))


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda f: f.convert_format(boxes(), "xyxy", "xywx"), "Did you mean"),
        (lambda f: f.convert_format(boxes(), "xyxy", "rel_xyxy"), "`height` and"),
        (lambda f: f.convert_format([[1, 2, 3]], "xyxy", "xyxy"), r"\(..., 4\)"),
        (lambda f: f.clip_to_image_size({"boxes": boxes()}), "`height` and `width`"),
        (lambda f: f.compute_iou(boxes(), boxes(), "rel_xyxy"), "`image_shape`"),
        (lambda f: f.compute_iou([1, 2, 3, 4], boxes(), "xyxy"), "boxes1"),
        (
            lambda f: f.encode_box_to_deltas(
                boxes(), boxes(), "xyxy", "xyxy", variance=[1, 2]
            ),
            "four numbers",
        ),
        (
            lambda f: f.encode_box_to_deltas(boxes(), boxes(), "xyxy", "xyxy", "xyxy"),
            "center_xywh",
        ),
    ],
)
def test_bad_input(call, message):
    with pytest.raises(ValueError, match=message):
        call(bounding_boxes)


def test_other_formats_are_for_convert_format():
    with pytest.raises(NotImplementedError, match="Convert with `convert_format`"):
        bounding_boxes.crop(boxes(), 0, 0, 4, 4, "xywh")
