"""What losses do beyond Keras's numbers: refusals, shapes, modules."""

import copy

import numpy as np
import pytest
import torch

from torchkeras import activations, losses

REGRESSION = [
    "mean_squared_error",
    "mean_absolute_error",
    "mean_absolute_percentage_error",
    "mean_squared_logarithmic_error",
    "cosine_similarity",
    "huber",
    "log_cosh",
    "hinge",
    "squared_hinge",
    "kl_divergence",
    "poisson",
    "binary_crossentropy",
    "binary_focal_crossentropy",
]
Y = torch.tensor([0.0, 1.0, 1.0, 0.0])
P = torch.tensor([[0.25], [0.5], [0.75], [0.125]])


@pytest.mark.parametrize("name", REGRESSION)
def test_a_vector_of_targets_is_a_column(name):
    function = losses.get(name)
    expected = function(Y[:, None], P)
    torch.testing.assert_close(function(Y, P), expected)
    torch.testing.assert_close(function(Y[:, None], P[:, 0]), expected)
    loss = losses.LossFunctionWrapper(function)
    torch.testing.assert_close(loss(Y, P), expected.mean())
    weight = torch.tensor([1.0, 2.0, 0.0, 1.0])
    weighted = (expected * weight).mean()
    torch.testing.assert_close(loss(Y, P, weight), weighted)
    torch.testing.assert_close(loss(Y, P, weight[:, None]), weighted)


@pytest.mark.parametrize("name", [*REGRESSION, "categorical_crossentropy", "dice"])
def test_targets_of_another_width_are_refused(name):
    message = rf"{name}: targets and outputs .* \(4, 3\) for y_pred of shape \(4, 2\)"
    for loss in (losses.get(name), losses.LossFunctionWrapper(losses.get(name))):
        with pytest.raises(ValueError, match=message):
            loss(torch.ones(4, 3), torch.full((4, 2), 0.5))


@pytest.mark.parametrize(
    ("name", "shape", "expected"),
    [
        ("CategoricalCrossentropy", (4,), "sparse_categorical_crossentropy"),
        ("CategoricalCrossentropy", (4, 1), "sparse_categorical_crossentropy"),
        ("CategoricalHinge", (4,), "one shape"),
        ("CategoricalFocalCrossentropy", (4,), "one shape"),
    ],
)
def test_labels_for_a_loss_of_distributions_are_refused(name, shape, expected):
    with pytest.raises(ValueError, match=expected):
        losses.get(name)(torch.ones(shape, dtype=torch.long), torch.rand(4, 3))


@pytest.mark.parametrize("label", [-1, 3, -100])
@pytest.mark.parametrize("from_logits", [True, False])
def test_labels_that_are_no_classes_are_refused(label, from_logits):
    loss = losses.SparseCategoricalCrossentropy(from_logits=from_logits)
    message = rf"sparse_cat.* from 0 to 2, .* 3 classes, got {label} in row 1"
    with pytest.raises(ValueError, match=message):
        loss(torch.tensor([0, label]), torch.rand(2, 3))


def test_check_labels_takes_arrays_and_names_the_first_row():
    with pytest.raises(ValueError, match=r"nll: .* got 7 in row 2"):
        losses.check_labels("nll", np.array([[0], [1], [7], [9]]), 5)
    losses.check_labels("nll", np.array([0, -1]), 2, ignore_class=-1)
    losses.check_labels("nll", np.zeros((0,), int), 2)


def test_one_hot_targets_of_a_sparse_loss_are_refused():
    with pytest.raises(ValueError, match="Use `categorical_crossentropy`"):
        losses.SparseCategoricalCrossentropy()(torch.eye(3), torch.rand(3, 3))


def test_a_mean_over_nothing_but_ignored_labels_is_zero():
    loss = losses.SparseCategoricalCrossentropy(ignore_class=-1)
    outputs = torch.full((2, 3), 0.25, requires_grad=True)
    value = loss(torch.tensor([-1, -1]), outputs)
    value.backward()
    assert value == 0
    assert outputs.grad is not None
    assert torch.isfinite(outputs.grad).all()


def test_large_labels_are_not_rounded_by_a_float():
    classes = 2**24 + 2
    logits = torch.zeros(1, classes)
    logits[0, -1] = 50.0
    loss = losses.SparseCategoricalCrossentropy(from_logits=True, reduction="sum")
    assert loss(torch.tensor([classes - 1]), logits) < 1e-6


def test_one_weight_per_sample_applies_to_its_time_steps():
    loss = losses.MeanSquaredError(reduction="none")
    y = torch.ones(2, 2, 3)
    weights = torch.tensor([1.0, 0.0])
    assert loss(y, 0 * y, weights).tolist() == [[1.0, 1.0], [0.0, 0.0]]
    y._keras_mask = torch.tensor(  # type: ignore[attr-defined]
        [[True, False], [True, True]]
    )
    assert loss(0 * y, y, weights).tolist() == [[1.0, 0.0], [0.0, 0.0]]


