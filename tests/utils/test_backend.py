"""`backend` and `clear_session`: settings, names and tests of types."""

import keras
import pytest
import torch

import torchkeras
from torchkeras import backend, config, layers, utils

DTYPES = ["bool", "uint8", "int32", "int64", "float16", "bfloat16", "float32"]


@pytest.mark.parametrize("dtype", DTYPES)
def test_types_are_told_apart_as_in_keras(dtype):
    for tells in ("is_int_dtype", "is_float_dtype", "standardize_dtype"):
        expected = getattr(keras.backend, tells)(dtype)
        assert getattr(backend, tells)(dtype) == expected
        assert getattr(backend, tells)(getattr(torch, dtype)) == expected


def test_the_backend_is_torch():
    assert backend.backend() == config.backend() == "torch"


def test_settings_are_those_of_config():
    backend.set_image_data_format("channels_first")
    try:
        assert config.image_data_format() == "channels_first"
    finally:
        config.set_image_data_format("channels_last")


def test_is_keras_tensor():
    assert backend.is_keras_tensor(layers.Input((2,)))
    assert not utils.is_keras_tensor(torch.ones(2))


def test_clear_session_starts_names_again():
    utils.clear_session()
    names = [layers.Dense(1).name, layers.Dense(1).name]
    backend.clear_session(free_memory=False)
    assert [*names, layers.Dense(1).name] == ["dense", "dense_1", "dense"]


@pytest.mark.parametrize("first", [0, 1, 2])
def test_get_uid_counts_with_the_names_as_in_keras(first):
    def numbers(namespace):
        namespace.backend.clear_session()
        names = [namespace.layers.Dense(1).name for _ in range(first)]
        uids = [namespace.backend.get_uid("dense") for _ in range(2)]
        return [*names, *uids, namespace.layers.Dense(1).name]

    assert numbers(torchkeras) == numbers(keras)
