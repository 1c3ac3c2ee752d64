"""The packed digits are scikit-learn's, split as documented."""

import numpy as np
from sklearn.datasets import load_digits

from torchkeras.datasets import digits


def split_digits():
    """Make the split again; `np.savez_compressed` of it is the packed file."""
    pixels, labels = load_digits(return_X_y=True)
    images = pixels.reshape(-1, 8, 8).astype(np.uint8)
    labels = labels.astype(np.uint8)
    order = np.random.default_rng(0).permutation(len(labels))
    shuffled = labels[order]
    test = np.concatenate([order[shuffled == digit][:36] for digit in range(10)])
    is_test = np.isin(order, test)
    train, test = order[~is_test], order[is_test]
    return (images[train], labels[train]), (images[test], labels[test])


def test_packed_data_are_the_documented_split():
    expected = [a for part in split_digits() for a in part]
    loaded = [a for part in digits.load_data() for a in part]
    for array, reference in zip(loaded, expected, strict=True):
        assert array.dtype == np.uint8
        np.testing.assert_array_equal(array, reference)


def test_test_set_is_balanced():
    _, (_, y_test) = digits.load_data()
    assert np.bincount(y_test).tolist() == [36] * 10


def test_packed_file_is_small():
    packed = digits.resources.files("torchkeras.datasets") / "digits.npz"
    assert len(packed.read_bytes()) < 150_000
