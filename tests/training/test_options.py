"""Options of compile, and what is handed on to steps, losses and callbacks."""

from typing import Any

import numpy as np
import pytest

from torchkeras import callbacks, dtype_policies, layers, optimizers
from torchkeras.models import Model, Sequential

DRAW = np.random.default_rng(0)
X = DRAW.normal(size=(10, 3)).astype("float32")
Y = DRAW.normal(size=(10, 2)).astype("float32")
LABELS = DRAW.integers(0, 9, 10)


def model_of(cls: type = Sequential) -> Any:
    model = cls([layers.Input((3,)), layers.Dense(2)])
    model.set_weights([np.full(w.shape, 0.1) for w in model.weights])
    return model


def two_outputs() -> Model:
    inputs = layers.Input((3,))
    outputs = [layers.Dense(2, name=name)(inputs) for name in ("a", "b")]
    model = Model(inputs, outputs)
    model.set_weights([np.full(w.shape, 0.1) for w in model.weights])
    return model


def history_of(**options: Any) -> tuple[list[float], list[np.ndarray]]:
    model = model_of()
    model.compile(**{"optimizer": optimizers.SGD(0.1), "loss": "mse", **options})
    for _ in range(2):
        losses = model.fit(X, Y, 4, epochs=2, shuffle=False, verbose=0).history["loss"]
    return losses, model.get_weights()


@pytest.mark.parametrize(
    "options",
    [
        {"run_eagerly": True},
        {"run_eagerly": True, "jit_compile": True},
        {"steps_per_execution": 3},
        {"jit_compile": False},
        {"jit_compile": "auto"},
        {"auto_scale_loss": False},
    ],
    ids=str,
)
def test_how_a_step_runs_changes_no_number(options: Any) -> None:
    losses, weights = history_of(**options)
    expected, others = history_of()
    assert losses == expected
    for weight, other in zip(weights, others, strict=True):
        np.testing.assert_array_equal(weight, other)


@pytest.mark.parametrize(
    "weights", [[0.5, 3.0], {"a": 0.5, "b": 3.0}, (0.5, 3)], ids=str
)
def test_losses_of_outputs_are_weighed(weights: Any) -> None:
    model = two_outputs()
    model.compile(optimizers.SGD(0.1), "mse", loss_weights=weights)
    for _ in range(2):
        kernels = model.get_weights()
        outputs = [X @ kernels[0] + kernels[1], X @ kernels[2] + kernels[3]]
        errors = [outputs[0] - Y, outputs[1] - 2 * Y]
        a, b = (np.square(error).mean() for error in errors)
        results = model.evaluate(X, [Y, 2 * Y], verbose=0, return_dict=True)
        assert results["loss"] == pytest.approx(0.5 * a + 3 * b, rel=1e-5)
        # Each loss is shown as it is, as in Keras.
        assert results["a_loss"] == pytest.approx(a, rel=1e-5)
        assert results["b_loss"] == pytest.approx(b, rel=1e-5)
        model.train_on_batch(X, [Y, 2 * Y])
        for i, (error, weight) in enumerate(zip(errors, (0.5, 3.0), strict=True)):
            step = 0.1 * weight * 2 * error / error.size
            expected = kernels[2 * i] - X.T @ step, kernels[2 * i + 1] - step.sum(0)
            for own, other in zip(
                model.get_weights()[2 * i : 2 * i + 2], expected, strict=True
            ):
                np.testing.assert_allclose(own, other, rtol=1e-4, atol=1e-6)


@pytest.mark.parametrize("weight", [0.5, 2.0])
def test_the_loss_of_one_output_is_weighed(weight: float) -> None:
    model = model_of()
    model.compile("sgd", "mse", loss_weights=weight)
    kernel, bias = model.get_weights()
    expected = weight * np.square(X @ kernel + bias - Y).mean()
    assert model.evaluate(X, Y, verbose=0) == pytest.approx(expected, rel=1e-5)


@pytest.mark.parametrize("policy", ["mixed_float16", "mixed_bfloat16", "float32"])
@pytest.mark.parametrize("scales", [True, False])
def test_the_loss_is_scaled_where_small_gradients_would_vanish(policy, scales) -> None:
    model = Sequential([layers.Dense(2)])
    model.dtype_policy = dtype_policies.get(policy)
    own = optimizers.Adam()
    model.compile(own, "mse", auto_scale_loss=scales)
    scaled = isinstance(model.optimizer, optimizers.LossScaleOptimizer)
    assert scaled == (scales and policy == "mixed_float16")
    assert (model.optimizer.inner_optimizer if scaled else model.optimizer) is own
    if scaled:  # it is not wrapped once more
        before = model.optimizer
        model.compile(before, "mse")
        assert model.optimizer is before


