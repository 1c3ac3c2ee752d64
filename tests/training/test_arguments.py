"""Arguments of training are checked by one table, before anything is done."""

import inspect
import math
import re
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch

from torchkeras import callbacks, layers, losses, metrics
from torchkeras.models import Model, Sequential
from torchkeras.training.arguments import RULES
from torchkeras.training.trainer import Trainer

X = np.linspace(-1, 1, 40, dtype="float32").reshape(10, 4)
Y = X[:, :2] * 2 + 1
NAN = math.nan

METHODS = ("compile", "fit", "evaluate", "predict", "train_on_batch", "test_on_batch",
           "predict_on_batch")  # fmt: skip
#: What is looked at as data, or is named in the error as a whole.
DATA = {"self", "x", "y", "sample_weight", "validation_data", "kwargs"}
WHOLE = ((0, -1, 2.5, "3", True), (1, 5.0, np.int64(2)))
WHOLE_OR_NONE = (WHOLE[0], (*WHOLE[1], None))
FROM_ZERO = ((-1, 2.5, "3", None), (0, 3, 3.0, np.int64(2)))
FLAG = (("yes", 7, 0.5, [True]), (True, False, None, 0, 1, np.bool_(True)))
METRICS = (
    ("mae", 5, [5], [["mae"], 5], {"d1": 5}),
    (None, [], ["mae"], [["mae"]], {"d1": "mae"}, [None], ("mae",),
     [metrics.MeanAbsoluteError()], [lambda y, p: (y - p).abs().mean(-1)]),
)  # fmt: skip
#: The values of each argument that are refused, and some that Keras takes too.
VALUES: dict[str, tuple[tuple[Any, ...], tuple[Any, ...]]] = {
    "auto_scale_loss": FLAG,
    "batch_size": WHOLE_OR_NONE,
    "callbacks": (
        (5, [5], "stop", [callbacks.History, None], [[callbacks.History()], None]),
        (None, [], (), callbacks.History(), [callbacks.History()],
         [[callbacks.History()], callbacks.Callback()]),
    ),
    "class_weight": (
        ([1.0, 2.0], {"a": 1.0}, {0: "1"}, {0: NAN}, {0.5: 1.0}, {0: None}),
        (None, {0: 1.0, 1: 2}, {np.int64(0): np.float32(1), 1.0: 2.0}),
    ),
    "epochs": FROM_ZERO,
    "initial_epoch": FROM_ZERO,
    "jit_compile": (("always", 7, 0.5), (False, None, "auto")),
    "loss": ((5, [5], {"d1": 5}), ("mse", None, losses.Huber(), {"d1": "mse"})),
    "loss_weights": (
        ("1", ["a"], NAN, math.inf, {"d1": "a"}, [[1.0]  , "a"]),
        (None, 1, 0.5, [2.0], {"d1": 1.0}, np.float32(2), torch.tensor(2.0)),
    ),
    "metrics": METRICS,
    "optimizer": ((5, "adamm"), ("sgd", "adam", torch.optim.SGD, None)),
    "return_dict": FLAG,
    "run_eagerly": FLAG,
    "shuffle": (("yes", 7, 0.5), (*FLAG[1], "batch")),
    "steps": WHOLE_OR_NONE,
    "steps_per_epoch": WHOLE_OR_NONE,
    "steps_per_execution": WHOLE,
    "validation_batch_size": WHOLE_OR_NONE,
    "validation_freq": ((0, -1, "2", None, [0], [1, "2"]), (1, 2, [1], (2,), {1, 2})),
    "validation_split": ((-0.2, 1.0, NAN, "0.2"), (0, None, 0.2, np.float32(0.2))),
    "validation_steps": WHOLE_OR_NONE,
    "verbose": ((7, -1, "loud", 0.5), (0, np.int64(0), False, None)),
    "weighted_metrics": METRICS,
}  # fmt: skip


def arguments(method: str) -> list[str]:
    return [n for n in inspect.signature(getattr(Trainer, method)).parameters
            if n not in DATA]  # fmt: skip


def test_every_argument_is_in_the_table() -> None:
    found = {name for method in METHODS for name in arguments(method)}
    assert found == set(RULES) == set(VALUES)


def model_of() -> Sequential:
    model = Sequential([layers.Input((4,)), layers.Dense(2, name="d1")])
    model.compile("sgd", "mse")
    return model


def call(model: Model, method: str, argument: str, value: Any) -> None:
    given: dict[str, Any] = {argument: value}
    if method == "compile":
        model.compile(**{"optimizer": "sgd", "loss": "mse", **given})
        return
    if "verbose" in arguments(method):
        given.setdefault("verbose", 0)
    targets = () if method.startswith("predict") else (Y,)
    if argument == "class_weight":
        targets = (np.tile([[0, 1]], (10, 1)),)
    getattr(model, method)(X, *targets, **given)


CASES = [(m, a) for m in METHODS for a in arguments(m)]


