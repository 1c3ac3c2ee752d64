"""What scripts written for Keras do, beyond a call or two: the same comes of it."""

import warnings
from collections.abc import Callable
from typing import Any

import keras
import numpy as np
import pytest

import torchkeras

# Keras's own, on a NumPy newer than it knows.
pytestmark = pytest.mark.filterwarnings("ignore:__array__ implementation")

RNG = np.random.default_rng(0)
X = RNG.uniform(size=(64, 8)).astype("float32")
Y = RNG.uniform(size=(64, 1)).astype("float32")
LABELS = RNG.integers(0, 3, 64)
Idiom = Callable[[Any], Any]


def line(k: Any) -> Any:
    """Return a compiled model that both libraries begin alike."""
    model = k.Sequential([k.Input((8,)), k.layers.Dense(1, kernel_initializer="ones")])
    model.compile("sgd", "mse", metrics=["mae"])
    return model


def two_outputs(k: Any) -> Any:
    inputs = k.Input((8,))
    score = k.layers.Dense(1, name="score", kernel_initializer="ones")(inputs)
    kind = k.layers.Dense(
        3, name="kind", activation="softmax", kernel_initializer="zeros"
    )(inputs)
    return k.Model(inputs, [score, kind])


def results_of_single_batches(k):
    model = line(k)
    return [
        model.test_on_batch(X[:8], Y[:8]),
        model.test_on_batch(X[8:16], Y[8:16]),
        model.train_on_batch(X[:8], Y[:8]),
        model.train_on_batch(X[8:16], Y[8:16]),
    ]


def a_number_of_steps_makes_the_batch_size(k):
    model = line(k)
    history = model.fit(
        X, Y, steps_per_epoch=8, epochs=2, shuffle=False, verbose=0
    ).history
    return (
        model.predict(X, steps=1, verbose=0).shape,
        model.evaluate(X, Y, steps=1, verbose=0),
        history,
    )


def more_steps_than_batches(k):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        model = line(k)
        return (
            model.predict(X, batch_size=32, steps=5, verbose=0).shape,
            model.evaluate(X, Y, batch_size=20, steps=5, verbose=0),
        )


def steps_of_a_split(k):
    return (
        line(k)
        .fit(
            X,
            Y,
            validation_split=0.2,
            validation_steps=1,
            validation_batch_size=4,
            shuffle=False,
            verbose=0,
        )
        .history
    )


def outputs_by_keys_of_their_own(k):
    inputs = k.Input((8,))
    first = k.layers.Dense(1, name="one", kernel_initializer="ones")(inputs)
    second = k.layers.Dense(
        3, name="two", activation="softmax", kernel_initializer="zeros"
    )(inputs)
    model = k.Model(inputs, {"a": first, "b": second})
    model.compile(
        "sgd",
        {"a": "mse", "b": "sparse_categorical_crossentropy"},
        metrics={"b": ["accuracy"]},
        loss_weights={"a": 0.5, "b": 2.0},
    )
    history = model.fit(X, {"a": Y, "b": LABELS}, shuffle=False, verbose=0).history
    return dict(sorted(history.items())), model.output_names


def metrics_of_several_outputs_in_order(k):
    model = two_outputs(k)
    model.compile(
        "sgd",
        ["mse", "sparse_categorical_crossentropy"],
        metrics=[["mape", "mae"], ["accuracy"]],
    )
    return model.evaluate(X, [Y, LABELS], verbose=0)


def metrics_of_one_output_in_a_list_of_lists_or_by_name(k):
    results = []
    for metrics in ([["accuracy"]], {"p": "accuracy"}, {"p": ["accuracy"]}):
        model = k.Sequential(
            [
                k.Input((8,)),
                k.layers.Dense(3, "softmax", kernel_initializer="zeros", name="p"),
            ]
        )
        model.compile("sgd", "sparse_categorical_crossentropy", metrics=metrics)
        results.append(model.evaluate(X, LABELS, verbose=0))
    return results


