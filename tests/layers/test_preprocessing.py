"""Layers that prepare numbers: what `adapt` takes, and what they refuse."""

import copy

import numpy as np
import pytest
import torch
from torch.utils.data import DataLoader, TensorDataset

from torchkeras import layers, models, utils


class Batches(utils.PyDataset):
    """Two batches of `(x, y)`."""

    def __init__(self, x):
        super().__init__()
        self.x = x

    def __len__(self):
        return 2

    def __getitem__(self, index):
        return self.x[index::2], np.zeros(len(self.x[index::2]))


def sources(x):
    """Yield the same samples in each form that `adapt` takes."""
    tensor, y = torch.tensor(x), torch.zeros(len(x))
    yield x
    yield tensor
    yield x.tolist()
    yield [x[:3], x[3:]]
    yield (part for part in np.split(x, 4))
    yield TensorDataset(tensor, y)
    yield DataLoader(TensorDataset(tensor), batch_size=3)
    yield DataLoader(TensorDataset(tensor, y), batch_size=3)
    yield Batches(x)


def test_what_adapt_takes():
    x = np.random.standard_normal((8, 3)).astype("float32")
    for source in sources(x):
        layer = layers.Normalization()
        layer.adapt(source)
        np.testing.assert_allclose(layer.adapt_mean.numpy(), x.mean(0), atol=1e-6)
        np.testing.assert_allclose(layer.adapt_variance.numpy(), x.var(0), atol=1e-6)
    for source in sources(x):
        layer = layers.Discretization(num_bins=4)
        layer.adapt(source)
        assert layer.bin_boundaries == pytest.approx(np.sort(x.ravel())[5::6][:3])


def test_steps_end_data_without_end():
    def endless():
        while True:
            yield np.arange(4.0)

    layer = layers.Discretization(num_bins=2)
    layer.adapt(endless(), steps=3)
    assert layer.bin_boundaries == [1.0]


@pytest.mark.parametrize("data", [[], iter(()), np.zeros((0, 3))])
def test_nothing_to_adapt_to(data):
    with pytest.raises(ValueError, match=r"`adapt` got .*no (batches|samples)"):
        layers.Normalization(axis=None).adapt(data)


@pytest.mark.parametrize("data", [3, {"a": np.ones(3)}])
def test_data_of_another_kind(data):
    with pytest.raises(TypeError, match="Normalization: `adapt` takes an array"):
        layers.Normalization().adapt(data)


def test_a_normalization_that_was_never_adapted_warns_once():
    model = models.Sequential([layers.Input((3,)), layers.Normalization(name="norm")])
    x = torch.randn(2, 3)
    with pytest.warns(UserWarning, match="'norm' .* was never adapted"):
        assert torch.equal(model(x), x)
    model(x)
    fresh = layers.Normalization()
    fresh.build((None, 3))
    fresh.set_weights([np.ones(3), np.ones(3), 0])
    assert torch.equal(fresh(x), x - 1)


def test_adapting_reaches_the_models_that_have_the_layer():
    layer = layers.Normalization()
    inputs = layers.Input((3,))
    model = models.Model(inputs, layer(inputs))
    x = np.random.standard_normal((8, 3)).astype("float32") + 5
    layer.adapt(x)
    twin = copy.deepcopy(model)
    assert abs(float(model(x).mean())) < 1e-6
    layer.adapt(x + 1)
    assert float(model(x).mean()) < -0.5
    np.testing.assert_allclose(twin(x).mean(), 0.0, atol=1e-6)


def test_a_file_keeps_what_was_adapted(tmp_path):
    x = np.random.standard_normal((8, 3)).astype("float32") + 5
    norm, bins = layers.Normalization(), layers.Discretization(num_bins=3)
    norm.adapt(x)
    bins.adapt(norm(x))
    model = models.Sequential([layers.Input((3,)), norm, bins])
    for name in ("a.keras", "a.safetensors", "a.h5"):
        model.save(tmp_path / name)
        assert torch.equal(models.load_model(tmp_path / name)(x), model(x))


