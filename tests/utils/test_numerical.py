"""`to_categorical` and `normalize` give Keras's numbers."""

import keras
import numpy as np
import pytest
import torch

from torchkeras.utils import normalize, to_categorical

LABELS = [
    ([0, 2, 1], None),
    ([[0], [3]], 5),
    (np.array([[1, 0], [2, 2]]), 3),
    (np.array([1.0, 0.0]), None),
    (2, 4),
]


@pytest.mark.parametrize(("labels", "num_classes"), LABELS)
def test_to_categorical_matches_keras(labels, num_classes):
    got = to_categorical(labels, num_classes)
    expected = keras.utils.to_categorical(labels, num_classes)
    assert got.dtype == expected.dtype
    np.testing.assert_array_equal(got, expected)


def test_to_categorical_of_a_tensor_is_a_tensor():
    got = to_categorical(torch.tensor([[0], [2]]), 3)
    expected = torch.tensor([[1.0, 0.0, 0.0], [0.0, 0.0, 1.0]])
    torch.testing.assert_close(got, expected)


@pytest.mark.parametrize("labels", [[0, 3], [-1, 0]])
@pytest.mark.parametrize("kind", [np.array, torch.tensor])
def test_to_categorical_refuses_a_label_out_of_range(labels, kind):
    with pytest.raises(ValueError, match="class numbers from 0 to 2, got"):
        to_categorical(kind(labels), 3)


def test_to_categorical_refuses_text():
    with pytest.raises(ValueError, match=r"must be class numbers, got.*np\.unique"):
        to_categorical(["cat", "dog"])


def test_to_categorical_of_nothing_needs_num_classes():
    assert to_categorical([], 3).shape == (0, 3)
    with pytest.raises(ValueError, match="Pass `num_classes`"):
        to_categorical([])


@pytest.mark.parametrize("order", [1, 2, 3, np.inf])
def test_normalize_matches_keras(order):
    x = np.array([[3.0, -4.0], [0.0, 0.0], [1.0, 2.0]])
    expected = keras.utils.normalize(x, -1, order)
    np.testing.assert_allclose(normalize(x, -1, order), expected)
    tensor = normalize(torch.tensor(x), -1, order)
    np.testing.assert_allclose(tensor, expected)


def test_normalize_along_the_first_axis():
    x = np.array([[3.0, 0.0, 1.0], [4.0, 2.0, 0.0]])
    expected = [[0.6, 0.0, 1.0], [0.8, 1.0, 0.0]]
    np.testing.assert_allclose(normalize(x, axis=0), expected)
