"""Each loss against Keras's, from the same targets, outputs, weights and masks."""

import dataclasses
import inspect
from typing import Any

import keras
import numpy as np
import pytest
import torch
from keras.src.losses.losses import LossFunctionWrapper

from torchkeras import activations, losses

RNG = np.random.default_rng(7)
N, T, K = 6, 5, 4


def floats(*shape):
    return RNG.uniform(0.05, 0.95, shape).astype("float32")


def onehot(*shape, classes=K):
    return np.eye(classes, dtype="float32")[RNG.integers(0, classes, shape)]


def unit(*shape):
    x = RNG.normal(size=shape).astype("float32")
    return x / np.linalg.norm(x, axis=-1, keepdims=True)


REGRESSION = (floats(N, 3) * 4 - 2, floats(N, 3) * 4 - 2)
POSITIVE = (floats(N, 3), floats(N, 3))
SIGNS = (RNG.integers(0, 2, (N, 3)).astype("float32"), floats(N, 3) * 4 - 2)
BINARY = (RNG.integers(0, 2, (N, 3)).astype("float32"), floats(N, 3))
CLASSES = (onehot(N), floats(N, K))
LABELS = (RNG.integers(0, K, N), floats(N, K))
SERIES = (RNG.integers(0, K, (N, T)), floats(N, T, K))
IMAGES = (onehot(N, T).transpose(0, 2, 1), floats(N, K, T))


@dataclasses.dataclass
class Case:
    cls: str
    data: tuple[Any, Any]
    kwargs: dict[str, Any] = dataclasses.field(default_factory=dict)
    #: The shape of the values, which weights must fit.
    values: tuple[int, ...] = (N,)

    def __str__(self):
        arguments = ",".join(f"{k}={v}" for k, v in self.kwargs.items())
        return f"{self.cls}({arguments})-{np.shape(self.data[1])}"


