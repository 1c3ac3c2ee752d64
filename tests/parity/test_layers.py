"""Layers against Keras's own, from the same weights: values, gradients, configs."""

import itertools
import json
from typing import Any

import keras
import numpy as np
import pytest
import torch

from torchkeras import layers

# Keras's own weights do not know NumPy 2's `copy` argument.
pytestmark = pytest.mark.filterwarnings(
    "ignore:__array__ implementation doesn't accept a copy:DeprecationWarning"
)

TOLERANCE: dict[str, Any] = {"atol": 1e-5, "rtol": 1e-5}
#: Keys of configs that may differ: quantization is left to torch's tools, and Keras
#: writes the seed, or that there is no activity regularizer, for some layers only.
INDIFFERENT = {"quantization_config", "activity_regularizer", "seed"}

#: What Keras changes in a config when it builds: it makes a list of an axis, and counts
#: the channels for groups=-1.
CHANGED_BY_BUILDING = {
    "LayerNormalization": "axis",
    "RMSNormalization": "axis",
    "GroupNormalization": "groups",
}

SPATIAL = {1: (9,), 2: (9, 8), 3: (7, 6, 5)}


def images(rank, data_format, channels=4):
    """Return an input shape with that many spatial axes."""
    if data_format == "channels_first":
        return (2, channels, *SPATIAL[rank])
    return (2, *SPATIAL[rank], channels)


def _convolutions():
    for rank, data_format in itertools.product((1, 2, 3), (None, "channels_first")):
        for kwargs in (
            {},
            {"padding": "same"},
            {"padding": "SAME", "kernel_size": 2},
            {"strides": 2},
            {"strides": 2, "padding": "same"},
            {"strides": 3, "padding": "same", "kernel_size": 4},
            {"dilation_rate": 2},
            {"dilation_rate": 2, "padding": "same"},
            {"groups": 2, "use_bias": False, "activation": "relu"},
        ):
            kwargs = {"filters": 6, "kernel_size": 3, **kwargs}
            yield f"Conv{rank}D", kwargs, data_format, rank
        if rank == 1:
            for kwargs in ({}, {"strides": 2}, {"dilation_rate": 2}):
                kwargs = {"filters": 6, "kernel_size": 3, "padding": "causal", **kwargs}
                yield "Conv1D", kwargs, data_format, rank


def _transposed_convolutions():
    for rank, data_format in itertools.product((1, 2, 3), (None, "channels_first")):
        for kwargs in (
            {},
            {"padding": "same"},
            {"strides": 2},
            {"strides": 2, "padding": "same"},
            {"strides": 3, "padding": "same", "kernel_size": 2},
            {"strides": 2, "padding": "same", "output_padding": 1},
            {"strides": 3, "output_padding": 1, "use_bias": False},
            {"dilation_rate": 2, "activation": "relu"},
        ):
            kwargs = {"filters": 6, "kernel_size": 3, **kwargs}
            yield f"Conv{rank}DTranspose", kwargs, data_format, rank


def _separable_convolutions():
    for rank, data_format in itertools.product((1, 2), (None, "channels_first")):
        for kwargs in (
            {},
            {"padding": "same", "depth_multiplier": 2},
            {"strides": 2, "padding": "same"},
            {"dilation_rate": 2, "use_bias": False, "activation": "relu"},
        ):
            kwargs = {"kernel_size": 3, **kwargs}
            yield f"DepthwiseConv{rank}D", kwargs, data_format, rank
            kwargs = {"filters": 6, **kwargs}
            yield f"SeparableConv{rank}D", kwargs, data_format, rank


def _adaptive_poolings():
    for rank, data_format in itertools.product((1, 2, 3), (None, "channels_first")):
        for kind, size in itertools.product(("Average", "Max"), (2, 3)):
            name = f"Adaptive{kind}Pooling{rank}D"
            yield name, {"output_size": size}, data_format, rank


