"""Losses and metrics of the user's own: order, dtype, results."""

import functools
from typing import Any

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from torch import nn

from torchkeras import Sequential, layers, losses, ops
from torchkeras.training.conventions import takes_target_first
from torchkeras.training.objective import get_loss, get_metric, update_metric


class InputTarget(nn.Module):
    def forward(self, input, target):
        return F.cross_entropy(input, target)


class LogitsLabels(nn.Module):
    def forward(self, logits, labels):
        assert labels.dtype == torch.int64
        return F.nll_loss(F.log_softmax(logits, -1), labels)


class PredY(nn.Module):
    def forward(self, pred, y, scale=1.0):
        return scale * F.cross_entropy(pred, y)


class YTrueYPred(nn.Module):
    def forward(self, y_true, y_pred):
        return F.cross_entropy(y_pred, y_true)


class Unnamed(nn.Module):
    def forward(self, *args):
        return F.cross_entropy(*args)


class CalledObject:
    def __call__(self, scores, truth):
        return F.cross_entropy(scores, truth)


def keras_way(y_true, y_pred):
    assert y_true.dtype == y_pred.dtype
    return ops.sparse_categorical_crossentropy(y_true, y_pred, from_logits=True)


def torch_way(outputs, targets):
    return F.cross_entropy(outputs, targets)


def tf_way(labels, logits):
    return ops.sparse_categorical_crossentropy(labels, logits, from_logits=True)


def smoothed(pred, gt, smoothing):
    return F.cross_entropy(pred, gt, label_smoothing=smoothing)


LABELS = {
    "InputTarget": InputTarget(),
    "LogitsLabels": LogitsLabels(),
    "PredY": PredY(),
    "YTrueYPred": YTrueYPred(),
    "Unnamed": Unnamed(),
    "callable": CalledObject(),
    "keras": keras_way,
    "torch": torch_way,
    "tf": tf_way,
    "lambda": lambda y_hat, y: F.cross_entropy(y_hat, y),
    "nn": nn.CrossEntropyLoss(),
    "functional": F.cross_entropy,
    "partial": functools.partial(F.cross_entropy, label_smoothing=0.0),
    "partial of ours": functools.partial(
        losses.sparse_categorical_crossentropy, from_logits=True
    ),
    "partial of a function": functools.partial(smoothed, smoothing=0.0),
    "partial of a partial": functools.partial(
        functools.partial(smoothed), smoothing=0.0
    ),
}


def fitted(loss, activation=None, units=3, labels=None, **kwargs):
    torch.manual_seed(0)
    rng = np.random.default_rng(0)
    x = rng.random((12, 4)).astype("float32")
    y = rng.integers(0, 3, 12) if labels is None else labels
    model = Sequential([layers.Input((4,)), layers.Dense(units, activation)])
    model.compile("sgd", loss, **kwargs)
    outputs = torch.from_numpy(model.predict(x, verbose=0))
    value = model.evaluate(x, y, verbose=0)
    model.fit(x, y, verbose=0)
    return outputs, torch.from_numpy(y), value, model.get_weights()


@pytest.mark.parametrize("dtype", ["int64", "int32", "uint8"])
@pytest.mark.parametrize("name", LABELS)
def test_a_loss_of_labels(name, dtype):
    labels = np.random.default_rng(1).integers(0, 3, 12).astype(dtype)
    outputs, y, value, weights = fitted(LABELS[name], labels=labels)
    assert value == pytest.approx(F.cross_entropy(outputs, y.long()).item(), rel=1e-5)
    expected = fitted(nn.CrossEntropyLoss(), labels=labels)[-1]
    for ours, theirs in zip(weights, expected, strict=True):
        np.testing.assert_allclose(ours, theirs, rtol=1e-5)


class Focal(nn.Module):
    def forward(self, inputs, targets):
        return F.binary_cross_entropy_with_logits(inputs, targets, reduction="none")


WEIGHT = torch.tensor([3.0])
BINARY = {
    "partial": functools.partial(F.binary_cross_entropy_with_logits, pos_weight=WEIGHT),
    "nn": nn.BCEWithLogitsLoss(pos_weight=WEIGHT),
    "by position": functools.partial(
        lambda scale, logits, label: F.binary_cross_entropy_with_logits(
            logits, label, pos_weight=scale
        ),
        WEIGHT,
    ),
}


@pytest.mark.parametrize("shape", [(12,), (12, 1)])
@pytest.mark.parametrize("dtype", ["int64", "bool", "float64", "float32"])
@pytest.mark.parametrize("name", BINARY)
def test_a_loss_of_numbers(name, dtype, shape):
    labels = np.random.default_rng(1).integers(0, 2, shape).astype(dtype)
    outputs, y, value, _ = fitted(BINARY[name], units=1, labels=labels)
    expected = F.binary_cross_entropy_with_logits(
        outputs, y.reshape(12, 1).float(), pos_weight=WEIGHT
    )
    assert value == pytest.approx(expected.item(), rel=1e-5)