SMOOTH = {"label_smoothing": 0.1}
LOGITS = {"from_logits": True}
CASES = [
    Case("MeanSquaredError", REGRESSION),
    Case("MeanSquaredError", (floats(N), floats(N, 1))),
    Case("MeanSquaredError", (floats(N, T, 3), floats(N, T, 3)), values=(N, T)),
    Case("MeanAbsoluteError", REGRESSION),
    Case("MeanAbsolutePercentageError", REGRESSION),
    Case("MeanSquaredLogarithmicError", POSITIVE),
    Case("CosineSimilarity", REGRESSION),
    Case("CosineSimilarity", (floats(N, T), floats(N, T)), {"axis": 0}, (T,)),
    Case("Huber", REGRESSION),
    Case("Huber", REGRESSION, {"delta": 0.3}),
    Case("LogCosh", REGRESSION),
    Case("Hinge", SIGNS),
    Case("Hinge", (SIGNS[0] * 2 - 1, SIGNS[1])),
    Case("SquaredHinge", SIGNS),
    Case("CategoricalHinge", CLASSES),
    Case("KLDivergence", POSITIVE),
    Case("Poisson", POSITIVE),
    Case("BinaryCrossentropy", BINARY),
    Case("BinaryCrossentropy", (BINARY[0][:, 0], BINARY[1][:, :1])),
    Case("BinaryCrossentropy", BINARY, SMOOTH),
    Case("BinaryCrossentropy", SIGNS, LOGITS),
    Case("BinaryCrossentropy", BINARY, {"axis": 0}, (3,)),
    Case("BinaryFocalCrossentropy", BINARY),
    Case("BinaryFocalCrossentropy", SIGNS, LOGITS),
    Case(
        "BinaryFocalCrossentropy",
        BINARY,
        {"apply_class_balancing": True, "alpha": 0.4, "gamma": 1.5, **SMOOTH},
    ),
    Case("CategoricalCrossentropy", CLASSES),
    Case("CategoricalCrossentropy", CLASSES, SMOOTH),
    Case("CategoricalCrossentropy", CLASSES, LOGITS),
    Case("CategoricalCrossentropy", CLASSES, {**LOGITS, **SMOOTH}),
    Case("CategoricalCrossentropy", (onehot(N, T), SERIES[1]), values=(N, T)),
    Case("CategoricalCrossentropy", (onehot(N, T), SERIES[1]), LOGITS, (N, T)),
    Case("CategoricalCrossentropy", IMAGES, {"axis": 1, **LOGITS}, (N, T)),
    Case("CategoricalCrossentropy", IMAGES, {"axis": 1}, (N, T)),
    Case("CategoricalFocalCrossentropy", CLASSES),
    Case("CategoricalFocalCrossentropy", CLASSES, {**LOGITS, **SMOOTH, "gamma": 1.0}),
    Case("CategoricalFocalCrossentropy", IMAGES, {"axis": 1}, (N, T)),
    Case("SparseCategoricalCrossentropy", LABELS),
    Case("SparseCategoricalCrossentropy", (LABELS[0][:, None], LABELS[1])),
    Case("SparseCategoricalCrossentropy", LABELS, LOGITS),
    Case("SparseCategoricalCrossentropy", LABELS, {"ignore_class": 1}),
    Case("SparseCategoricalCrossentropy", LABELS, {"ignore_class": 1, **LOGITS}),
    Case("SparseCategoricalCrossentropy", SERIES, values=(N, T)),
    Case("SparseCategoricalCrossentropy", SERIES, LOGITS, (N, T)),
    Case("SparseCategoricalCrossentropy", SERIES, {"ignore_class": 0}, (N, T)),
    Case(
        "SparseCategoricalCrossentropy",
        (RNG.integers(0, K, (N, T)), IMAGES[1]),
        {"axis": 1, **LOGITS},
        (N, T),
    ),
    Case("CategoricalGeneralizedCrossEntropy", LABELS),
    Case("CategoricalGeneralizedCrossEntropy", LABELS, {"q": 0.8}),
    Case("CTC", (np.array([[1, 2, 0], [3, 3, 1]]), floats(2, 8, K)), values=(2,)),
    Case("Dice", BINARY, values=()),
    Case("Dice", (floats(N, T, 2), floats(N, T, 2)), {"axis": (1, 2)}),
    Case("Tversky", BINARY, values=()),
    Case("Tversky", BINARY, {"alpha": 0.3, "beta": 0.8, "axis": 1}),
    Case("Circle", (RNG.integers(0, 2, N), unit(N, 3))),
    Case(
        "Circle",
        (RNG.integers(0, 2, N), unit(N, 3)),
        {"gamma": 2.0, "margin": 0.2, "remove_diagonal": False},
    ),
]
REDUCTIONS = [
    "sum_over_batch_size",
    "sum",
    "mean",
    "mean_with_sample_weight",
    "none",
    None,
]
EXTRAS = ["plain", "weighted", "masked", "weighted and masked"]


def keras_loss(case, reduction):
    # Keras's CTC casts the labels to floats, which torch's kernel then refuses.
    if case.cls == "CTC":
        return LossFunctionWrapper(
            lambda y, p: keras.losses.ctc(keras.ops.cast(y, "int32"), p), reduction
        )
    return getattr(keras.losses, case.cls)(reduction=reduction, **case.kwargs)


def evaluate(loss, case, extra):
    y_true, y_pred = (np.array(value) for value in case.data)
    output = torch.tensor(y_pred, requires_grad=True)
    rng = np.random.default_rng(3)
    weight = None
    if "weighted" in extra:
        weight = torch.tensor(rng.uniform(0.5, 2.0, case.values).astype("float32"))
    if "masked" in extra:
        mask = torch.tensor(rng.uniform(size=case.values) > 0.4)
        output._keras_mask = mask  # type: ignore[attr-defined]
    value = loss(torch.tensor(y_true), output, weight)
    (gradient,) = torch.autograd.grad(value.sum(), output)
    return value.detach().numpy(), gradient.numpy()


