"""A clone makes each call of the graph again, whatever was called."""

from collections.abc import Callable
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from torch import nn

from torchkeras import layers, ops
from torchkeras.models import Model, clone_model

#: What is done to an output of shape (None, 4).
CALLS: dict[str, Callable[[Any], Any]] = {
    # Operators
    "x + 1": lambda x: x + 1,
    "1 - x": lambda x: 1 - x,
    "-x": lambda x: -x,
    "x ** 2": lambda x: x**2,
    "x @ tensor": lambda x: x @ torch.ones(4, 2),
    "x[:, :2]": lambda x: x[:, :2],
    "x[..., None]": lambda x: x[..., None],
    "x > 0": lambda x: (x > 0).float(),
    # Methods
    "mean": lambda x: x.mean(1),
    "mean by name": lambda x: x.mean(dim=1, keepdim=True),
    "max": lambda x: x.max(1)[0],
    "values of max": lambda x: x.max(dim=1).values,
    "view": lambda x: x.view(-1, 2, 2),
    "flatten": lambda x: x.flatten(1),
    "two methods": lambda x: x.unsqueeze(1).transpose(1, 2),
    "attribute": lambda x: x.unsqueeze(1).mT,
    "clamp": lambda x: x.clamp(min=0),
    "to": lambda x: x.to(torch.float64),
    "size": lambda x: x.reshape(x.size(0), 2, 2),
    "chunk": lambda x: sum(x.chunk(2, dim=1)),
    "unbind": lambda x: x.unbind(1)[1],
    "method of two": lambda x: x.mul(x.relu()),
    "add_": lambda x: (x * 1).add_(1),
    # Functions
    "torch.relu": torch.relu,
    "F.gelu": F.gelu,
    "F.softmax": lambda x: F.softmax(x, dim=-1),
    "torch.cat": lambda x: torch.cat([x, x], 1),
    "torch.split": lambda x: torch.split(x, 2, dim=1)[0],
    "torch.topk": lambda x: torch.topk(x, 2).values,
    "torch.where": lambda x: torch.where(x > 0, x, torch.zeros(())),
    "torch.einsum": lambda x: torch.einsum("ij,ik->ijk", x, x),
    "torch.max": lambda x: torch.max(x, 1)[1],
    # Operations
    "ops.mean": lambda x: ops.mean(x, axis=1),
    "ops.concatenate": lambda x: ops.concatenate([x, x], axis=-1),
    "ops.reshape": lambda x: ops.reshape(x, (-1, 2, 2)),
    "ops.vectorized_map": lambda x: ops.vectorized_map(lambda row: row * 2, x),
    "ops.where": lambda x: ops.where(x > 0, x, 0.0),
}


def model_of(call: Callable[[Any], Any]) -> Any:
    inputs = layers.Input((3,))
    return Model(inputs, call(layers.Dense(4, name="hidden")(inputs)))


def assert_same(twin: Any, model: Any) -> None:
    """Compare outputs after taking over the weights, and the names of the calls."""
    twin.set_weights(model.get_weights())
    x = torch.randn(5, 3)
    outputs, expected = twin(x), model(x)
    assert outputs.dtype == expected.dtype
    torch.testing.assert_close(outputs, expected, atol=0, rtol=0)
    graphs = [each.graph_of_calls.nodes for each in (twin, model)]
    assert [n.name for n in graphs[0]] == [n.name for n in graphs[1]]
    assert [n.op for n in graphs[0] if not isinstance(n.op, layers.Layer)] == [
        n.op for n in graphs[1] if not isinstance(n.op, layers.Layer)
    ]
    assert twin.output_shape == model.output_shape


@pytest.mark.parametrize("name", CALLS)
def test_each_kind_of_call_is_made_again(name: str) -> None:
    model = model_of(CALLS[name])
    twin = clone_model(model)
    assert_same(twin, model)
    assert_same(clone_model(twin), model)
    own = {id(p) for p in model.parameters()}
    assert not own & {id(p) for p in twin.parameters()}


@pytest.mark.parametrize("name", CALLS)
def test_a_call_function_can_make_each_kind_of_call(name: str) -> None:
    model, called = model_of(CALLS[name]), []

    def call(op: Any, *args: Any, **kwargs: Any) -> Any:
        called.append(op)
        return op(*args, **kwargs)

    assert_same(clone_model(model, call_function=call), model)
    assert len(called) == len(model.graph_of_calls.nodes) - 1  # but the input's


@pytest.mark.parametrize("name", ["mean", "torch.relu", "ops.mean", "x + 1"])
def test_calls_of_nested_models_are_made_again(name: str) -> None:
    inputs = layers.Input((3,))
    model = Model(inputs, model_of(CALLS[name])(inputs))
    for recursive in (False, True):
        twin = clone_model(model, recursive=recursive)
        twin.set_weights(model.get_weights())
        x = torch.randn(5, 3)
        torch.testing.assert_close(twin(x), model(x), atol=0, rtol=0)


#: What is computed with a weight of the layer beside calling the layer.
WEIGHTS: dict[str, Callable[[Any, Any], Any]] = {
    "Keras's kernel": lambda x, layer: x @ layer.weights[0],
    "Keras's bias": lambda x, layer: x * layer.weights[1],
    "torch's weight": lambda x, layer: F.linear(x, layer.linear.weight),
    "torch's bias": lambda x, layer: torch.add(x, other=layer.linear.bias),
}


@pytest.mark.parametrize("name", WEIGHTS)
def test_a_weight_in_the_graph_is_that_of_the_clone(name: str) -> None:
    inputs, layer = layers.Input((4,)), layers.Dense(4, bias_initializer="ones")
    model = Model(inputs, WEIGHTS[name](layer(inputs), layer))
    twin, x = clone_model(model), torch.randn(2, 4)
    assert len(list(twin.parameters())) == 2
    assert not {id(p) for p in model.parameters()} & {id(p) for p in twin.parameters()}
    twin.set_weights(model.get_weights())
    expected = model(x)
    torch.testing.assert_close(twin(x), expected)
    model.set_weights([0 * weight for weight in model.get_weights()])
    torch.testing.assert_close(twin(x), expected)


def test_a_weight_of_the_model_itself_is_copied_once() -> None:
    inputs, weight = layers.Input((4,)), nn.Parameter(torch.ones(4))
    model = Model(inputs, (inputs * weight) + weight)
    twin = clone_model(model)
    (copy,) = twin.parameters()
    assert copy is not weight
    assert torch.equal(copy, weight)
    torch.testing.assert_close(twin(torch.ones(2, 4)), torch.full((2, 4), 2.0))


def test_a_weight_that_the_other_layer_lacks_is_refused() -> None:
    inputs, layer = layers.Input((4,)), layers.Dense(4)
    model = Model(inputs, layer(inputs) * layer.weights[1])
    with pytest.raises(
        ValueError, match=r"the weight 'linear\.bias' of the layer 'dense"
    ):
        clone_model(model, clone_function=lambda _: layers.Dense(4, use_bias=False))
