"""A refused call names what is wrong and changes nothing."""

import contextlib
import dataclasses
import functools
import itertools
import multiprocessing
import signal
import warnings
from collections.abc import Callable
from typing import Any, cast

import numpy as np
import pytest
import torch
from torch.utils.data import DataLoader, TensorDataset

from torchkeras import Input, layers, losses, optimizers
from torchkeras.callbacks import LambdaCallback
from torchkeras.models import Model, Sequential

X = np.random.default_rng(0).normal(size=(10, 4)).astype("float32")
Y = np.random.default_rng(1).normal(size=(10, 2)).astype("float32")
LABELS = np.arange(10) % 3


def regressor(loss: Any = "mse", **compile_arguments: Any) -> Sequential:
    model = Sequential([layers.Dense(2, name="d1", input_shape=(4,))])
    model.compile("sgd", loss, **compile_arguments)
    return model


def classifier(loss: Any = "sparse_categorical_crossentropy") -> Sequential:
    model = Sequential([layers.Dense(3, activation="softmax", input_shape=(4,))])
    model.compile("sgd", loss)
    return model


def embedder() -> Sequential:
    model = Sequential(
        [
            layers.Embedding(5, 3, name="table", input_shape=(2,)),
            layers.Flatten(),
            layers.Dense(1),
        ]
    )
    model.compile("sgd", "mse")
    return model


def uncompiled() -> Sequential:
    return Sequential([layers.Dense(2, input_shape=(4,))])


def batches(*arrays: Any) -> Any:
    yield tuple(torch.as_tensor(a) for a in arrays)


class EmptyDataset(torch.utils.data.IterableDataset):
    def __iter__(self):
        return iter(())


@dataclasses.dataclass
class Row:
    name: str
    make: Callable[[], Sequential]
    act: Callable[[Sequential], Any]
    match: str
    error: type[Exception] | tuple[type[Exception], ...] = ValueError

    def __str__(self) -> str:
        return self.name


wide = np.zeros((10, 3), "float32")
nothing = np.zeros((0, 4), "float32")
strings = np.array([["a"] * 4] * 10)
objects = np.array([[None] * 4] * 10, dtype=object)
ids = np.array([[0, 1], [2, 7]])

