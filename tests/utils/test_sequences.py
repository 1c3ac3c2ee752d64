"""`pad_sequences` gives Keras's arrays."""

import keras
import numpy as np
import pytest

from torchkeras.preprocessing import sequence
from torchkeras.utils import pad_sequences

UNEQUAL = [[1], [2, 3], [], [4, 5, 6]]


@pytest.mark.parametrize(
    "arguments",
    [
        {},
        {"maxlen": 2},
        {"maxlen": 5},
        {"padding": "post"},
        {"maxlen": 2, "truncating": "post"},
        {"maxlen": 2, "padding": "post", "truncating": "post"},
        {"value": -1.5, "dtype": "float32"},
    ],
    ids=str,
)
def test_matches_keras(arguments):
    got = pad_sequences(UNEQUAL, **arguments)
    expected = keras.utils.pad_sequences(UNEQUAL, **arguments)
    assert got.dtype == expected.dtype
    np.testing.assert_array_equal(got, expected)


def test_steps_may_be_arrays():
    steps = [np.ones((2, 3)), np.ones((4, 3))]
    got = pad_sequences(steps, dtype="float32")
    np.testing.assert_array_equal(got, keras.utils.pad_sequences(steps, dtype="float"))


def test_strings():
    words = [["a"], ["b", "c"]]
    got = pad_sequences(words, dtype=object, value="-")
    assert got.tolist() == [["-", "a"], ["b", "c"]]


def test_no_sequences():
    assert pad_sequences([]).shape == (0, 0)


def test_the_older_name_is_the_same_function():
    assert sequence.pad_sequences is pad_sequences


@pytest.mark.parametrize(
    ("sequences", "arguments", "match"),
    [
        (5, {}, r"`sequences` must be a sequence of sequences.*got 5"),
        ([[1], 2], {}, "got 2 at position 1"),
        ([[1]], {"padding": "front"}, "`padding` must be one of 'pre', 'post'"),
        ([[1]], {"truncating": "end"}, "`truncating` must be one of"),
        ([[1]], {"maxlen": 0}, "`maxlen` must be a positive integer"),
        ([[1]], {"value": "x"}, "Pass `dtype=object`"),
        ([np.ones((1, 2)), np.ones((1, 3))], {}, r"\(2,\) first and \(3,\) in.*1"),
    ],
)
def test_refuses(sequences, arguments, match):
    with pytest.raises(ValueError, match=match):
        pad_sequences(sequences, **arguments)