def _poolings():
    for rank, data_format in itertools.product((1, 2, 3), (None, "channels_first")):
        for kwargs in (
            {"pool_size": 2},
            {"pool_size": 3, "strides": 2},
            {"pool_size": 3, "strides": 1, "padding": "same"},
            {"pool_size": 2, "padding": "same"},
            {"pool_size": 2, "strides": 1, "padding": "same"},
            {"pool_size": 3, "strides": 2, "padding": "same"},
            {"pool_size": 2, "strides": 3, "padding": "same"},
        ):
            yield f"MaxPooling{rank}D", kwargs, data_format, rank
            # Keras on torch repeats the edge where "same" is asymmetric, its other
            # backends leave the padding out, as we do: tests/layers/test_pooling.py.
            if kwargs.get("padding") != "same" or kwargs["pool_size"] == 3 == rank + 2:
                yield f"AveragePooling{rank}D", kwargs, data_format, rank
        for kind, keepdims in itertools.product(("Average", "Max"), (False, True)):
            yield (
                f"Global{kind}Pooling{rank}D",
                {"keepdims": keepdims},
                data_format,
                rank,
            )


def _resizings():
    for rank, data_format in itertools.product((1, 2, 3), (None, "channels_first")):
        uneven = ((1, 0), (0, 2), (1, 1))[:rank] if rank > 1 else (1, 2)
        for value in (1, uneven, (1, 0, 2)[:rank] if rank > 1 else (0, 2)):
            yield f"ZeroPadding{rank}D", {"padding": value}, data_format, rank
            if rank > 1 or data_format is None:
                yield f"Cropping{rank}D", {"cropping": value}, data_format, rank
        for size in (2, (2, 1, 3)[:rank]) if rank > 1 else (2,):
            if rank > 1 or data_format is None:
                yield f"UpSampling{rank}D", {"size": size}, data_format, rank
        if rank == 2:
            for interpolation in ("bilinear", "bicubic"):
                kwargs = {"size": (2, 3), "interpolation": interpolation}
                yield "UpSampling2D", kwargs, data_format, rank


WINDOWED = [
    (name, {**kwargs, **({"data_format": fmt} if fmt else {})}, images(rank, fmt))
    for name, kwargs, fmt, rank in (
        *_convolutions(),
        *_transposed_convolutions(),
        *_separable_convolutions(),
        *_poolings(),
        *_adaptive_poolings(),
        *_resizings(),
    )
]
AFFINE = [{}, {"center": False}, {"scale": False}, {"epsilon": 1e-5}]

