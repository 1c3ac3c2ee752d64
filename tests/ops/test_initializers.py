"""Initializers: legal arguments, names, seeds, devices, and what is drawn."""

# Illegal arguments are the subject here.
# pyright: reportArgumentType=false

import math

import numpy as np
import pytest
import torch

from torchkeras import initializers
from torchkeras._core import config
from torchkeras._core.registry import custom_object_scope
from torchkeras.initializers import (
    STFT,
    Constant,
    GlorotUniform,
    HeNormal,
    Identity,
    Initializer,
    Ones,
    Orthogonal,
    RandomNormal,
    RandomUniform,
    TruncatedNormal,
    VarianceScaling,
    Zeros,
)

RANDOM = [
    RandomNormal,
    TruncatedNormal,
    RandomUniform,
    VarianceScaling,
    GlorotUniform,
    HeNormal,
    Orthogonal,
]
ALL = [*RANDOM, Zeros, Ones, Constant, Identity]


class Filled(Initializer):
    def __init__(self, value):
        self.value = value

    def __call__(self, shape, dtype=None):
        return torch.full(shape, self.value)


@pytest.mark.parametrize(
    ("make", "error", "match"),
    [
        (lambda: RandomNormal(stddev=-1.0), ValueError, "RandomNormal: `stddev`"),
        (lambda: TruncatedNormal(stddev=-1.0), ValueError, "TruncatedNormal: `std"),
        (lambda: RandomNormal("0"), TypeError, "`mean` must be .* got '0'"),
        (lambda: RandomUniform(1.0, 0.0), ValueError, "at most `maxval`, which is 0.0"),
        (lambda: VarianceScaling(0.0), ValueError, "`scale` must be a positive"),
        (lambda: VarianceScaling(mode="fan"), ValueError, "mean 'fan_in'"),
        (lambda: VarianceScaling(distribution="unifrm"), ValueError, "mean 'uniform'"),
        (lambda: GlorotUniform(seed=1.5), ValueError, "GlorotUniform: `seed` must be"),
        (lambda: GlorotUniform(seed=True), ValueError, "got True"),
        (lambda: Identity(math.nan), ValueError, "Identity: `gain`"),
        (lambda: Orthogonal(gain="1"), TypeError, "Orthogonal: `gain`"),
        (lambda: STFT("both"), ValueError, "STFT: `side` must be one of"),
        (lambda: STFT(window="han"), ValueError, "mean 'hann'"),
        (lambda: STFT(scaling="L2"), ValueError, "STFT: `scaling`"),
        (lambda: initializers.get("glorot"), ValueError, "Unknown initializer"),
        (lambda: initializers.get(3), TypeError, "as initializer, got 3"),
    ],
)
def test_illegal_values_are_refused_at_construction(make, error, match):
    with pytest.raises(error, match=match):
        make()


@pytest.mark.parametrize(
    ("initializer", "shape", "match"),
    [
        (Identity(), (2, 2, 2), r"two axes, got the shape \(2, 2, 2\)"),
        (Orthogonal(), (3,), r"at least two axes, got the shape \(3,\)"),
        (STFT(), (8, 2, 5), r"frame length, 1.*got the shape \(8, 2, 5\)"),
        (STFT(window=[1.0, 2.0]), (8, 1, 5), "as long as the frame, 8 values"),
        (Constant([1.0, 2.0]), (3,), r"array of the weight's shape, \(3,\)"),
    ],
)
def test_shapes_that_do_not_fit_are_refused(initializer, shape, match):
    with pytest.raises(ValueError, match=match):
        initializer(shape)


def test_random_integers_are_refused():
    with pytest.raises(ValueError, match="`dtype` must be a floating-point dtype"):
        GlorotUniform()((2, 2), dtype="int32")


@pytest.mark.parametrize("cls", ALL)
@pytest.mark.parametrize("dtype", ["float16", "bfloat16", "float32", "float64"])
def test_shapes_and_dtypes_are_those_asked_for(cls, dtype):
    values = cls()((4, 3), dtype=dtype)
    assert values.shape == (4, 3)
    assert values.dtype == getattr(torch, dtype)
    assert not values.requires_grad


@pytest.mark.parametrize("cls", ALL)
def test_the_default_dtype_is_floatx(cls, monkeypatch):
    monkeypatch.setitem(config._settings, "floatx", "float64")
    assert cls()([2, 2]).dtype == torch.float64


@pytest.mark.parametrize("cls", [*ALL, STFT])
def test_on_meta_nothing_is_drawn(cls):
    before = torch.get_rng_state()
    with torch.device("meta"):
        assert cls()((4, 1, 3) if cls is STFT else (4, 3)).is_meta
    assert torch.equal(torch.get_rng_state(), before)