ROWS = [
    Row(
        "A1 wrong feature size, call",
        regressor,
        lambda m: m(torch.zeros(10, 3)),
        r"'d1'.*size 4 on axis -1.*\(10, 3\)",
    ),
    Row(
        "A1 wrong feature size, fit",
        regressor,
        lambda m: m.fit(wide, Y, verbose=0),
        r"'d1'.*size 4 on axis -1.*\(10, 3\)",
    ),
    Row(
        "A1 wrong feature size, predict",
        regressor,
        lambda m: m.predict(wide, verbose=0),
        r"'d1'.*size 4 on axis -1.*\(10, 3\)",
    ),
    Row(
        "A2 lengths differ",
        regressor,
        lambda m: m.fit(X, Y[:9], verbose=0),
        "x has 10, y has 9",
    ),
    Row(
        "A2 lengths of weights differ",
        regressor,
        lambda m: m.fit(X, Y, sample_weight=np.ones(3), verbose=0),
        "x has 10, y has 10, sample_weight has 3",
    ),
    Row(
        "A3 no rows",
        regressor,
        lambda m: m.fit(nothing, Y[:0], verbose=0),
        "fit: the training data has no samples",
    ),
    Row(
        "A3 no rows in a dataset",
        regressor,
        lambda m: m.fit(TensorDataset(torch.zeros(0, 4), torch.zeros(0, 2)), verbose=0),
        "fit: the training data has no samples",
    ),
    Row(
        "A5 evaluate on no rows",
        regressor,
        lambda m: m.evaluate(nothing, Y[:0], verbose=0),
        "no samples",
    ),
    Row(
        "A6 empty loader",
        regressor,
        lambda m: m.fit(DataLoader(EmptyDataset()), verbose=0),
        "the training data has no samples",
    ),
    Row(
        "A6 empty generator",
        regressor,
        lambda m: m.fit(iter(()), verbose=0),
        "the training data has no samples",
    ),
    Row(
        "A6 empty validation loader",
        regressor,
        lambda m: m.fit(X, Y, validation_data=DataLoader(EmptyDataset()), verbose=0),
        "the validation data has no samples",
    ),
    Row(
        "A8 integer labels with categorical crossentropy",
        lambda: classifier("categorical_crossentropy"),
        lambda m: m.fit(X, LABELS, verbose=0),
        "sparse_categorical_crossentropy",
    ),
    Row(
        "A9 label too large",
        classifier,
        lambda m: m.fit(X, np.array([0, 1, 2, 3, 0, 1, 2, 0, 1, 2]), verbose=0),
        r"sparse_categorical_crossentropy(.|\n)*3",
    ),
    Row(
        "A10 negative label",
        classifier,
        lambda m: m.fit(X, np.array([0, 1, 2, -1, 0, 1, 2, 0, 1, 2]), verbose=0),
        "-1",
    ),
    Row(
        "A9 label too large in a late batch of a loader",
        classifier,
        lambda m: m.test_on_batch(X, LABELS + 1),
        "3",
    ),
    Row(
        "A11 index too large",
        embedder,
        lambda m: m.fit(ids, np.zeros((2, 1)), verbose=0),
        r"'table'.*input_dim=5.*7",
    ),
    Row(
        "A11 index too large, call",
        embedder,
        lambda m: m(torch.as_tensor(ids)),
        r"'table'.*input_dim=5.*7",
    ),
    *[
        Row(
            f"A12 target of another shape, {loss}",
            lambda loss=loss: regressor(loss),
            lambda m: m.fit(X, wide, verbose=0),
            r"\(10, 3\)(.|\n)*\(10, 2\)|\(10, 2\)(.|\n)*\(10, 3\)",
        )
        for loss in ("mse", "mae", "binary_crossentropy", losses.Huber())
    ],
    Row(
        "A15 strings",
        regressor,
        lambda m: m.fit(strings, Y, verbose=0),
        "expected numbers, got strings",
    ),
    Row(
        "A15 objects",
        regressor,
        lambda m: m.fit(X, objects, verbose=0),
        "`y` must hold numbers.*object",
    ),
    Row(
        "A15 string weights",
        regressor,
        lambda m: m.fit(X, Y, sample_weight=np.array(["a"] * 10), verbose=0),
        "`sample_weight` must hold numbers",
    ),
    Row(
        "rows of different lengths",
        regressor,
        lambda m: m.fit([[1.0, 2.0], [3.0]], Y[:2], verbose=0),
        "`x` must be an array, and its rows have different lengths.*pad_sequences",
    ),
    Row(
        "class weights in an array",
        classifier,
        lambda m: m.fit(X, LABELS, class_weight=cast("Any", np.ones(3)), verbose=0),
        r"`class_weight` must be a dict.*got ndarray.*dict\(enumerate",
        TypeError,
    ),
    Row(
        "several arrays for one input",
        regressor,
        lambda m: m.fit([X, X], Y, verbose=0),
        "a stack takes one array or tensor, got 2",
    ),
    Row(
        "one sample without its batch",
        regressor,
        lambda m: m.predict(X[0], verbose=0),
        r"expected an input of shape \(None, 4\), got \(4,\). For one sample",
    ),
    *[
        Row(
            f"A19 {verb} before compile",
            uncompiled,
            lambda m, verb=verb, args=args: getattr(m, verb)(*args),
            f"^{verb}: the model 'sequential.*Call `model.compile",
            RuntimeError,
        )
        for verb, args in {
            "fit": (X, Y),
            "evaluate": (X, Y),
            "train_on_batch": (X, Y),
            "test_on_batch": (X, Y),
            "train_step": ((X, Y),),
            "test_step": ((torch.from_numpy(X), Y),),
            "compute_loss": (X, Y, Y),
            "compute_metrics": (X, Y, Y),
            "get_metrics_result": (),
            "reset_metrics": (),
        }.items()
    ],
    *[
        Row(
            f"A20 batch_size={size!r}, {verb}",
            regressor,
            lambda m, verb=verb, size=size: getattr(m, verb)(
                X, *(() if verb == "predict" else (Y,)), batch_size=size, verbose=0
            ),
            f"{verb}: `batch_size` must be a positive integer",
            (ValueError, TypeError),
        )
        for verb in ("fit", "evaluate", "predict")
        for size in (0, -3, 2.5, "8")
    ],
    *[
        Row(
            f"A21 validation_split={split}",
            regressor,
            lambda m, split=split: m.fit(X, Y, validation_split=split, verbose=0),
            r"`validation_split` must be a number in \[0, 1\)",
        )
        for split in (-0.2, 1.0, float("nan"))
    ],
    Row(
        "A21 validation_split of a generator",
        regressor,
        lambda m: m.fit(batches(X, Y), validation_split=0.2, verbose=0),
        "needs arrays or tensors, got a generator",
    ),
    Row(
        "A22 unknown loss",
        uncompiled,
        lambda m: m.compile("sgd", "mean_squared_errorr"),
        "Did you mean 'mean_squared_error'",
    ),
    Row(
        "A22 unknown metric",
        uncompiled,
        lambda m: m.compile("sgd", "mse", metrics=["acuracy_"]),
        "Unknown metric",
    ),
    Row(
        "A22 unknown optimizer",
        uncompiled,
        lambda m: m.compile("adamm", "mse"),
        "Did you mean 'adam",
    ),
    Row(
        "A22 swapped loss and optimizer",
        uncompiled,
        lambda m: m.compile("mse", "adam"),
        "It is a known loss",
    ),
    Row(
        "A22 unknown activation",
        uncompiled,
        lambda m: m.add(layers.Dense(2, activation="reluu")),
        "Did you mean 'relu'",
    ),
    *[
        Row(
            f"A23 {name}",
            uncompiled,
            lambda m, make=make: make(),
            match,
            (ValueError, TypeError),
        )
        for name, make, match in [
            ("units=0", lambda: layers.Dense(0), "`units` must be a positive"),
            ("units=-3", lambda: layers.Dense(-3), "`units` must be a positive"),
            (
                "units=3.5",
                lambda: layers.Dense(cast("Any", 3.5)),
                "`units` must be a positive",
            ),
            ("rate=2", lambda: layers.Dropout(2.0), "`rate` must be"),
            ("lr=-1", lambda: optimizers.SGD(-1.0), "learning_rate"),
            ("lr=nan", lambda: optimizers.Adam(float("nan")), "learning_rate"),
            ("groups", lambda: layers.Conv2D(5, 3, groups=2), "groups"),
        ]
    ],
    Row(
        "A35 missing directory",
        regressor,
        lambda m: m.save("/nowhere/at/all/model.keras"),
        "/nowhere/at/all",
        FileNotFoundError,
    ),
    Row(
        "A35 unknown extension",
        regressor,
        lambda m: m.save("model.picklee"),
        r"\.keras",
    ),
    *[
        Row(
            f"x missing, {verb}",
            regressor,
            lambda m, verb=verb: getattr(m, verb)(None, verbose=0),
            f"^{verb}: `x` must be given",
        )
        for verb in ("fit", "evaluate", "predict")
    ],
    *[
        Row(
            f"classes to weigh that are no numbers, {verb}",
            regressor,
            lambda m, verb=verb: getattr(m, verb)(
                X, np.full((len(X), 1), "dog"), class_weight={0: 2.0}
            ),
            "^`y` must hold numbers",
        )
        for verb in ("fit", "train_on_batch")
    ],
    Row(
        "y missing",
        regressor,
        lambda m: m.fit(X, verbose=0),
        "needs targets",
    ),
    Row(
        "y given with a loader",
        regressor,
        lambda m: m.fit(DataLoader(TensorDataset(torch.from_numpy(X))), Y, verbose=0),
        "`y` must not be given",
    ),
]


