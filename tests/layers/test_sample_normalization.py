"""Normalizations of a sample by itself, where Keras or torch's kernels go wrong."""

import pytest
import torch

from torchkeras import layers


@pytest.mark.parametrize(
    ("axis", "shape"), [(1, (2, 5, 4)), ([1, 3], (2, 5, 4, 3)), ([-1, 1], (2, 5, 4))]
)
def test_rms_normalization_over_any_axes(axis, shape):
    layer, x = layers.RMSNormalization(axis, epsilon=1e-3), torch.randn(shape)
    layer.build(shape)
    axes = [axis] if isinstance(axis, int) else sorted(a % x.ndim for a in axis)
    gain = torch.rand([shape[a] for a in axes])
    layer.set_weights([gain])
    expected = x / (x.square().mean(axes, keepdim=True) + 1e-3).sqrt()
    sizes = [shape[a] if a in axes else 1 for a in range(x.ndim)]
    torch.testing.assert_close(layer(x).detach(), expected * gain.reshape(sizes))


@pytest.mark.parametrize("axis", [-1, 1])
@pytest.mark.parametrize("shape", [(2, 4), (2, 4, 4), (2, 4, 6, 4), (2, 4, 3, 2, 4)])
@pytest.mark.parametrize("kwargs", [{}, {"center": False}, {"scale": False}])
def test_group_normalization_of_inputs_that_need_no_gradient(kwargs, shape, axis):
    layer, x = layers.GroupNormalization(2, axis, **kwargs), torch.randn(shape)
    layer(x).square().sum().backward()
    grads = [weight.grad for weight in layer.trainable_weights]
    x.requires_grad_()
    tensors = list(layer.parameters())
    again = torch.autograd.grad(layer(x).square().sum(), tensors)
    for first, second in zip(grads, again, strict=True):
        torch.testing.assert_close(first, second)


def test_a_vector_of_zeros_has_no_direction():
    x = torch.zeros(1, 3, requires_grad=True)
    outputs = layers.UnitNormalization()(x)
    outputs.sum().backward()
    assert torch.equal(outputs, torch.zeros(1, 3))
    assert x.grad is not None
    assert bool(x.grad.isfinite().all())
