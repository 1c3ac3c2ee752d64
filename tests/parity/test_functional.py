"""Functional models against Keras's: structure, values, gradients, training, files."""

import json
from typing import Any

import keras
import numpy as np
import pytest
import torch

import torchkeras
from tests.parity.functional_models import (
    MASKED,
    MODELS,
    NOT_IN_H5,
    several_outputs,
)
from torchkeras._core import tree

pytestmark = pytest.mark.filterwarnings("ignore:__array__ implementation")

rng = np.random.default_rng(2)


@pytest.fixture(autouse=True)
def fresh_names():
    """Let both count the names of layers from the start."""
    keras.utils.clear_session()
    torchkeras.utils.clear_session()


def twins(build: Any) -> tuple[Any, Any]:
    theirs, ours = build(keras), build(torchkeras)
    ours.set_weights(theirs.get_weights())
    return ours, theirs


def assert_close(ours: Any, theirs: Any, tolerance: float = 1e-5) -> None:
    ours, theirs = tree.flatten(ours), tree.flatten(theirs)
    assert len(ours) == len(theirs)
    for own, reference in zip(ours, theirs, strict=True):
        np.testing.assert_allclose(own, reference, rtol=tolerance, atol=tolerance)


def ordered(structure: Any) -> Any:
    """Sort dicts by their keys, as Keras's results are."""
    if isinstance(structure, dict):
        return [structure[key] for key in sorted(structure)]
    return structure


@pytest.mark.parametrize("build", MODELS)
def test_structure_is_kerass(build):
    ours, theirs = twins(build)
    assert [layer.name for layer in ours.layers] == [x.name for x in theirs.layers]
    assert [w.shape for w in ours.weights] == [tuple(w.shape) for w in theirs.weights]
    assert [w.name for w in ours.weights] == [w.name for w in theirs.weights]
    assert ours.input_shape == theirs.input_shape
    assert ours.output_shape == theirs.output_shape
    assert ours.output_names == theirs.output_names
    if build not in MASKED:
        names = [operation.name for operation in ours.operations]
        assert names == [operation.name for operation in theirs.operations]


@pytest.mark.parametrize("build", MODELS)
def test_outputs_are_kerass(build):
    ours, theirs = twins(build)
    inputs = MODELS[build]
    expected = theirs.predict(inputs, verbose=0)
    predicted = ours.predict(inputs, verbose=0)
    assert type(predicted) is type(expected)
    assert_close(ordered(predicted), ordered(expected))
    called = tree.map_structure(lambda t: t.detach().numpy(), ours(inputs))
    assert_close(ordered(called), ordered(expected))