def logs_are_added_to(k):
    class Own(k.Model):
        def train_step(self, data):
            logs = super().train_step(data)
            logs["rate"] = 0.5
            return logs

    inputs = k.Input((8,))
    model = Own(inputs, k.layers.Dense(1, kernel_initializer="ones")(inputs))
    model.compile("sgd", "mse")
    return model.fit(X, Y, shuffle=False, verbose=0).history


def layers_are_no_metrics(k):
    class Own(k.Model):
        def __init__(self):
            super().__init__()
            self.dense = k.layers.Dense(1)
            self.tracker = k.metrics.Mean(name="tracker")
            self.loss_function = k.losses.MeanSquaredError()

        def call(self, inputs):
            return self.dense(inputs)

    model = Own()
    model(X)
    return [type(layer).__name__ for layer in model.layers]


def a_column_of_indices_for_each_table(k):
    class Pairs(k.Model):
        def __init__(self):
            super().__init__()
            self.users = k.layers.Embedding(3, 4, embeddings_initializer="ones")
            self.films = k.layers.Embedding(50, 4, embeddings_initializer="ones")

        def call(self, inputs):
            user, film = self.users(inputs[:, 0]), self.films(inputs[:, 1])
            return k.ops.sum(user * film, axis=1)

    model = Pairs()
    model.compile("sgd", "mse")
    pairs = np.array([[0, 40], [1, 30], [2, 20], [0, 49]])
    history = model.fit(pairs, np.ones(4), shuffle=False, verbose=0).history
    return history, model.predict(pairs, verbose=0)


def a_decoder_that_takes_three_tensors(k):
    class Decoder(k.Model):
        def __init__(self):
            super().__init__()
            self.dense = k.layers.Dense(4, kernel_initializer="ones")
            self.attention = k.layers.AdditiveAttention(use_scale=False)

        def call(self, inputs, features, hidden, scale=1.0):
            query = k.ops.expand_dims(hidden, 1)
            context = self.attention([query, features])
            return scale * self.dense(inputs) + context[:, 0], hidden

    decoder = Decoder()
    features = np.ones((64, 3, 4), "float32")
    outputs = decoder(X, features, hidden=X[:, :4], scale=2.0)
    again = decoder(X, features, X[:, :4])
    return [k.ops.convert_to_numpy(t) for t in (*outputs, *again)]


def masks_are_there_before_the_data(k):
    class Weights(k.layers.Layer):
        def __init__(self):
            super().__init__()
            self.supports_masking = True

        def call(self, inputs, mask=None):
            assert mask is not None
            chosen = k.ops.cast(k.ops.expand_dims(mask, -1), "float32")
            weights = k.ops.exp(inputs) * chosen
            return weights / k.ops.sum(weights, axis=1, keepdims=True)

    words = k.Input((None,), dtype="int32")
    x = k.layers.Embedding(20, 4, mask_zero=True, embeddings_initializer="ones")(words)
    scores = k.layers.Dense(1, kernel_initializer="ones")(x)
    model = k.Model(words, Weights()(scores))
    masked = k.layers.Masking()(k.Input((4, 3)))
    steps = k.layers.LSTM(3, return_sequences=True)(masked)
    found = [x, scores, masked, steps, k.layers.Add()([masked, masked])]
    return (
        [str(t._keras_mask.shape) for t in found],
        x._keras_mask.dtype,
        getattr(k.layers.LSTM(3)(steps), "_keras_mask", None) is None,
        model.predict(np.array([[1, 2, 0, 0], [1, 2, 3, 0]]), verbose=0),
    )


def a_mask_of_several_inputs_goes_to_the_output(k):
    class First(k.layers.Layer):
        def __init__(self):
            super().__init__()
            self.supports_masking = True

        def call(self, inputs, mask=None):
            return inputs[0]

    words = k.Input((3,), dtype="int32")
    x = k.layers.Embedding(9, 4, mask_zero=True, embeddings_initializer="ones")(words)
    model = k.Model(words, First()([x, x]))
    model.compile("sgd", "mse")
    targets = np.zeros((2, 3, 4), "float32")
    return model.evaluate(np.array([[1, 2, 0], [1, 0, 0]]), targets, verbose=0)


