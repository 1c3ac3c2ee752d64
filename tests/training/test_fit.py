"""fit, evaluate and predict against a hand-written loop, over every kind of data."""

import copy
from typing import Any

import numpy as np
import pytest
import torch
import torchmetrics
from torch import nn
from torch.utils.data import DataLoader, TensorDataset

from torchkeras import callbacks, layers, losses, metrics, optimizers
from torchkeras.models import Model, Sequential

GENERATOR = np.random.default_rng(0)
X = GENERATOR.normal(size=(70, 5)).astype("float32")
Y = GENERATOR.normal(size=(70, 2)).astype("float32")
LABELS = GENERATOR.integers(0, 3, 70)
ONE_HOT = np.eye(3, dtype="float32")[LABELS]


def model_of(units: int = 2, activation: str | None = None) -> Sequential:
    return Sequential(
        [
            layers.Dense(8, activation="tanh", input_shape=(5,)),
            layers.Dense(units, activation=activation),
        ]
    )


def test_fit_is_the_loop_one_would_write() -> None:
    model = model_of()
    plain = nn.Sequential(nn.Linear(5, 8), nn.Tanh(), nn.Linear(8, 2))
    for parameter, own in zip(plain.parameters(), model.parameters(), strict=True):
        parameter.data.copy_(own.data)
    model.compile("adam", "mse")
    history = model.fit(X, Y, batch_size=16, epochs=3, shuffle=False, verbose=0)
    optimizer = torch.optim.Adam(plain.parameters(), eps=1e-7)
    expected = []
    for _ in range(3):
        total = 0.0
        for start in range(0, 70, 16):
            x, y = (torch.from_numpy(a[start : start + 16]) for a in (X, Y))
            loss = nn.functional.mse_loss(plain(x), y)
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            total += loss.item() * len(x)
        expected.append(total / 70)
    np.testing.assert_allclose(history.history["loss"], expected, rtol=1e-5)
    for parameter, own in zip(plain.parameters(), model.parameters(), strict=True):
        torch.testing.assert_close(own.data, parameter.data, rtol=1e-5, atol=1e-6)


def sources():
    tensors = torch.from_numpy(X), torch.from_numpy(Y)

    def generator():
        for start in range(0, 70, 10):
            yield X[start : start + 10], Y[start : start + 10]

    class Indexed:
        def __len__(self):
            return 7

        def __getitem__(self, i):
            return X[i * 10 : i * 10 + 10], Y[i * 10 : i * 10 + 10]

    return {
        "arrays": (X, Y),
        "float64": (X.astype("float64"), Y.astype("float64")),
        "tensors": tensors,
        "lists": (X.tolist(), Y.tolist()),
        "dataset": (TensorDataset(*tensors),),
        "loader": (DataLoader(TensorDataset(*tensors), batch_size=10),),
        "generator": (generator(),),
        "indexed": (Indexed(),),
    }


@pytest.mark.parametrize("kind", sources())
def test_every_kind_of_data_trains_alike(kind: str) -> None:
    model = model_of()
    model.compile("sgd", "mse")
    twin = copy.deepcopy(model)
    expected = twin.fit(X, Y, batch_size=10, shuffle=False, verbose=0).history
    history = model.fit(
        *sources()[kind],
        batch_size=10 if kind not in ("loader", "generator", "indexed") else None,
        shuffle=False,
        verbose=0,
    ).history
    np.testing.assert_allclose(history["loss"], expected["loss"], rtol=1e-6)


@pytest.mark.parametrize("kind", sources())
def test_every_kind_of_data_is_evaluated_and_predicted_alike(kind: str) -> None:
    model = model_of()
    model.compile("sgd", "mse", metrics=["mae"])
    expected = model.evaluate(X, Y, verbose=0)
    assert model.evaluate(*sources()[kind], verbose=0) == pytest.approx(expected)
    data = sources()[kind]
    outputs = model.predict(data[0], verbose=0)
    np.testing.assert_allclose(outputs, model.predict(X, verbose=0), rtol=1e-6)


def test_shuffle_permutes_each_epoch() -> None:
    seen = []

    class Spy(Model):
        def __init__(self):
            super().__init__()
            self.dense = layers.Dense(1)

        def call(self, inputs):
            if self.training:
                seen.append(inputs[:, 0].clone())
            return self.dense(inputs)

    model = Spy()
    model.compile("sgd", "mse")
    rows = np.arange(20, dtype="float32")[:, None]
    model.fit(rows, rows, batch_size=4, epochs=2, verbose=0)
    first, second = torch.cat(seen[:5]), torch.cat(seen[5:])
    assert not torch.equal(first, second)
    for epoch in (first, second):
        assert sorted(epoch.tolist()) == list(range(20))


