"""Metrics of a model: updated batch by batch or later, masked, weighted, reset."""

from typing import Any

import keras
import numpy as np
import pytest
import torch

from tests.objectives.test_metrics import NAMES, data, make
from torchkeras import callbacks, layers
from torchkeras.models import Sequential

#: Makes more batches of one row than any metric waits for.
TIMES = 14
#: Metrics whose counts are integers, so that weights are only 0 or 1.
COUNTS = ("IoU", "MeanIoU", "BinaryIoU", "OneHotIoU", "OneHotMeanIoU")


def rows_of(name: str) -> tuple[torch.Tensor, torch.Tensor]:
    y_true, y_pred = data(name)
    return torch.cat([y_true] * TIMES), torch.cat([y_pred] * TIMES)


@pytest.mark.parametrize("argument", ["metrics", "weighted_metrics"])
@pytest.mark.parametrize("read", [False, True], ids=["read at the end", "read often"])
@pytest.mark.parametrize("name", NAMES)
def test_a_metric_of_a_model_is_that_of_all_rows(name, read, argument) -> None:
    y_true, y_pred = rows_of(name)
    weights = torch.linspace(0.5, 1.5, len(y_true))
    if name in COUNTS:
        weights = torch.arange(len(y_true)) % 2
    model = Sequential([layers.Identity()])  # it gives what it is given
    chosen: dict[str, Any] = {argument: [make(name)]}
    model.compile(
        loss=lambda y_true, y_pred: y_pred.reshape(len(y_pred), -1)[:, 0] * 0.0,
        **chosen,
    )
    reading = callbacks.LambdaCallback(
        on_test_batch_end=lambda batch, logs: read and dict(logs)
    )
    expected = make(name)
    weighted = {"sample_weight": weights} if argument == "weighted_metrics" else {}
    expected.update_state(y_true, y_pred, **weighted)
    for _ in range(2):
        results = model.evaluate(
            y_pred, y_true, 1, verbose=0, return_dict=True, callbacks=[reading],
            sample_weight=weights,
        )  # fmt: skip
        value = next(v for k, v in results.items() if k != "loss")
        np.testing.assert_allclose(value, expected.result(), rtol=1e-4, atol=1e-6)


@pytest.mark.parametrize(
    ("metrics", "weighted"),
    [
        (["mae", "mae"], None),
        (["mae", "mae", "mae"], None),
        (["mae", "mse"], ["mae"]),
        (["mae", "mae"], ["mae", "mae"]),
        (None, ["mae", "mae"]),
    ],
    ids=str,
)
def test_metrics_of_one_name_are_told_apart_as_in_keras(metrics, weighted) -> None:
    x, y = np.ones((4, 2), "float32"), np.zeros((4, 2), "float32")
    results = []
    for kind, identity in (
        (Sequential, layers.Identity),
        (keras.Sequential, keras.layers.Identity),
    ):
        model: Any = kind([identity()])
        model.compile("sgd", "mse", metrics=metrics, weighted_metrics=weighted)
        results.append(
            model.evaluate(
                x, y, sample_weight=np.arange(4.0), verbose=0, return_dict=True
            )
        )
    ours, theirs = results
    assert list(ours) == list(theirs)
    given = len(metrics or ()) + len(weighted or ())
    assert given <= len(ours) - 1 or metrics is None  # Keras leaves that one out too


# Masks, beside Keras

DRAW = np.random.default_rng(0)
TOKENS = DRAW.integers(1, 9, (11, 4)) * (np.arange(4) < DRAW.integers(1, 5, (11, 1)))
LABELS = DRAW.integers(0, 2, (11, 4, 1)).astype("float32")
WEIGHTS = DRAW.uniform(0.5, 2.0, 11)
#: Weights of steps as well, and none at all.
WEIGHTINGS = {
    "none": None,
    "samples": WEIGHTS,
    "steps": DRAW.uniform(0.5, 2.0, (11, 4)),
}
METRICS = ["mae", "binary_accuracy"]


def tagger(namespace: Any, sequential: Any) -> Any:
    model = sequential(
        [
            namespace.Input((4,)),
            namespace.Embedding(9, 3, mask_zero=True),
            namespace.SimpleRNN(3, return_sequences=True),
            namespace.Dense(1, activation="sigmoid"),
        ]
    )
    draw = np.random.default_rng(1)
    model.set_weights([draw.normal(size=w.shape) for w in model.get_weights()])
    model.compile("sgd", "mse", metrics=METRICS, weighted_metrics=METRICS)
    return model


