"""Initializers against Keras's own: configs, fans and distributions."""

import inspect

import keras
import numpy as np
import pytest
import torch
from keras.src.initializers.random_initializers import compute_fans

from torchkeras import initializers

SIGNATURES_OF = {name for name in dir(keras.initializers) if not name.startswith("_")}
CONFIGS = [
    ("Constant", {"value": 3.5}),
    ("Constant", {"value": np.arange(3.0)}),
    ("GlorotNormal", {}),
    ("GlorotUniform", {"seed": 3}),
    ("HeNormal", {"seed": 1, "input_axes": [0], "output_axes": [1]}),
    ("HeUniform", {}),
    ("LecunNormal", {}),
    ("LecunUniform", {}),
    ("Ones", {}),
    ("Orthogonal", {"gain": 0.5, "seed": 1}),
    ("RandomNormal", {"mean": 1.0, "stddev": 0.1}),
    ("RandomUniform", {"minval": -1.0, "maxval": 1.0}),
    ("STFT", {"side": "imag", "periodic": True}),
    ("TruncatedNormal", {"mean": 1.0, "stddev": 0.1, "seed": 0}),
    ("VarianceScaling", {"scale": 2.0, "mode": "fan_out", "distribution": "normal"}),
    ("Zeros", {}),
]
SHAPE = (40, 30, 20)
#: Enough values for means within a percent or two, and seven deviations either side.
DISTRIBUTIONS = [
    ("RandomNormal", {"mean": 0.5, "stddev": 2.0}),
    ("TruncatedNormal", {"mean": 0.5, "stddev": 2.0}),
    ("RandomUniform", {"minval": -1.0, "maxval": 3.0}),
    ("GlorotNormal", {}),
    ("GlorotUniform", {}),
    ("HeNormal", {}),
    ("HeUniform", {}),
    ("LecunNormal", {}),
    ("LecunUniform", {}),
    ("HeUniform", {"input_axes": [0], "output_axes": [1, 2]}),
    ("VarianceScaling", {"distribution": "untruncated_normal"}),
    ("VarianceScaling", {"mode": "fan_out", "scale": 3.0}),
]


@pytest.mark.parametrize("name", sorted(SIGNATURES_OF))
def test_signatures_are_those_of_keras(name):
    def shape_of(member):
        parameters = inspect.signature(member).parameters.values()
        return [(p.name, p.default) for p in parameters]

    ours = shape_of(getattr(initializers, name))
    assert ours == shape_of(getattr(keras.initializers, name))


@pytest.mark.parametrize(("name", "options"), CONFIGS, ids=str)
def test_configs_are_those_of_keras(name, options):
    theirs = keras.initializers.serialize(getattr(keras.initializers, name)(**options))
    ours = initializers.serialize(getattr(initializers, name)(**options))
    assert ours == theirs
    restored = initializers.deserialize(theirs)
    assert initializers.serialize(restored) == theirs


def test_the_gain_of_an_identity_is_kept_where_keras_forgets_it():
    config = initializers.serialize(initializers.Identity(2.0))
    values = keras.initializers.deserialize(config)((2, 2))
    assert values.tolist() == [[2.0, 0.0], [0.0, 2.0]]
    theirs = keras.initializers.serialize(keras.initializers.Identity(2.0))
    assert initializers.deserialize(theirs).gain == 1.0


@pytest.mark.parametrize("shape", [(), (5,), (4, 3), (3, 4, 5), (3, 3, 8, 16)])
@pytest.mark.parametrize("axes", [(None, None), ([0], None), ([0], [-1])])
def test_fans_are_those_of_keras(shape, axes):
    if axes[1] is not None and not shape:
        return
    assert initializers.compute_fans(shape, *axes) == compute_fans(shape, *axes)


@pytest.mark.parametrize(("name", "options"), DISTRIBUTIONS, ids=str)
def test_distributions_are_those_of_keras(name, options):
    def drawn_by(package):
        values = getattr(package, name)(**options, seed=1)(SHAPE)
        return values.double().flatten().sort().values

    ours, theirs = drawn_by(initializers), drawn_by(keras.initializers)
    # Two samples of one distribution: Kolmogorov and Smirnov's largest distance between
    # their distribution functions, at a level of about one in a hundred thousand.
    ranks = torch.searchsorted(theirs, ours) / len(ours)
    steps = torch.arange(1, len(ours) + 1) / len(ours)
    assert (ranks - steps).abs().max().item() < 2.5 * (2 / len(ours)) ** 0.5
    torch.testing.assert_close(ours.std(), theirs.std(), rtol=0.03, atol=0)
    assert ours.abs().max().item() == pytest.approx(theirs.abs().max().item(), rel=0.3)


@pytest.mark.parametrize("side", ["real", "imag"])
@pytest.mark.parametrize("window", ["hann", "hamming", "blackman", "bartlett", None])
@pytest.mark.parametrize(
    ("scaling", "periodic"), [("density", False), ("spectrum", True), (None, False)]
)
def test_fourier_kernels_are_those_of_keras(side, window, scaling, periodic):
    pytest.importorskip("scipy")
    options = (side, window, scaling, periodic)
    ours = initializers.STFT(*options)((32, 1, 17))
    theirs = keras.initializers.STFT(*options)((32, 1, 17))
    torch.testing.assert_close(ours, theirs, rtol=1e-4, atol=1e-5)
