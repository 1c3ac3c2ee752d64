"""What layers refuse, what they say, and that a refused call changes nothing."""

import numpy as np
import pytest
import torch

from torchkeras import layers


def built(layer, *shape):
    """Return a layer built for that input, without a draw from the shared generator."""
    with torch.random.fork_rng():
        layer.build((None, *shape))
    return layer


CALLS = [
    # A1: the wrong number of features
    (built(layers.Dense(2, name="d1"), 4), (10, 3),
     r"Layer 'd1' \(Dense\): expected size 4 on axis -1, .*\(10, 3\)"),
    (built(layers.BatchNormalization(name="bn"), 4), (10, 3),
     r"'bn' \(BatchNormalization\): expected size 4 on axis 1, .*\(10, 3\)"),
    (built(layers.LayerNormalization(name="ln"), 4), (10, 3),
     r"'ln' \(LayerNormalization\): expected size 4 on axis 1, .*\(10, 3\)"),
    (built(layers.Conv1D(2, 3, name="c1"), 8, 4), (2, 8, 3),
     r"'c1' \(Conv1D\): expected size 4 on axis -1, .*\(2, 8, 3\)"),
    # A17: channels in the wrong place, or missing
    (built(layers.Conv2D(2, 3, name="c2"), 8, 8, 3), (2, 3, 8, 8),
     r"'c2' .*\(2, 3, 8, 8\).*data_format='channels_first'"),
    (built(layers.Conv2D(2, 3, data_format="channels_first", name="c3"), 3, 8, 8),
     (2, 8, 8, 3), r"'c3' .*\(2, 8, 8, 3\).*data_format='channels_last'"),
    (built(layers.Conv2D(2, 3, name="c4"), 8, 8, 1), (2, 8, 8),
     r"'c4' .*expected 4 axes.*\(2, 8, 8\).*Add an axis for the channels"),
    # A18: a window larger than a later input
    (built(layers.Conv2D(2, 3, name="c5"), 8, 8, 3), (2, 2, 9, 3),
     r"'c5' .*at least \(3, 3\) for kernel_size=\(3, 3\), strides=\(1, 1\), "
     r"padding='valid', .*\(2, 2, 9, 3\)"),
    (built(layers.MaxPooling2D(4, name="p1"), 8, 8, 3), (2, 8, 2, 3),
     r"'p1' .*at least \(4, 4\) for pool_size=\(4, 4\), strides=\(4, 4\), "
     r"padding='valid', .*\(2, 8, 2, 3\)"),
    (built(layers.Cropping1D(2, name="cr1"), 8, 3), (2, 4, 3),
     r"'cr1' \(Cropping1D\): .*larger than .*cropping=\(\(2, 2\),\).*\(2, 4, 3\)"),
    (built(layers.Cropping2D((0, 3), "channels_first", name="cr2"), 3, 8, 8),
     (2, 3, 8, 6), r"'cr2' \(Cropping2D\): .*\(2, 3, 8, 6\) in channels_first"),
    (built(layers.GroupNormalization(2, name="gn"), 8, 4), (2, 8, 6),
     r"'gn' \(GroupNormalization\): expected size 4 on axis 2, .*\(2, 8, 6\)"),
    (built(layers.RMSNormalization(name="rms"), 4), (2, 3),
     r"'rms' \(RMSNormalization\): expected size 4 on axis 1, .*\(2, 3\)"),
    (built(layers.Reshape((4, 3), name="r1"), 12), (2, 10),
     r"'r1' \(Reshape\): .*target_shape=\(4, 3\), .*\(2, 10\) with 10 values"),
]  # fmt: skip


@pytest.mark.parametrize(("layer", "shape", "message"), CALLS)
def test_inputs_that_do_not_fit(layer, shape, message):
    before = layer.get_weights()
    for training in (False, True):
        with pytest.raises(ValueError, match=message):
            layer(torch.ones(shape), training=training)
    for old, new in zip(before, layer.get_weights(), strict=True):
        np.testing.assert_array_equal(old, new)
    assert not layer.training