def test_weights_that_do_not_fit_are_refused():
    with pytest.raises(ValueError, match=r"`sample_weight` of shape \(3,\) .* \(4,\)"):
        losses.MeanSquaredError()(Y, P, torch.ones(3))


def test_saturated_outputs_keep_their_gradient():
    logits = torch.tensor([[200.0], [-200.0]], requires_grad=True)
    outputs = activations.sigmoid(logits)
    value = losses.BinaryCrossentropy()(torch.tensor([0.0, 1.0]), outputs)
    value.backward()
    assert value.item() == pytest.approx(200.0)
    assert logits.grad is not None
    assert logits.grad.abs().min() > 0.4


def test_outputs_in_half_precision_are_computed_in_single():
    logits = torch.randn(4, 3).bfloat16()
    loss = losses.SparseCategoricalCrossentropy()
    value = loss(torch.tensor([0, 1, 2, 0]), activations.softmax(logits))
    expected = torch.nn.functional.cross_entropy(
        logits.float(), torch.tensor([0, 1, 2, 0])
    )
    assert value.dtype == torch.float32
    torch.testing.assert_close(value, expected)


@pytest.mark.parametrize("name", ["mse", "bce", "categorical_crossentropy"])
def test_losses_compile_in_one_graph(name):
    loss = losses.LossFunctionWrapper(losses.get(name))

    def step(logits, target):
        return loss(target, activations.softmax(logits))

    logits, target = torch.randn(4, 3), torch.eye(3)[[0, 1, 2, 1]]
    compiled = torch.compile(step, fullgraph=True, backend="eager")
    torch.testing.assert_close(compiled(logits, target), step(logits, target))


def test_the_sparse_loss_compiles_in_one_graph():
    loss = losses.SparseCategoricalCrossentropy(ignore_class=0)

    def step(logits, target):
        return loss(target, activations.softmax(logits))

    logits, target = torch.randn(4, 3), torch.tensor([0, 1, 2, 1])
    compiled = torch.compile(step, fullgraph=True, backend="eager")
    torch.testing.assert_close(compiled(logits, target), step(logits, target))


def test_a_loss_of_ones_own():
    class Scaled(losses.Loss):
        def __init__(self, scale=2.0, **kwargs):
            super().__init__(**kwargs)
            self.scale = scale

        def call(self, y_true, y_pred):
            assert y_true.dtype == torch.float32
            return self.scale * (y_true - y_pred).abs().mean(-1)

        def get_config(self):
            return {**super().get_config(), "scale": self.scale}

    loss = Scaled(3.0, name="mine", reduction="sum")
    assert loss([[1], [2]], [[0.0], [0.0]]) == 9
    again = Scaled.from_config(loss.get_config())
    assert (again.name, again.reduction, again.scale) == ("mine", "sum", 3.0)
    assert Scaled().name.startswith("scaled")


def test_an_overridden_call_is_called():
    class Doubled(losses.MeanSquaredError):
        def call(self, y_true, y_pred):
            return 2 * super().call(y_true, y_pred)

    assert Doubled()(Y, 0 * P) == 1.0


def test_a_loss_without_call_says_so():
    with pytest.raises(NotImplementedError, match="Loss does not define `call"):
        losses.Loss()(Y, P)


def test_losses_are_copied_whole():
    loss = losses.Huber(delta=0.5, name="mine")
    again = copy.deepcopy(loss)
    assert again(Y, P) == loss(Y, P)
    assert (again.delta, again.name) == (0.5, "mine")


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (
            lambda: losses.MeanSquaredError(reduction="avg"),
            "`reduction` must be one of",
        ),
        (lambda: losses.CategoricalGeneralizedCrossEntropy(q=1.0), "`q` must be"),
        (lambda: losses.get("mena_squared_error"), "'mean_squared_error'"),
        (lambda: losses.ctc(torch.ones(2), torch.ones(2, 3, 4)), "ctc: y_true must"),
    ],
)
def test_mistakes_are_named(make, message):
    with pytest.raises(ValueError, match=message):
        make()


def test_one_class_is_warned_of():
    with pytest.warns(SyntaxWarning, match="Use `binary_crossentropy`"):
        losses.CategoricalCrossentropy()(torch.ones(4, 1), torch.ones(4, 1))


@pytest.mark.parametrize("name", ["mse", "MSE", "mae", "MAPE", "msle", "kld", "BCE"])
def test_short_names(name):
    assert losses.get(name) is getattr(losses, name)
    assert losses.serialize(losses.get(name)) == losses.get(name).__name__


def test_any_function_is_a_loss():
    def gap(y_true, y_pred):
        return (y_true - y_pred).abs().mean(-1)

    assert losses.get(gap) is gap
    loss = losses.LossFunctionWrapper(gap, name="gap")
    assert loss(Y, 0 * P).item() == 0.5
    built_in = losses.LossFunctionWrapper(losses.huber, delta=2.0)
    again = losses.deserialize(losses.serialize(built_in))
    assert again.get_config() == built_in.get_config()
