"""What `adapt` learns, and what the modes of encoding give, against Keras."""

import keras
import numpy as np
import pytest
import torch

import torchkeras
from torchkeras import layers

# Keras's own weights do not know NumPy 2's `copy` argument.
pytestmark = pytest.mark.filterwarnings(
    "ignore:__array__ implementation doesn't accept a copy:DeprecationWarning"
)
MODES = ("one_hot", "multi_hot", "count")
SHAPES = ((5,), (5, 1), (4, 3), (2, 3, 4), ())


@pytest.mark.parametrize(
    "kwargs", [{}, {"axis": None}, {"axis": (1, 2)}, {"invert": True, "axis": -2}]
)
def test_normalization_adapts(kwargs):
    data = np.random.standard_normal((20, 3, 4)).astype("float32") * 7 + 100
    theirs, ours = (x.layers.Normalization(**kwargs) for x in (keras, torchkeras))
    theirs.adapt(data)
    ours.adapt(data)
    torch.testing.assert_close(ours(data), theirs(data), atol=1e-4, rtol=1e-5)
    for own, other in zip(ours.get_weights(), theirs.get_weights(), strict=True):
        np.testing.assert_allclose(own, other, rtol=1e-5)
    batches = layers.Normalization(**kwargs)
    batches.adapt([data[:3], data[3:4], data[4:]])
    for own, other in zip(batches.get_weights(), ours.get_weights(), strict=True):
        np.testing.assert_allclose(own, other, rtol=1e-6)


@pytest.mark.parametrize("num_bins", [2, 5, 40])
@pytest.mark.parametrize("parts", [[300], [7, 250, 43]])
def test_discretization_adapts(num_bins, parts):
    data = np.random.standard_normal(300).astype("float32")
    batches = np.split(data, np.cumsum(parts)[:-1])
    theirs, ours = (
        x.layers.Discretization(num_bins=num_bins, epsilon=0.02)
        for x in (keras, torchkeras)
    )
    for batch in batches:  # Keras's `adapt` needs tensorflow
        theirs.update_state(batch)
    theirs.finalize_state()
    ours.adapt(batches)
    np.testing.assert_allclose(ours.bin_boundaries, theirs.bin_boundaries, rtol=1e-6)
    assert torch.equal(ours(data), theirs(data))
    twin = layers.deserialize(keras.layers.serialize(theirs))
    assert torch.equal(twin(data), theirs(data))


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("mode", MODES)
def test_modes_of_encoding(mode, shape):
    boundaries = [-0.5, 0.0, 1.0]
    x, y = torch.randn(shape), torch.randint(0, 6, shape)
    for name, options, inputs in (
        ("Discretization", {"bin_boundaries": boundaries}, x),
        ("CategoryEncoding", {"num_tokens": 6}, y),
    ):
        theirs, ours = (
            getattr(x.layers, name)(**options, output_mode=mode)
            for x in (keras, torchkeras)
        )
        torch.testing.assert_close(ours(inputs), theirs(inputs))


@pytest.mark.parametrize("shape", SHAPES[:-1])
def test_weights_of_counts(shape):
    x, weights = torch.randint(0, 6, shape), torch.rand(shape)
    theirs, ours = (
        x.layers.CategoryEncoding(6, output_mode="count") for x in (keras, torchkeras)
    )
    expected = theirs(x, count_weights=weights)
    torch.testing.assert_close(ours(x, count_weights=weights), expected)


def test_pipelines_are_exchanged():
    ours = layers.Pipeline(
        [layers.Rescaling(2.0), layers.ReLU(), layers.Normalization()]
    )
    theirs = keras.layers.deserialize(layers.serialize(ours))
    data = np.random.standard_normal((5, 3)).astype("float32")
    for pipeline in (ours, theirs):
        pipeline.layers[-1].adapt(np.maximum(2 * data, 0))
    torch.testing.assert_close(ours(data), theirs(data))
    twin = layers.deserialize(keras.layers.serialize(theirs))
    assert [layer.name for layer in twin.layers] == [x.name for x in ours.layers]


@pytest.mark.parametrize("samples", [40, 41, 55, 63])
@pytest.mark.parametrize("stride", [4, 7, 16])
def test_frames_of_spectrograms(samples, stride):
    kwargs = {"fft_length": 16, "sequence_stride": stride, "num_mel_bins": 4}
    layer = layers.MelSpectrogram(**kwargs)
    outputs = layer(np.zeros((2, samples), "float32"))
    assert layer(layers.Input((samples,))).shape == (None, *outputs.shape[1:])
    assert layer(layers.Input((None,))).shape == (None, 4, None)
    for padding in ("valid", "same"):
        convolution = layers.STFTSpectrogram(
            frame_length=16, frame_step=stride, padding=padding
        )
        outputs = convolution(np.zeros((2, samples, 1), "float32"))
        symbol = convolution(layers.Input((samples, 1)))
        assert symbol.shape == (None, *outputs.shape[1:])
        assert convolution(layers.Input((None, 1))).shape == (None, None, 9)
