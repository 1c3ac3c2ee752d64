"""A layer or a model used at several levels of a model stays one object."""

import copy

import numpy as np
import pytest
import torch

from torchkeras import layers
from torchkeras.layers import Input
from torchkeras.models import Functional, Model, Sequential, clone_model, load_model
from torchkeras.saving import (
    deserialize_keras_object,
    register_keras_serializable,
    serialize_keras_object,
)


@register_keras_serializable(package="sharing")
class Around(layers.Layer):
    """A layer around one that it is given."""

    def __init__(self, inner, **kwargs):
        super().__init__(**kwargs)
        self.inner = inner

    def call(self, inputs):
        return self.inner(inputs) + 1


@register_keras_serializable(package="sharing")
class Both(Model):
    """A subclassed model of two layers that it is given."""

    def __init__(self, first, second, **kwargs):
        super().__init__(**kwargs)
        self.first, self.second = first, second

    def call(self, inputs):
        return self.second(self.first(inputs))


def encoder(name="encoder"):
    inputs = Input((5,))
    return Functional(inputs, layers.Dense(5, name="dense")(inputs), name=name)


def own_input():
    inputs = Input((5,), name="given")
    first = Model(inputs, layers.Dense(3, name="one")(inputs), name="first")
    other = Input((3,))
    second = Model(other, layers.Dense(3, name="two")(other), name="second")
    return Model(inputs, second(first(inputs)))


def own_input_called_again():
    inputs = Input((5,), name="given")
    first = Model(inputs, layers.Dense(5, name="one")(inputs), name="first")
    return Model(inputs, first(layers.Dense(5)(first(inputs))))


def encoder_of_two_inputs_and_of_a_nested_model():
    shared, one, other, inside = encoder(), *(Input((5,)) for _ in range(3))
    nested = Model(inside, layers.Dense(2, name="dense")(shared(inside)), name="nested")
    return Model(
        [one, other],
        [layers.Subtract()([shared(one), shared(other)]), nested(other)],
    )


def three_levels():
    shared, bottom, middle, top = encoder(), *(Input((5,)) for _ in range(3))
    low = Model(bottom, layers.ReLU()(shared(bottom)), name="low")
    mid = Model(middle, layers.Add()([low(middle), shared(middle)]), name="mid")
    return Model(top, [mid(top), shared(low(top))])


def layer_of_two_stacks():
    dense, inputs = layers.Dense(5), Input((5,))
    first = Sequential([dense, layers.ReLU()])
    second = Sequential([layers.Dense(5), dense])
    return Model(inputs, second(first(inputs)))


def stack_of_stacks():
    dense = layers.Dense(5)
    parts = [dense, Sequential([dense, layers.ReLU()]), Sequential([dense])]
    return Sequential([Input((5,)), *parts])


def layer_inside_wrappers():
    dense, inputs = layers.Dense(5), Input((5,))
    steps = layers.Reshape((1, 5))(dense(inputs))
    steps = layers.TimeDistributed(dense)(steps)
    return Model(inputs, Around(dense)(layers.Flatten()(steps)))


def subclassed():
    dense = layers.Dense(5)
    model = Both(Around(dense), Sequential([dense, layers.Dense(2)]))
    model.build((None, 5))
    return model


def batch_normalization_in_a_nested_model():
    shared, inside, inputs = layers.BatchNormalization(), Input((5,)), Input((5,))
    nested = Model(inside, layers.Dense(5)(shared(inside)))
    return Model(inputs, nested(shared(inputs)))


MODELS = [
    own_input,
    own_input_called_again,
    encoder_of_two_inputs_and_of_a_nested_model,
    three_levels,
    layer_of_two_stacks,
    stack_of_stacks,
    layer_inside_wrappers,
    subclassed,
    batch_normalization_in_a_nested_model,
]


def through(extension):
    def again(model, path):
        model.save(path / f"model{extension}")
        return load_model(path / f"model{extension}")

    again.__name__ = extension
    return again


def cloned(model, _):
    return clone_model(model)


