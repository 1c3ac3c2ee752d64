"""Kernels that Keras takes from TensorFlow, from their definitions."""

import numpy as np
import pytest
import torch

from torchkeras.ops.image import resize


def gaussian(x):
    return np.exp(-(x**2) / (2 * 0.5**2)) * (abs(x) < 1.5)


def mitchell(x):
    b = c = 1 / 3
    x = abs(x)
    near = (12 - 9 * b - 6 * c) * x**3 + (-18 + 12 * b + 6 * c) * x**2 + 6 - 2 * b
    far = (-b - 6 * c) * x**3 + (6 * b + 30 * c) * x**2 + (-12 * b - 48 * c) * x
    far += 8 * b + 24 * c
    return np.where(x < 1, near, np.where(x < 2, far, 0)) / 6


@pytest.mark.parametrize("new", [3, 7, 11])
@pytest.mark.parametrize(
    ("method", "kernel"), [("gaussian", gaussian), ("mitchellcubic", mitchell)]
)
def test_kernels(method, kernel, new):
    line = np.random.RandomState(0).rand(7)
    expected = []
    for i in range(new):
        at = (i + 0.5) * 7 / new - 0.5
        weights = np.array([kernel(at - j) for j in range(7)])
        expected.append((weights * line).sum() / weights.sum())
    image = torch.tensor(line).reshape(1, 7, 1)
    mine = resize(image, (1, new), method, data_format="channels_last")
    np.testing.assert_allclose(mine.flatten(), expected, atol=1e-6)


@pytest.mark.parametrize("new", [1, 3, 7, 11, 14])
def test_area(new):
    line = np.random.RandomState(0).rand(7)
    fine = np.repeat(line, new)  # into parts of which each new pixel has a whole number
    image = torch.tensor(line).reshape(7, 1, 1)
    mine = resize(image, (new, 1), "area", data_format="channels_last")
    np.testing.assert_allclose(mine.flatten(), fine.reshape(new, 7).mean(1), atol=1e-6)