CASES = [
    *WINDOWED,
    *[("BatchNormalization", {**kw, "momentum": 0.8}, (6, 4)) for kw in AFFINE],
    *[("LayerNormalization", kw, (6, 5, 4)) for kw in AFFINE],
    ("BatchNormalization", {}, (6, 5, 4)),
    ("BatchNormalization", {}, (2, 5, 5, 4)),
    ("BatchNormalization", {}, (2, 3, 3, 3, 4)),
    ("BatchNormalization", {"axis": 1}, (2, 5, 4)),
    ("BatchNormalization", {"axis": 1}, (2, 4, 5, 5)),
    ("BatchNormalization", {"axis": 2}, (2, 5, 4, 3)),
    ("BatchNormalization", {"trainable": False}, (6, 4)),
    ("BatchNormalization", {}, (1, 4)),
    *[
        ("BatchNormalization", {"renorm": True, **kwargs}, shape)
        for kwargs, shape in (
            ({"momentum": 0.8, "renorm_momentum": 0.6}, (6, 4)),
            ({"renorm_clipping": {"rmin": 0.9, "rmax": 1.1, "dmax": 0.2}}, (6, 5, 4)),
            ({"renorm_clipping": {"rmax": 1.5}, "scale": False}, (2, 5, 5, 4)),
            ({"axis": 1, "renorm_clipping": {"dmax": 0.0}}, (2, 4, 5, 5)),
            ({"center": False, "scale": False}, (6, 4)),
            ({"trainable": False}, (6, 4)),
        )
    ],
    ("LayerNormalization", {"axis": [1, 2]}, (2, 5, 4)),
    ("LayerNormalization", {"axis": [-2, -1]}, (2, 5, 4)),
    ("LayerNormalization", {"axis": [1, 3]}, (2, 5, 4, 3)),
    *[("GroupNormalization", {"groups": 2, **kw}, (6, 5, 4)) for kw in AFFINE],
    ("GroupNormalization", {"groups": -1}, (2, 5, 5, 4)),
    ("GroupNormalization", {"groups": 4}, (3, 24)),
    ("GroupNormalization", {"groups": 4}, (3, 4)),
    ("GroupNormalization", {"groups": 2, "axis": 1}, (2, 4, 5, 5)),
    ("GroupNormalization", {"groups": 2, "axis": 2}, (2, 5, 4, 3)),
    ("GroupNormalization", {"groups": 2, "axis": -2}, (2, 5, 4, 3)),
    ("RMSNormalization", {}, (6, 4)),
    ("RMSNormalization", {"epsilon": 0.1}, (2, 5, 4)),
    ("RMSNormalization", {"axis": [-2, -1]}, (2, 5, 4)),
    ("UnitNormalization", {}, (6, 4)),
    ("UnitNormalization", {"axis": 1}, (2, 5, 4)),
    ("UnitNormalization", {"axis": [1, 2]}, (2, 5, 4)),
    ("Dense", {"units": 3}, (2, 4)),
    ("Dense", {"units": 3, "activation": "tanh", "use_bias": False}, (2, 5, 4)),
    ("EinsumDense", {"equation": "ab,bc->ac", "output_shape": 3}, (2, 4)),
    *[
        ("EinsumDense", {"equation": equation, "output_shape": sizes, **kwargs}, shape)
        for equation, sizes, kwargs, shape in (
            ("btc,cd->btd", (None, 3), {"bias_axes": "d"}, (2, 5, 4)),
            ("...x,xy->...y", 3, {"bias_axes": "y", "activation": "tanh"}, (2, 5, 4)),
            ("...x,xy->...y", 3, {}, (2, 2, 3, 4)),
            ("abc,cde->abde", (5, 2, 3), {"bias_axes": "be"}, (2, 5, 4)),
            ("btc,tcd->btd", (5, 3), {"bias_axes": "td"}, (2, 5, 4)),
            ("ab...,bc->ac...", 3, {"bias_axes": "c"}, (2, 5, 4)),
            ("abc,ce->aeb", (3, 5), {"bias_axes": "e"}, (2, 5, 4)),
        )
    ],
    ("Identity", {}, (2, 4)),
    ("Masking", {}, (2, 5, 4)),
    ("ActivityRegularization", {"l1": 0.1, "l2": 0.2}, (2, 4)),
    ("Activation", {"activation": "elu"}, (2, 4)),
    ("ReLU", {}, (4, 5)),
    ("ReLU", {"max_value": 0.7, "negative_slope": 0.2, "threshold": 0.1}, (4, 5)),
    ("LeakyReLU", {}, (4, 5)),
    ("LeakyReLU", {"negative_slope": 0.1}, (4, 5)),
    ("ELU", {"alpha": 0.4}, (4, 5)),
    ("PReLU", {}, (4, 5)),
    ("PReLU", {"shared_axes": [1]}, (2, 4, 5)),
    ("Softmax", {}, (4, 5)),
    ("Softmax", {"axis": 1}, (2, 4, 5)),
    ("Softmax", {"axis": [1, 2]}, (2, 4, 5)),
    ("Flatten", {}, (2, 3, 4)),
    ("Flatten", {"data_format": "channels_first"}, (2, 3, 4, 5)),
    ("Flatten", {}, (3,)),
    ("Reshape", {"target_shape": (6, 2)}, (2, 3, 4)),
    ("Reshape", {"target_shape": [-1, 2]}, (2, 3, 4)),
    ("Permute", {"dims": (3, 1, 2)}, (2, 3, 4, 5)),
    ("RepeatVector", {"n": 3}, (2, 4)),
    ("Dropout", {"rate": 0.3}, (2, 4)),
    ("SpatialDropout1D", {"rate": 0.3}, (2, 4, 3)),
    ("SpatialDropout2D", {"rate": 0.3}, (2, 4, 4, 3)),
    ("SpatialDropout3D", {"rate": 0.3}, (2, 4, 4, 4, 3)),
    ("GaussianNoise", {"stddev": 0.3}, (2, 4)),
    ("GaussianDropout", {"rate": 0.3}, (2, 4)),
    ("AlphaDropout", {"rate": 0.3, "noise_shape": (None, 1)}, (2, 4)),
    ("Rescaling", {"scale": 0.5, "offset": -1.0}, (2, 4)),
    *[
        (name, {"units": 3, **kwargs}, (2, 5, 4))
        for name in ("SimpleRNN", "LSTM", "GRU")
        for kwargs in (
            {},
            {"return_sequences": True, "go_backwards": True},
            {"use_bias": False, "activation": "relu"},
        )
    ],
    ("GRU", {"units": 3, "reset_after": False}, (2, 5, 4)),
    ("LSTM", {"units": 3, "unit_forget_bias": False, "unroll": True}, (2, 5, 4)),
    ("Rescaling", {"scale": [0.5, 2.0], "offset": [1.0, 2.0]}, (2, 4, 2)),
]


