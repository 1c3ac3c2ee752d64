"""Nothing shares memory with the user's arrays: what takes values takes a copy."""

import copy
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn

from torchkeras import Variable, initializers, layers, metrics, optimizers
from torchkeras.models import Sequential

VALUES = [[1.0, 2.0], [3.0, 4.0]]


def array() -> np.ndarray:
    return np.array(VALUES, "float32")


SOURCES: dict[str, Callable[[], Any]] = {
    "array": array,
    "array of float64": lambda: np.array(VALUES),
    "tensor": lambda: torch.tensor(VALUES),
    "parameter": lambda: nn.Parameter(torch.tensor(VALUES)),
    "variable": lambda: Variable(VALUES),
    "view of an array": lambda: torch.from_numpy(array()),
}


def with_kernel(value: Any) -> Any:
    layer = layers.Dense(2, use_bias=False)
    layer.build((None, 2))
    layer.set_weights([value])
    return layer.kernel


def assigned(value: Any) -> Any:
    weight = Variable(np.zeros((2, 2), "float32"))
    weight.assign(value)
    return weight


def view_assigned(value: Any) -> Any:
    layer = layers.Dense(2)
    layer.build((None, 2))
    layer.kernel.assign(value)
    return layer.kernel


def model_assigned(value: Any) -> Any:
    model = Sequential([layers.Input((2,)), layers.Dense(2, use_bias=False)])
    model.set_weights([value])
    return model.weights[0]


def added(value: Any) -> Any:
    class Own(layers.Layer):
        def build(self, input_shape: Any) -> None:
            self.table = self.add_weight(
                shape=(2, 2), initializer=lambda *_, **__: value
            )

    layer = Own()
    layer.build((None, 2))
    return layer.table


#: What is given a value and then holds it.
HOLDERS: dict[str, Callable[[Any], Any]] = {
    "Variable": Variable,
    "Variable of a function": lambda value: Variable(lambda *_, **__: value, (2, 2)),
    "assign": assigned,
    "assign to a view": view_assigned,
    "set_weights of a layer": with_kernel,
    "set_weights of a model": model_assigned,
    "add_weight": added,
}


def numbers(value: Any) -> list[Any]:
    return value.tolist()


@pytest.mark.parametrize("source", SOURCES)
@pytest.mark.parametrize("holder", HOLDERS)
def test_a_weight_and_the_value_it_was_given_are_apart(
    holder: str, source: str
) -> None:
    value = SOURCES[source]()
    weight = HOLDERS[holder](value)
    with torch.no_grad():
        value[0, 0] = 9.0
    assert np.asarray(weight.numpy()).tolist() == VALUES
    weight.assign(np.full((2, 2), 7.0))
    kept = copy.deepcopy(VALUES)
    kept[0][0] = 9.0
    assert numbers(value) == kept


def trained() -> Sequential:
    model = Sequential([layers.Input((2,)), layers.Dense(2)])
    model.compile(optimizers.Adam(0.1), "mse")
    model.fit(array(), array(), verbose=0)
    return model


#: Values that are handed out, and what changes the object afterwards.
GIVEN: dict[str, Callable[[Sequential], list[Any]]] = {
    "get_weights of a model": lambda model: model.get_weights(),
    "get_weights of a layer": lambda model: model.layers[0].get_weights(),
    "numpy of a view": lambda model: [model.weights[0].numpy()],
    "an array of a view": lambda model: [np.asarray(model.weights[0])],
    "numpy of a variable": lambda model: [w.numpy() for w in model.weights],
    "numpy of the optimizer's variables": lambda model: [
        np.array(v.numpy(), copy=None) for v in model.optimizer.variables
    ],
    "predict": lambda model: [model.predict(array(), verbose=0)],
    "predict_on_batch": lambda model: [model.predict_on_batch(array())],
}


@pytest.mark.parametrize("given", GIVEN)
def test_what_is_handed_out_stays_and_changes_nothing(given: str) -> None:
    model = trained()
    values = GIVEN[given](model)
    kept = copy.deepcopy(values)
    model.fit(array(), array(), verbose=0)
    for value, old in zip(values, kept, strict=True):
        np.testing.assert_array_equal(value, old)
    before = copy.deepcopy(model.get_weights() + model.optimizer.state_for_keras())
    for value in GIVEN[given](model):
        if value.flags.writeable:
            value[...] = 9
    after = model.get_weights() + model.optimizer.state_for_keras()
    for value, old in zip(after, before, strict=True):
        np.testing.assert_array_equal(value, old)


def test_an_initializer_of_a_value_gives_a_copy_each_time() -> None:
    value = array()
    initializer = initializers.Constant(value)
    first, second = initializer((2, 2)), initializer((2, 2))
    value[0, 0] = 9
    first.zero_()
    assert second.tolist() == VALUES


@pytest.mark.parametrize("name", ["Mean", "MeanSquaredError", "Precision", "AUC"])
def test_a_metric_keeps_nothing_of_what_it_was_given(name: str) -> None:
    values = torch.tensor([0.25, 0.75, 0.5])
    metric = getattr(metrics, name)()
    given = (values,) if name == "Mean" else (torch.tensor([0.0, 1.0, 1.0]), values)
    metric.update_state(*given)
    before = float(metric.result())
    values.fill_(0.9)
    assert float(metric.result()) == before


@pytest.mark.parametrize("dtype", [None, "float32", "float64", "float16"])
def test_what_a_function_gives_is_taken_in_the_dtype_of_the_weight(dtype: Any) -> None:
    weight = Variable(lambda shape, dtype: np.ones(shape), (2, 2), dtype=dtype)
    assert weight.dtype == getattr(torch, dtype or "float32")