@pytest.mark.parametrize("index", [9, 12, -1])
@pytest.mark.parametrize("dtype", [torch.int64, torch.int32, torch.float32])
def test_indices_outside_the_table(index, dtype):
    layer = layers.Embedding(9, 2, name="words")
    ids = torch.tensor([[1, index]], dtype=dtype)
    with pytest.raises(ValueError, match=r"'words' .*input_dim=9"):
        layer(ids)
    assert layer(torch.tensor([[1, 8]])).shape == (1, 2, 2)


BUILDS = [
    (layers.Conv1D(2, 5, name="c"), (None, 4, 3), r"kernel_size=\(5,\)"),
    (layers.Conv2D(2, 5, name="c"), (None, 4, 8, 3), r"kernel_size=\(5, 5\)"),
    (layers.Conv2D(2, 3, dilation_rate=2, name="c"), (None, 4, 4, 3),
     r"at least \(5, 5\)"),
    (layers.MaxPooling2D(5, name="c"), (None, 4, 4, 3), r"pool_size=\(5, 5\)"),
    (layers.AveragePooling1D(5, name="c"), (None, 4, 3), r"pool_size=\(5,\)"),
    (layers.Conv2D(2, 3, groups=2, name="c"), (None, 4, 4, 3), "multiple of groups=2"),
    (layers.Conv2D(2, 3, name="c"), (None, 4, 4, None), "channels must be known"),
    (layers.Conv2DTranspose(2, 3, name="c"), (None, 4, 4, None), "must be known, got"),
    (layers.DepthwiseConv2D(5, name="c"), (None, 4, 4, 3), r"kernel_size=\(5, 5\)"),
    (layers.SeparableConv1D(2, 3, dilation_rate=2, name="c"), (None, 4, 3),
     r"at least \(5,\)"),
    (layers.BatchNormalization(axis=3, name="c"), (None, 4), "`axis` must be within"),
    (layers.LayerNormalization(axis=[1, 2], name="c"), (None, 4),
     "`axis` must be within"),
    (layers.UnitNormalization(axis=2, name="c"), (None, 4), "`axis` must be within"),
    (layers.RMSNormalization(axis=2, name="c"), (None, 4), "`axis` must be within"),
    (layers.GroupNormalization(name="c"), (None, 8, 48), "multiple of groups=32"),
    (layers.GroupNormalization(2, name="c"), (None, 8, None), "must be known"),
    (layers.GroupNormalization(1, axis=0, name="c"), (4, 8), "other than the batch"),
    (layers.EinsumDense("ab,bc->ac", 3, name="c"), (None, 4, 5), "expected 2 axes"),
    (layers.EinsumDense("...b,bc->...c", 3, name="c"), (4,), "expected 1 axes"),
    (layers.EinsumDense("ab,bc->ac", 3, name="c"), (None, None), "known sizes .*'bc'"),
    (layers.EinsumDense("btc,cd->btd", (7, 3), name="c"), (None, 5, 4),
     "size 7 on axis 't'"),
    (layers.EinsumDense("btc,cd->btd", (None, 3), bias_axes="td", name="c"),
     (None, None, 4), "known sizes for the axes 'td'"),
    (layers.Add(name="c"), (None, 4), "a list of tensors"),
    (layers.Add(name="c"), [(None, 4), (None, 3)], "shapes that broadcast"),
]  # fmt: skip


@pytest.mark.parametrize(("layer", "shape", "message"), BUILDS)
def test_shapes_that_cannot_be_built_for(layer, shape, message):
    built = layer.built
    with pytest.raises(ValueError, match=rf"Layer 'c'.*{message}"):
        layer.build(shape)
    assert layer.built == built
    assert layer.weights == []


def test_a_chain_of_poolings_names_the_one_that_fails():
    x = layers.Input((8, 8, 3))
    x = layers.MaxPooling2D(4)(x)
    with pytest.raises(ValueError, match=r"'second' .*\(None, 2, 2, 3\)"):
        layers.MaxPooling2D(4, name="second")(x)