@pytest.mark.parametrize("build", MODELS)
def test_gradients_are_kerass(build):
    ours, theirs = twins(build)
    inputs = tree.map_structure(torch.tensor, MODELS[build])
    gradients = []
    for model in (ours, theirs):
        outputs = ordered(model(inputs, training=True))
        torch.stack([t.square().sum() for t in tree.flatten(outputs)]).sum().backward()
        gradients.append(
            [
                (w.grad if model is ours else w.value.grad)
                for w in model.trainable_weights
            ]
        )
    for own, reference in zip(*gradients, strict=True):
        assert (own is None) == (reference is None)
        if own is not None:
            torch.testing.assert_close(own, reference, rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("build", MODELS)
def test_configs_are_exchanged(build):
    ours, theirs = twins(build)
    inputs = MODELS[build]
    expected = ordered(theirs.predict(inputs, verbose=0))
    read_by_keras = keras.models.model_from_json(ours.to_json())
    read_by_keras.set_weights(theirs.get_weights())
    assert_close(ordered(read_by_keras.predict(inputs, verbose=0)), expected)
    for text in (ours.to_json(), theirs.to_json()):
        read = torchkeras.models.model_from_json(text)
        read.set_weights(theirs.get_weights())
        assert [x.name for x in read.layers] == [x.name for x in theirs.layers]
        assert_close(ordered(read.predict(inputs, verbose=0)), expected)


@pytest.mark.parametrize("build", [model for model in MODELS if model not in MASKED])
def test_the_schema_is_kerass(build):
    ours, theirs = twins(build)
    own, reference = (json.loads(model.to_json()) for model in (ours, theirs))
    for key in ("module", "class_name", "registered_name"):
        assert own[key] == reference[key]
    own, reference = own["config"], reference["config"]
    for key in ("input_layers", "output_layers"):
        assert own[key] == reference[key]
    for mine, other in zip(own["layers"], reference["layers"], strict=True):
        assert mine["name"] == other["name"]
        assert mine["class_name"] == other["class_name"]
        assert mine["module"] == other["module"]
        calls = [[c["args"] for c in x["inbound_nodes"]] for x in (mine, other)]
        assert calls[0] == calls[1]


@pytest.mark.parametrize("extension", [".keras", ".h5", ".safetensors", ".weights.h5"])
@pytest.mark.parametrize("build", MODELS)
@pytest.mark.filterwarnings("ignore:.*nested container.*", "ignore:You are saving")
def test_files_are_exchanged(build, extension, tmp_path):
    ours, theirs = twins(build)
    inputs = MODELS[build]
    expected = ordered(theirs.predict(inputs, verbose=0))
    own, other = str(tmp_path / f"own{extension}"), str(tmp_path / f"their{extension}")
    if extension == ".weights.h5":
        ours.save_weights(own)
        theirs.save_weights(other)
        for file in (own, other):
            for model in build(torchkeras), build(keras):
                model.load_weights(file)
                assert_close(ordered(model.predict(inputs, verbose=0)), expected)
        return
    ours.save(own)
    loaded = [torchkeras.models.load_model(own)]
    if extension == ".keras" or (extension == ".h5" and build not in NOT_IN_H5):
        theirs.save(other)
        loaded += [
            keras.models.load_model(own),
            torchkeras.models.load_model(other),
        ]
    for model in loaded:
        assert_close(ordered(model.predict(inputs, verbose=0)), expected)


SCORES = rng.normal(size=(64, 1)).astype("float32")
LABELS = rng.integers(0, 3, 64)
WIDE, DEEP = (rng.normal(size=(64, n)).astype("float32") for n in (4, 6))
ROWS = rng.uniform(0.5, 1.5, 64).astype("float32")

COMPILED = {
    "one loss for all": (
        {"loss": "mse"},
        [SCORES, np.eye(3)[LABELS].astype("float32")],
    ),
    "lists": (
        {
            "loss": ["mse", "sparse_categorical_crossentropy"],
            "loss_weights": [0.3, 2.0],
            "metrics": [["mae"], ["accuracy"]],
        },
        [SCORES, LABELS],
    ),
    "dictionaries": (
        {
            "loss": {"score": "mse", "label": "sparse_categorical_crossentropy"},
            "loss_weights": {"score": 0.3, "label": 2.0},
            "metrics": {"label": ["accuracy"], "score": ["mae", "mse"]},
        },
        {"label": LABELS, "score": SCORES},
    ),
    "a metric each": (
        {
            "loss": ["mae", "sparse_categorical_crossentropy"],
            "metrics": ["mse", "accuracy"],
        },
        [SCORES, LABELS],
    ),
    "weighted metrics": (
        {
            "loss": ["mse", "sparse_categorical_crossentropy"],
            "weighted_metrics": [["mae"], ["accuracy"]],
        },
        [SCORES, LABELS],
    ),
    "one output without a loss": (
        {"loss": {"score": "mse"}},
        {"score": SCORES},
    ),
}


def weights_of(form: str, targets: Any) -> Any:
    """Return weights of rows in one of the forms that fit the targets."""
    if form in ("none", "one"):
        return None if form == "none" else ROWS
    if form == "list" and isinstance(targets, list):
        return [ROWS, 2 * ROWS]
    if form == "dict" and isinstance(targets, dict) and len(targets) == 2:
        return {"score": ROWS, "label": 2 * ROWS}
    return pytest.skip("weights of another form than the targets")


@pytest.mark.parametrize("weights", ["none", "one", "list", "dict"])
@pytest.mark.parametrize("named", COMPILED)
def test_several_outputs_train_as_in_keras(named, weights):
    ours, theirs = twins(several_outputs)
    arguments, targets = COMPILED[named]
    options = {"sample_weight": weights_of(weights, targets)}
    histories, evaluated = [], []
    for model in (ours, theirs):
        model.compile(optimizer="sgd", **arguments)
        try:
            history = model.fit(
                {"wide": WIDE, "deep": DEEP}, targets, batch_size=16, epochs=3,
                shuffle=False, verbose=0, **options,
            )  # fmt: skip
        except (ValueError, TypeError, KeyError) as error:
            if model is ours:
                raise
            pytest.skip(f"Keras refuses this: {error}")
        histories.append(history.history)
        evaluated.append(
            model.evaluate([WIDE, DEEP], targets, return_dict=True, verbose=0)
        )
    assert set(histories[0]) == set(histories[1])
    for name, values in histories[1].items():
        np.testing.assert_allclose(histories[0][name], values, rtol=2e-4, atol=1e-5)
    assert evaluated[0].keys() == evaluated[1].keys()
    for name, value in evaluated[1].items():
        np.testing.assert_allclose(evaluated[0][name], value, rtol=2e-4, atol=1e-5)
    for own, reference in zip(ours.get_weights(), theirs.get_weights(), strict=True):
        np.testing.assert_allclose(own, reference, rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("dtype", ["bool", "int32"])
@pytest.mark.parametrize("name", ["and", "or", "xor", "not"])
def test_operators_on_bits_are_named_for_what_keras_can_run(name, dtype):
    operate = {
        "and": lambda a, b: a & b,
        "or": lambda a, b: a | b,
        "xor": lambda a, b: a ^ b,
        "not": lambda a, b: [~a, ~b],
    }[name]
    inputs = [torchkeras.Input((3,), dtype=dtype) for _ in range(2)]
    model = torchkeras.Model(inputs, operate(*inputs))
    twin = keras.models.model_from_json(model.to_json())
    values = [rng.integers(0, 2 if dtype == "bool" else 9, (2, 3)) for _ in inputs]
    tensors = [torch.as_tensor(v).to(getattr(torch, dtype)) for v in values]
    expected = tree.flatten(operate(*tensors))
    for made in (model, twin):
        for own, value in zip(tree.flatten(made(tensors)), expected, strict=True):
            assert torch.equal(own, value)
