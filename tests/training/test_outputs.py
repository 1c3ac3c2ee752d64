"""Targets, weights, losses and metrics in every structure that outputs may have."""

from typing import Any

import numpy as np
import pytest
import torch
from torch.utils.data import DataLoader

from torchkeras import Input, Model, Sequential, layers, losses
from torchkeras.training.outputs import (
    LOSS,
    LOSS_WEIGHTS,
    METRICS,
    SAMPLE_WEIGHT,
    TARGETS,
    Outputs,
)


def data(seed=0):
    rng = np.random.default_rng(seed)
    x = rng.random((12, 3)).astype("float32")
    y = rng.integers(0, 2, (12, 1)).astype("float32")
    return x, y, rng.random(12).astype("float32")


# One output

STRUCTURES = {
    "plain": lambda a: a,
    "list": lambda a: [a],
    "tuple": lambda a: (a,),
    "dict": lambda a: {"out": a},
}


class Subclass(Model):
    def __init__(self, wrap):
        super().__init__()
        self.out = layers.Dense(1, activation="sigmoid", name="out")
        self.wrap = wrap

    def call(self, x):
        return self.wrap(self.out(x))


def functional(wrap):
    inputs = Input((3,))
    output = layers.Dense(1, activation="sigmoid", name="out")(inputs)
    return Model(inputs, wrap(output))


def sequential(wrap):
    return Sequential([Input((3,)), layers.Dense(1, activation="sigmoid", name="out")])


MODELS = [
    *((functional, wrap) for wrap in STRUCTURES),
    *((Subclass, wrap) for wrap in ("plain", "tuple", "dict")),
    (sequential, "plain"),
]


def made(build, wrap, *, weighted=False, **compiled):
    torch.manual_seed(3)
    model = build(STRUCTURES[wrap])
    metrics = {"weighted_metrics" if weighted else "metrics": ["accuracy", "mae"]}
    model.compile("sgd", "binary_crossentropy", **{**metrics, **compiled})
    return model


@pytest.mark.parametrize("weights", [None, "plain", "list", "dict"])
@pytest.mark.parametrize("targets", STRUCTURES)
@pytest.mark.parametrize(("build", "outputs"), MODELS)
def test_one_output_in_any_structure(build, outputs, targets, weights):
    x, y, w = data()
    plain = [x, y] if weights is None else [x, y, w]
    covered = [x, STRUCTURES[targets](y)]
    if weights is not None:
        covered.append(STRUCTURES[weights](w))
    expected = made(sequential, "plain", weighted=weights is not None)
    model = made(build, outputs, weighted=weights is not None)

    def results(model, batch):
        weight = {"sample_weight": batch[2]} if len(batch) == 3 else {}
        validation = tuple(batch)
        history = model.fit(
            *batch[:2], 4, 2, 0, shuffle=False, validation_data=validation, **weight
        ).history
        return [
            *(history[name] for name in sorted(history)),
            model.evaluate(*batch[:2], verbose=0, **weight),
            model.train_on_batch(*batch[:2], **weight),
            model.test_on_batch(*batch[:2], **weight),
        ]

    for ours, theirs in zip(
        results(model, covered), results(expected, plain), strict=True
    ):
        np.testing.assert_allclose(ours, theirs, rtol=1e-6)


def rows_of(structure, rows):
    if isinstance(structure, dict):
        return {k: rows_of(v, rows) for k, v in structure.items()}
    if isinstance(structure, (list, tuple)):
        return type(structure)(rows_of(v, rows) for v in structure)
    return structure[rows]


@pytest.mark.parametrize("structure", ["list", "tuple", "dict"])
@pytest.mark.parametrize("as_loader", [False, True])
def test_one_output_from_generators_and_loaders(structure, as_loader):
    x, y, w = map(torch.from_numpy, data())
    wrap = STRUCTURES[structure]
    rows: Any = [(x[i], wrap(y[i]), wrap(w[i])) for i in range(12)]
    cuts = [slice(i, i + 4) for i in (0, 4, 8)]
    batches = [(x[cut], wrap(y[cut]), wrap(w[cut])) for cut in cuts]

    def source():
        return DataLoader(rows, batch_size=4) if as_loader else iter(batches)

    model, expected = (made(functional, "plain", weighted=True) for _ in range(2))
    model.fit(source(), verbose=0)
    expected.fit(x, y, 4, verbose=0, sample_weight=w, shuffle=False)
    ours = model.evaluate(source(), verbose=0)
    theirs = expected.evaluate(x, y, verbose=0, sample_weight=w)
    np.testing.assert_allclose(ours, theirs, rtol=1e-6)