@pytest.mark.filterwarnings("ignore")  # Keras's, of torch's internals
@pytest.mark.parametrize("weighting", ["none", "steps"])  # Keras fails on samples'
def test_the_masked_loss_is_that_of_keras(weighting: str) -> None:
    models = tagger(layers, Sequential), tagger(keras.layers, keras.Sequential)
    given: dict[str, Any] = {"sample_weight": WEIGHTINGS[weighting], "verbose": 0}
    for _ in range(2):
        own, theirs = (
            m.fit(
                TOKENS, LABELS, batch_size=3, epochs=2, shuffle=False, **given
            ).history
            for m in models
        )
        assert own.keys() == theirs.keys()
        np.testing.assert_allclose(own["loss"], theirs["loss"], rtol=1e-4)
        own, theirs = (
            m.evaluate(TOKENS, LABELS, batch_size=3, return_dict=True, **given)
            for m in models
        )
        assert own["loss"] == pytest.approx(theirs["loss"], rel=1e-4)


@pytest.mark.parametrize("read", [False, True], ids=["read at the end", "read often"])
@pytest.mark.parametrize("batch_size", [1, 3, 11])
@pytest.mark.parametrize("weighting", WEIGHTINGS)
def test_metrics_are_means_of_what_is_not_masked(weighting, batch_size, read) -> None:
    """Whatever the batches, and whether they are read, so long as the outputs are."""
    model = tagger(layers, Sequential)
    wrong = model.predict(TOKENS, verbose=0)[..., 0] - LABELS[..., 0]
    weights = np.ones((11, 4)) if weighting == "none" else WEIGHTINGS[weighting]
    weights = np.broadcast_to(np.reshape(weights, (11, -1)), (11, 4))
    values = {"mae": np.abs(wrong), "binary_accuracy": np.abs(wrong) < 0.5}
    reading = callbacks.LambdaCallback(
        on_test_batch_end=lambda batch, logs: read and dict(logs)
    )
    for _ in range(2):
        results = model.evaluate(
            TOKENS, LABELS, batch_size, sample_weight=WEIGHTINGS[weighting],
            callbacks=[reading], verbose=0, return_dict=True,
        )  # fmt: skip
        for name, value in values.items():
            plain = np.average(value, weights=TOKENS != 0)
            assert results[name] == pytest.approx(plain, rel=1e-4)
            weighted = np.average(value, weights=weights * (TOKENS != 0))
            assert results[f"weighted_{name}"] == pytest.approx(weighted, rel=1e-4)


def test_masked_steps_change_nothing() -> None:
    """Whatever the targets are where the mask says that there is nothing."""
    model = tagger(layers, Sequential)
    other = np.where(TOKENS[..., None] == 0, 1 - LABELS, LABELS)
    results = [
        model.evaluate(TOKENS, y, batch_size=3, verbose=0, return_dict=True)
        for y in (LABELS, other)
    ]
    assert results[0] == results[1]


def test_batches_of_several_widths_are_one_metric() -> None:
    model = Sequential([layers.Identity()])
    model.compile(loss="mse", metrics=["mae", "mse"])
    draw = np.random.default_rng(0)
    sizes = [(2, n, 3) for n in (4, 4, 6, 2)]
    batches = [(draw.normal(size=size), np.zeros(size)) for size in sizes]
    # A sample counts once, whatever its width.
    expected = np.concatenate([np.abs(x).mean((1, 2)) for x, _ in batches]).mean()
    for _ in range(2):
        results = model.evaluate(iter(batches), verbose=0, return_dict=True)
        assert results["mae"] == pytest.approx(expected, rel=1e-5)


def test_an_epoch_begins_anew_whatever_the_one_before_left() -> None:
    """What was kept of a pass that ended early is of no later pass."""
    x = np.arange(8, dtype="float32")[:, None]
    model = Sequential([layers.Identity()])
    model.compile(loss="mae", metrics=["mae"])

    class Leave(callbacks.Callback):
        def on_test_batch_end(self, batch: int, logs: Any = None) -> None:
            if batch == 2:
                raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt, match=r"^$"):
        model.evaluate(x, x + 100, batch_size=1, verbose=0, callbacks=[Leave()])
    for target in (1.0, 2.0):
        results = model.evaluate(x, x + target, batch_size=1, verbose=0)
        assert results == pytest.approx([target, target])
        results = model.test_on_batch(x[:3], x[:3] + target + 5)
        assert results == pytest.approx([target + 5, target + 5])