def name_of(value):
    """Return a readable test id."""
    if isinstance(value, dict):
        return "-".join(f"{k}={v}" for k, v in value.items()).replace(" ", "")
    return str(value).replace(" ", "")


def pair(name, kwargs, shape):
    """Return Keras's layer and ours, built, with the same random weights."""
    theirs, ours = (
        getattr(keras.layers, name)(**kwargs),
        getattr(layers, name)(**kwargs),
    )
    theirs.build(shape)
    ours.build(shape)
    weights = [np.random.rand(*w.shape).astype("float32") + 0.1 for w in ours.weights]
    theirs.set_weights(weights)
    ours.set_weights(theirs.get_weights())
    return theirs, ours


def run(layer, x, **kwargs):
    """Return the outputs, and the gradient of a fixed function of them by the input."""
    x = torch.tensor(x, requires_grad=True)
    outputs = layer(x, **kwargs)
    weights = torch.arange(outputs.numel()).reshape(outputs.shape).cos()
    if outputs.requires_grad:
        (outputs * weights).sum().backward()
    return outputs.detach(), x.grad


def compare(theirs, ours, x, **kwargs):
    """Compare outputs, the gradients of the inputs and of all weights."""
    for weight in ours.trainable_weights:
        for tensor in getattr(weight, "tensors", (weight,)):
            tensor.grad = None
    for weight in theirs.trainable_weights:
        weight.value.grad = None
    expected, expected_grad = run(theirs, x, **kwargs)
    outputs, grad = run(ours, x, **kwargs)
    torch.testing.assert_close(outputs, expected, **TOLERANCE)
    torch.testing.assert_close(grad, expected_grad, **TOLERANCE)
    for other, weight in zip(
        theirs.trainable_weights, ours.trainable_weights, strict=True
    ):
        torch.testing.assert_close(weight.grad, other.value.grad, **TOLERANCE)


@pytest.mark.parametrize(("name", "kwargs", "shape"), CASES, ids=name_of)
def test_values_and_gradients(name, kwargs, shape):
    theirs, ours = pair(name, kwargs, shape)
    compare(theirs, ours, np.random.randn(*shape).astype("float32"))
    for other, weight in zip(theirs.weights, ours.weights, strict=True):
        assert (other.name, tuple(other.shape)) == (weight.name, tuple(weight.shape))