def cloned_by_a_function(model, _):
    if not model.graph_of_calls and not isinstance(model, Sequential):
        pytest.skip("a subclassed model is cloned by its config only")
    return clone_model(
        model, clone_function=lambda layer: type(layer).from_config(layer.get_config())
    )


def cloned_recursively(model, _):
    if not model.graph_of_calls and not isinstance(model, Sequential):
        pytest.skip("a subclassed model is cloned by its config only")
    return clone_model(
        model,
        clone_function=lambda layer: type(layer).from_config(layer.get_config()),
        recursive=True,
    )


def from_config(model, _):
    return type(model).from_config(model.get_config())


def from_serialized(model, _):
    return deserialize_keras_object(serialize_keras_object(model))


def deep_copied(model, _):
    return copy.deepcopy(model)


WAYS = [
    *map(through, (".keras", ".safetensors", ".h5")),
    cloned,
    cloned_by_a_function,
    cloned_recursively,
    from_config,
    from_serialized,
    deep_copied,
]


def randomized(model):
    for weight in model.weights:
        low = 0.1  # variances are positive
        weight.assign(torch.empty(tuple(weight.shape)).uniform_(low, 1))
    return model


@pytest.mark.parametrize("way", WAYS, ids=lambda way: way.__name__)
@pytest.mark.parametrize("make", MODELS, ids=lambda make: make.__name__)
def test_a_shared_layer_stays_one(make, way, tmp_path):
    model = randomized(make())
    again = way(model, tmp_path)
    if not again.built:
        again.build((None, 5))
    assert len(list(again.modules())) == len(list(model.modules()))
    assert again.count_params() == model.count_params()
    shapes = [tuple(weight.shape) for weight in model.weights]
    assert [tuple(weight.shape) for weight in again.weights] == shapes
    if way.__name__.startswith("."):
        for own, other in zip(again.get_weights(), model.get_weights(), strict=True):
            np.testing.assert_array_equal(own, other)
    again.set_weights(model.get_weights())
    count = len(model.inputs or [0])
    arrays = [np.random.rand(4, 5).astype("float32") for _ in range(count)]
    given = arrays if count > 1 else arrays[0]
    expected, got = model.predict(given, verbose=0), again.predict(given, verbose=0)
    if not isinstance(expected, list):
        expected, got = [expected], [got]
    for one, other in zip(expected, got, strict=True):
        np.testing.assert_allclose(one, other, rtol=1e-6)


@pytest.mark.parametrize("extension", [".weights.h5", ".safetensors", ".keras", ".h5"])
@pytest.mark.parametrize("make", MODELS, ids=lambda make: make.__name__)
def test_weights_of_a_shared_layer(make, extension, tmp_path):
    model, other = randomized(make()), make()
    path = tmp_path / f"model{extension}"
    (model.save if extension in (".keras", ".h5") else model.save_weights)(path)
    other.load_weights(path)
    for one, two in zip(model.get_weights(), other.get_weights(), strict=True):
        np.testing.assert_array_equal(one, two)


def test_only_what_is_shared_has_a_number():
    assert "shared_object_id" not in Sequential([layers.Dense(2)]).to_json()
    inputs, dense = Input((2,)), layers.Dense(2)
    assert "shared_object_id" not in Model(inputs, dense(dense(inputs))).to_json()
    assert stack_of_stacks().to_json().count("shared_object_id") == 3


def test_a_number_of_two_objects_is_refused():
    config = serialize_keras_object(stack_of_stacks())
    first, *_ = [c for c in config["config"]["layers"] if c["class_name"] == "Dense"]
    first["class_name"] = "ReLU"
    first["config"] = {}
    with pytest.raises(ValueError, match="to two objects: a ReLU and a Dense"):
        deserialize_keras_object(config)


def test_the_numbers_of_one_config_mean_nothing_to_another(tmp_path):
    path = tmp_path / "model.keras"
    stack_of_stacks().save(path)

    def function(layer):
        assert load_model(path).count_params() == 30  # while others are cloned
        return type(layer).from_config(layer.get_config())

    model = layer_of_two_stacks()
    assert clone_model(model, clone_function=function).count_params() == 60
