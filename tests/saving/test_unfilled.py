"""Weights get no first values where a file has theirs, and none stays without one."""

import numpy as np
import pytest
import torch

import torchkeras
from tests.layers.cases import CASES
from torchkeras import layers, tree
from torchkeras.saving import load_model, register_keras_serializable


@pytest.fixture
def marked_memory():
    """Fill what holds no values yet with NaN, and the largest integers."""
    torch.use_deterministic_algorithms(True, warn_only=True)
    assert torch.empty(1).isnan()
    yield
    torch.use_deterministic_algorithms(False)


def model_of(case):
    shapes = case.input if isinstance(case.input, list) else [case.input]
    dtype = "int32" if case.high is not None else "float32"
    inputs = [torchkeras.Input(shape[1:], dtype=dtype) for shape in shapes]
    outputs = case.run(
        case.make(), inputs if isinstance(case.input, list) else inputs[0]
    )
    return torchkeras.Model(inputs, tree.flatten(outputs))


def of_state(model):
    tensors = [*model.named_parameters(), *model.named_buffers()]
    return {name: tensor.detach().numpy().copy() for name, tensor in tensors}


ROWS = [case for case in CASES if case.weights and case.layer is not layers.InputLayer]


@pytest.mark.parametrize("case", ROWS, ids=str)
@pytest.mark.usefixtures("marked_memory")
def test_no_weight_stays_without_a_value(case, tmp_path):
    model = model_of(case)
    wrapped = case.layer is layers.TorchModuleWrapper  # Keras's formats have no name
    path = tmp_path / f"model{'.safetensors' if wrapped else '.keras'}"
    model.save(path)
    loaded = of_state(load_model(path))
    for name, value in of_state(model).items():
        np.testing.assert_array_equal(loaded[name], value, err_msg=name)


def drawn(monkeypatch):
    """Return the list of what initializers are asked for from now on."""
    asked = []
    original = torchkeras.initializers.GlorotUniform.__call__

    def call(self, shape, dtype=None):
        asked.append(shape)
        return original(self, shape, dtype)

    monkeypatch.setattr(torchkeras.initializers.GlorotUniform, "__call__", call)
    return asked


@pytest.mark.parametrize("extension", [".keras", ".safetensors", ".h5"])
def test_a_model_of_built_in_layers_draws_no_first_values(
    extension, tmp_path, monkeypatch
):
    model = torchkeras.Sequential([torchkeras.Input((3,)), layers.Dense(2)])
    model.save(tmp_path / f"model{extension}")
    asked, state = drawn(monkeypatch), torch.get_rng_state()
    loaded = load_model(tmp_path / f"model{extension}")
    assert asked == []
    assert torch.equal(torch.get_rng_state(), state)
    np.testing.assert_array_equal(loaded.get_weights()[0], model.get_weights()[0])
    layers.Dense(2).build((None, 3))
    assert asked == [(3, 2)]


@register_keras_serializable(package="unfilled")
class Normed(layers.Dense):
    def build(self, input_shape):
        super().build(input_shape)
        assert not self.kernel.value.isnan().any()  # computes with the first values


@pytest.mark.usefixtures("marked_memory")
def test_a_class_of_ones_own_is_built_with_first_values(tmp_path, monkeypatch):
    model = torchkeras.Sequential([torchkeras.Input((3,)), Normed(2)])
    model.save(tmp_path / "model.keras")
    asked = drawn(monkeypatch)
    load_model(tmp_path / "model.keras")
    assert asked == [(3, 2)]