def configs_of_classes_that_add_to_them(k):
    class Own(k.layers.Layer):
        def __init__(self, units=32, **kwargs):
            super().__init__(**kwargs)
            self.units = units

        def get_config(self):
            return dict(units=self.units, **super().get_config())

    class Wider(k.layers.Dense):
        def __init__(self, units, factor=2, **kwargs):
            super().__init__(units, **kwargs)
            self.factor = factor

        def get_config(self):
            return {**super().get_config(), "factor": self.factor}

    class Whole(k.Model):
        def __init__(self, size, **kwargs):
            super().__init__(**kwargs)
            self.size = size

        def get_config(self):
            return {**super().get_config(), "size": self.size}

    wide = Wider(3, factor=5, activation="relu")
    twin = Wider.from_config(wide.get_config())
    return (
        sorted(Own(3).get_config()),
        Own.from_config(Own(3).get_config()).units,
        [twin.units, twin.factor, wide.get_config()["activation"]],
        sorted(Whole(3).get_config()),
    )


def a_data_set_of_batches(k):
    class Batches(k.utils.PyDataset):
        ended = 0

        def __len__(self):
            return 4

        def __getitem__(self, index):
            rows = slice(16 * index, 16 * index + 16)
            return X[rows], Y[rows]

        def on_epoch_end(self):
            self.ended += 1

    model, data = line(k), Batches()
    history = model.fit(
        data, epochs=2, shuffle=False, validation_data=Batches(), verbose=0
    ).history
    assert data.ended >= 2  # Keras counts one that it only looks at
    return history, model.predict(Batches(), verbose=0)


def a_layer_counts_a_metric(k):
    class Endpoint(k.layers.Layer):
        def __init__(self):
            super().__init__()
            self.level = k.metrics.Mean(name="level")

        def call(self, inputs):
            self.level.update_state(k.ops.mean(inputs))
            return inputs

    inputs = k.Input((8,))
    outputs = k.layers.Dense(1, kernel_initializer="ones")(Endpoint()(inputs))
    model = k.Model(inputs, outputs)
    model.compile("sgd", "mse")
    return model.fit(X, Y, shuffle=False, verbose=0).history


def a_causal_mask_of_the_batch(k):
    class Mask(k.layers.Layer):
        def call(self, inputs):
            ops = k.ops
            rows, steps = ops.shape(inputs)[0], ops.shape(inputs)[1]
            places = ops.arange(steps)
            mask = ops.cast(places[:, None] >= places, "int32")
            mask = ops.reshape(mask, (1, steps, steps))
            many = ops.concatenate(
                [ops.expand_dims(rows, -1), ops.convert_to_tensor([1, 1])], axis=0
            )
            return ops.cast(ops.tile(mask, many), "float32")

    shapes = [tuple(Mask()(k.Input(shape)).shape) for shape in ((3, 4), (None, 4))]
    shapes = [["unknown" if n is None else str(n) for n in s] for s in shapes]
    return shapes, k.ops.convert_to_numpy(Mask()(X[:2, :, None]))


def the_learning_rate_as_a_variable(k):
    optimizer = line(k).optimizer
    optimizer.learning_rate.assign(0.5)
    optimizer.learning_rate.assign_sub(0.25)
    optimizer.learning_rate.assign_add(0.5)
    rate = optimizer.learning_rate
    return float(rate), str(rate.dtype), list(rate.shape)


IDIOMS: list[Idiom] = [
    masks_are_there_before_the_data,
    a_mask_of_several_inputs_goes_to_the_output,
    configs_of_classes_that_add_to_them,
    a_data_set_of_batches,
    a_layer_counts_a_metric,
    a_causal_mask_of_the_batch,
    the_learning_rate_as_a_variable,
    results_of_single_batches,
    a_number_of_steps_makes_the_batch_size,
    more_steps_than_batches,
    steps_of_a_split,
    outputs_by_keys_of_their_own,
    metrics_of_several_outputs_in_order,
    metrics_of_one_output_in_a_list_of_lists_or_by_name,
    logs_are_added_to,
    layers_are_no_metrics,
    a_column_of_indices_for_each_table,
    a_decoder_that_takes_three_tensors,
]


