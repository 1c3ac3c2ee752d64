"""Logits that outputs remember, and losses of logits and of probabilities."""

import functools
import types
import warnings
from typing import Any

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from torch import nn

from torchkeras import (
    Input,
    Model,
    Sequential,
    activations,
    layers,
    losses,
    metrics,
    ops,
)
from torchkeras._core.probabilities import logits_of
from torchkeras.training.links import _may_be_probabilities

X = np.random.default_rng(0).random((12, 4)).astype("float32")

ACTIVATIONS = {
    "softmax": (activations.softmax, 3, np.arange(12) % 3),
    "sigmoid": (activations.sigmoid, 1, (np.arange(12) % 2).astype("float32")[:, None]),
}
OBJECTIVES = {
    "softmax": ["SparseCategoricalCrossentropy"],
    "sigmoid": ["BinaryCrossentropy"],
}


class Changed(layers.Layer):
    """Sets the probabilities of some to a number, in place or in a copy."""

    def __init__(self, in_place):
        super().__init__()
        self.in_place = in_place

    def call(self, x):
        x = x if self.in_place else x.clone()
        x[:, 0] = 0.25
        return x


class ChangedLogits(layers.Layer):
    """Gives probabilities and then writes over what they were made of."""

    def __init__(self, activation):
        super().__init__()
        self.activation = activation

    def call(self, x):
        logits = x * 1.0
        output = self.activation(logits)
        with torch.no_grad():
            logits.zero_()
        return output


@pytest.mark.parametrize("family", [losses, metrics])
@pytest.mark.parametrize("link", ACTIVATIONS)
def test_what_is_changed_in_place_is_taken_as_it_is(link, family):
    activation, units, y = ACTIVATIONS[link]
    logits = torch.randn(12, units)
    y_true = torch.from_numpy(y)
    changes = {
        "item": lambda p: p.__setitem__((slice(None), 0), 0.25),
        "mul_": lambda p: p.mul_(0.5),
        "copy_": lambda p: p.copy_(torch.full_like(p, 0.25)),
        "view": lambda p: p.view(-1)[::2].fill_(0.125),
        "out": lambda p: torch.mul(p, 0.5, out=p),
    }
    for change in changes.values():
        output = activation(logits)
        change(output)
        assert logits_of(output, link) is None
        twin = output.clone()
        for name in OBJECTIVES[link]:
            objective = getattr(family, name)()
            expected = getattr(family, name)()(y_true, twin)
            torch.testing.assert_close(objective(y_true, output), expected)


@pytest.mark.parametrize("link", ACTIVATIONS)
def test_logits_that_are_changed_later_are_forgotten(link):
    activation, units, _ = ACTIVATIONS[link]
    logits = torch.randn(12, units)
    output = activation(logits)
    assert logits_of(output, link) is logits
    logits.zero_()
    assert logits_of(output, link) is None


@pytest.mark.parametrize("link", ACTIVATIONS)
def test_in_inference_mode_nothing_is_remembered(link):
    activation, units, _ = ACTIVATIONS[link]
    before = torch.randn(2, units)
    with torch.inference_mode():
        for logits in (before, torch.randn(2, units)):
            output = activation(logits)
            assert logits_of(output, link) is None
            output.zero_()
            assert logits_of(output, link) is None


@pytest.mark.parametrize("link", ACTIVATIONS)
def test_models_that_change_outputs_in_place(link):
    activation, units, y = ACTIVATIONS[link]
    name = OBJECTIVES[link][0]
    results = []
    weights = None
    for in_place in (True, False):
        model = Sequential(
            [Input((4,)), layers.Dense(units, activation), Changed(in_place)]
        )
        weights = weights or model.get_weights()
        model.set_weights(weights)
        model.compile(
            "sgd", getattr(losses, name)(), metrics=[getattr(metrics, name)()]
        )
        results.append(model.evaluate(X, y, verbose=0))
    np.testing.assert_allclose(*results, rtol=1e-6)
    changed = Sequential([Input((4,)), layers.Dense(units, activation), Changed(True)])
    changed.compile("sgd", getattr(losses, name)())
    with pytest.raises(RuntimeError, match="modified by an inplace operation"):
        changed.fit(X, y, verbose=0)  # as torch says


@pytest.mark.parametrize("link", ACTIVATIONS)
def test_training_on_logits_that_are_written_over(link):
    activation, units, y = ACTIVATIONS[link]
    results = []
    first = None
    for layer in (
        ChangedLogits(activation),
        layers.Lambda(lambda x: activation(x).clone()),
    ):
        model = Sequential([Input((4,)), layers.Dense(units), layer])
        first = first or model.get_weights()
        model.set_weights(first)
        model.compile("sgd", getattr(losses, OBJECTIVES[link][0])())
        model.fit(X, y, verbose=0)
        results.append(model.get_weights())
    for own, other in zip(*results, strict=True):
        np.testing.assert_allclose(own, other, rtol=1e-5, atol=1e-7)


# Losses of logits, losses of probabilities

