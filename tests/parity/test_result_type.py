"""The dtype of computations on several dtypes, compared with Keras's."""

import itertools

import keras
import numpy as np
import pytest
import torch

import torchkeras
from torchkeras.backend import result_type

NAMES = (
    "bool uint8 uint16 uint32 uint64 int8 int16 int32 int64 "
    "float16 bfloat16 float32 float64 complex64 complex128"
).split()
DTYPES = [*NAMES, int, float, bool, complex, None]


@pytest.fixture(params=["float16", "bfloat16", "float32", "float64"])
def floatx(request):
    keras.config.set_floatx(request.param)
    torchkeras.config.set_floatx(request.param)
    yield request.param
    keras.config.set_floatx("float32")
    torchkeras.config.set_floatx("float32")


@pytest.mark.parametrize("number", [0, 1, 2])
def test_of_all_combinations(floatx, number):
    for dtypes in itertools.product(DTYPES, repeat=number):
        expected = keras.backend.result_type(*dtypes)
        assert result_type(*dtypes) == expected, dtypes


def test_of_three():
    for dtypes in itertools.product(DTYPES, repeat=3):
        expected = keras.backend.result_type(*dtypes)
        assert result_type(*dtypes) == expected, dtypes


def test_takes_dtypes_in_any_form():
    assert result_type(torch.int32, np.float16) == "float16"
    assert result_type(np.dtype("int8"), torch.uint8) == "int16"


def test_refuses_what_is_no_dtype():
    with pytest.raises(ValueError, match="dtype"):
        result_type("float33", "int32")