def state_of(model: Sequential) -> Any:
    return (
        [w.copy() for w in model.get_weights()],
        model.training,
        len(model.layers),
        0 if model.optimizer is None else int(model.optimizer.iterations),
    )


@pytest.mark.parametrize("row", ROWS, ids=str)
def test_refused_and_unchanged(row: Row) -> None:
    model = row.make()
    before = state_of(model)
    with pytest.raises(row.error, match=row.match) as caught:
        row.act(model)
    after = state_of(model)
    assert len(str(caught.value)) < 2000
    for old, new in zip(before[0], after[0], strict=True):
        np.testing.assert_array_equal(old, new)
    assert before[1:] == after[1:]


def test_predict_on_no_rows_keeps_shape_and_dtype() -> None:  # A4
    outputs = regressor().predict(nothing, verbose=0)
    assert outputs.shape == (0, 2)
    assert outputs.dtype == np.float32


def test_ragged_last_batch_counts_by_its_rows() -> None:  # A7
    model = regressor(metrics=["mae", "mse"])
    whole = model.evaluate(X, Y, batch_size=10, verbose=0)
    ragged = model.evaluate(X, Y, batch_size=4, verbose=0)
    np.testing.assert_allclose(ragged, whole, rtol=1e-6)


@pytest.mark.parametrize("loss", ["mse", "mae", "huber", "log_cosh", "mape"])
def test_flat_targets_are_columns(loss: str) -> None:  # A13
    model = Sequential([layers.Dense(1, input_shape=(4,))])
    model.compile("sgd", loss, metrics=["mae", "mse", "cosine_similarity"])
    flat = model.evaluate(X, Y[:, 0], verbose=0)
    column = model.evaluate(X, Y[:, :1], verbose=0)
    np.testing.assert_allclose(flat, column, rtol=1e-6)