def test_a_compile_begins_anew_save_for_the_weights() -> None:
    model = model_of()
    model.compile("sgd", "mse", metrics=["mae"])
    model.fit(X, Y, verbose=0)
    weights, function = model.get_weights(), model.train_function
    model.stop_training = True
    model.compile("adam", "mae")
    assert not model.stop_training
    assert function is not None
    assert model.train_function is None
    for weight, before in zip(model.get_weights(), weights, strict=True):
        np.testing.assert_array_equal(weight, before)
    assert list(model.fit(X, Y, verbose=0).history) == ["loss"]
    kernel, bias = weights
    expected = np.abs(X @ kernel + bias - Y).mean()
    assert model.history.history["loss"][0] == pytest.approx(expected, rel=1e-5)


def test_what_compile_was_given_makes_a_twin() -> None:
    model, twin = model_of(), model_of()
    model.compile(
        optimizers.SGD(0.05, momentum=0.9),
        "mse",
        loss_weights=0.5,
        metrics=["mae"],
        weighted_metrics=["mse"],
        run_eagerly=True,
        steps_per_execution=2,
    )
    twin.compile_from_config(model.get_compile_config())
    assert twin.get_compile_config() == model.get_compile_config()
    assert twin.run_eagerly
    weights = np.linspace(0.5, 1.5, 10)
    own, other = (
        m.fit(X, Y, 4, shuffle=False, sample_weight=weights, verbose=0).history
        for m in (model, twin)
    )
    assert own == other
    assert sorted(own) == ["loss", "mae", "mse"]
    assert model_of().get_compile_config() == {}


class Watched(Sequential):
    """Keeps what its `compute_loss` and `compute_metrics` are given."""

    def compute_loss(self, x=None, y=None, y_pred=None, sample_weight=None,
                     training=True):  # fmt: skip
        self.__dict__.setdefault("seen", []).append((training, x, y, sample_weight))
        y = y[:, None].float().expand(-1, 2) if y.ndim == 1 else y
        return (y_pred - y).square().mean()

    def compute_metrics(self, x, y, y_pred, sample_weight=None):
        self.__dict__.setdefault("measured", []).append((x, y, sample_weight))
        return super().compute_metrics(x, y, y_pred, sample_weight)


def test_a_loss_of_ones_own_is_told_what_the_step_has() -> None:
    model = model_of(Watched)
    model.compile("sgd", "mse", metrics=["mae"])
    weights = np.linspace(0.5, 1.5, 10).astype("float32")
    model.fit(X, Y, 10, sample_weight=weights, shuffle=False, verbose=0,
              validation_data=(X, Y))  # fmt: skip
    del model.seen[:2], model.measured[:2]  # a batch of each is tried before training
    model.train_on_batch(X, Y, weights)
    model.test_on_batch(X, Y, weights)
    model.evaluate(X, Y, 10, sample_weight=weights, verbose=0)
    assert [training for training, *_ in model.seen] == [
        True,
        False,
        True,
        False,
        False,
    ]
    for _, x, y, given in model.seen:
        np.testing.assert_array_equal(x, X)
        np.testing.assert_array_equal(y, Y)
        assert given is None or np.array_equal(given, weights)
    assert [given is None for *_, given in model.seen] == [False, True, *[False] * 3]
    assert len(model.measured) == 5
    assert [s is None for *_, s in model.measured] == [False, True, *[False] * 3]


def test_targets_of_a_loss_of_ones_own_are_its_own_affair() -> None:
    """Labels for which the compiled loss would have no place."""
    model = model_of(Watched)
    model.compile("sgd", "sparse_categorical_crossentropy")
    model.fit(X, LABELS, validation_data=(X, LABELS), verbose=0)
    other = model_of()
    other.compile("sgd", "sparse_categorical_crossentropy")
    with pytest.raises(ValueError, match="sparse_categorical_crossentropy"):
        other.fit(X, LABELS, verbose=0)


class Told(callbacks.Callback):
    def on_train_begin(self, logs: Any = None) -> None:
        self.given = dict(self.params or {})

    on_test_begin = on_predict_begin = on_train_begin


@pytest.mark.parametrize("verbose", [0, 2])
def test_callbacks_are_told_of_the_run(verbose: int) -> None:
    model, told = model_of(), Told()
    model.compile("sgd", "mse")
    model.fit(X, Y, 4, epochs=3, initial_epoch=1, callbacks=[told], verbose=verbose)
    assert told.given == {"verbose": verbose, "epochs": 3, "steps": 3}
    assert told.model is model
    model.fit(X, Y, 4, steps_per_epoch=2, callbacks=[told], verbose=verbose)
    assert told.given == {"verbose": verbose, "epochs": 1, "steps": 2}
    for call in (model.evaluate, model.predict):
        data = (X, Y) if call == model.evaluate else (X,)
        call(*data, batch_size=4, callbacks=[told], verbose=verbose)
        assert told.given == {"verbose": verbose, "epochs": 1, "steps": 3}
        call(*data, batch_size=4, steps=1, callbacks=[told], verbose=verbose)
        assert told.given["steps"] == 1