@pytest.mark.parametrize(("method", "argument"), CASES)
def test_what_is_wrong_is_refused_by_name(method: str, argument: str) -> None:
    for value in VALUES[argument][0]:
        model = model_of()
        compiled, weights = model._compiled, model.get_weights()
        with pytest.raises((ValueError, TypeError)) as caught:
            call(model, method, argument, value)
        message = str(caught.value)
        if argument != "optimizer":
            assert message.startswith(f"{method}: `{argument}"), (value, message)
        assert " got " in message or "is the class" in message or "'adam" in message
        assert model._compiled is compiled
        assert model.history is None
        assert not model.training
        for now, before in zip(model.get_weights(), weights, strict=True):
            np.testing.assert_array_equal(now, before)


@pytest.mark.parametrize(("method", "argument"), CASES)
def test_what_keras_takes_is_taken(method: str, argument: str) -> None:
    for value in VALUES[argument][1]:
        call(model_of(), method, argument, value)


@pytest.mark.parametrize(
    ("argument", "value", "place"),
    [
        ("callbacks", [[callbacks.History()], 5], r"callbacks\[1\].*got 5 of type int"),
        (
            "callbacks",
            {"a": [callbacks.History(), "b"]},
            r"callbacks\['a'\]\[1\].* str",
        ),
        ("metrics", {"d1": ["mae", 5]}, r"metrics\['d1'\]\[1\].*got 5. .*type int"),
        ("loss", {"d1": 5.0}, r"loss\['d1'\].*type float"),
        ("loss_weights", ["a"], r"loss_weights\[0\].*got 'a'"),
        ("validation_freq", [1, 0], r"validation_freq\[1\].*got 0"),
        ("class_weight", {0: 1.0, 1: NAN}, r"class_weight\[1\].*got nan"),
        ("class_weight", {"a": 1.0}, r"class_weight.*got 'a'. .*type str"),
    ],
)
def test_the_place_and_the_type_in_a_structure_are_named(
    argument: str, value: Any, place: str
) -> None:
    method = "compile" if argument in ("metrics", "loss", "loss_weights") else "fit"
    with pytest.raises((ValueError, TypeError), match=f"^{method}: `{place}"):
        call(model_of(), method, argument, value)


@pytest.mark.parametrize("data", [(X,) * 4, ()])
def test_validation_data_of_a_wrong_length_is_named(data: Any) -> None:
    with pytest.raises(ValueError, match=f"^fit: `validation_data`.*of {len(data)} el"):
        model_of().fit(X, Y, validation_data=data, verbose=0)


@pytest.mark.parametrize(
    ("data", "match"),
    [
        ((X, Y[:9]), r"but validation_data\[0\] has 10, validation_data\[1\] has 9"),
        ((X, Y, np.ones(3)), r"validation_data\[2\] has 3"),
        ((X.astype(object), Y), r"`validation_data\[0\]` must hold numbers"),
        ((X, {"d1": np.array(["a"])}), r"`validation_data\[1\]\['d1'\]` must hold"),
        ((None, Y), r"^fit: `validation_data\[0\]` must be given"),
    ],
)
def test_a_part_of_validation_data_is_named(data: Any, match: str) -> None:
    with pytest.raises(ValueError, match=match):
        model_of().fit(X, Y, validation_data=data, verbose=0)


def test_shuffle_within_batches() -> None:
    seen: list[list[int]] = []

    class Watched(Sequential):
        def train_step(self, data: Any) -> Any:
            seen.append(data[0][:, 0].int().tolist())
            return super().train_step(data)

    model = Watched([layers.Dense(1)])
    model.compile("sgd", "mse")
    x = np.arange(100, dtype="float32")[:, None]
    model.fit(x, x, batch_size=40, shuffle="batch", verbose=0)
    parts = [list(range(40)), list(range(40, 80)), list(range(80, 100))]
    assert [sorted(batch) for batch in seen] == parts
    assert seen != parts


def history_of(model: Model) -> callbacks.History:
    assert model.history is not None
    return model.history


def fit_with_validation_loss(values: list[float], *given: Any) -> Sequential:
    """Train with a validation loss of those values, one an epoch."""
    remaining = iter(values)

    class Told(callbacks.Callback):
        def on_epoch_end(self, epoch: int, logs: Any = None) -> None:
            logs["val_loss"] = next(remaining)

    model = model_of()
    model.fit(X, Y, epochs=len(values), callbacks=[Told(), *given], verbose=0)
    return model


@pytest.mark.parametrize("cooldown", [0, 2])
def test_an_epoch_of_nan_is_not_counted_by_reduce_lr(cooldown: int) -> None:
    numbers = [3.0, 4.0, 4.0, 2.0, 5.0, 5.0, 5.0, 5.0, 5.0]
    with_nan = [NAN, 3.0, 4.0, NAN, NAN, 4.0, 2.0, NAN, 5.0, 5.0, NAN, 5.0, 5.0, 5.0]

    def rates(values: list[float]) -> list[float]:
        slower = callbacks.ReduceLROnPlateau(patience=2, cooldown=cooldown)
        model = fit_with_validation_loss(values, slower)
        return history_of(model).history["learning_rate"]

    kept = [r for r, v in zip(rates(with_nan), with_nan, strict=True) if v == v]
    assert kept == rates(numbers)
    assert len(set(kept)) > 1