@pytest.mark.parametrize("structure", STRUCTURES)
def test_class_weight_of_one_output_in_any_structure(structure):
    x, y, w = data()
    wrap = STRUCTURES[structure]
    model, expected = (made(functional, "plain") for _ in range(2))
    ours = model.fit(
        x, wrap(y), verbose=0, class_weight={0: 1, 1: 3}, sample_weight=wrap(w)
    )
    weights = w * np.where(y[:, 0] == 1, 3.0, 1.0)
    theirs = expected.fit(x, y, verbose=0, sample_weight=weights)
    assert ours.history["loss"] == pytest.approx(theirs.history["loss"])


@pytest.mark.parametrize(
    ("build", "targets", "message"),
    [
        (functional, lambda y: {"other": y}, r"`y` has keys \['other'\] .* \['out'\]"),
        (functional, lambda y: [y, y], r"`y` has 2 entries for 1 output\(s\)"),
        (Subclass, lambda y: {"a": y, "b": y}, r"`y` has keys \['a', 'b'\]"),
    ],
)
def test_targets_of_no_output_are_refused(build, targets, message):
    x, y, _ = data()
    model = made(build, "plain")
    with pytest.raises(ValueError, match=message):
        model.fit(x, targets(y), verbose=0)


def test_labels_in_a_structure_are_looked_at_first():
    inputs = Input((3,))
    heads = {n: layers.Dense(2, "softmax", name=n)(inputs) for n in ("a", "b")}
    model = Model(inputs, heads)
    model.compile("sgd", "sparse_categorical_crossentropy")
    before = model.get_weights()
    x, y, _ = data()
    wrong = y.copy()
    wrong[5] = 2
    with pytest.raises(ValueError, match="got 2 in row 5"):
        model.fit(x, {"a": y, "b": wrong}, batch_size=4, verbose=0)
    for old, new in zip(before, model.get_weights(), strict=True):
        np.testing.assert_array_equal(old, new)


# Several outputs

NAMES = {"u": {"p": "dense"}, "v": ["q", "r"]}
FLAT = ["u/p", "v/q", "v/r"]


@pytest.mark.parametrize(
    ("argument", "value", "expected"),
    [
        (TARGETS, {"u": {"p": 1}, "v": [2, 3]}, [1, 2, 3]),
        (TARGETS, {"v": (2, 3), "u": [1]}, [1, 2, 3]),
        (TARGETS, {"v": {"r": 3}, "u": {"p": 1}}, [1, None, 3]),
        (TARGETS, [1, 2, 3], [1, 2, 3]),
        (TARGETS, [1, [2, 3]], [1, 2, 3]),
        (TARGETS, ({"p": 1}, [2, None]), [1, 2, None]),
        (TARGETS, {"u/p": 1, "v/r": 3}, [1, None, 3]),
        (TARGETS, {"dense": 1, "q": 2}, [1, 2, None]),
        (TARGETS, None, [None] * 3),
        (LOSS, "mse", ["mse"] * 3),
        (LOSS, {"u": {"p": "mse"}}, ["mse", None, None]),
        (LOSS, {"u": "mse", "v": "mae"}, ["mse", "mae", "mae"]),
        (LOSS, ["mse", None, "mae"], ["mse", None, "mae"]),
        (LOSS_WEIGHTS, 0.5, [0.5] * 3),
        (LOSS_WEIGHTS, {"v": [0.5, 2.0]}, [None, 0.5, 2.0]),
        (LOSS_WEIGHTS, {"v/q": 0.5}, [None, 0.5, None]),
        (SAMPLE_WEIGHT, 7, [7] * 3),
        (SAMPLE_WEIGHT, {"u": 7}, [7, None, None]),
        (METRICS, {"u": {"p": ["mse", "mae"]}}, [["mse", "mae"], None, None]),
        (METRICS, {"v": [["mse", "mae"], "mae"]}, [None, ["mse", "mae"], "mae"]),
        (METRICS, {"v/r": ["mse"]}, [None, None, ["mse"]]),
        (METRICS, [["mse"], None, ["mse", "mae"]], [["mse"], None, ["mse", "mae"]]),
    ],
)
def test_what_belongs_to_each_output(argument, value, expected):
    outputs = Outputs(NAMES)
    assert outputs.names == FLAT
    assert outputs.share(argument, value) == expected