@pytest.mark.parametrize("dtype", ["float64", "float16", "int32", "uint8", "bool"])
@pytest.mark.parametrize("as_tensor", [False, True])
def test_inputs_are_cast(dtype: str, as_tensor: bool) -> None:  # A14
    values = (X > 0).astype(dtype)
    inputs = torch.from_numpy(values) if as_tensor else values
    model = regressor()
    expected = model.predict(values.astype("float32"), verbose=0)
    np.testing.assert_allclose(model.predict(inputs, verbose=0), expected, rtol=1e-6)
    model.fit(inputs, Y, verbose=0)


@pytest.mark.parametrize("dtype", ["int64", "int32", "uint8", "float32"])
def test_indices_are_not_cast_to_float(dtype: str) -> None:  # A14
    table = layers.Embedding(2**25, 1, embeddings_initializer="zeros")
    index = {"uint8": 200, "float32": 2**24}.get(dtype, 2**24 + 1)
    table.embedding.weight.data[index] = 1.0
    model = Sequential([table])
    outputs = model.predict(np.array([[index]], dtype=dtype), verbose=0)
    assert outputs.item() == 1.0


@pytest.mark.parametrize("verb", ["fit", "evaluate", "predict"])
def test_a_missing_input_is_named_by_the_call(verb: str) -> None:  # A16
    a, b = Input((4,), name="a"), Input((4,), name="b")
    model = Model({"a": a, "b": b}, layers.Dense(2)(a + b))
    model.compile("sgd", "mse")
    begun: list[str] = []
    callback = LambdaCallback(
        on_train_begin=lambda logs: begun.append("fit"),
        on_test_begin=lambda logs: begun.append("evaluate"),
        on_predict_begin=lambda logs: begun.append("predict"),
    )
    targets = () if verb == "predict" else (Y,)
    call = functools.partial(getattr(model, verb), callbacks=[callback], verbose=0)
    with pytest.raises(ValueError, match=f"^{verb}: .*keys \\['a', 'b'\\], got \\['a'"):
        call({"a": X}, *targets)
    assert begun == []
    call({"a": X, "b": X}, *targets)
    assert begun == [verb]


def test_dict_inputs_are_checked_by_key() -> None:  # A16
    class Sum(Model):
        def __init__(self) -> None:
            super().__init__()
            self.dense = layers.Dense(2)

        def call(self, inputs):
            return self.dense(inputs["a"]) + inputs["b"]

    model = Sum()
    model.compile("sgd", "mse")
    model.fit({"a": X, "b": Y}, Y, verbose=0)
    with pytest.raises(ValueError, match=r"\['a', 'b'\](.|\n)*\['a'\]"):
        model.fit({"a": X}, Y, verbose=0)
    with pytest.warns(UserWarning, match="'c'"):
        model.fit({"a": X, "b": Y, "c": Y}, Y, verbose=0)


def test_an_error_of_the_generator_comes_out_as_it_is() -> None:  # A24
    boom = OSError("boom")

    def source():
        for i in range(7):
            if i == 5:
                raise boom
            yield X, Y

    model = regressor()
    with pytest.raises(OSError, match="boom") as caught:
        model.fit(source(), epochs=3, steps_per_epoch=3, verbose=0)
    assert caught.value is boom
    assert model.training is False
    assert model.history is not None
    assert len(model.history.history["loss"]) == 1


class FailsAtSeven(torch.utils.data.Dataset):
    def __len__(self):
        return 10

    def __getitem__(self, index):
        if index == 7:
            raise KeyError("seven")
        return X[index], Y[index]