@pytest.mark.parametrize(
    ("name", "kwargs", "shape"),
    [case for case in CASES if "Normalization" in case[0]],
    ids=name_of,
)
def test_training_and_moving_statistics(name, kwargs, shape):
    theirs, ours = pair(name, kwargs, shape)
    for step in range(4):
        x = np.random.randn(*shape).astype("float32") * (step + 1) + step
        compare(theirs, ours, x, training=True)
        for other, weight in zip(theirs.get_weights(), ours.get_weights(), strict=True):
            np.testing.assert_allclose(weight, other, **TOLERANCE)
    compare(theirs, ours, x, training=False)


@pytest.mark.parametrize("renorm", [False, True])
def test_masked_batch_normalization(renorm):
    theirs, ours = pair("BatchNormalization", {"renorm": renorm}, (3, 5, 4))
    mask = torch.rand(3, 5) > 0.4
    for _ in range(3):
        x = np.random.randn(3, 5, 4).astype("float32")
        compare(theirs, ours, x, training=True, mask=mask)
        for other, weight in zip(theirs.get_weights(), ours.get_weights(), strict=True):
            np.testing.assert_allclose(weight, other, **TOLERANCE)


@pytest.mark.parametrize(
    "kwargs", [{}, {"keepdims": True}, {"data_format": "channels_first"}]
)
def test_masked_global_average(kwargs):
    theirs, ours = pair("GlobalAveragePooling1D", kwargs, (3, 5, 5))
    mask = torch.arange(5) < torch.tensor([[5], [3], [1]])
    compare(theirs, ours, np.random.randn(3, 5, 5).astype("float32"), mask=mask)


def test_masked_softmax():
    theirs, ours = pair("Softmax", {}, (3, 5))
    mask = torch.arange(5) < torch.tensor([[5], [3], [0]])
    compare(theirs, ours, np.random.randn(3, 5).astype("float32"), mask=mask)


@pytest.mark.parametrize("value", [0.0, 0.1, -2.0, np.array([0.5, 3.0, 0.0, 5.0])])
def test_masking(value):
    theirs, ours = pair("Masking", {"mask_value": value}, (2, 5, 4))
    x = np.random.randn(2, 5, 4).astype("float32")
    x[0, 1:3] = x[1, 4] = value
    x[1, 0, :3] = 0.5
    compare(theirs, ours, x)
    outputs, expected = ours(x), theirs(torch.tensor(x))
    assert torch.equal(outputs._keras_mask, expected._keras_mask)
    assert int(outputs._keras_mask.sum()) == 7
    twin = layers.deserialize(json.loads(json.dumps(keras.layers.serialize(theirs))))
    assert torch.equal(twin(x), outputs)


def test_embedding():
    theirs, ours = pair("Embedding", {"input_dim": 9, "output_dim": 4}, (2, 5))
    ids = torch.randint(0, 9, (2, 5))
    expected, outputs = theirs(ids), ours(ids)
    torch.testing.assert_close(outputs, expected)
    outputs.square().sum().backward()
    expected.square().sum().backward()
    (weight,), (other,) = ours.weights, theirs.weights
    torch.testing.assert_close(weight.grad, other.value.grad, **TOLERANCE)


def _one_per_layer():
    seen = {name: (name, kwargs, shape) for name, kwargs, shape in reversed(CASES)}
    seen["Embedding"] = ("Embedding", {"input_dim": 9, "output_dim": 4}, (2, 5))
    return sorted(seen.values(), key=lambda case: case[0])


@pytest.mark.parametrize(("name", "kwargs", "shape"), _one_per_layer(), ids=name_of)
def test_configs_are_exchanged(name, kwargs, shape):
    theirs, ours = pair(name, kwargs, shape)
    config, expected = plain_config(ours), plain_config(theirs)
    assert config.keys() == expected.keys()
    ours_of_theirs = layers.deserialize(keras.layers.serialize(theirs))
    theirs_of_ours = keras.layers.deserialize(layers.serialize(ours))
    for layer, twin in ((ours, theirs_of_ours), (theirs, ours_of_theirs)):
        assert twin.name == layer.name
        if not twin.built:
            twin.build(shape)
        assert [tuple(w.shape) for w in twin.weights] == [
            tuple(w.shape) for w in layer.weights
        ]
    again = plain_config(ours_of_theirs)
    for key in {"name", CHANGED_BY_BUILDING.get(name, "name")}:
        del again[key], config[key]
    assert again == config


