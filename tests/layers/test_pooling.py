"""Poolings: what "same" padding counts."""

from typing import Any

import pytest
import torch
import torch.nn.functional as F

from torchkeras import layers


def average_same(x, window, stride):
    """Average over windows that exist in part, by sums and counts."""
    size = x.shape[1]
    total = max(window - (size % stride or stride), 0)
    pads = (total // 2, total - total // 2)
    values, counts = (
        F.pad(t.permute(0, 2, 1), pads).unfold(2, window, stride).sum(-1)
        for t in (x, torch.ones_like(x))
    )
    return (values / counts).permute(0, 2, 1)


@pytest.mark.parametrize("size", [7, 8, 9])
@pytest.mark.parametrize("window", [1, 2, 3, 4, 5])
@pytest.mark.parametrize("stride", [1, 2, 3])
def test_average_over_the_steps_that_exist(size, window, stride):
    x = torch.randn(2, size, 3)
    expected = average_same(x, window, stride)
    sequence = layers.AveragePooling1D(window, stride, "same")
    image = layers.AveragePooling2D((window, 1), (stride, 1), "same")
    torch.testing.assert_close(sequence(x), expected)
    torch.testing.assert_close(image(x.unsqueeze(2)).squeeze(2), expected)


@pytest.mark.parametrize("size", [7, 8, 9])
@pytest.mark.parametrize("window", [1, 2, 3, 4])
@pytest.mark.parametrize("stride", [1, 2, 3])
def test_padding_is_below_all_values(size, window, stride):
    x = -torch.rand(2, size, 3) - 1
    outputs = layers.MaxPooling1D(window, stride, "same")(x)
    assert outputs.shape == (2, -(-size // stride), 3)
    assert bool((outputs <= -1).all())


def test_a_layer_pools_inputs_of_any_size():
    layer = layers.MaxPooling2D(2, padding="same")
    assert layer(torch.ones(1, 5, 6, 2)).shape == (1, 3, 3, 2)
    assert layer(torch.ones(1, 8, 9, 2)).shape == (1, 4, 5, 2)


def test_a_mask_ends_in_a_global_average():
    x: Any = torch.tensor([[[1.0], [5.0], [9.0]]])
    x._keras_mask = torch.tensor([[True, True, False]])
    outputs = layers.GlobalAveragePooling1D()(x)
    assert outputs.item() == 3.0
    assert getattr(outputs, "_keras_mask", None) is None
