"""`Variable`: a parameter that is made as Keras's is."""

import keras
import numpy as np
import pytest
import torch

import torchkeras
from torchkeras import Variable


def test_an_initializer_by_name():
    ours, theirs = Variable("ones", shape=(2, 3)), keras.Variable("ones", shape=(2, 3))
    np.testing.assert_array_equal(ours.numpy(), np.asarray(theirs.value.detach()))
    assert isinstance(ours, torch.nn.Parameter)


@pytest.mark.parametrize("value", [1, 1.5, True, [1, 2], np.float64(3), np.arange(3)])
def test_the_dtype_is_that_of_keras(value):
    ours, theirs = (cls(value, trainable=False) for cls in (Variable, keras.Variable))
    if not isinstance(value, (np.ndarray, np.generic)):
        assert str(ours.dtype).removeprefix("torch.") == theirs.dtype
    np.testing.assert_array_equal(ours.numpy(), np.asarray(theirs.value.detach()))


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"initializer": "onse", "shape": (2,)}, "Did you mean .*'ones'"),
        ({"initializer": "ones"}, "`shape` must be given"),
        ({"initializer": [1, 2], "shape": (3,)}, r"`initializer`.*\(3,\).*\(2,\)"),
        ({"initializer": 1.0, "name": "a/b"}, "`name` must be text without '/'"),
        ({"initializer": 1.0, "aggregation": "maen"}, "`aggregation`.*'mean'"),
        ({"initializer": 1.0, "synchronization": "x"}, "`synchronization`"),
        ({"initializer": 1.0, "layout": object()}, "`layout` must be None"),
    ],
)
def test_illegal_arguments(arguments, message):
    with pytest.raises(ValueError, match=message):
        Variable(**arguments)


def test_it_is_made_where_weights_are():
    with torchkeras.device("meta"):
        assert Variable([1.0]).device.type == "meta"