def test_no_process_outlives_an_error_in_a_worker() -> None:  # A25
    model = regressor()
    loader = DataLoader(FailsAtSeven(), 2, num_workers=2)
    with pytest.raises(KeyError, match=r"(.|\n)*in DataLoader worker(.|\n)*getitem"):
        model.fit(loader, verbose=0)
    assert multiprocessing.active_children() == []
    assert model.training is False
    assert len(model.fit(X, Y, verbose=0).history["loss"]) == 1


class Long(torch.utils.data.Dataset):
    def __len__(self):
        return 4000

    def __getitem__(self, index):
        return X[index % 10], Y[index % 10]


def test_no_process_outlives_an_interrupt() -> None:  # A27
    model = regressor()

    def interrupt(batch, logs=None):
        if batch == 2:
            signal.raise_signal(signal.SIGINT)

    stop = LambdaCallback(on_train_batch_end=interrupt)
    loader = DataLoader(Long(), 2, num_workers=2)
    with pytest.raises(KeyboardInterrupt) as kept:
        model.fit(loader, callbacks=[stop], verbose=0)
    assert kept.value.__traceback__ is not None
    assert multiprocessing.active_children() == []
    assert model.training is False
    assert len(model.fit(X, Y, verbose=0).history["loss"]) == 1


def test_a_generator_is_the_users_to_end() -> None:
    model = regressor()
    endless = ((X[:2], Y[:2]) for _ in itertools.count())
    for _ in range(2):
        model.fit(endless, steps_per_epoch=3, verbose=0)
        model.evaluate(endless, steps=2, verbose=0)
    stop = LambdaCallback(
        on_train_batch_end=lambda batch, logs: setattr(model, "stop_training", True)
    )
    model.fit(endless, steps_per_epoch=9, callbacks=[stop], verbose=0)
    assert next(endless) is not None


def test_a_short_generator_warns_and_ends() -> None:  # A26
    model = regressor()
    with pytest.warns(UserWarning, match="after 2 of 5 batches"):
        history = model.fit(
            ((X, Y) for _ in range(2)), epochs=4, steps_per_epoch=5, verbose=0
        )
    assert len(history.history["loss"]) == 1


def test_a_used_up_generator_warns_and_ends() -> None:  # A26
    model = regressor()
    with pytest.warns(UserWarning, match="after 0 batches"):
        history = model.fit(((X, Y) for _ in range(2)), epochs=4, verbose=0)
    assert len(history.history["loss"]) == 1
    assert history.epoch == [0]


@pytest.mark.parametrize("as_loader", [False, True])
def test_arrays_and_loaders_begin_again(as_loader: bool) -> None:  # A26
    model = regressor()
    dataset = TensorDataset(torch.from_numpy(X), torch.from_numpy(Y))
    arguments = (DataLoader(dataset, batch_size=5),) if as_loader else (X, Y)
    history = model.fit(
        *arguments,
        batch_size=None if as_loader else 5,
        epochs=2,
        steps_per_epoch=5,
        verbose=0,
    )
    assert len(history.history["loss"]) == 2
    assert int(model.optimizer.iterations) == 10


def test_ctrl_c_leaves_a_usable_model() -> None:  # A27
    from torchkeras.callbacks import LambdaCallback

    def interrupt(epoch, logs=None):
        if epoch == 1:
            raise KeyboardInterrupt

    model = regressor()
    stop = LambdaCallback(on_epoch_begin=interrupt)
    with pytest.raises(KeyboardInterrupt):
        model.fit(X, Y, epochs=3, callbacks=[stop], verbose=0)
    assert model.training is False
    assert model.history is not None
    assert len(model.history.history["loss"]) == 1
    assert len(model.fit(X, Y, epochs=2, verbose=0).history["loss"]) == 2


def test_a_nan_loss_is_warned_of_once() -> None:  # A28
    model = regressor()
    rows = X.copy()
    rows[3] = np.nan
    with pytest.warns(UserWarning, match="In epoch 1 loss is nan") as caught:
        model.fit(rows, Y, epochs=3, verbose=0)
    assert len(caught) == 1


def test_terminate_on_nan_stops_before_the_update() -> None:  # A28
    from torchkeras.callbacks import TerminateOnNaN

    model = regressor()
    model.optimizer.learning_rate = 1e30
    with contextlib.suppress(UserWarning), warnings.catch_warnings():
        warnings.simplefilter("ignore")
        model.fit(X, Y, epochs=5, batch_size=5, callbacks=[TerminateOnNaN()], verbose=0)
    assert model.stop_training
    assert all(np.isfinite(w).all() for w in model.get_weights())