def assert_same(ours: Any, theirs: Any) -> None:
    if isinstance(theirs, dict):
        assert sorted(ours) == sorted(theirs)
        for key, value in theirs.items():
            assert_same(ours[key], value)
    elif isinstance(theirs, (list, tuple)):
        assert len(ours) == len(theirs)
        for own, reference in zip(ours, theirs, strict=True):
            assert_same(own, reference)
    elif isinstance(theirs, str):
        assert ours == theirs
    else:
        np.testing.assert_allclose(ours, theirs, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("idiom", IDIOMS, ids=lambda idiom: idiom.__name__)
def test_an_idiom(idiom):
    assert_same(idiom(torchkeras), idiom(keras))


# What a layer made for itself meets a symbolic tensor

TABLE = torchkeras.ops.ones((8, 8))
CONSTANTS: dict[str, Callable[[Any, Any, Any], Any]] = {
    "sum": lambda ops, own, x: x + own.row,
    "sum from the left": lambda ops, own, x: own.row + x,
    "operation": lambda ops, own, x: ops.add(x, own.row),
    "condition": lambda ops, own, x: ops.where(own.row > 0, x, 0.0),
    "product": lambda ops, own, x: x @ own.table,
    "slice": lambda ops, own, x: x + own.table[:1, : ops.shape(x)[1]],
    "joined": lambda ops, own, x: ops.concatenate(
        [x, ops.broadcast_to(own.row, ops.shape(x))], axis=-1
    ),
    "rows": lambda ops, own, x: own.table[ops.cast(x[:, 0] * 0, "int32")],
}


@pytest.mark.parametrize("name", CONSTANTS)
def test_a_layer_may_hold_constants(name):
    shapes = []
    for k in (torchkeras, keras):

        class Holds(k.layers.Layer):
            def __init__(self):
                super().__init__()
                self.row = k.ops.ones((8,))  # noqa: B023
                self.table = k.ops.ones((8, 8))  # noqa: B023

            def call(self, inputs):
                return CONSTANTS[name](k.ops, self, inputs)  # noqa: B023

        layer = Holds()
        symbolic = layer(k.Input((8,)))
        model = k.Sequential([layer, k.layers.Dense(1)])
        model.compile("sgd", "mse")
        model.fit(X, Y, verbose=0)
        assert layer.row.device.type != "meta"
        assert np.isfinite(model.predict(X, verbose=0)).all()
        shapes.append(tuple(symbolic.shape))
    assert shapes[0] == shapes[1]


NUMBERS: dict[str, Callable[[Any, Any], Any]] = {
    "a number of its own": lambda ops, x: x * float(ops.max(ops.arange(3))),
    "a number of the inputs": lambda ops, x: x / float(ops.sum(x)),
    "a condition": lambda ops, x: x if ops.sum(x) > 0 else -x,
    "NumPy": lambda ops, x: x + float(ops.convert_to_numpy(ops.arange(3)).sum()),
}


@pytest.mark.parametrize("name", NUMBERS)
def test_a_layer_may_ask_for_numbers(name):
    class Asks(torchkeras.layers.Layer):
        def __init__(self):
            super().__init__()
            self.count = self.add_weight(
                shape=(), initializer="zeros", trainable=False, name="count"
            )
            self.level = torchkeras.metrics.Mean()
            self.norm = torchkeras.layers.BatchNormalization()
            self.dropout = torchkeras.layers.Dropout(0.5)

        def call(self, inputs):
            self.count.assign_add(1.0)
            self.level.update_state(inputs)
            x = self.dropout(self.norm(inputs, training=True), training=True)
            return NUMBERS[name](torchkeras.ops, x + 1)

    layer = Asks()
    torchkeras.utils.set_random_seed(0)
    expected = torchkeras.random.uniform((3,))
    torchkeras.utils.set_random_seed(0)
    inputs = torchkeras.Input((None, 4))
    outputs = layer(inputs)
    assert outputs.shape == (None, None, 4)
    assert (outputs + inputs).shape == (None, None, 4)  # of the same unknown sizes
    assert float(layer.count.numpy()) == 0
    assert float(layer.level.result()) == 0
    assert not np.any(layer.norm.moving_mean.numpy())
    np.testing.assert_array_equal(torchkeras.random.uniform((3,)), expected)


def test_a_constant_from_outside_is_not_moved():
    layer = torchkeras.layers.Lambda(lambda x: x @ TABLE)
    assert layer(torchkeras.Input((8,))).shape == (None, 8)
    assert TABLE.device.type != "meta"


# Mistakes


@pytest.mark.parametrize(
    ("targets", "message"),
    [
        ({"score": Y}, "'kind' has a loss and no target"),
        ({"score": Y, "knid": LABELS}, r"\['knid'\].*Did you mean 'kind'"),
    ],
)
def test_targets_by_wrong_names(targets, message):
    model = two_outputs(torchkeras)
    model.compile("sgd", {"score": "mse", "kind": "sparse_categorical_crossentropy"})
    for call in (model.fit, model.evaluate):
        with pytest.raises(ValueError, match=message):
            call(X, targets, verbose=0)


def test_what_was_unfrozen_needs_an_optimizer_that_knows_it():
    model = line(torchkeras)
    model.add(torchkeras.layers.Dense(1))
    model.layers[0].trainable = False
    model.compile("sgd", "mse")
    model.fit(X, Y, verbose=0)
    model.layers[0].trainable = True
    before = model.get_weights()
    with pytest.raises(ValueError, match="`compile` again"):
        model.fit(X, Y, verbose=0)
    np.testing.assert_array_equal(model.get_weights()[0], before[0])
    model.compile("sgd", "mse")
    model.fit(X, Y, verbose=0)
    assert not np.array_equal(model.get_weights()[0], before[0])


def test_a_model_of_several_inputs_is_saved_with_their_shapes(tmp_path):
    @torchkeras.saving.register_keras_serializable("idioms")
    class Sum(torchkeras.Model):
        def __init__(self, **kwargs):
            super().__init__(**kwargs)
            self.first = torchkeras.layers.Dense(2)
            self.second = torchkeras.layers.Dense(2)

        def call(self, left, right):
            return self.first(left) + self.second(right)

    model = Sum()
    expected = model(X, X[:, :3]).detach()
    for extension in (".keras", ".safetensors"):
        model.save(tmp_path / f"m{extension}")
        loaded = torchkeras.models.load_model(tmp_path / f"m{extension}")
        np.testing.assert_array_equal(loaded(X, X[:, :3]).detach(), expected)


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda k: k.layers.Dense(3)(k.Input((None,))), "must be known, got None"),
        (
            lambda k: k.layers.Layer(name="l").add_weight((None, 3), name="w"),
            r"'l'.*'w'.*\(None, 3\)",
        ),
    ],
)
def test_unknown_sizes_of_weights(make, message):
    with pytest.raises(ValueError, match=message):
        make(torchkeras)


@pytest.mark.parametrize("use_multiprocessing", [False, True])
def test_batches_made_in_the_background_are_the_same(use_multiprocessing):
    class Batches(torchkeras.utils.PyDataset):
        def __len__(self):
            return 4

        def __getitem__(self, index):
            return X[16 * index : 16 * index + 16]

    model = line(torchkeras)
    expected = model.predict(X, verbose=0)
    data = Batches(2, use_multiprocessing, max_queue_size=1)
    np.testing.assert_allclose(model.predict(data, verbose=0), expected, rtol=1e-5)


def test_a_chain_has_no_column_of_connections():
    texts: list[str] = []
    inputs = torchkeras.Input((8,))
    hidden = torchkeras.layers.Dense(4)(inputs)
    torchkeras.Model(inputs, hidden).summary(print_fn=texts.append)
    torchkeras.Model(inputs, hidden + 1).summary(print_fn=texts.append)
    torchkeras.Model(inputs, hidden + hidden).summary(print_fn=texts.append)
    assert ["Connected to" in text for text in texts] == [False, False, True]