@pytest.mark.parametrize(
    ("argument", "value", "message"),
    [
        (TARGETS, 1, r"`y` has 1 entry for 3 output\(s\) .* Give one target for each"),
        (TARGETS, [1, 2, 3, 4], "`y` has 4 entries for 3"),
        (TARGETS, {"v": [1, 2, 3]}, r"3 entries for 2 output\(s\) \['v/q', 'v/r'\]"),
        (LOSS, {"w": "mse"}, r"`loss` has keys \['w'\]"),
        (LOSS, {"u": {"q": "mse"}}, r"keys \['q'\] .* outputs are \['u/p'\]"),
        (LOSS, {"v/qq": "mse"}, "Did you mean 'v/q'"),
        (METRICS, ["mse"], "`metrics` has 1 entry for 3"),
    ],
)
def test_what_belongs_to_no_output(argument, value, message):
    with pytest.raises(ValueError, match=message):
        Outputs(NAMES).share(argument, value)


def test_there_may_be_as_many_targets_as_losses():
    outputs = Outputs(["a", "b", "c"], [None, "mse", "mae"])
    assert outputs.share(TARGETS, [1, 2]) == [None, 1, 2]
    assert Outputs(["a", "b"], {"b": "mse"}).share(TARGETS, 1) == [None, 1]


def test_dicts_of_another_order_are_the_same_outputs():
    outputs = Outputs()
    assert outputs.flat({"b": 1}, {"a": 3, "b": 4}, None)[:2] == ([None, 1], [3, 4])
    assert outputs.flat([5, 6], {"b": 4, "a": 3}, 7)[1:] == ([3, 4], [7, 7])
    with pytest.raises(ValueError, match=r"2 output\(s\) at first and 1 now"):
        outputs.flat([5], {"a": 3}, None)


def nested():
    inputs = Input((3,))
    outputs = {
        "u": {"p": layers.Dense(2, name="p")(inputs)},
        "v": [layers.Dense(3, name="q")(inputs), layers.Dense(1, name="r")(inputs)],
    }
    return Model(inputs, outputs)


def targets(seed=1):
    rng = np.random.default_rng(seed)
    p, q, r = (rng.random((12, n)).astype("float32") for n in (2, 3, 1))
    return {"u": {"p": p}, "v": [q, r]}


def mean_square(outputs, targets, weight):
    return float((((outputs - targets) ** 2).mean(-1) * weight).mean())


@pytest.mark.parametrize(
    ("loss", "loss_weights", "factors"),
    [
        ("mse", None, (1, 1, 1)),
        ({"u": {"p": "mse"}, "v": ["mse", "mse"]}, None, (1, 1, 1)),
        ({"u": {"p": "mse"}, "v": [None, "mse"]}, None, (1, 0, 1)),
        ({"v": ["mse", "mse"]}, {"v": [2.0, 0.0]}, (0, 2, 0)),
        (["mse", "mse", "mse"], [0.5, 1.0, 2.0], (0.5, 1, 2)),
        ({"v/q": "mse"}, {"v/q": 3}, (0, 3, 0)),
        (losses.MeanSquaredError(), 0.5, (0.5, 0.5, 0.5)),
        ("mse", {"u": {"p": torch.tensor(3.0)}}, (3, 1, 1)),
    ],
)
def test_nested_losses_follow_the_outputs(loss, loss_weights, factors):
    x, _, w = data()
    y = targets()
    model = nested()
    model.compile("sgd", loss, loss_weights, metrics={"v": [["mae"], None]})
    outputs = model.predict(x, verbose=0)
    terms = [
        mean_square(outputs["u"]["p"], y["u"]["p"], w),
        mean_square(outputs["v"][0], y["v"][0], w),
        mean_square(outputs["v"][1], y["v"][1], w),
    ]
    expected = sum(f * t for f, t in zip(factors, terms, strict=True))
    logs = model.evaluate(x, y, verbose=0, sample_weight=w, return_dict=True)
    assert logs["loss"] == pytest.approx(expected, rel=1e-5)
    mae = np.abs(outputs["v"][0] - y["v"][0]).mean()
    assert logs["v/q_mae"] == pytest.approx(float(mae), rel=1e-5)
    history = model.fit(x, y, verbose=0, validation_data=(x, y)).history
    assert np.isfinite(history["val_loss"][0])
    assert np.isfinite(model.train_on_batch(x, y)).all()


def test_an_output_with_a_loss_or_metrics_needs_a_target():
    x, _, _ = data()
    model = nested()
    model.compile("sgd", "mse")
    with pytest.raises(ValueError, match="'v/q' has a loss and no target"):
        model.fit(x, {"u": targets()["u"]}, verbose=0)
    model.compile("sgd", {"u": {"p": "mse"}}, metrics={"v": ["mae", "mae"]})
    with pytest.raises(ValueError, match="'v/q' has metrics and no target"):
        model.fit(x, {"u": targets()["u"]}, verbose=0)