def test_moments_that_are_given():
    x = np.random.standard_normal((2, 3, 2)).astype("float32")
    mean, variance = np.arange(2.0), np.arange(2.0) + 1
    layer = layers.Normalization(
        axis=(1, -1), mean=mean, variance=torch.tensor(variance)
    )
    np.testing.assert_allclose(layer(x), (x - mean) / variance**0.5, rtol=1e-6)
    with pytest.raises(ValueError, match="was given its `mean`"):
        layer.adapt(x)
    with pytest.raises(ValueError, match="give `mean` and `variance`, or neither"):
        layers.Normalization(mean=1.0)
    for wrong in ([[1.0, 2.0]], [1.0]):
        with pytest.raises(ValueError, match="must be numbers, or of one shape"):
            layers.Normalization(mean=wrong, variance=[1.0, 2.0])
    with pytest.raises(ValueError, match="does not fit inputs that have the sizes"):
        layers.Normalization(mean=[1.0] * 4, variance=[1.0] * 4)(x)


def test_inputs_that_do_not_fit():
    layer = layers.Normalization(name="norm")
    layer.adapt(np.ones((4, 3)))
    with pytest.raises(ValueError, match="expected size 3 on axis -1, got an input"):
        layer(np.ones((4, 2)))
    with pytest.raises(ValueError, match="expected size 3 on axis -1"):
        layer.adapt(np.ones((4, 2)))
    with pytest.raises(ValueError, match="is built for inputs of 2 axes"):
        layer.adapt(np.ones((4, 5, 3)))
    with pytest.raises(ValueError, match="`axis` must be an integer in"):
        layers.Normalization(axis=3)(np.ones((4, 2)))
    with pytest.raises(ValueError, match=r"the sizes of axis=.* must be known"):
        layers.Normalization(axis=1)(layers.Input((None, 3)))


def test_bins_that_make_no_sense():
    for kwargs in ({}, {"num_bins": 3, "bin_boundaries": [1.0]}):
        with pytest.raises(ValueError, match="give either `num_bins` or"):
            layers.Discretization(**kwargs)
    with pytest.raises(ValueError, match="`bin_boundaries` must be numbers that asc"):
        layers.Discretization([1.0, 0.0])
    with pytest.raises(ValueError, match="was not adapted"):
        layers.Discretization(num_bins=3)(np.ones(3))
    with pytest.raises(ValueError, match="was given its `bin_boundaries`"):
        layers.Discretization([1.0]).adapt(np.ones(3))
    with pytest.raises(ValueError, match="`output_mode` must be one of"):
        layers.Discretization([1.0], output_mode="onehot")
    with pytest.raises(NotImplementedError, match="`sparse=True` is not supported"):
        layers.Discretization([1.0], output_mode="one_hot", sparse=True)


def test_classes_that_there_are_not():
    layer = layers.CategoryEncoding(4, output_mode="one_hot", name="classes")
    for wrong in ([[4]], [[-1]]):
        with pytest.raises(ValueError, match=r"'classes' .* must be in \[0, 4\)"):
            layer(wrong)
    with pytest.raises(ValueError, match="`count_weights` have a meaning for"):
        layer([[1]], count_weights=[[1.0]])
    with pytest.raises(ValueError, match="`num_tokens` must be given"):
        layers.CategoryEncoding()
    assert layers.CategoryEncoding(4, "binary").output_mode == "multi_hot"


def test_layers_are_called_symbolically_before_they_are_adapted():
    inputs = layers.Input((1,))
    bins = layers.Discretization(num_bins=5, output_mode="one_hot")
    norm = layers.Normalization()
    model = models.Model(inputs, [bins(inputs), norm(inputs)])
    assert model.output_shape == [(None, 5), (None, 1)]
    x = np.random.standard_normal((50, 1)).astype("float32")
    bins.adapt(x)
    norm.adapt(x)
    assert model(x)[0].sum(0).min() >= 9