def plain_config(layer):
    """Return the config as a file holds it."""
    config = json.loads(json.dumps(layer.get_config()))
    return {key: value for key, value in config.items() if key not in INDIFFERENT}


WRAPPED = {
    "lstm": lambda k: k.Bidirectional(k.LSTM(3)),
    "gru": lambda k: k.Bidirectional(k.GRU(3, return_sequences=True), "ave"),
    "backward_layer": lambda k: k.Bidirectional(
        k.SimpleRNN(3), backward_layer=k.GRU(3, go_backwards=True)
    ),
    "dense": lambda k: k.TimeDistributed(k.Dense(3, activation="tanh")),
    "normalization": lambda k: k.TimeDistributed(k.BatchNormalization()),
    "stacked": lambda k: k.RNN([k.LSTMCell(3), k.GRUCell(2)]),
    "cell": lambda k: k.RNN(k.SimpleRNNCell(3), return_sequences=True),
}


@pytest.mark.parametrize("make", list(WRAPPED.values()), ids=list(WRAPPED))
def test_layers_of_layers(make):
    theirs = make(keras.layers)
    ours = layers.deserialize(keras.layers.serialize(theirs))
    shape = (2, 5, 4)
    theirs.build(shape)
    ours.build(shape)
    ours.set_weights([np.random.rand(*w.shape) for w in theirs.weights])
    theirs.set_weights(ours.get_weights())
    compare(theirs, ours, np.random.randn(*shape).astype("float32"))
    twin = keras.layers.deserialize(layers.serialize(ours))
    assert [tuple(w.shape) for w in twin.weights] == [w.shape for w in ours.weights]


@pytest.mark.parametrize("name", ["SimpleRNN", "LSTM", "GRU"])
@pytest.mark.parametrize(
    "kwargs", [{}, {"return_sequences": True}, {"go_backwards": True}]
)
def test_masked_sequences(name, kwargs):
    theirs, ours = pair(name, {"units": 3, **kwargs}, (3, 5, 4))
    x = np.random.randn(3, 5, 4).astype("float32")
    for lengths in ([[5], [3], [1]], [[2], [5], [4]]):
        mask = torch.arange(5) < torch.tensor(lengths)
        compare(theirs, ours, x, mask=mask)
    scattered = torch.tensor([[1, 0, 1, 1, 0], [0, 0, 1, 0, 1], [1, 1, 1, 1, 1]]).bool()
    compare(theirs, ours, x, mask=scattered)


REGULARIZED = {
    "kernel_initializer": "he_normal",
    "bias_initializer": "ones",
    "kernel_regularizer": "l2",
    "bias_regularizer": keras.regularizers.L1(0.1),
    "activity_regularizer": "l1",
    "kernel_constraint": "max_norm",
    "bias_constraint": "non_neg",
}


@pytest.mark.parametrize("name", ["Dense", "Conv1D", "Conv2D"])
def test_objects_in_configs_are_exchanged(name):
    rank = int(name[4]) if name.startswith("Conv") else 0
    sizes = {"units": 3} if not rank else {"filters": 3, "kernel_size": 2}
    theirs = getattr(keras.layers, name)(**sizes, **REGULARIZED)
    ours = layers.deserialize(keras.layers.serialize(theirs))
    shape = (2, *[6] * rank, 4)
    theirs.build(shape)
    ours.build(shape)
    ours.set_weights(theirs.get_weights())
    x = np.random.randn(*shape).astype("float32")
    expected, outputs = theirs(x), ours(x)
    torch.testing.assert_close(outputs, expected, **TOLERANCE)
    torch.testing.assert_close(
        torch.stack([*ours.losses]).sum(), torch.stack([*theirs.losses]).sum()
    )
    assert plain_config(ours) == plain_config(theirs)