def test_a_module_that_gives_values_takes_weights():
    outputs = torch.randn(4, 1)
    y, w = torch.tensor([0, 1, 1, 0]), torch.tensor([1.0, 0.0, 2.0, 3.0])
    values = F.binary_cross_entropy_with_logits(
        outputs, y[:, None].float(), reduction="none"
    )
    loss = get_loss(Focal(), y, outputs)
    assert loss is not None
    torch.testing.assert_close(loss(y, outputs, w), (values[:, 0] * w).mean())
    with pytest.raises(ValueError, match="loss input_target returns one number"):
        get_loss(InputTarget(), y, outputs)(y, torch.randn(4, 3), w)  # type: ignore


@pytest.mark.parametrize(
    ("function", "first"),
    [
        (lambda y_true, y_pred: 0, True),
        (lambda y_pred, y_true: 0, False),
        (lambda real, pred: 0, True),
        (lambda a, b: 0, True),
        (lambda labels, logits: 0, True),
        (lambda logits, labels, weight=1: 0, False),
        (lambda prediction, ground_truth: 0, False),
        (lambda output, y: 0, False),
        (lambda target, label: 0, True),
        (lambda y, t: 0, True),
        (max, True),
        (F.binary_cross_entropy, False),
        (torch.nn.functional.logsigmoid, False),
        (nn.HuberLoss(), False),
        (Unnamed(), False),
        (YTrueYPred(), True),
        (losses.huber, True),
        (functools.partial(losses.huber, delta=2.0), True),
    ],
)
def test_the_parameter_that_is_named_as_targets_are_gets_them(function, first):
    assert takes_target_first(function) == first


#: What scripts call their targets.
TARGETS = (
    "y y_true y_trues ytrue true true_labels y_label y_labels label labels "
    "label_ids target targets target_ids y_target y_targets targ targs tgt tgts "
    "truth truths ground_truth groundtruth gt gts y_gt answer answers y_t yt"
).split()


@pytest.mark.parametrize("name", TARGETS)
@pytest.mark.parametrize("other", ["y_pred", "output", "yhat", "logits", "a"])
def test_targets_are_known_by_their_name(name, other):
    for each in (name, name.upper()):
        functions = {"one": None, "two": None}
        exec(f"def one({each}, {other}): 0\ndef two({other}, {each}): 0", functions)
        assert takes_target_first(functions["one"])
        assert not takes_target_first(functions["two"])


@pytest.mark.parametrize(
    "function",
    [
        lambda y_pred, y_true: y_pred - y_true,
        lambda y_true, y_pred: y_pred - y_true,
        functools.partial(lambda k, output, target: k * (output - target), 1.0),
    ],
)
def test_metrics_of_ones_own_follow_the_same_rule(function):
    y_true, y_pred = torch.tensor([1.0, 2.0]), torch.tensor([4.0, 6.0])
    metric = get_metric(function, y_true, y_pred)
    update_metric(metric, y_true, y_pred, None)
    assert metric.result() == 3.5


class Returns(losses.Loss):
    def __init__(self, value):
        super().__init__(name="mine")
        self.value = value

    def call(self, y_true, y_pred):
        return self.value


class ReturnsModule(nn.Module):
    def __init__(self, value):
        super().__init__()
        self.value = value

    def forward(self, input, target):
        return self.value


def returning(value):
    def mine(y_true, y_pred):
        return value

    return mine


RESULTS = {
    "None": (None, "None"),
    "array": (np.zeros(12), r"ndarray of shape \(12,\), dtype float64"),
    "NumPy number": (np.float32(1), "float32"),
    "NumPy double": (np.float64(1), "float64"),
    "list": ([1.0], r"\[1.0\]"),
}


@pytest.mark.parametrize("result", RESULTS)
@pytest.mark.parametrize("make", [returning, Returns, ReturnsModule])
def test_a_loss_that_gives_no_tensor_is_named(make, result):
    value, got = RESULTS[result]
    name = "returns_module" if make is ReturnsModule else "mine"
    message = rf"The loss '{name}' must return a tensor, got .*{got}"
    with pytest.raises(TypeError, match=message):
        fitted(make(value))
    with pytest.raises(TypeError, match=message):
        fitted([make(value)], loss_weights=[2.0])


def test_a_constant_is_a_loss():
    fn: Any = returning(2.0)
    assert losses.LossFunctionWrapper(fn)(torch.ones(3), torch.ones(3)) == 2
