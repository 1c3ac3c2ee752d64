"""What a clone takes from its model, and the inputs it may be given."""

import numpy as np
import pytest

from torchkeras import layers
from torchkeras.models import Model, Sequential, clone_model


def stack() -> Sequential:
    return Sequential([layers.Input((3,)), layers.Dense(2), layers.Dense(1)], name="s")


def graph() -> Model:
    inputs = layers.Input((3,))
    return Model(inputs, layers.Dense(1)(layers.Dense(2)(inputs)), name="g")


@pytest.mark.parametrize("make", [stack, graph])
@pytest.mark.parametrize("frozen", ["nothing", "a layer", "the model"])
def test_what_is_frozen_is_frozen_in_the_clone(make, frozen) -> None:
    model = make()
    if frozen == "a layer":
        model.layers[-1].trainable = False
    model.trainable = frozen != "the model"
    if frozen == "a layer":
        model.layers[-1].trainable = False
    twin = clone_model(model)
    assert twin.name == model.name
    assert twin.trainable == model.trainable
    assert [layer.trainable for layer in twin.layers] == [
        layer.trainable for layer in model.layers
    ]
    assert len(twin.trainable_weights) == len(model.trainable_weights)


@pytest.mark.parametrize("make", [stack, graph])
def test_a_clone_may_be_given_inputs(make) -> None:
    model, inputs = make(), layers.Input((3,), name="other")
    twin = clone_model(model, input_tensors=inputs)
    assert twin.input_shape == (None, 3)
    twin.set_weights(model.get_weights())
    x = np.ones((2, 3), "float32")
    np.testing.assert_array_equal(
        twin.predict(x, verbose=0), model.predict(x, verbose=0)
    )


@pytest.mark.parametrize("given", [np.ones((2, 3)), "inputs"], ids=type)
@pytest.mark.parametrize("make", [stack, graph])
def test_other_inputs_are_refused(make, given) -> None:
    with pytest.raises((ValueError, TypeError), match="input_tensors"):
        clone_model(make(), input_tensors=given)


@pytest.mark.parametrize("count", [0, 2])
def test_a_stack_has_one_input(count) -> None:
    given = [layers.Input((3,)) for _ in range(count)]
    with pytest.raises(ValueError, match="input_tensors"):
        clone_model(stack(), input_tensors=given)