def test_validation_split_takes_the_last_rows() -> None:
    model = model_of()
    model.compile(optimizers.SGD(0.0), "mse")
    history = model.fit(X, Y, validation_split=0.2, verbose=0).history
    expected = model.evaluate(X[56:], Y[56:], verbose=0)
    assert history["val_loss"][0] == pytest.approx(expected, rel=1e-6)


@pytest.mark.parametrize(("frequency", "times"), [(1, 4), (2, 2), ([1, 4], 2)], ids=str)
def test_validation_freq(frequency, times) -> None:
    model = model_of()
    model.compile("sgd", "mse")
    history = model.fit(
        X, Y, epochs=4, validation_data=(X, Y), validation_freq=frequency, verbose=0
    ).history
    assert len(history["val_loss"]) == times
    assert len(history["loss"]) == 4


def test_initial_epoch_and_steps() -> None:
    model = model_of()
    model.compile("sgd", "mse")
    history = model.fit(
        X, Y, epochs=5, initial_epoch=3, steps_per_epoch=2, batch_size=10, verbose=0
    )
    assert history.epoch == [3, 4]
    assert int(model.optimizer.iterations) == 4


@pytest.mark.parametrize(
    ("units", "activation", "loss", "targets", "kind"),
    [
        (1, "sigmoid", "binary_crossentropy", (LABELS > 0) * 1.0, "binary"),
        (3, "softmax", "categorical_crossentropy", ONE_HOT, "categorical"),
        (3, "softmax", "sparse_categorical_crossentropy", LABELS, "sparse"),
        (
            3,
            "softmax",
            "sparse_categorical_crossentropy",
            LABELS[:, None],
            "sparse column",
        ),
    ],
)
def test_accuracy_is_chosen_by_the_shapes(units, activation, loss, targets, kind):
    model = model_of(units, activation)
    model.compile("adam", loss, metrics=["accuracy"])
    _, accuracy = model.evaluate(X, targets, verbose=0)
    outputs = model.predict(X, verbose=0)
    if units == 1:
        expected = ((outputs[:, 0] > 0.5) == (LABELS > 0)).mean()
    else:
        expected = (outputs.argmax(-1) == LABELS).mean()
    assert accuracy == pytest.approx(expected)


def test_metrics_of_every_kind_stand_side_by_side() -> None:
    def bias(y_true, y_pred):
        return (y_pred - y_true).mean(-1)

    model = model_of()
    model.compile(
        "sgd",
        "mse",
        metrics=["mae", metrics.MeanSquaredError(name="square"), bias,
                 torchmetrics.MeanAbsoluteError()],
    )  # fmt: skip
    results = model.evaluate(X, Y, verbose=0, return_dict=True)
    outputs = model.predict(X, verbose=0)
    assert list(results) == ["bias", "loss", "mae", "mean_absolute_error", "square"]
    assert results["mae"] == pytest.approx(np.abs(outputs - Y).mean(), rel=1e-5)
    assert results["mean_absolute_error"] == pytest.approx(results["mae"], rel=1e-5)
    assert results["square"] == pytest.approx(results["loss"], rel=1e-5)
    assert results["bias"] == pytest.approx((outputs - Y).mean(), abs=1e-5)


def test_a_torchmetrics_classification_metric() -> None:
    model = model_of(3, "softmax")
    model.compile(
        "sgd",
        "sparse_categorical_crossentropy",
        metrics=["accuracy", torchmetrics.Accuracy(task="multiclass", num_classes=3)],
    )
    results = model.evaluate(X, LABELS, verbose=0, return_dict=True)
    assert results["multiclass_accuracy"] == pytest.approx(results["accuracy"])