@pytest.mark.parametrize("extra", EXTRAS)
@pytest.mark.parametrize("case", CASES, ids=str)
def test_the_loss_and_its_gradient_are_those_of_keras(case, extra):
    reductions = REDUCTIONS if case.data is LABELS or extra == "plain" else ["mean"]
    for reduction in reductions:
        mine = getattr(losses, case.cls)(reduction=reduction, **case.kwargs)
        value, gradient = evaluate(mine, case, extra)
        expected, slope = evaluate(keras_loss(case, reduction), case, extra)
        assert value.shape == expected.shape
        np.testing.assert_allclose(value, expected, rtol=1e-5, atol=1e-5)
        # Keras's gradient is NaN where it divides ignored outputs by their sum of 0.
        slope = np.where(np.isnan(slope), gradient, slope)
        np.testing.assert_allclose(gradient, slope, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("case", CASES, ids=str)
def test_the_function_gives_the_values_of_keras(case):
    name = losses.get(case.cls).fn.__name__
    kwargs = {"q": 0.5, **case.kwargs} if "Generalized" in case.cls else case.kwargs
    y_true, y_pred = case.data
    y_true, y_pred = torch.as_tensor(y_true), torch.as_tensor(y_pred)
    if y_true.ndim < y_pred.ndim and y_pred.shape[-1] == 1:
        y_true = y_true[..., None]
    value = getattr(losses, name)(y_true, y_pred, **kwargs)
    expected = getattr(keras.losses, name)(y_true, y_pred, **kwargs)
    torch.testing.assert_close(value, expected, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("reduction", ["mean", "sum"])
@pytest.mark.parametrize(
    ("activation", "cls", "y_true"),
    [
        ("sigmoid", "BinaryCrossentropy", onehot(N)),
        ("softmax", "BinaryCrossentropy", onehot(N)),
        ("softmax", "CategoricalCrossentropy", onehot(N)),
        ("sigmoid", "CategoricalCrossentropy", onehot(N)),
        ("softmax", "SparseCategoricalCrossentropy", RNG.integers(0, K, N)),
        ("sigmoid", "SparseCategoricalCrossentropy", RNG.integers(0, K, N)),
    ],
)
def test_remembered_logits_do_not_change_the_loss(activation, cls, y_true, reduction):
    logits = torch.randn(N, K, requires_grad=True)
    y_true = torch.tensor(y_true)
    value = getattr(losses, cls)(reduction=reduction)(
        y_true, getattr(activations, activation)(logits)
    )
    expected = getattr(keras.losses, cls)(reduction=reduction)(
        y_true, getattr(torch, activation)(logits, *[-1] * (activation == "softmax"))
    )
    torch.testing.assert_close(value, expected, rtol=1e-5, atol=1e-5)
    ours, theirs = (torch.autograd.grad(v, logits)[0] for v in (value, expected))
    torch.testing.assert_close(ours, theirs, rtol=1e-4, atol=1e-5)


def test_each_class_has_a_case():
    built_in = {
        name
        for name, member in vars(losses).items()
        if inspect.isclass(member) and member not in (losses.LossFunctionWrapper,)
    }
    assert built_in - {"Loss"} == {case.cls for case in CASES}


NAMES = [name for name in dir(keras.losses) if name[0] != "_"]


@pytest.mark.parametrize("name", NAMES)
def test_names_and_signatures_are_those_of_keras(name):
    mine, theirs = getattr(losses, name), getattr(keras.losses, name)
    assert [
        (p.name, p.default) for p in inspect.signature(mine).parameters.values()
    ] == [(p.name, p.default) for p in inspect.signature(theirs).parameters.values()]


# Keras's own table lacks this class, so that it cannot read its configs.
@pytest.mark.parametrize("case", [c for c in CASES if "Gen" not in c.cls], ids=str)
def test_configs_cross_over(case):
    mine = getattr(losses, case.cls)(**case.kwargs)
    theirs = keras.losses.deserialize(losses.serialize(mine))
    back = losses.deserialize(keras.losses.serialize(theirs))
    assert type(theirs) is getattr(keras.losses, case.cls)
    config = theirs.get_config()
    assert {k: v for k, v in back.get_config().items() if k in config} == config
