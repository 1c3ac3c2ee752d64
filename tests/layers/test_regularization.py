"""Dropout and noise: rates, shapes, seeds; penalties on outputs."""

import copy

import pytest
import torch

from torchkeras import layers


@pytest.mark.parametrize("size", [1_000, 4_095, 4_096, 100_003])
@pytest.mark.parametrize("rate", [0.0, 0.1, 0.5, 0.9, 1.0])
def test_the_rate_and_the_mean(size, rate):
    outputs = layers.Dropout(rate)(torch.ones(size), training=True)
    deviation = (rate * (1 - rate) / size) ** 0.5
    assert abs(float((outputs == 0).float().mean()) - rate) <= 4 * deviation
    if rate < 1:
        kept = outputs[outputs != 0]
        torch.testing.assert_close(kept, torch.full_like(kept, 1 / (1 - rate)))


def test_elements_are_dropped_independently():
    kept = layers.Dropout(0.5)(torch.ones(1 << 18), training=True) > 0
    for shift in (1, 2, 3, 4):
        agree = (kept[shift:] == kept[:-shift]).float().mean()
        assert abs(float(agree) - 0.5) < 0.005


@pytest.mark.parametrize("size", [100, 10_000])
def test_gradients_pass_where_values_do(size):
    x = torch.ones(size, requires_grad=True)
    outputs = layers.Dropout(0.3)(x, training=True)
    (grad,) = torch.autograd.grad(outputs.sum(), x)
    assert torch.equal(grad, outputs)


@pytest.mark.parametrize("size", [100, 10_000])
def test_a_seed_starts_a_sequence_of_the_layers_own(size):
    x = torch.ones(size)
    first, second = layers.Dropout(0.5, seed=7), layers.Dropout(0.5, seed=7)
    one = first(x, training=True)
    torch.rand(3)
    assert torch.equal(second(x, training=True), one)
    twin = copy.deepcopy(first)
    two = first(x, training=True)
    assert not torch.equal(two, one)
    assert torch.equal(twin(x, training=True), two)


@pytest.mark.parametrize("size", [100, 10_000])
def test_the_global_seed_rules_layers_without_one(size):
    x, layer = torch.ones(size), layers.Dropout(0.5)
    torch.manual_seed(1)
    one = layer(x, training=True)
    torch.manual_seed(1)
    assert torch.equal(layer(x, training=True), one)


def test_noise_shape_drops_whole_axes():
    layer = layers.Dropout(0.5, noise_shape=(None, 1, None))
    outputs = layer(torch.ones(8, 5, 16), training=True)
    assert torch.equal(outputs, outputs[:, :1].expand_as(outputs))
    assert 0 < int((outputs[:, 0] == 0).sum()) < 128


def test_noise_shape_has_the_rank_of_the_inputs():
    layer = layers.Dropout(0.5, noise_shape=(None, 1, None), name="drop")
    with pytest.raises(
        ValueError, match=r"'drop': expected an input of 3 axes, .*2, 3"
    ):
        layer(torch.ones(2, 3), training=True)


@pytest.mark.parametrize(
    ("layer", "shape", "axes"),
    [
        (layers.SpatialDropout1D(0.5), (8, 5, 16), (1,)),
        (layers.SpatialDropout2D(0.5), (8, 5, 5, 16), (1, 2)),
        (layers.SpatialDropout2D(0.5, "channels_first"), (8, 16, 5, 5), (2, 3)),
        (layers.SpatialDropout3D(0.5), (8, 5, 5, 5, 16), (1, 2, 3)),
    ],
)
def test_spatial_dropout_drops_whole_channels(layer, shape, axes):
    outputs = layer(torch.ones(shape), training=True)
    assert torch.equal(outputs.amin(axes), outputs.amax(axes))
    assert outputs.unique().tolist() == [0.0, 2.0]


def test_noise_has_the_standard_deviation():
    outputs = layers.GaussianNoise(0.5, seed=0)(torch.zeros(10_000), training=True)
    assert abs(float(outputs.std()) - 0.5) < 0.02


def test_gaussian_dropout_keeps_the_mean():
    outputs = layers.GaussianDropout(0.2, seed=0)(torch.ones(10_000), training=True)
    assert abs(float(outputs.mean()) - 1) < 0.02
    assert abs(float(outputs.std()) - 0.5) < 0.02


@pytest.mark.parametrize("rate", [0.1, 0.5, 0.9])
def test_alpha_dropout_keeps_mean_and_variance(rate):
    x = torch.randn(200_000)
    outputs = layers.AlphaDropout(rate, seed=0)(x, training=True)
    assert abs(float(outputs.mean())) < 0.02
    assert abs(float(outputs.std()) - 1) < 0.02
    values, counts = outputs.unique(return_counts=True)
    assert abs(float(counts.max()) / len(x) - rate) < 0.01
    limit = float(torch.nn.functional.selu(torch.tensor(-100.0)))
    gain = ((1 - rate) * (1 + rate * limit**2)) ** -0.5
    dropped = gain * (limit - rate * limit)
    assert float(values[counts.argmax()]) == pytest.approx(dropped, abs=1e-5)


def test_alpha_dropout_of_whole_steps():
    layer = layers.AlphaDropout(0.5, noise_shape=(None, None, 1), seed=0)
    outputs = layer(torch.ones(8, 16, 4), training=True)
    assert torch.equal(outputs, outputs[..., :1].expand_as(outputs))
    assert len(outputs.unique()) == 2


@pytest.mark.parametrize("name", ["GaussianDropout", "AlphaDropout"])
def test_seeded_noise_begins_alike(name):
    first, second = (getattr(layers, name)(0.5, seed=7) for _ in range(2))
    x = torch.randn(50)
    assert torch.equal(first(x, training=True), second(x, training=True))


def test_activity_regularization_adds_to_the_loss():
    layer = layers.ActivityRegularization(l1=0.1, l2=0.5)
    for training in (False, True):
        layer(torch.tensor([[1.0, -3.0], [0.0, 2.0]]), training=training)
        (loss,) = layer.losses
        assert float(loss) == pytest.approx((0.1 * 6 + 0.5 * 14) / 2)
