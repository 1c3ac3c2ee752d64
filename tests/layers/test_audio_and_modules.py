"""What layers of sounds, pipelines and wrapped torch modules refuse and take."""

import numpy as np
import pytest
import torch
from torch import nn

from torchkeras import layers, models
from torchkeras._core.errors import UnsafeFileError


@pytest.mark.parametrize(
    ("make", "kwargs", "message"),
    [
        (
            layers.MelSpectrogram,
            {"sequence_length": 4096},
            "`fft_length` must be at",
        ),
        (layers.MelSpectrogram, {"window": "hat"}, "`window` must be one of"),
        (layers.MelSpectrogram, {"max_freq": 1.0}, "`max_freq` must be"),
        (layers.STFTSpectrogram, {"mode": "db"}, "`mode` must be one of"),
        (
            layers.STFTSpectrogram,
            {"frame_step": 300},
            "`frame_step` must be a pos",
        ),
        (layers.STFTSpectrogram, {"fft_length": 100}, "`fft_length` must be at least"),
        (layers.STFTSpectrogram, {"window": "hat"}, "`window` must be one of"),
        (layers.STFTSpectrogram, {"scaling": "loud"}, "`scaling` must be one of"),
        (layers.Pipeline, {"layers": nn.ReLU()}, "`layers` must be a list of layers"),
        (layers.Pipeline, {"layers": ["relu"]}, "`layers` must be a list of layers"),
        (layers.TorchModuleWrapper, {"module": 3}, "`module` must be a torch module"),
        (
            layers.TorchModuleWrapper,
            {"module": nn.LazyLinear(3)},
            "a lazy module must have its weights",
        ),
    ],
)
def test_options_that_make_no_sense(make, kwargs, message):
    with pytest.raises(ValueError, match=message):
        make(**kwargs)


def test_inputs_that_are_no_sounds():
    with pytest.raises(ValueError, match="expected at most 2 axes"):
        layers.MelSpectrogram()(np.zeros((2, 3, 4000)))
    with pytest.raises(ValueError, match="expected 3 axes"):
        layers.STFTSpectrogram()(np.zeros((2, 4000)))
    with pytest.raises(TypeError, match="expected sounds of a floating type"):
        layers.STFTSpectrogram()(np.zeros((2, 4000, 1), "int32"))
    with pytest.warns(UserWarning, match="best a power of two, got 300"):
        layers.STFTSpectrogram(fft_length=300)


def test_kernels_of_a_spectrogram_are_trained_in_a_model():
    inputs = layers.Input((64, 1))
    x = layers.STFTSpectrogram(frame_length=16, expand_dims=True)(inputs)
    x = layers.GlobalAveragePooling2D()(layers.Conv2D(2, 3)(x))
    model = models.Model(inputs, x)
    before = model.get_weights()[0]
    model.compile("sgd", "mse")
    model.fit(np.random.standard_normal((8, 64, 1)), np.ones((8, 2)), verbose=0)
    assert not np.allclose(before, model.get_weights()[0])


def test_a_pipeline_takes_what_its_layers_take():
    words = layers.StringLookup(vocabulary=["a", "b"])
    pipeline = layers.Pipeline([words, layers.CategoryEncoding(3, "one_hot")])
    assert pipeline([["a"], ["z"]]).tolist() == [[0, 1, 0], [1, 0, 0]]
    inputs = layers.Input((1,), dtype="string")
    model = models.Model(inputs, layers.Dense(2)(pipeline(inputs)))
    assert model.predict(np.array(["a", "b"]), verbose=0).shape == (2, 2)


@pytest.mark.parametrize("training", [True, False])
def test_a_pipeline_varies_images_in_training(training):
    pipeline = layers.Pipeline([layers.RandomFlip("horizontal"), layers.Rescaling(2.0)])
    images = torch.arange(32.0 * 3).reshape(32, 1, 3, 1)
    outputs = pipeline(images, training=training)
    assert torch.equal(outputs, 2 * images) != training


def test_a_wrapped_module_in_files_and_modes(tmp_path):
    module = nn.Sequential(nn.Linear(3, 4), nn.BatchNorm1d(4), nn.Dropout(0.5))
    model = models.Sequential([layers.Input((3,)), layers.TorchModuleWrapper(module)])
    x = torch.randn(8, 3)
    model.compile("sgd", "mse")
    model.fit(x, torch.randn(8, 4), verbose=0)
    assert torch.equal(model(x), model(x))
    assert not torch.equal(model(x, training=True), model(x, training=True))
    model.save(tmp_path / "model.safetensors")
    twin = models.load_model(tmp_path / "model.safetensors")
    assert torch.equal(twin(x), model(x))
    shaped = layers.TorchModuleWrapper(nn.Flatten(), output_shape=(None, 9))
    assert shaped(layers.Input((3, 3))).shape == (None, 9)
    config = {**shaped.get_config(), "module": "gASVAA=="}
    with pytest.raises(UnsafeFileError, match="holds a pickled torch module"):
        layers.TorchModuleWrapper.from_config(config)