LABELS, BITS = np.arange(12) % 3, (np.arange(12) % 2).astype("float32")[:, None]
ONE_HOT = np.eye(3, dtype="float32")[LABELS]
FROM_LOGITS = functools.partial(
    losses.sparse_categorical_crossentropy, from_logits=True
)
WARNED = [
    (
        nn.CrossEntropyLoss(),
        "softmax",
        LABELS,
        "is a softmax, and the loss.*or use the loss of probabilities that Keras names",
    ),
    (F.cross_entropy, "softmax", LABELS, "is a softmax, and the loss cross_entropy"),
    (functools.partial(F.cross_entropy), "softmax", LABELS, "is a softmax"),
    (nn.BCEWithLogitsLoss(), "sigmoid", BITS, "is a sigmoid"),
    (
        losses.SparseCategoricalCrossentropy(True),
        "softmax",
        LABELS,
        "from_logits=False",
    ),
    (losses.CategoricalCrossentropy(True), "softmax", ONE_HOT, "is a softmax"),
    (losses.BinaryCrossentropy(True), "sigmoid", BITS, "is a sigmoid"),
    (FROM_LOGITS, "softmax", LABELS, "is a softmax"),
    ("sparse_categorical_crossentropy", None, LABELS, "activation='softmax'"),
    ("categorical_crossentropy", None, ONE_HOT, "activation='softmax'"),
    ("categorical_focal_crossentropy", None, ONE_HOT, "activation='softmax'"),
    ("binary_crossentropy", None, BITS, "activation='sigmoid'"),
    ("binary_crossentropy", "tanh", BITS, "does not hold probabilities"),
    (losses.BinaryFocalCrossentropy(), None, BITS, "activation='sigmoid'"),
    (losses.binary_crossentropy, None, BITS, "activation='sigmoid'"),
    (losses.categorical_crossentropy, None, ONE_HOT, "activation='softmax'"),
    (losses.sparse_categorical_crossentropy, None, LABELS, "activation='softmax'"),
]


def built(loss, head, units):
    torch.manual_seed(1)
    model = Sequential([Input((4,)), layers.Dense(units, name="h"), *head])
    weights = [
        10.0 * (np.random.default_rng(1).random(w.shape) - 0.5) for w in model.weights
    ]
    model.set_weights(weights)
    model.compile("sgd", loss, metrics=["accuracy"])
    return model


@pytest.mark.parametrize(("loss", "activation", "y", "message"), WARNED)
def test_it_is_said_once_that_outputs_are_not_what_the_loss_takes(
    loss, activation, y, message
):
    units = 1 if y is BITS else 3
    head = [] if activation is None else [layers.Activation(activation)]
    model = built(loss, head, units)
    with pytest.warns(UserWarning, match=message) as told:
        model.fit(X, y, batch_size=4, epochs=2, verbose=0)
    assert len(told) == 1
    for method in (model.evaluate, model.fit):
        method(X, y, verbose=0)  # a warning is an error here


class Ending(layers.Layer):
    def __init__(self, function):
        super().__init__()
        self.function = function

    def call(self, x):
        return self.function(x)


PROBABILITIES = {
    "softmax": layers.Activation("softmax"),
    "Softmax": layers.Softmax(),
    "ops": layers.Lambda(ops.softmax),
    "torch": layers.Lambda(functools.partial(torch.softmax, dim=-1)),
    "nn": nn.Softmax(-1),
    "own": Ending(lambda x: F.softmax(x, -1)),
    "copied": Ending(lambda x: activations.softmax(x) * 1.0),
    "rounded": Ending(lambda x: activations.softmax(x) * (1 + 1e-6)),
    "scores": Ending(lambda x: x.exp()),  # which the loss scales
}


@pytest.mark.parametrize("kind", PROBABILITIES)
@pytest.mark.parametrize(
    "loss", ["sparse_categorical_crossentropy", "categorical_crossentropy"]
)
def test_nothing_is_said_of_probabilities(kind, loss):
    model = built(loss, [PROBABILITIES[kind]], 3)
    model.fit(X, LABELS if "sparse" in loss else ONE_HOT, verbose=0)


@pytest.mark.parametrize(
    ("loss", "head"),
    [
        (nn.CrossEntropyLoss(), []),
        (nn.CrossEntropyLoss(), [Ending(lambda x: F.softmax(x, -1))]),
        (losses.SparseCategoricalCrossentropy(True), []),
        (FROM_LOGITS, []),
        ("mse", []),
        ("kl_divergence", []),
        (lambda y_true, y_pred: (y_true[:, None] - y_pred) ** 2, []),
    ],
)
def test_nothing_is_said_of_losses_that_take_the_outputs(loss, head):
    units = 3 if not isinstance(loss, str) else 1
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message=".*are broadcast")
        built(loss, head, units).fit(X, LABELS, verbose=0)


@pytest.mark.parametrize(
    ("link", "value", "expected"),
    [
        ("sigmoid", 0.0, True),
        ("sigmoid", 1.0 + 1e-4, True),
        ("sigmoid", 1.5, False),
        ("sigmoid", -1e-4, True),
        ("sigmoid", -0.5, False),
        ("softmax", 1.5, True),  # a score, which the loss scales
        ("softmax", -1e-4, True),
        ("softmax", -0.5, False),
    ],
)
def test_values_tell_what_are_no_probabilities(link, value, expected):
    assert bool(_may_be_probabilities(torch.tensor([0.5, value]), link)) is expected


def test_on_an_accelerator_the_last_operation_tells():
    linear, x = nn.Linear(4, 1), torch.zeros(2, 4)
    for output, expected in ((linear(x), False), (torch.sigmoid(linear(x)), True)):
        elsewhere: Any = types.SimpleNamespace(
            device=torch.device("cuda"), grad_fn=output.grad_fn
        )
        assert _may_be_probabilities(elsewhere, "sigmoid") is expected


def test_several_outputs_are_named():
    inputs = Input((4,))
    a = layers.Dense(3, "softmax", name="a")(inputs)
    b = layers.Dense(3, "softmax", name="b")(inputs)
    model = Model(inputs, [a, b])
    model.compile("sgd", ["sparse_categorical_crossentropy", nn.CrossEntropyLoss()])
    with pytest.warns(UserWarning, match="'b' is a softmax"):
        model.fit(X, [LABELS, LABELS], verbose=0)
