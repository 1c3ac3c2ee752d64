"""Activations: what they take, how they are named, what they remember."""

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from torch import nn

from torchkeras import activations
from torchkeras._core.probabilities import logits_of
from torchkeras._core.registry import register_keras_serializable
from torchkeras._core.symbolic import KerasTensor

X = torch.linspace(-3, 3, 12).reshape(3, 4)
NAMES = sorted(set(activations.activations.canonical.values()))
WITH_ARGUMENTS = {"threshold": (0.5, 0.0)}


def call(name, x):
    return getattr(activations, name)(x, *WITH_ARGUMENTS.get(name, ()))


@pytest.mark.parametrize("name", NAMES)
def test_arrays_are_taken_as_tensors(name):
    if name == "linear":
        return
    torch.testing.assert_close(call(name, X.numpy()), call(name, X))


@pytest.mark.parametrize("name", NAMES)
def test_symbolic_tensors_give_symbolic_tensors(name):
    output = call(name, KerasTensor((None, 4)))
    assert isinstance(output, KerasTensor)
    assert output.shape == ((None, 2) if name == "glu" else (None, 4))


@pytest.mark.parametrize("name", NAMES)
def test_activations_compile_in_one_graph(name):
    arguments = (X, *WITH_ARGUMENTS.get(name, ()))
    activation = getattr(activations, name)
    compiled = torch.compile(activation, fullgraph=True, backend="eager")
    torch.testing.assert_close(compiled(*arguments), activation(*arguments))


def test_python_numbers_get_the_types_of_keras():
    assert activations.relu([1.5, -2.0]).dtype == torch.float32
    assert activations.relu([1, -2]).tolist() == [1, 0]
    assert activations.relu(np.array([1.5, -2.0])).dtype == torch.float64


@pytest.mark.parametrize("link", ["sigmoid", "softmax"])
def test_probabilities_remember_their_logits(link):
    activation = getattr(activations, link)
    assert logits_of(activation(X), link) is X
    torch.testing.assert_close(logits_of(activation(X.numpy()), link), X)
    compiled = torch.compile(activation, fullgraph=True, backend="eager")
    torch.testing.assert_close(logits_of(compiled(X), link), X)


def test_softmax_remembers_logits_along_the_last_axis_only():
    assert logits_of(activations.softmax(X, axis=1), "softmax") is X
    for axis in (0, (0, 1), None):
        assert not hasattr(activations.softmax(X, axis=axis), "_keras_logits")


@pytest.mark.parametrize("activation", [activations.sigmoid, activations.softmax])
def test_symbolic_probabilities_come_from_the_activation_itself(activation):
    output = activation(KerasTensor((None, 4)))
    assert output.history.op is activation
    assert not hasattr(output, "_keras_logits")


def test_softmax_along_all_axes():
    assert activations.softmax(X, axis=None).sum().item() == pytest.approx(1)


def test_softmax_over_one_value_warns():
    with pytest.warns(UserWarning, match=r"axis -1 .* has size 1.*sigmoid"):
        activations.softmax(X[:, :1])


def test_softmax_of_a_scalar():
    assert activations.softmax(torch.tensor(3.0)).item() == 1


@pytest.mark.parametrize("axis", [0, 1, -1])
@pytest.mark.parametrize("scale", [0.1, 1.0, 10.0])
def test_sparsemax_is_the_nearest_distribution(axis, scale):
    x = scale * torch.randn(4, 5, dtype=torch.float64)
    output = activations.sparsemax(x, axis)
    # The nearest point of the simplex is max(x - t, 0), with t such that it sums to 1.
    low, high = x.amin(axis, keepdim=True) - 1, x.amax(axis, keepdim=True)
    for _ in range(60):
        middle = (low + high) / 2
        over = torch.relu(x - middle).sum(axis, keepdim=True) > 1
        low, high = torch.where(over, middle, low), torch.where(over, high, middle)
    torch.testing.assert_close(output, torch.relu(x - low))


def test_none_is_linear():
    assert activations.get(None) is activations.linear


@pytest.mark.parametrize("given", [torch.relu, F.gelu, nn.GELU(), len])
def test_functions_and_modules_are_returned_as_they_are(given):
    assert activations.get(given) is given


def test_a_module_class_is_instantiated():
    assert isinstance(activations.get(nn.ReLU), nn.ReLU)


@pytest.mark.parametrize(
    ("given", "name"),
    [
        (torch.relu, "relu"),
        (F.relu, "relu"),
        (torch.sigmoid, "sigmoid"),
        (F.gelu, "gelu"),
        (F.hardswish, "hard_silu"),
    ],
)
def test_torch_functions_are_serialized_under_the_name_of_keras(given, name):
    assert activations.serialize(given) == name


@pytest.mark.parametrize("activation", activations._TORCH_FUNCTIONS)
def test_torch_functions_compute_what_their_names_say(activation):
    for function in activations._TORCH_FUNCTIONS[activation]:
        torch.testing.assert_close(function(X), activation(X))


def test_an_unknown_name_is_refused_with_the_nearest_one():
    with pytest.raises(ValueError, match=r"Unknown activation 'silou'.*'silu'"):
        activations.get("silou")


def test_a_value_of_another_kind_is_refused():
    with pytest.raises(TypeError, match="as activation, got 3"):
        activations.get(3)


def test_a_lambda_is_not_serialized():
    with pytest.raises(ValueError, match="Cannot serialize a lambda"):
        activations.serialize(lambda x: x)


def test_a_registered_function_comes_back():
    @register_keras_serializable("tests")
    def doubled(x):
        return 2 * x

    config = activations.serialize(doubled)
    assert config["registered_name"] == "tests>doubled"
    assert activations.get(config) is doubled
    assert activations.deserialize("own", {"own": doubled}) is doubled