ARGUMENTS = [
    (layers.Dense, {"units": 0}, ValueError, "units"),
    (layers.Dense, {"units": -3}, ValueError, "units"),
    (layers.Dense, {"units": 3.5}, TypeError, "units"),
    (layers.Dense, {"units": "3"}, TypeError, "units"),
    (layers.Dense, {"units": True}, TypeError, "units"),
    (layers.Dense, {"units": 3, "activation": "reluu"}, ValueError,
     "Did you mean 'relu'"),
    (layers.Dense, {"units": 3, "use_bais": True}, ValueError,
     "Did you mean 'use_bias'"),
    (layers.Dense, {"units": 3, "name": "a/b"}, ValueError, "name"),
    (layers.Embedding, {"input_dim": 0, "output_dim": 3}, ValueError, "input_dim"),
    (layers.Embedding, {"input_dim": 3, "output_dim": 0.5}, TypeError, "output_dim"),
    (layers.Conv2D, {"filters": 0, "kernel_size": 3}, ValueError, "filters"),
    (layers.Conv2D, {"filters": 3.5, "kernel_size": 3}, TypeError, "filters"),
    (layers.Conv2D, {"filters": 3, "kernel_size": 0}, ValueError, "kernel_size"),
    (layers.Conv2D, {"filters": 3, "kernel_size": (3, 3, 3)}, ValueError,
     "kernel_size"),
    (layers.Conv2D, {"filters": 3, "kernel_size": (3, 1.5)}, TypeError, "kernel_size"),
    (layers.Conv2D, {"filters": 3, "kernel_size": 3, "strides": 0}, ValueError,
     "strides"),
    (layers.Conv2D, {"filters": 3, "kernel_size": 3, "groups": 2}, ValueError,
     "groups=2"),
    (layers.Conv2D, {"filters": 3, "kernel_size": 3, "groups": 0}, ValueError,
     "groups"),
    (layers.Conv2D, {"filters": 3, "kernel_size": 3, "padding": "sane"}, ValueError,
     "Did you mean 'same'"),
    (layers.Conv2D, {"filters": 3, "kernel_size": 3, "padding": "causal"}, ValueError,
     "padding"),
    (layers.Conv2D, {"filters": 3, "kernel_size": 3, "strides": 2, "dilation_rate": 2},
     ValueError, "`strides` or `dilation_rate` must be 1"),
    (layers.Conv2D, {"filters": 3, "kernel_size": 3, "data_format": "NHWC"}, ValueError,
     "data_format"),
    (layers.Conv2DTranspose, {"filters": 0, "kernel_size": 3}, ValueError, "filters"),
    (layers.Conv2DTranspose, {"filters": 2, "kernel_size": 3, "output_padding": 1},
     ValueError, r"`output_padding` must be less than `strides`.*\(1, 1\)"),
    (layers.Conv1DTranspose, {"filters": 2, "kernel_size": 3, "output_padding": -1},
     ValueError, "`output_padding` must be a non-negative integer"),
    (layers.Conv1DTranspose, {"filters": 2, "kernel_size": 3, "output_padding": 0.5},
     TypeError, "output_padding"),
    (layers.Conv3DTranspose,
     {"filters": 2, "kernel_size": 3, "strides": 2, "dilation_rate": 2}, ValueError,
     "`strides` or `dilation_rate` must be 1"),
    (layers.Conv1DTranspose, {"filters": 2, "kernel_size": 3, "padding": "causal"},
     ValueError, "padding"),
    (layers.DepthwiseConv2D, {"kernel_size": 3, "depth_multiplier": 0}, ValueError,
     "depth_multiplier"),
    (layers.DepthwiseConv1D, {"kernel_size": 3, "padding": "causal"}, ValueError,
     "padding"),
    (layers.SeparableConv2D, {"filters": 2.5, "kernel_size": 3}, TypeError, "filters"),
    (layers.SeparableConv1D, {"filters": 2, "kernel_size": 3, "groups": 2}, ValueError,
     "unknown argument"),
    (layers.AdaptiveMaxPooling2D, {"output_size": 0}, ValueError, "output_size"),
    (layers.AdaptiveMaxPooling2D, {"output_size": (1, 2, 3)}, ValueError,
     "output_size"),
    (layers.AdaptiveAveragePooling1D, {"output_size": "2"}, TypeError, "output_size"),
    (layers.MaxPooling2D, {"pool_size": 0}, ValueError, "pool_size"),
    (layers.MaxPooling2D, {"pool_size": "2"}, TypeError, "pool_size"),
    (layers.MaxPooling2D, {"padding": "causal"}, ValueError, "padding"),
    (layers.GlobalMaxPooling1D, {"data_format": "x"}, ValueError, "data_format"),
    (layers.Dropout, {"rate": 2.0}, ValueError, "rate"),
    (layers.Dropout, {"rate": -0.1}, ValueError, "rate"),
    (layers.Dropout, {"rate": float("nan")}, ValueError, "rate"),
    (layers.Dropout, {"rate": "half"}, TypeError, "rate"),
    (layers.Dropout, {"rate": 0.5, "seed": 1.5}, TypeError, "seed"),
    (layers.Dropout, {"rate": 0.5, "noise_shape": (0, 1)}, ValueError, "noise_shape"),
    (layers.Dropout, {"rate": 0.5, "noise_shape": "ab"}, TypeError, "noise_shape"),
    (layers.SpatialDropout2D, {"rate": 1.5}, ValueError, "rate"),
    (layers.GaussianNoise, {"stddev": -1}, ValueError, "stddev"),
    (layers.GaussianDropout, {"rate": 1.0}, ValueError, "rate"),
    (layers.AlphaDropout, {"rate": 1.0}, ValueError, "rate"),
    (layers.AlphaDropout, {"rate": 0.5, "noise_shape": 3}, TypeError, "noise_shape"),
    (layers.ActivityRegularization, {"l1": -1.0}, ValueError, "l1"),
    (layers.GroupNormalization, {"groups": 0}, ValueError, "groups"),
    (layers.GroupNormalization, {"groups": 1.5}, TypeError, "groups"),
    (layers.GroupNormalization, {"axis": [1, 2]}, TypeError, "axis"),
    (layers.RMSNormalization, {"axis": "last"}, TypeError, "axis"),
    (layers.RMSNormalization, {"epsilon": -1}, ValueError, "epsilon"),
    (layers.UnitNormalization, {"axis": []}, TypeError, "axis"),
    (layers.EinsumDense, {"equation": "ab,bc", "output_shape": 3}, ValueError,
     "`equation` must be of the form"),
    (layers.EinsumDense, {"equation": "...ab,bc->ac", "output_shape": 3}, ValueError,
     "`equation` must be of the form"),
    (layers.EinsumDense, {"equation": "ab,bcd->ac", "output_shape": 3}, ValueError,
     "'d' of the kernel"),
    (layers.EinsumDense, {"equation": "ab,bc->acd", "output_shape": 3}, ValueError,
     "'d' of the outputs"),
    (layers.EinsumDense, {"equation": "ab,bc->ac", "output_shape": (2, 3)}, ValueError,
     "`output_shape` must be 1 positive sizes"),
    (layers.EinsumDense, {"equation": "ab,bc->ac", "output_shape": 0}, ValueError,
     "output_shape"),
    (layers.EinsumDense, {"equation": "ab,bc->ac", "output_shape": 3, "bias_axes": "b"},
     ValueError, "no axis 'b' of bias_axes"),
    (layers.Masking, {"mask_value": "x"}, TypeError, "mask_value"),
    (layers.Lambda, {"function": "relu"}, TypeError, "function"),
    (layers.Lambda, {"function": torch.relu, "arguments": [1]}, TypeError, "arguments"),
    (layers.Concatenate, {"axis": 1.5}, TypeError, "axis"),
    (layers.Dot, {"axes": 0}, ValueError, "axes"),
    (layers.Dot, {"axes": (0, 1)}, ValueError, "axes"),
    (layers.Dot, {"axes": (1, 2, 3)}, ValueError, "axes"),
    (layers.Dot, {"axes": "12"}, TypeError, "axes"),
    (layers.Dot, {"axes": (1, 1.5)}, TypeError, "axes"),
    (layers.Cropping1D, {"cropping": -1}, ValueError, "cropping"),
    (layers.Cropping1D, {"cropping": (1, 2, 3)}, ValueError, "cropping"),
    (layers.Cropping2D, {"cropping": (1, 2, 3)}, ValueError, "cropping"),
    (layers.Cropping2D, {"cropping": ((1, 2), (3, 4, 5))}, ValueError, "cropping"),
    (layers.Cropping3D, {"cropping": 1.5}, TypeError, "cropping"),
    (layers.ZeroPadding1D, {"padding": "1"}, TypeError, "padding"),
    (layers.ZeroPadding2D, {"padding": -1}, ValueError, "padding"),
    (layers.ZeroPadding2D, {"data_format": "NHWC"}, ValueError, "data_format"),
    (layers.UpSampling1D, {"size": (2,)}, TypeError, "size"),
    (layers.UpSampling2D, {"size": 0}, ValueError, "size"),
    (layers.UpSampling2D, {"interpolation": "bilinaer"}, ValueError,
     "Did you mean 'bilinear'"),
    (layers.UpSampling2D, {"interpolation": "lanczos3"}, NotImplementedError,
     "Take 'bicubic'"),
    (layers.BatchNormalization, {"momentum": 1.5}, ValueError, "momentum"),
    (layers.BatchNormalization, {"epsilon": -1.0}, ValueError, "epsilon"),
    (layers.BatchNormalization, {"axis": 0.5}, TypeError, "axis"),
    (layers.BatchNormalization, {"renorm_momentum": 2}, ValueError, "renorm_momentum"),
    (layers.BatchNormalization, {"renorm": True, "synchronized": True}, ValueError,
     "Leave one of them out"),
    (layers.BatchNormalization, {"renorm": True, "renorm_clipping": 2.0}, TypeError,
     "keys among"),
    (layers.BatchNormalization, {"renorm": True, "renorm_clipping": {"max": 1}},
     ValueError, "keys among"),
    (layers.BatchNormalization, {"renorm": True, "renorm_clipping": {"dmax": -1}},
     ValueError, "dmax"),
    (layers.BatchNormalization,
     {"renorm": True, "renorm_clipping": {"rmin": 2, "rmax": 1}}, ValueError,
     "'rmax' to be at least 'rmin'"),
    (layers.LayerNormalization, {"axis": "last"}, TypeError, "axis"),
    (layers.LayerNormalization, {"rms_scaling": True}, NotImplementedError,
     "rms_scaling"),
    (layers.ReLU, {"max_value": -1.0}, ValueError, "max_value"),
    (layers.ReLU, {"threshold": None}, TypeError, "threshold"),
    (layers.LeakyReLU, {"negative_slope": -0.1}, ValueError, "negative_slope"),
    (layers.Reshape, {"target_shape": (-1, -1)}, ValueError, "target_shape"),
    (layers.Reshape, {"target_shape": (0, 2)}, ValueError, "target_shape"),
    (layers.Permute, {"dims": (0, 1)}, ValueError, "dims"),
    (layers.RepeatVector, {"n": 0}, ValueError, "n"),
    (layers.Activation, {"activation": "sofmax"}, ValueError, "Did you mean 'softmax'"),
]  # fmt: skip


@pytest.mark.parametrize(("layer", "kwargs", "error", "message"), ARGUMENTS)
def test_illegal_arguments(layer, kwargs, error, message):
    with pytest.raises(error, match=message):
        layer(**kwargs)
