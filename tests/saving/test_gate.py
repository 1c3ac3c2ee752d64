"""The gate that every config passes: what is wrong with one is told in one way."""

import json
import re

import numpy as np
import pytest
import torch

from torchkeras import (
    initializers,
    layers,
    losses,
    metrics,
    models,
    ops,
    optimizers,
    saving,
)
from torchkeras._core import gate

REFUSED = (saving.UnsafeFileError, saving.CorruptFileError)


def stack(*parts):
    listed = [{"class_name": "InputLayer", "config": {"batch_shape": [None, 4]}}]
    return {"class_name": "Sequential", "config": {"layers": [*listed, *parts]}}


def dense(**config):
    return {"class_name": "Dense", "config": {"units": 2, **config}}


def graph(layers=(), inputs=(), outputs=()):
    inner = {"layers": layers, "input_layers": inputs, "output_layers": outputs}
    return {"class_name": "Functional", "config": inner}


def holding_itself():
    config = stack()
    config["config"]["layers"].append(config)
    return config


def shared_too_often():
    value = [1.0]
    for _ in range(40):
        value = [value, value]
    return stack(dense(kernel_initializer=value))


def literal(name, value):
    return stack(dense(bias_initializer={"class_name": name, "config": value}))


CODE = "4wEAAAAAAAAA" + "A" * 5_000
CONFIGS = {
    "no layers": {"class_name": "Sequential", "config": {}},
    "layers are a number": {"class_name": "Sequential", "config": {"layers": 3}},
    "a layer is a number": stack(3),
    "a layer is an optimizer": stack({"class_name": "Adam", "config": {}}),
    "a class is a number": stack({"class_name": 3}),
    "a module is a list": stack({**dense(), "module": []}),
    "an unknown class": stack({"class_name": "Nonsense" * 1_000}),
    "an unknown argument": stack(dense(unitz=3)),
    "a missing argument": stack({"class_name": "Dense", "config": {}}),
    "a wrong argument": stack(dense(activation=3)),
    "an unknown name": stack(dense(activation="relu" * 10_000)),
    "no arguments": stack({"class_name": "Dense", "config": [1]}),
    "names twice": stack(dense(name="a"), dense(name="a")),
    "holds itself": holding_itself(),
    "shared too often": shared_too_often(),
    "a number for two": stack(
        {**dense(), "shared_object_id": 1},
        {"class_name": "Flatten", "config": {}, "shared_object_id": 1},
    ),
    "a build of text": stack({**dense(), "build_config": {"input_shape": "abc"}}),
    "a build of 3": stack({**dense(), "build_config": 3}),
    "bytecode": stack(
        {"class_name": "Lambda", "config": {"function": [CODE, None, None]}}
    ),
    "bytecode in a function": stack(
        {
            "class_name": "Lambda",
            "config": {"function": {"class_name": "__lambda__", "config": CODE}},
        }
    ),
    "bytecode elsewhere": stack(dense(activation=[CODE])),
    "a graph of numbers": graph(1, 2, 3),
    "a graph without names": graph([dense()], [], []),
    "a graph without inputs": graph([], [["a", 0, 0]], [["a", 0, 0]]),
    "a slice of 3": literal("__slice__", 3),
    "a complex of 3": literal("__complex__", [1, 2, 3]),
    "an unknown float": literal("__float__", "x"),
    "an unhashable dtype": literal("__torch__", []),
    "a tuple of 3": literal("__tuple__", 3),
    "an array of nothing": literal("__numpy__", {"dtype": "float32"}),
    "an array of text": literal("__numpy__", {"dtype": "U99999999", "value": ["a"]}),
    "an array without a dtype": literal("__numpy__", {"dtype": [], "value": [1]}),
    "a ragged array": literal("__numpy__", {"dtype": "int8", "value": [[1], [1, 2]]}),
    "a quantized tensor": literal("__tensor__", {"dtype": "qint8", "value": [1]}),
    "a tensor of another shape": literal(
        "__tensor__", {"dtype": "float32", "value": [1, 2], "shape": [3]}
    ),
    "a function of 3": literal("function", 3),
}

WAYS = {
    "deserialize": layers.deserialize,
    "deserialize_keras_object": saving.deserialize_keras_object,
    "model_from_json": lambda config: models.model_from_json(json.dumps(config)),
    "from_config": lambda config: getattr(
        models, config["class_name"], models.Sequential
    ).from_config(config["config"]),
}
NO_JSON = ("holds itself", "shared too often")


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("name", CONFIGS)
def test_what_is_wrong_with_a_config(name, way):
    if way == "model_from_json" and name in NO_JSON:
        pytest.skip("has no JSON")
    with pytest.raises(REFUSED, match=r".{20}") as caught:
        WAYS[way](CONFIGS[name])
    text = str(caught.value)
    assert len(text) <= 2_000
    assert "4wEAAAA" not in text


OBJECTS = {
    "an optimizer": (optimizers.deserialize, "Adam", {"beta_1": []}),
    "a schedule": (optimizers.schedules.deserialize, "ExponentialDecay", {}),
    "a loss": (losses.deserialize, "Huber", {"reduction": 3}),
    "a metric": (metrics.deserialize, "AUC", {"num_thresholds": "a"}),
    "an initializer": (initializers.deserialize, "Constant", {"valu": 1}),
    "an initializer got": (initializers.get, "Constant", {"valu": 1}),
}


@pytest.mark.parametrize("name", OBJECTS)
def test_what_is_wrong_with_the_config_of(name):
    deserialize, class_name, config = OBJECTS[name]
    with pytest.raises(saving.CorruptFileError, match=f"the config of '{class_name}'"):
        deserialize({"class_name": class_name, "config": config})


