"""Cropping, padding and upsampling, beyond the comparison with Keras."""

import pytest
import torch

from torchkeras import layers


def test_unknown_sizes_stay_unknown():
    x = layers.Input((None, 3))
    assert layers.Cropping1D((500, 100))(x).shape == (None, None, 3)
    assert layers.ZeroPadding1D(2)(x).shape == (None, None, 3)
    assert layers.UpSampling1D(3)(x).shape == (None, None, 3)
    images = layers.Input((None, 8, 3))
    assert layers.Cropping2D(((900, 0), (1, 2)))(images).shape == (None, None, 5, 3)
    assert layers.UpSampling2D((2, 3))(images).shape == (None, None, 24, 3)


@pytest.mark.parametrize("dtype", [torch.int64, torch.uint8, torch.bool])
def test_integers_stay_integers(dtype):
    x = torch.ones(1, 4, 4, 1, dtype=dtype)
    for layer in (layers.Cropping2D(1), layers.ZeroPadding2D(), layers.UpSampling2D()):
        assert layer(x).dtype == dtype
        symbol = layers.Input((4, 4, 1), dtype=str(dtype).removeprefix("torch."))
        assert f"torch.{layer(symbol).dtype}" == str(dtype)


def test_nothing_is_left_of_a_later_input():
    layer = layers.Cropping1D(2, name="cut")
    layer(torch.ones(1, 9, 3))
    with pytest.raises(ValueError, match=r"Layer 'cut' \(Cropping1D\): .*\(1, 4, 3\)"):
        layer(torch.ones(1, 4, 3))
    with pytest.raises(ValueError, match=r"Layer 'cut' .*\(None, 4, 3\)"):
        layer(layers.Input((4, 3)))


def test_rows_and_columns_are_repeated():
    x = torch.arange(6.0).reshape(1, 2, 3, 1)
    outputs = layers.UpSampling2D((2, 3))(x)
    expected = x.repeat_interleave(2, 1).repeat_interleave(3, 2)
    assert torch.equal(outputs, expected)
