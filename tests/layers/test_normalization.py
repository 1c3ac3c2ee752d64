"""Normalizations: modes, moving statistics, masks."""

import copy

import numpy as np
import pytest
import torch
from torch import nn

from torchkeras import layers


def statistics(layer):
    """Return copies of the moving mean and variance."""
    return layer.moving_mean.numpy(), layer.moving_variance.numpy()


def test_a_frozen_layer_runs_in_inference_mode():
    layer, x = layers.BatchNormalization(), torch.randn(16, 4) + 3
    layer(x, training=True)
    layer.trainable = False
    before = statistics(layer)
    expected = layer(x)
    assert torch.equal(layer(x, training=True), expected)
    np.testing.assert_array_equal(statistics(layer), before)
    layer.trainable = True
    assert not torch.equal(layer(x, training=True), expected)
    assert not np.array_equal(statistics(layer), before)


def test_the_moving_variance_takes_in_the_biased_one():
    layer, x = layers.BatchNormalization(momentum=0.0), torch.randn(8, 4)
    layer(x, training=True)
    mean, variance = statistics(layer)
    np.testing.assert_allclose(mean, x.mean(0), atol=1e-6)
    np.testing.assert_allclose(variance, x.var(0, unbiased=False), rtol=1e-5)


def test_a_shared_layer_may_be_called_twice_before_the_backward_pass():
    layer, x = layers.BatchNormalization(), torch.randn(8, 4, requires_grad=True)
    outputs = layer(x, training=True) + layer(2 * x, training=True)
    (grad,) = torch.autograd.grad(outputs.sum(), x)
    assert bool(grad.isfinite().all())


def test_the_inner_module_is_torchs():
    norm = layers.BatchNormalization()
    norm(torch.randn(4, 5, 5, 3))
    assert isinstance(norm.norm, nn.modules.batchnorm._BatchNorm)
    synchronized = nn.SyncBatchNorm.convert_sync_batchnorm(copy.deepcopy(norm))
    assert isinstance(synchronized.norm, nn.SyncBatchNorm)
    layer = layers.LayerNormalization()
    layer(torch.randn(4, 3))
    assert isinstance(layer.norm, nn.LayerNorm)


def test_a_synchronized_layer_in_one_process():
    layer, x = layers.BatchNormalization(synchronized=True), torch.randn(8, 5, 5, 3)
    plain = layers.BatchNormalization()
    torch.testing.assert_close(layer(x, training=True), plain(x, training=True))
    assert layer.get_config()["synchronized"]


@pytest.mark.parametrize("axis", [1, [1, 2], [1, 3]])
def test_layer_normalization_over_any_axes(axis):
    # Keras on torch normalizes the last axes whenever the axes are neighbours.
    layer, x = layers.LayerNormalization(axis), torch.randn(2, 3, 4, 5)
    layer.build(x.shape)
    layer.set_weights([np.random.rand(*w.shape) for w in layer.weights])
    variance, mean = torch.var_mean(x, axis, unbiased=False, keepdim=True)
    shape = [s if a in np.atleast_1d(axis) else 1 for a, s in enumerate(x.shape)]
    gamma, beta = (weight.value.reshape(shape) for weight in layer.weights)
    expected = (x - mean) / (variance + 1e-3).sqrt() * gamma + beta
    torch.testing.assert_close(layer(x), expected)


@pytest.mark.parametrize("renorm", [False, True])
@pytest.mark.parametrize("mask", [None, torch.ones(64, dtype=torch.bool)])
def test_half_precision_inputs_keep_statistics_in_single(renorm, mask):
    layer = layers.BatchNormalization(renorm=renorm, dtype="mixed_bfloat16")
    x = torch.randn(64, 4).bfloat16() + 1
    outputs = layer(x, training=True, mask=mask)
    assert outputs.dtype == torch.bfloat16
    assert layer.norm.running_mean.dtype == torch.float32
    np.testing.assert_allclose(
        layer.moving_mean.numpy(), 0.01 * x.float().mean(0), atol=1e-3
    )