@pytest.mark.parametrize(
    "optimizer",
    [
        "sgd",
        optimizers.SGD(0.01),
        torch.optim.SGD,
        lambda parameters: torch.optim.SGD(parameters, lr=0.01),
    ],
    ids=["name", "keras", "class", "partial"],
)
def test_optimizers_of_every_kind(optimizer) -> None:
    import functools

    model = model_of()
    twin = copy.deepcopy(model)
    if optimizer is torch.optim.SGD:
        optimizer = functools.partial(torch.optim.SGD, lr=0.01)
    elif callable(optimizer) and not isinstance(optimizer, optimizers.Optimizer):
        optimizer = torch.optim.SGD(model.parameters(), lr=0.01)
    model.compile(optimizer, "mse")
    twin.compile(optimizers.SGD(0.01), "mse")
    for m in (model, twin):
        m.fit(X, Y, epochs=2, shuffle=False, verbose=0)
    for own, other in zip(model.get_weights(), twin.get_weights(), strict=True):
        np.testing.assert_allclose(own, other, rtol=1e-5, atol=1e-7)
    if isinstance(optimizer, torch.optim.Optimizer):
        assert model.optimizer.torch is optimizer


@pytest.mark.parametrize(
    "loss",
    [
        "mse",
        losses.MeanSquaredError(),
        losses.mean_squared_error,
        nn.MSELoss(),
        nn.functional.mse_loss,
        lambda y_true, y_pred: (y_true - y_pred) ** 2,
    ],
    ids=["name", "keras", "function", "nn", "functional", "lambda"],
)
def test_losses_of_every_kind(loss) -> None:
    model = model_of()
    model.compile("sgd", loss)
    outputs = model.predict(X, verbose=0)
    expected = ((outputs - Y) ** 2).mean()
    assert model.evaluate(X, Y, verbose=0) == pytest.approx(expected, rel=1e-5)


def test_an_nn_loss_takes_labels() -> None:
    model = model_of(3)
    model.compile("sgd", nn.CrossEntropyLoss())
    expected = nn.functional.cross_entropy(
        torch.from_numpy(model.predict(X, verbose=0)), torch.from_numpy(LABELS)
    ).item()
    for targets in (LABELS, LABELS[:, None]):
        assert model.evaluate(X, targets, verbose=0) == pytest.approx(expected)


@pytest.mark.filterwarnings("ignore:.*no weight for the classes")
def test_class_weight_is_not_for_validation() -> None:
    model = model_of(3, "softmax")
    model.compile("sgd", "sparse_categorical_crossentropy")
    history = model.fit(
        X, LABELS, validation_split=0.5, class_weight={0: 9.0}, verbose=0
    )
    half = len(X) // 2
    loss = model.evaluate(X[half:], LABELS[half:], verbose=0, return_dict=True)["loss"]
    assert history.history["val_loss"][0] == pytest.approx(loss, abs=1e-6)


def test_class_weight_is_a_sample_weight() -> None:
    weights = {0: 1.0, 1: 3.0, 2: 0.5}
    sample_weight = np.array([weights[label] for label in LABELS])
    results = []
    choices: list[dict[str, Any]] = [
        {"class_weight": weights},
        {"sample_weight": sample_weight},
    ]
    for arguments in choices:
        model = model_of(3, "softmax")
        model.set_weights([np.full(w.shape, 0.1) for w in model.weights])
        model.compile(
            "sgd",
            "sparse_categorical_crossentropy",
            metrics=["accuracy"],
            weighted_metrics=["accuracy"],
        )
        history = model.fit(X, LABELS, shuffle=False, verbose=0, **arguments)
        results.append(history.history)
    for name, values in results[0].items():
        assert values == pytest.approx(results[1][name])


def test_regularizers_add_to_the_loss() -> None:
    model = Sequential(
        [layers.Dense(2, kernel_regularizer="l2", bias_regularizer="l1")]
    )
    model.build((None, 5))
    model.compile("sgd", "mse")
    plain = ((model.predict(X, verbose=0) - Y) ** 2).mean()
    kernel, bias = model.get_weights()
    expected = plain + 0.01 * (kernel**2).sum() + 0.01 * np.abs(bias).sum()
    assert model.evaluate(X, Y, verbose=0) == pytest.approx(expected, rel=1e-5)


def test_constraints_hold_after_each_step() -> None:
    model = Sequential([layers.Dense(2, kernel_constraint="non_neg")])
    model.compile(optimizers.SGD(1.0), "mse")
    model.fit(X, Y, verbose=0)
    assert (model.get_weights()[0] >= 0).all()