def test_the_arguments_of_the_class_itself_are_the_callers_own():
    """A mistake in them is told as if the constructor was called."""
    for make in (layers.Dense.from_config, lambda config: layers.Dense(**config)):
        with pytest.raises(
            ValueError, match=r"^Dense: unknown argument\(s\) \['foo'\]"
        ):
            make({"units": 3, "foo": 1})
        with pytest.raises(TypeError, match="missing 1 required positional argument"):
            make({})
        with pytest.raises(TypeError, match="`units` must be a positive integer"):
            make({"units": "3"})
    with pytest.raises(ValueError, match=r"^Adam: unknown argument\(s\) \['lrr'\]"):
        optimizers.Adam.from_config({"lrr": 3})
    rate = {"class_name": "ExponentialDecay", "config": {}}
    with pytest.raises(saving.CorruptFileError, match="'ExponentialDecay'"):
        optimizers.Adam.from_config({"learning_rate": rate})
    with pytest.raises(saving.CorruptFileError, match="must be a dictionary, got 3"):
        layers.Dense.from_config(3)  # pyright: ignore


def test_configs_of_how_an_object_was_built_and_compiled():
    model = models.Sequential([layers.Dense(2)])
    for config in ({"input_shape": "abc"}, {"foo": [1, 2]}, None):
        with pytest.raises(saving.CorruptFileError, match="build_from_config: the con"):
            layers.Dense(2).build_from_config(config)  # pyright: ignore
    for config in ({"foo": 1}, {"optimizer": {"class_name": "SGD", "config": 3}}):
        with pytest.raises(saving.CorruptFileError, match="config"):
            model.compile_from_config(config)


def test_a_cause_is_kept_unless_it_is_long():
    @saving.register_keras_serializable("gate")
    class Broken(layers.Layer):
        def __init__(self, text="", **kwargs):
            super().__init__(**kwargs)
            raise RuntimeError(text)

    for length, cause in ((10, RuntimeError), (10_000, type(None))):
        config = {"class_name": "gate>Broken", "config": {"text": "x" * length}}
        with pytest.raises(saving.CorruptFileError, match="'gate>Broken': x") as caught:
            layers.deserialize(config)
        assert type(caught.value.__cause__) is cause


def test_what_is_wrong_with_the_config_of_a_model_that_is_cloned():
    @saving.register_keras_serializable("gate")
    class Own(models.Model):
        def __init__(self, part=None):
            super().__init__()

        def get_config(self):
            return {"part": wrong[0]}

    wrong = [holding_itself(), [CODE], dense(unitz=3), {"class_name": 3}]
    while wrong:
        with pytest.raises(REFUSED, match=r".{20}"):
            models.clone_model(Own())
        del wrong[0]


def test_a_model_is_not_added_to_itself():
    model = models.Sequential()
    for layer in (model, models.Sequential([model]), layers.TimeDistributed(model)):
        with pytest.raises(ValueError, match="cannot be added to itself"):
            model.add(layer)
    assert model.layers == []


def test_structures_nested_too_deep():
    value = 1.0
    for _ in range(5_000):
        value = [value]
    model = models.Sequential([layers.Input((4,)), layers.Dense(2)])
    model.compile("sgd", "mse")
    twin = models.Model(model.inputs, model.outputs)
    for call in (
        model,
        twin,
        layers.Add(),
        ops.abs,
        lambda x: models.Model(x, x),
        lambda x: model.predict(x, verbose=0),
        lambda x: model.fit(x, x, verbose=0),
    ):
        with pytest.raises(ValueError, match="nested too deep, or holds itself"):
            call(value)


def test_the_gate_looks_once_at_what_is_inside(monkeypatch):
    seen = []
    check = gate.check
    monkeypatch.setattr(gate, "check", lambda *a: (seen.append(a), check(*a)))
    model = models.Sequential(
        [layers.Input((3, 4)), layers.Bidirectional(layers.LSTM(2))]
    )
    config = layers.serialize(model.layers[0])
    seen.clear()
    layers.deserialize(config)
    assert len(seen) == 1


def test_weights_of_a_config_without_a_file():
    config = stack(dense(units=2**31))
    for make in (layers.deserialize, lambda c: WAYS["model_from_json"](c)):
        with pytest.raises(saving.UnsafeFileError, match=r"limits\(weight_bytes="):
            make(config)
    with saving.limits(weight_bytes=100):
        with pytest.raises(saving.UnsafeFileError, match="a config without a file may"):
            layers.deserialize(stack(dense(units=6)))
        layers.deserialize(stack(dense(units=5)))
    with torch.device("meta"):
        layers.deserialize(config)


def test_how_many_calls_a_layer_may_have():
    inputs = layers.Input((4,))
    layer = layers.Dense(4)
    outputs = layers.Add()([layer(inputs), layer(inputs)])
    config = layers.serialize(models.Model(inputs, outputs))
    refused = pytest.raises(saving.UnsafeFileError, match="that is called 2 times")
    with saving.limits(calls=1), refused:
        layers.deserialize(config)
    layers.deserialize(config)


def test_messages_are_short():
    for error in REFUSED:
        text = str(error("a" * 5_000 + " what to do"))
        assert len(text) <= 2_000
        assert re.search(r"a \[\.\.\.\] a+ what to do$", text)
        assert str(error("short")) == "short"


def test_arrays_in_configs_come_back():
    array = np.arange(6.0).reshape(2, 3)
    config = saving.serialize_keras_object(layers.Rescaling(scale=array))
    got = saving.deserialize_keras_object(json.loads(json.dumps(config)))
    np.testing.assert_array_equal(got.scale, array)
