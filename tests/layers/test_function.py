"""Lambda layers: what the function is given, shapes, masks, and what is saved."""

import json
from typing import Any

import pytest
import torch

import torchkeras
from torchkeras import activations, layers
from torchkeras.saving import register_keras_serializable


@register_keras_serializable("lambda")
def scaled(x, factor=2.0):
    return factor * x


@register_keras_serializable("lambda")
def third(shape):
    return (*shape[:-1], 3)


@register_keras_serializable("lambda")
def nothing_left(x, mask):
    return torch.zeros(x.shape[:2], dtype=torch.bool)


def ones(*shape) -> Any:
    """Return a tensor that may be given a mask."""
    return torch.ones(shape)


def test_the_function_is_given_mode_and_mask():
    given = []

    def look(x, mask=None, training=None):
        given.append((mask, training))
        return x + 1

    layer, x = layers.Lambda(look, mask=nothing_left), ones(2, 3, 4)
    layer(x)
    layer(x, training=True)
    x._keras_mask = torch.ones(2, 3, dtype=torch.bool)
    layer(x)
    assert given == [(None, False), (None, True), (x._keras_mask, False)]


def test_several_inputs_and_outputs():
    layer = layers.Lambda(lambda xs: (xs[0] + xs[1], xs[0] > xs[1]))
    total, larger = layer([torch.ones(2), torch.zeros(2)])
    assert total.tolist() == [1, 1]
    assert larger.all()
    total, larger = layer([layers.Input((3,)), layers.Input((3,))])
    assert (total.shape, larger.dtype) == ((None, 3), "bool")


@pytest.mark.parametrize(
    ("output_shape", "expected"),
    [
        (None, (None, 5, 4)),
        ((7,), (None, 7)),
        ([None, 7], (None, None, 7)),
        (7, (None, 7)),
        (third, (None, 5, 3)),
    ],
)
def test_output_shapes(output_shape, expected):
    layer = layers.Lambda(scaled, output_shape=output_shape)
    assert layer(layers.Input((5, 4))).shape == expected
    assert layer.compute_output_shape((None, 5, 4)) == expected


def test_output_shapes_of_several_outputs():
    layer = layers.Lambda(lambda x: x, output_shape=[(2,), (3, 4)])
    first, second = layer(layers.Input((5,)))
    assert (first.shape, second.shape) == ((None, 2), (None, 3, 4))
    layer: Any = layers.Lambda(lambda x: x, output_shape={"a": (2,)})
    assert layer(layers.Input((5,)))["a"].shape == (None, 2)


@pytest.mark.parametrize("mask", [nothing_left, torch.zeros(2, 3, dtype=torch.bool)])
def test_the_mask_of_the_outputs(mask):
    for given in (False, True):
        x = ones(2, 3, 4)
        if given:
            x._keras_mask = torch.ones(2, 3, dtype=torch.bool)
        outputs: Any = layers.Lambda(scaled, mask=mask)(x)
        assert not outputs._keras_mask.any()


def test_a_mask_ends_with_a_warning():
    x = ones(2, 3, 4)
    x._keras_mask = torch.ones(2, 3, dtype=torch.bool)
    with pytest.warns(UserWarning, match="does not support masking"):
        outputs = layers.Lambda(scaled)(x)
    assert not hasattr(outputs, "_keras_mask")


@pytest.mark.parametrize(
    "kwargs",
    [
        {"function": activations.tanh},
        {"function": scaled, "arguments": {"factor": 3.0}},
        {"function": scaled, "output_shape": third, "mask": nothing_left},
        {"function": scaled, "output_shape": (5, 4)},
    ],
)
@pytest.mark.parametrize("extension", [".keras", ".h5", ".safetensors"])
def test_named_functions_are_saved(kwargs, extension, tmp_path):
    model = torchkeras.Sequential([layers.Input((5, 4)), layers.Lambda(**kwargs)])
    model.save(tmp_path / f"m{extension}")
    loaded = torchkeras.models.load_model(tmp_path / f"m{extension}")
    x = torch.randn(2, 5, 4)
    assert torch.equal(loaded(x), model(x))
    assert loaded.output_shape == model.output_shape
    again = json.dumps(loaded.layers[-1].get_config())
    assert again == json.dumps(model.layers[-1].get_config())


def test_a_python_lambda_is_not_saved(tmp_path):
    model = torchkeras.Sequential([layers.Input((4,)), layers.Lambda(lambda x: x)])
    with pytest.raises(ValueError, match="Cannot serialize a lambda function"):
        model.save(tmp_path / "m.keras")
    with pytest.raises(ValueError, match="Cannot serialize a lambda function"):
        layers.Lambda(scaled, output_shape=lambda shape: shape).get_config()
    assert list(tmp_path.iterdir()) == []


def test_a_function_that_nobody_registered_is_not_loaded():
    def unknown(x):
        return x

    config = layers.serialize(layers.Lambda(unknown))
    with pytest.raises(ValueError, match=r"the function .*unknown.*register"):
        layers.deserialize(config)
    assert layers.deserialize(config, {"unknown": unknown}).function is unknown


def test_bytecode_is_not_run():
    code = {
        "class_name": "__lambda__",
        "config": {"code": "4wEAAAA=", "defaults": None},
    }
    for config in ({"function": code}, {"function": scaled, "output_shape": code}):
        with pytest.raises(ValueError, match="bytecode of a Python lambda"):
            layers.Lambda.from_config(config)


def test_the_config_of_keras_2():
    config = {
        "name": "old",
        "trainable": True,
        "function": "lambda>scaled",
        "function_type": "function",
        "module": "somewhere",
        "output_shape": None,
        "output_shape_type": "raw",
        "output_shape_module": None,
        "arguments": {"factor": 5.0},
    }
    layer = layers.Lambda.from_config(config)
    assert layer(torch.ones(1)).item() == 5.0
    with pytest.raises(ValueError, match=r"the function .*elsewhere"):
        layers.Lambda.from_config({**config, "function": "elsewhere"})


def test_it_compiles_to_one_graph():
    layer = layers.Lambda(lambda x, training: x * 2 if training else x)
    layer.build((None, 4))
    compiled = torch.compile(layer, fullgraph=True, backend="eager")
    x = torch.randn(2, 4)
    assert torch.equal(compiled(x), x)
    layer.train()
    assert torch.equal(compiled(x), 2 * x)