def test_train_step_can_be_overridden() -> None:
    class Own(Sequential):
        def train_step(self, data):
            x, y = data
            self.zero_grad()
            loss = self.compute_loss(y=y, y_pred=self(x))
            loss.backward()
            self.optimizer.step()
            return {"loss": loss, "twice": 2 * loss}

    model = Own([layers.Dense(2, input_shape=(5,))])
    model.compile("sgd", "mse")
    history = model.fit(X, Y, batch_size=70, epochs=2, verbose=0).history
    assert history["twice"] == pytest.approx([2 * v for v in history["loss"]])
    assert history["loss"][1] < history["loss"][0]


def test_train_on_batch_returns_the_batch_s_own_results() -> None:
    model = model_of()
    model.compile(optimizers.SGD(0.0), "mse", metrics=["mae"])
    model.train_on_batch(X[:35], Y[:35])
    after = model.train_on_batch(X[35:], Y[35:], return_dict=True)
    own = model.evaluate(X[35:], Y[35:], return_dict=True, verbose=0)
    assert after == pytest.approx(own, rel=1e-5)
    whole = model.evaluate(X, Y, return_dict=True, verbose=0)
    np.testing.assert_allclose(
        model.predict_on_batch(X), model.predict(X, verbose=0), rtol=1e-6
    )
    assert model.test_on_batch(X, Y) == pytest.approx(list(whole.values()), rel=1e-5)


def test_modes_are_switched_and_restored() -> None:
    modes = []

    class Spy(layers.Layer):
        def call(self, inputs):
            modes.append(self.training)
            return inputs

    model = Sequential([Spy(), layers.Dense(2)])
    model.compile("sgd", "mse")
    model.build((None, 5))
    modes.clear()
    model.fit(X[:4], Y[:4], validation_data=(X[:4], Y[:4]), verbose=0)
    model.predict(X[:4], verbose=0)
    tried = [False, False]  # a batch of each, before the first step
    assert modes == [*tried, True, False, False]
    assert model.training is False


@pytest.mark.parametrize("policy", ["mixed_bfloat16", "mixed_float16", "bfloat16"])
def test_dtype_policies_train(policy: str) -> None:
    model = Sequential(
        [
            layers.Dense(8, activation="relu", dtype=policy, input_shape=(5,)),
            layers.Dense(2, dtype=policy),
        ]
    )
    model.dtype_policy = layers.Dense(1, dtype=policy).dtype_policy
    model.compile(optimizers.Adam(0.01), "mse")
    history = model.fit(X, Y, epochs=20, verbose=0).history
    assert history["loss"][-1] < history["loss"][0]
    expected = torch.bfloat16 if policy == "bfloat16" else torch.float32
    assert next(model.parameters()).dtype == expected


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore::DeprecationWarning")  # torch's own, on import
def test_jit_compile_gives_the_same_numbers() -> None:
    model = model_of()
    twin = copy.deepcopy(model)
    model.compile("adam", "mse", jit_compile=True)
    twin.compile("adam", "mse")
    own, other = (
        m.fit(X, Y, batch_size=35, epochs=3, shuffle=False, verbose=0).history["loss"]
        for m in (model, twin)
    )
    np.testing.assert_allclose(own, other, rtol=1e-5)


def test_the_loop_does_not_wait_for_the_device() -> None:
    """No value is read between the first step of an epoch and its last."""
    reads = []
    original = torch.Tensor.item

    def item(self):
        reads.append(self)
        return original(self)

    model = model_of()
    model.compile("adam", "mse", metrics=["mae"])
    model.fit(X, Y, verbose=0)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(torch.Tensor, "item", item)
        model.fit(X, Y, batch_size=1, verbose=0)
    assert len(reads) <= 4


def test_deepcopy_trains_apart() -> None:
    model = model_of()
    model.compile("adam", "mse")
    model.fit(X, Y, verbose=0)
    twin = copy.deepcopy(model)
    before = model.get_weights()
    twin.fit(X, Y, epochs=2, verbose=0)
    for own, old in zip(model.get_weights(), before, strict=True):
        np.testing.assert_array_equal(own, old)
    assert any(
        not np.array_equal(a, b)
        for a, b in zip(twin.get_weights(), before, strict=True)
    )


def test_batch_logs_are_read_only_when_asked_for() -> None:
    losses_seen = []
    spy = callbacks.LambdaCallback(
        on_train_batch_end=lambda batch, logs: losses_seen.append(logs["loss"])
    )
    model = model_of()
    model.compile("sgd", "mse")
    history = model.fit(X, Y, batch_size=10, callbacks=[spy], verbose=0).history
    assert len(losses_seen) == 7
    assert losses_seen[-1] == pytest.approx(history["loss"][0])
