"""Initializers, regularizers and constraints: each works on the weights it is for.

Keras says which weights these are, for every argument of every layer that has one.
"""

import inspect
from typing import Any

import keras
import numpy as np
import pytest
import torch

from tests.layers.cases import CASES, Case
from torchkeras import layers, optimizers
from torchkeras.models import Sequential

KINDS = ("initializer", "regularizer", "constraint")
#: Layers around others, whose weights are those of the others.
OUTER = {"RNN", "StackedRNNCells", "Bidirectional", "TimeDistributed"}
#: Cells are no rows of the contract of layers.
CELLS = [
    Case(cell, {"units": 3}, (2, 4), None, ("kernel", "recurrent_kernel", "bias"))
    for cell in (layers.SimpleRNNCell, layers.LSTMCell, layers.GRUCell)
]


def arguments_of(layer: type, kind: str) -> list[str]:
    names = inspect.signature(layer).parameters
    return [n for n in names if n.endswith(f"_{kind}") and not n.startswith("activity")]


def rows(kind: str) -> list[tuple[Case, str]]:
    """Return one row for each argument of each layer, on its first case that has it."""
    found: dict[tuple[str, str], tuple[Case, str]] = {}
    for case in [*CASES, *CELLS]:
        several = case.spread or isinstance(case.output, list)
        if case.layer.__name__ in OUTER or several:
            continue
        for argument in arguments_of(case.layer, kind):
            if case.weights and case.kwargs.get(used_by(argument), True) is not False:
                found.setdefault((case.layer.__name__, argument), (case, argument))
    return list(found.values())


def used_by(argument: str) -> str:
    """Return the argument that says whether there is such a weight at all."""
    switches = {"bias": "use_bias", "beta": "center", "gamma": "scale"}
    return switches.get(argument.split("_")[0], "")


def table(kind: str) -> Any:
    found = rows(kind)
    ids = [f"{case.layer.__name__}-{argument}" for case, argument in found]
    return pytest.mark.parametrize(("case", "argument"), found, ids=ids)


def kerass(case: Case, **options: Any) -> Any:
    layer = getattr(keras.layers, case.layer.__name__)(**case.kwargs, **options)
    layer.build(case.input)
    return layer


@pytest.mark.parametrize("kind", KINDS)
def test_every_argument_has_a_row(kind: str) -> None:
    listed = {(case.layer.__name__, argument) for case, argument in rows(kind)}
    layer_types = {t for t in vars(layers).values() if inspect.isclass(t)}
    wanted = {(t.__name__, name) for t in layer_types for name in arguments_of(t, kind)}
    spread = {case.layer.__name__ for case in CASES if case.spread} | OUTER
    assert {row for row in wanted if row[0] not in spread} == listed


@table("constraint")
def test_a_constraint_is_of_the_weights_that_keras_constrains(case, argument) -> None:
    theirs = kerass(case, **{argument: "non_neg"}).weights
    expected = [weight.constraint is not None for weight in theirs]
    layer = case.build(**{argument: "non_neg"})
    assert [weight.constraint is not None for weight in layer.weights] == expected
    assert any(expected)
    if case in CELLS:
        return
    layer = case.make(**{argument: lambda weight: torch.full_like(weight, 7.0)})
    model = Sequential([layer])
    draw = np.random.default_rng(0)
    size = [8 if n is None else n for n in case.input]
    x = (
        draw.normal(size=size)
        if case.high is None
        else draw.integers(case.high, size=size)
    )
    model.compile(optimizers.SGD(0.1), lambda y_true, y_pred: y_pred.square().mean())
    model.train_on_batch(x, np.zeros(len(x)))
    for weight, constrained in zip(model.layers[0].weights, expected, strict=True):
        assert bool((weight.numpy() == 7).all()) == constrained


@table("regularizer")
def test_a_penalty_is_of_the_weights_that_keras_penalizes(case, argument) -> None:
    theirs = kerass(case, **{argument: "l2"}).weights
    expected = [weight.regularizer is not None for weight in theirs]
    layer = case.build(**{argument: lambda weight: (weight * 0 + 1).sum()})
    assert [weight.regularizer is not None for weight in layer.weights] == expected
    sizes = [
        int(np.prod(w.shape))
        for w, is_one in zip(theirs, expected, strict=True)
        if is_one
    ]
    assert sizes
    assert sorted(float(loss.detach()) for loss in layer.losses) == sorted(sizes)
    layer.trainable = False
    assert layer.losses == []


@table("initializer")
def test_an_initializer_is_of_the_weights_that_keras_initializes(
    case, argument
) -> None:
    filled = keras.initializers.Constant(7.0)
    theirs = kerass(case, **{argument: filled}).weights
    expected = [np.asarray(weight.value.detach()) == 7 for weight in theirs]
    own = case.build(**{argument: lambda shape, dtype: torch.full(shape, 7.0)})
    for weight, marks in zip(own.weights, expected, strict=True):
        np.testing.assert_array_equal(weight.numpy() == 7, marks)
    assert any(marks.any() for marks in expected)
