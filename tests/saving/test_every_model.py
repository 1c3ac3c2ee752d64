"""Whatever `save` accepts can be loaded: kinds of models, formats, ways to compile."""

from typing import Any

import numpy as np
import pytest
import torch
from torch import nn
from torch.utils import _pytree

from torchkeras import layers, losses, metrics, ops, optimizers
from torchkeras.layers import Dense, Input
from torchkeras.models import Functional, Model, Sequential, load_model
from torchkeras.saving import legacy, register_keras_serializable

#: All layers, whose configs are read in the form of any Keras.
LAYERS = [
    member
    for member in vars(layers).values()
    if isinstance(member, type)
    and issubclass(member, layers.Layer)
    and member is not layers.InputLayer
]
EXTENSIONS = [".safetensors", ".keras", ".h5"]


@register_keras_serializable(package="every")
def doubled(x):
    return 2 * x


@register_keras_serializable(package="every")
def distance(y_true, y_pred):
    return ops.mean(ops.abs(y_true - y_pred), axis=-1)


class Plain(Model):
    """A subclassed model."""

    def __init__(self, units=3, **kwargs):
        super().__init__(**kwargs)
        self.units = units
        self.stack = [Dense(units), Dense(2)]

    def call(self, inputs):
        for layer in self.stack:
            inputs = layer(inputs)
        return inputs


@register_keras_serializable(package="every")
class Registered(Plain):
    """The same, registered."""


@register_keras_serializable(package="every")
class Given(Model):
    """A subclassed model of layers that it is given, in a list."""

    def __init__(self, parts, **kwargs):
        super().__init__(**kwargs)
        self.parts = parts

    def call(self, inputs):
        return self.parts[1](self.parts[0](inputs))


def built(model):
    model.build((None, 4))
    return model


def of_outputs(make):
    inputs = Input((4,))
    return Model(inputs, make(inputs))


def several_inputs():
    inputs = {"b": Input((4,), name="b"), "a": Input((4,), name="a")}
    return Model(inputs, layers.Add()([inputs["a"], Dense(4)(inputs["b"])]))


def nested():
    inner = of_outputs(lambda x: [Dense(3)(x), Dense(2)(x)])
    return of_outputs(lambda x: layers.Concatenate()(inner(x)))


#: Each with the formats that take it: those of Keras have no torch functions.
MODELS = {
    "stack": lambda: Sequential([Input((4,)), Dense(3, "relu"), Dense(2)]),
    "stack without an input": lambda: built(Sequential([Dense(3), Dense(2)])),
    "stack of models": lambda: Sequential(
        [Input((4,)), of_outputs(Dense(3)), Sequential([Dense(2)])]
    ),
    "list of outputs": lambda: of_outputs(lambda x: [Dense(3)(x), Dense(2)(x)]),
    "dict of outputs": lambda: of_outputs(lambda x: {"b": Dense(3)(x), "a": x}),
    "nested outputs": lambda: of_outputs(
        lambda x: {"b": [Dense(3)(x), [x, Dense(2)(x)]], "a": x}
    ),
    "dict of inputs": several_inputs,
    "nested models": nested,
    "a layer without a name of its own": lambda: of_outputs(
        lambda x: Dense(2)(Dense(2)(x))
    ),
    "subclassed": lambda: built(Plain(5)),
    "subclassed and registered": lambda: built(Registered(units=4)),
    "subclassed, of given layers": lambda: built(Given([Dense(3), Dense(2)])),
    "subclassed in a graph": lambda: of_outputs(Registered(4)),
    "lambda of a registered function": lambda: of_outputs(layers.Lambda(doubled)),
    "registered activation": lambda: of_outputs(Dense(3, activation=doubled)),
    "activation of torch": lambda: of_outputs(Dense(3, activation=torch.tanh)),
    "operations": lambda: of_outputs(
        lambda x: ops.where(x > 0.5, ops.exp(x), x[:, :1])
    ),
    "torch functions": lambda: of_outputs(lambda x: torch.cat([x, x.relu()], -1)),
    "torch modules": lambda: Sequential([Input((4,)), nn.Linear(4, 3), nn.ReLU()]),
}
NATIVE = {"torch functions", "torch modules"}