def test_an_epoch_of_nan_is_no_improvement_for_early_stopping() -> None:
    """As in Keras: a training that gives NaN is to end."""
    stop = callbacks.EarlyStopping(patience=3)
    model = fit_with_validation_loss([3.0, 2.0, NAN, NAN, NAN, 1.0], stop)
    assert stop.stopped_epoch == 4
    assert len(history_of(model).epoch) == 5
    late = callbacks.EarlyStopping(patience=3)
    fit_with_validation_loss([NAN, 3.0, NAN, 2.0, NAN, 1.0], late)
    assert (late.stopped_epoch, late.best) == (0, 1.0)


def test_a_checkpoint_is_not_written_for_nan(tmp_path: Any) -> None:
    path = tmp_path / "{epoch}.weights.h5"
    best = callbacks.ModelCheckpoint(path, save_best_only=True, save_weights_only=True)
    fit_with_validation_loss([NAN, 3.0, NAN, 2.0, 4.0], best)
    assert sorted(p.name[0] for p in tmp_path.iterdir()) == ["2", "4"]


@pytest.mark.parametrize("where", ["validation_data", "loader"])
def test_nan_in_validation_is_warned_of_once(where: str) -> None:
    wrong = np.where(X < 0, NAN, X).astype("float32")
    held_out: Any = (wrong, Y) if where == "validation_data" else [(wrong, Y)]
    if where == "loader":
        held_out = torch.utils.data.DataLoader(held_out, batch_size=None)
    with pytest.warns(UserWarning, match="In epoch 1 val_loss is nan") as caught:
        model_of().fit(X, Y, epochs=3, validation_data=held_out, verbose=0)
    assert len(caught) == 1


EVALUATIONS: dict[str, Callable[[Model], Any]] = {
    "no data": lambda m: m.evaluate(X[:0], Y[:0], verbose=0),
    "labels": lambda m: m.evaluate(X, {"d2": Y}, verbose=0),
    "lengths": lambda m: m.evaluate(X, Y[:3], verbose=0),
    "weights": lambda m: m.evaluate(X, Y, sample_weight=Y[:3], verbose=0),
    "steps": lambda m: m.evaluate(X, Y, steps=0, verbose=0),
    "features": lambda m: m.evaluate(X[:, :2], Y, verbose=0),
    "a batch": lambda m: m.test_on_batch(X, Y[:9]),
    "no targets": lambda m: m.evaluate(X, verbose=0),
    "a generator": lambda m: m.evaluate(iter(()), verbose=0),
    "strings": lambda m: m.evaluate(np.array([["a"]]), Y, verbose=0),
}


@pytest.mark.parametrize("name", EVALUATIONS)
def test_an_evaluation_never_speaks_of_fit(name: str) -> None:
    with pytest.raises(ValueError, match=r".") as caught:
        EVALUATIONS[name](model_of())
    told = [str(caught.value), *getattr(caught.value, "__notes__", [])]
    assert not any(re.search(r"\bfit\b|training data", text) for text in told), told


def test_training_a_batch_does_not_speak_of_fit() -> None:
    model = model_of()
    model.trainable = False
    with pytest.warns(UserWarning, match="no trainable weights: training changes"):
        model.train_on_batch(X, Y)


def test_without_an_optimizer_a_model_is_evaluated() -> None:
    model = model_of()
    expected = model.evaluate(X, Y, verbose=0)
    model.compile(optimizer=None, loss="mse")
    assert model.evaluate(X, Y, verbose=0) == expected
    assert model.test_on_batch(X, Y) == pytest.approx(expected)
    for method in ("fit", "train_on_batch"):
        with pytest.raises(ValueError, match=f"^{method}: .* with optimizer=None"):
            getattr(model, method)(X, Y)


def test_without_a_loss_metrics_are_evaluated() -> None:
    model = model_of()
    model.compile("sgd", metrics=["mae"])
    loss, mae = model.evaluate(X, Y, verbose=0)
    assert loss == 0
    assert mae == pytest.approx(np.abs(model.predict(X, verbose=0) - Y).mean())
    with pytest.raises(ValueError, match="has no loss to compute"):
        model.fit(X, Y, verbose=0)


def test_a_stop_within_an_epoch_is_no_end_of_the_data() -> None:
    model = model_of()
    stop = callbacks.LambdaCallback(
        on_train_batch_end=lambda batch, logs: setattr(model, "stop_training", True)
    )
    data: tuple[Any, ...]
    for data in ((X, Y), (iter([(X, Y)] * 9),)):
        model.fit(*data, steps_per_epoch=5, callbacks=[stop], verbose=0)
        assert model.history is not None
        assert len(model.history.epoch) == 1