@pytest.mark.parametrize("cls", RANDOM)
def test_a_seed_gives_the_same_values_on_every_call(cls):
    seeded = cls(seed=5)
    before = torch.get_rng_state()
    first = seeded((4, 3))
    assert torch.equal(torch.get_rng_state(), before)
    assert torch.equal(seeded((4, 3)), first)
    assert torch.equal(cls(seed=np.int64(5))((4, 3)), first)
    assert torch.equal(seeded.clone()((4, 3)), first)
    assert not torch.equal(cls(seed=6)((4, 3)), first)


@pytest.mark.parametrize("cls", RANDOM)
def test_without_a_seed_torch_is_the_source(cls):
    unseeded = cls()
    torch.manual_seed(1)
    first = unseeded((4, 3))
    assert not torch.equal(unseeded((4, 3)), first)
    torch.manual_seed(1)
    assert torch.equal(cls()((4, 3)), first)


@pytest.mark.parametrize("shape", [(6, 4), (4, 6), (5, 5), (3, 3, 4, 8), (2, 2, 30)])
def test_orthogonal_matrices_are_orthogonal(shape):
    matrix = Orthogonal(gain=2.0)(shape).reshape(-1, shape[-1])
    if matrix.shape[0] < matrix.shape[1]:
        matrix = matrix.T
    product = matrix.T @ matrix
    torch.testing.assert_close(product, 4 * torch.eye(len(product)), atol=1e-5, rtol=0)


def test_truncated_values_stay_within_two_deviations():
    values = TruncatedNormal(mean=1.0, stddev=0.5)((20_000,))
    assert values.min().item() >= 0.0
    assert values.max().item() <= 2.0
    assert TruncatedNormal(mean=1.0, stddev=0.0)((3,)).tolist() == [1, 1, 1]


def test_variance_after_truncation_is_the_one_asked_for():
    values = HeNormal()((200, 100))
    assert values.var().item() == pytest.approx(2 / 200, rel=0.05)


@pytest.mark.parametrize(
    ("name", "cls"),
    [
        ("zeros", Zeros),
        ("zero", Zeros),
        ("Ones", Ones),
        ("one", Ones),
        ("uniform", RandomUniform),
        ("normal", RandomNormal),
        ("random_normal", RandomNormal),
        ("glorot_uniform", GlorotUniform),
        ("he_normal", HeNormal),
        ("truncated_normal", TruncatedNormal),
        ("orthogonal", Orthogonal),
        ("OrthogonalInitializer", Orthogonal),
        ("identity", Identity),
        ("IdentityInitializer", Identity),
        ("stft", STFT),
        ("STFTInitializer", STFT),
    ],
)
def test_names_give_instances(name, cls):
    assert type(initializers.get(name)) is cls
    assert type(initializers.deserialize(name)) is cls
    assert type(initializers.get({"class_name": name, "config": {}})) is cls


def test_none_and_functions_are_returned_as_they_are():
    assert initializers.get(None) is None
    assert initializers.get(torch.ones) is torch.ones


@pytest.mark.parametrize("values", [torch.eye(2), np.eye(2)])
def test_values_are_an_initializer(values):
    initializer = initializers.get(values)
    first = initializer((2, 2), dtype="float32")
    assert torch.equal(first, torch.eye(2))
    first.zero_()
    assert torch.equal(initializer((2, 2), dtype="float32"), torch.eye(2))
    with pytest.raises(ValueError, match="array of the weight's shape"):
        initializer((3, 2))
    restored = initializers.deserialize(initializers.serialize(initializer))
    assert torch.equal(restored((2, 2), dtype="float32"), torch.eye(2))


def test_a_window_of_your_own():
    kernel = STFT(window=np.ones(8), scaling=None)((8, 1, 5))
    torch.testing.assert_close(kernel, STFT(window=None)((8, 1, 5)))


def test_your_own_initializer_comes_back():
    config = initializers.serialize(Filled(3.0))
    with custom_object_scope({"Filled": Filled}):
        assert initializers.get(config)((2,)).tolist() == [3.0, 3.0]


def test_the_base_has_no_values():
    with pytest.raises(NotImplementedError, match="Initializer does not define"):
        Initializer()((2,))


@pytest.mark.gpu
@pytest.mark.parametrize("cls", ALL)
def test_values_are_made_on_the_accelerator(cls):
    assert cls()((4, 3)).device.type == config.default_device().type != "cpu"