def inputs_of(model):
    x = np.random.rand(5, 4).astype("float32")
    if isinstance(model, Functional) and isinstance(model.input, dict):
        return {"a": x, "b": x + 1}
    return x


@pytest.mark.parametrize("extension", EXTENSIONS)
@pytest.mark.parametrize("case", MODELS)
def test_every_model_in_every_format(case, extension, tmp_path):
    model, path = MODELS[case](), tmp_path / f"model{extension}"
    if case in NATIVE and extension != ".safetensors":
        with pytest.raises(ValueError, match=r"save to .\.safetensors"):
            model.save(path)
        assert not list(tmp_path.iterdir())
        return
    model.save(path)
    loaded = load_model(path, custom_objects={"Plain": Plain})
    assert type(loaded) is type(model)
    x = inputs_of(model)
    expected, got = (m.predict(x, verbose=0) for m in (model, loaded))
    assert _pytree.tree_structure(got) == _pytree.tree_structure(expected)
    for one, other in zip(*map(_pytree.tree_leaves, (got, expected)), strict=True):
        np.testing.assert_allclose(one, other, rtol=1e-6)
    loaded.save(path)  # and again


COMPILED: dict[str, dict[str, Any]] = {
    "names": {"optimizer": "adam", "loss": "mse", "metrics": ["mae"]},
    "objects": {
        "optimizer": lambda: optimizers.SGD(0.1, momentum=0.9, nesterov=True),
        "loss": lambda: losses.Huber(delta=0.5),
        "metrics": lambda: [metrics.MeanAbsoluteError(name="error")],
        "weighted_metrics": ["mse"],
    },
    "a schedule": {
        "optimizer": lambda: optimizers.Adam(
            optimizers.schedules.ExponentialDecay(0.1, 10, 0.9), clipnorm=1.0
        ),
        "loss": "mse",
    },
    "own functions": {"loss": lambda: distance, "metrics": lambda: [distance]},
    "functions of the library": {"loss": lambda: losses.mean_squared_error},
    "accumulated and averaged": {
        "optimizer": lambda: optimizers.Adam(
            gradient_accumulation_steps=2, use_ema=True
        ),
        "loss": "mse",
    },
    "steps and a compiler": {"loss": "mse", "steps_per_execution": 2},
    "without a loss": {"optimizer": "rmsprop"},
}


@pytest.mark.parametrize("extension", EXTENSIONS)
@pytest.mark.parametrize("case", COMPILED)
def test_every_way_to_compile(case, extension, tmp_path):
    model = Sequential([Input((4,)), Dense(2)])
    arguments: Any = {k: v() if callable(v) else v for k, v in COMPILED[case].items()}
    model.compile(**arguments)
    x, y = np.random.rand(8, 4), np.random.rand(8, 2)
    if "loss" in COMPILED[case]:
        model.fit(x, y, batch_size=4, verbose=0)
    model.save(tmp_path / f"model{extension}")
    loaded = load_model(tmp_path / f"model{extension}")
    assert type(loaded.optimizer) is type(model.optimizer)
    if "loss" in COMPILED[case]:
        results = (
            m.evaluate(x, y, verbose=0, return_dict=True) for m in (model, loaded)
        )
        assert next(results) == pytest.approx(next(results))
        for own in (model, loaded):  # the optimizer goes on as it was
            own.fit(x, y, batch_size=4, shuffle=False, verbose=0)
        for one, other in zip(model.weights, loaded.weights, strict=True):
            torch.testing.assert_close(one.value, other.value)


@pytest.mark.parametrize("cls", LAYERS, ids=lambda cls: cls.__name__)
def test_names_and_dtypes_of_every_layer_are_read(cls):
    assert {"name", "dtype"} <= legacy._accepted(cls)
