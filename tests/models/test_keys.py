"""The keys of `state_dict`: the same for every model that the same code makes."""

import copy
import json
from typing import Any

import pytest
import torch
from safetensors.torch import load_file
from torch import nn

from torchkeras import Input, Model, Sequential, layers, models, ops
from torchkeras.models import clone_model
from torchkeras.saving import tensor_file


def stack():
    return Sequential(
        [
            Input((4,)),
            layers.Dense(4),
            layers.Dense(4, name="middle"),
            layers.Dense(4),
            layers.BatchNormalization(),
        ]
    )


def branches():
    inputs = Input((4,))
    left, right = layers.Dense(3)(inputs), layers.Dense(3)(inputs)
    outputs = layers.Dense(2)(layers.Concatenate()([left, right]))
    return Model(inputs, [outputs, layers.Dense(1, name="dense_900")(left)])


def nested():
    inputs = Input((4,))
    shared = layers.Dense(4)
    inner = Sequential([Input((4,)), layers.Dense(4), shared])
    part = Model(inner.inputs, inner(inner.inputs[0]))
    return Model(inputs, layers.Dense(1)(part(shared(inner(inputs)))))


def repeated():
    inputs = x = Input((4,))
    for _ in range(12):
        x = layers.Dense(4)(x)
    model = Model(inputs, x)
    model.add_loss(ops.mean(layers.Dense(1)(x)))
    return model


def recurrent():
    return Sequential(
        [
            Input((5, 4)),
            layers.Bidirectional(layers.LSTM(2, return_sequences=True)),
            layers.TimeDistributed(layers.Dense(2)),
            layers.GRU(2),
        ]
    )


def given_like_automatic():
    """Names that were given, of which some are those that a layer may get."""
    names = ["dense_1", None, "dense", None, "dense_3", None]
    model = Sequential([Input((4,))])
    for name in names:
        layer = layers.Dense(4, name=name)
        if name is None:
            layer._name = f"dense_{1000 + len(model)}"  # in a process that made many
        model.add(layer)
    return model


CASES = {
    "stack": (
        stack,
        ["dense", "middle", "dense_1", "batch_normalization"],
    ),
    "branches": (branches, ["dense", "dense_1", "concatenate", "dense_2", "dense_900"]),
    "nested": (nested, ["sequential", "dense", "functional", "dense_1"]),
    "repeated": (
        repeated,
        ["dense", *(f"dense_{n}" for n in range(1, 13)), "add_loss_1"],
    ),
    "recurrent": (recurrent, ["bidirectional", "time_distributed", "gru"]),
    "given like automatic": (
        given_like_automatic,
        ["dense_1", "dense_2", "dense", "dense_4", "dense_3", "dense_5"],
    ),
}


def modules():
    inputs = Input((4,))
    hidden = nn.ReLU()(nn.Linear(4, 4)(inputs))
    return Model(inputs, layers.Dense(2)(nn.Linear(4, 4)(hidden)))


def keys_of(model):
    return list(model.state_dict())


@pytest.mark.parametrize("make", [*(c[0] for c in CASES.values()), modules])
def test_the_first_checkpoint_loads_into_the_second(make, tmp_path):
    first, second = make(), make()
    assert keys_of(first) == keys_of(second)
    second.load_state_dict(first.state_dict())
    first.save_weights(tmp_path / "first.safetensors")
    third = make()
    assert load_file(tmp_path / "first.safetensors").keys() <= third.state_dict().keys()
    third.load_weights(tmp_path / "first.safetensors")
    for other in (second, third):
        for a, b in zip(first.parameters(), other.parameters(), strict=True):
            assert torch.equal(a, b)


@pytest.mark.parametrize("case", CASES)
def test_keys_count_within_the_model(case):
    make, expected = CASES[case]
    assert [k for k in make()._modules if k in expected] == expected
    assert {key.partition(".")[0] for key in keys_of(make())} <= set(expected)


@pytest.mark.parametrize("case", CASES)
def test_twins_have_the_same_keys(case, tmp_path):
    model = CASES[case][0]()
    twins: list[Any] = [
        copy.deepcopy(model),
        clone_model(model),
        clone_model(
            model, clone_function=lambda each: type(each).from_config(each.get_config())
        ),
        type(model).from_config(json.loads(json.dumps(model.get_config()))),
        models.model_from_json(model.to_json()),
    ]
    whole = case != "repeated"  # Keras has no form for a term of the loss
    for extension in [".safetensors", *([".keras", ".h5"] if whole else [])]:
        model.save(tmp_path / f"m{extension}")
        twins.append(models.load_model(tmp_path / f"m{extension}"))
    for twin in twins:
        assert keys_of(twin) == keys_of(model)


def test_names_stay_those_of_keras():
    first, second = stack(), stack()
    names = [layer.name for layer in (*first.layers, *second.layers)]
    assert len(set(names)) == len(names) - 1  # "middle" is in both
    for layer in second.layers:
        assert second.get_layer(layer.name) is layer


def test_a_stack_has_the_keys_of_its_layers_whatever_came_before():
    model = Sequential([Input((4,)), layers.Dense(4)])
    model.layers[0]._name = "dense_1000"
    model.add(layers.Dense(4, name="dense"))
    assert list(model._modules) == ["dense_1", "dense"]
    model.add(layers.Dense(4))
    assert list(model._modules) == ["dense_1", "dense", "dense_2"]
    model.pop()
    model.pop()
    assert list(model._modules) == ["dense"]
    model.add(layers.Dense(4))
    assert list(model._modules) == ["dense", "dense_1"]
    assert model(torch.ones(2, 4)).shape == (2, 4)


def test_layers_of_attributes_keep_their_keys():
    class Net(Sequential):
        def __init__(self):
            super().__init__()
            self.first = layers.Dense(4)

    model = Net()
    model.add(layers.Dense(4))
    model.layers[1]._name = "dense_1000"
    model.add(layers.Dense(4, name="dense"))
    assert list(model._modules) == ["first", "dense_1", "dense"]
    assert model.first is model.layers[0]


def test_a_renamed_layer_was_given_its_name():
    layer = layers.Dense(4)
    layer.name = "renamed"
    assert list(Sequential([Input((4,)), layer])._modules) == ["renamed"]


def test_files_with_keys_that_count_the_process_still_load(tmp_path, monkeypatch):
    """Version 1 called layers by their names, in the order in which they were made."""

    def build(*names):
        return Sequential([Input((4,)), *(layers.Dense(4, name=n) for n in names)])

    path = tmp_path / "old.safetensors"
    old = build("dense_1", "dense")
    assert keys_of(old)[0] == "dense_1.linear.weight"
    monkeypatch.setattr(tensor_file, "FORMAT_VERSION", 1)
    old.save_weights(path)
    monkeypatch.undo()
    new = build(None, None)
    assert set(keys_of(new)) == set(keys_of(old))
    new.load_weights(path)
    for a, b in zip(old.parameters(), new.parameters(), strict=True):
        assert torch.equal(a, b)
    # What is written now goes by keys that were given, whatever their order.
    swapped, again = build("a", "b"), build("b", "a")
    swapped.save_weights(path)
    again.load_weights(path)
    assert torch.equal(again.layers[0].kernel.value, swapped.layers[1].kernel.value)
