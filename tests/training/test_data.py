"""Data as users have it: tables, counts of every kind, indexed sets, streams."""

import os
import threading
from collections.abc import Callable
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch
from torch.utils.data import DataLoader, IterableDataset, Sampler, TensorDataset

from torchkeras import config, layers, losses, ops
from torchkeras._core.errors import count
from torchkeras.callbacks import Callback, LambdaCallback, ModelCheckpoint
from torchkeras.models import Model, Sequential
from torchkeras.training.arrays import as_tensors, to_device
from torchkeras.training.data import as_batches
from torchkeras.utils import PyDataset


def test_a_batch_moves_to_the_device_whatever_its_structure():
    device = torch.device("meta")
    batch = ({"a": torch.ones(2), "b": [torch.zeros(2, device=device)]}, None, "name")
    moved = to_device(batch, device)
    assert moved[0]["a"].device == device
    assert moved[0]["a"].shape == (2,)
    assert moved[0]["b"][0] is batch[0]["b"][0]
    assert moved[1:] == batch[1:]


# Tables


def table(**dtypes: Any) -> pd.DataFrame:
    """Return a table of four rows, whose index is in no order."""
    columns = {"a": [0.5, 1.5, 2.5, 3.5], "b": [1, 2, 3, 4], "c": [True, False] * 2}
    return pd.DataFrame(columns, index=[7, 3, 9, 1]).astype(dtypes)


NUMBERS = np.array([[0.5, 1, 1], [1.5, 2, 0], [2.5, 3, 1], [3.5, 4, 0]], "float32")

TABLES: dict[str, Callable[[], Any]] = {
    "floats": lambda: table(a="float32", b="float64", c="float32"),
    "mixed": table,
    "nullable": lambda: table(a="Float64", b="Int64", c="boolean"),
    "nullable beside plain": lambda: table(b="Int32", c="boolean"),
    "objects": lambda: table().astype(object),
    "transposed twice": lambda: table().T.T,
    "sparse": lambda: table(a=pd.SparseDtype("float", 0.0)),
    "a slice": lambda: pd.concat([table(), table()])[:4],
}


@pytest.mark.parametrize("kind", TABLES)
def test_tables_are_converted_by_column(kind: str) -> None:
    frame = TABLES[kind]()
    for made in (as_tensors("x", frame), ops.convert_to_tensor(frame), frame * 1.0):
        np.testing.assert_array_equal(np.asarray(made, "float32"), NUMBERS)
    dense = layers.Dense(2)
    np.testing.assert_array_equal(
        dense(frame).detach(), dense(torch.from_numpy(NUMBERS)).detach()
    )
    np.testing.assert_array_equal(ops.add(frame, 1.0), NUMBERS + 1)
    error = losses.mean_squared_error(frame, torch.zeros(4, 3))
    np.testing.assert_allclose(error, (NUMBERS**2).mean(1))


@pytest.mark.parametrize("kind", TABLES)
def test_columns_are_arrays_of_one_axis(kind: str) -> None:
    frame = TABLES[kind]()
    for i, name in enumerate(frame):
        made = as_tensors("x", frame[name])
        np.testing.assert_array_equal(np.asarray(made, "float32"), NUMBERS[:, i])
    columns = as_tensors("x", dict(frame))
    assert {k: tuple(v.shape) for k, v in columns.items()} == dict.fromkeys("abc", (4,))


@pytest.mark.parametrize(
    ("name", "values", "dtype", "kind"),
    [
        ("b", [1, 0], "Int64", torch.int64),
        ("b", [1, 0], "UInt8", torch.uint8),
        ("b", [1, 0], "boolean", torch.bool),
        ("b", [1, 0], "bool", torch.bool),
        ("b", [1, 0], "Float32", torch.float32),
        ("b", [1, 0], "object", torch.int64),
    ],
)
def test_a_column_keeps_its_kind(name, values, dtype, kind) -> None:
    series = pd.Series(values, name=name, dtype=dtype)
    assert as_tensors("y", series).dtype == kind


def test_missing_floats_are_nan() -> None:
    frame = pd.DataFrame({"a": pd.array([1.0, None], "Float64"), "b": [True, False]})
    made = as_tensors("x", frame)
    np.testing.assert_array_equal(made, [[1, 1], [np.nan, 0]])


@pytest.mark.parametrize(
    ("column", "message"),
    [
        (
            pd.array([1, None], "Int64"),
            r"`x`, column 'b', of dtype Int64 has 1 missing",
        ),
        (pd.array([True, None], "boolean"), "column 'b', of dtype boolean has 1 miss"),
        (["u", "v"], "`x`, column 'b', must hold numbers, got dtype (str|object)"),
        (pd.Categorical(["u", "v"]), "column 'b', must hold numbers, got dtype categ"),
        (
            pd.to_datetime(["2024-01-01"] * 2),
            "column 'b', must hold numbers, got dtype",
        ),
        ([[1, 2], [3, 4]], "column 'b', must hold numbers, got dtype object"),
    ],
)
def test_columns_that_hold_no_numbers_are_named(column, message) -> None:
    frame = pd.DataFrame({"a": [1.0, 2.0], "b": column})
    with pytest.raises(ValueError, match=message):
        as_tensors("x", frame)
    with pytest.raises(ValueError, match=message.replace("`x`, ", "")):
        ops.convert_to_tensor(frame)
    with pytest.raises(ValueError, match="Layer 'd': the input, column 'b'"):
        layers.Dense(1, name="d")(frame)


# Counts


def regressor() -> Sequential:
    model = Sequential([layers.Input((3,)), layers.Dense(1)])
    model.compile("sgd", "mse")
    return model


def rows(number: int = 8) -> tuple[np.ndarray, np.ndarray]:
    draw = np.random.default_rng(0)
    return draw.normal(size=(number, 3)), draw.normal(size=(number, 1))


COUNTS: dict[str, Callable[[Any], Any]] = {
    "epochs": lambda n: regressor().fit(*rows(), epochs=n, verbose=0),
    "initial_epoch": lambda n: regressor().fit(
        *rows(), epochs=5, initial_epoch=n, verbose=0
    ),
    "batch_size": lambda n: regressor().fit(*rows(), batch_size=n, verbose=0),
    "steps_per_epoch": lambda n: regressor().fit(*rows(), steps_per_epoch=n, verbose=0),
    "validation_steps": lambda n: regressor().fit(
        *rows(), validation_data=rows(), validation_steps=n, verbose=0
    ),
    "validation_batch_size": lambda n: regressor().fit(
        *rows(), validation_data=rows(), validation_batch_size=n, verbose=0
    ),
    "validation_freq": lambda n: regressor().fit(
        *rows(), validation_data=rows(), validation_freq=n, verbose=0
    ),
    "steps": lambda n: regressor().evaluate(*rows(), steps=n, verbose=0),
    "steps of predict": lambda n: regressor().predict(rows()[0], steps=n, verbose=0),
    "batch_size of predict": lambda n: regressor().predict(
        rows()[0], batch_size=n, verbose=0
    ),
    "batch_size of evaluate": lambda n: regressor().evaluate(
        *rows(), batch_size=n, verbose=0
    ),
    "save_freq": lambda n: ModelCheckpoint("m.keras", save_freq=n),
    "workers": lambda n: PyDataset(workers=n),
    "max_queue_size": lambda n: PyDataset(max_queue_size=n),
}


@pytest.mark.parametrize("argument", COUNTS)
def test_counts_are_integers_of_any_kind(argument: str) -> None:
    use = COUNTS[argument]
    for value in (2, np.int64(2), np.uint8(2), np.ceil(1.5), np.float32(2), 2.0):
        use(value)
    name = argument.split()[0]
    for value in (2.5, np.float64(1.5), True, float("nan")):
        with pytest.raises(TypeError, match=f"`{name}` must be a(n integer| positive)"):
            use(value)
    with pytest.raises(ValueError, match=f"`{name}` must be .*, got -1"):
        use(-1)


def test_limits_are_counts() -> None:
    try:
        config.set_max_epochs(np.ceil(1.5))
        assert config.max_epochs() == 2
    finally:
        config.set_max_epochs(None)


def test_a_count_is_an_int() -> None:
    for value in (3, np.int64(3), 3.0, np.float32(3), torch.tensor(3)):
        assert type(count("f", "n", value)) is int


def test_epochs_to_validate_after_are_counts() -> None:
    history = regressor().fit(
        *rows(), epochs=4, validation_data=rows(), validation_freq=np.array([1.0, 3.0]),
        verbose=0,
    )  # fmt: skip
    assert len(history.history["val_loss"]) == 2
    with pytest.raises(TypeError, match="`validation_freq` must be a positive"):
        regressor().fit(*rows(), validation_freq="2")  # type: ignore
    with pytest.raises(TypeError, match=r"`validation_freq\[1\]` must be a positive"):
        regressor().fit(*rows(), validation_freq=[1, 2.5])  # type: ignore


@pytest.mark.parametrize("arguments", [{"epochs": 0}, {"initial_epoch": 3}])
def test_no_epoch_changes_nothing(arguments) -> None:
    model, events = regressor(), []
    before = model.get_weights()
    note = LambdaCallback(
        on_train_begin=lambda logs: events.append("begin"),
        on_epoch_begin=lambda epoch, logs: events.append("epoch"),
        on_train_end=lambda logs: events.append("end"),
    )
    history = model.fit(*rows(), callbacks=[note], verbose=0, **arguments)
    assert (history.history, history.epoch, events) == ({}, [], ["begin", "end"])
    for old, new in zip(before, model.get_weights(), strict=True):
        np.testing.assert_array_equal(old, new)


# Indexed sets


class Numbered(PyDataset):
    """Batches that hold their index; without end where `length` is None."""

    def __init__(self, length: int | None, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.length = length
        self.events: list[str] = []

    @property
    def num_batches(self) -> int | None:
        return self.length

    def __getitem__(self, index: int) -> Any:
        return np.full((2, 1), index, "float32"), np.zeros((2, 1), "float32")

    def on_epoch_begin(self) -> None:
        self.events.append("begin")

    def on_epoch_end(self) -> None:
        self.events.append("end")


class Bare:
    """A source of the user's own, that is no `PyDataset`."""

    def __init__(self, length: int, **options: Any) -> None:
        self.length = length
        self.__dict__.update(options)

    def __len__(self) -> int:
        return self.length

    def __getitem__(self, index: int) -> Any:
        return np.full((2, 1), index, "float32"), np.zeros((2, 1), "float32")


class Noting(Model):
    """A model that notes the index of each batch that it is trained on."""

    def __init__(self) -> None:
        super().__init__()
        self.dense = layers.Dense(1)
        self.seen: list[int] = []

    def call(self, x: Any) -> Any:
        return self.dense(x)

    def train_step(self, data: Any) -> Any:
        self.seen.append(int(data[0][0, 0]))
        return super().train_step(data)


def noting() -> Noting:
    model = Noting()
    model.compile("sgd", "mse")
    return model


MAKERS: dict[str, dict[str, Any]] = {
    "here": {},
    "in threads": {"workers": 2},
    "in a short queue": {"workers": 2, "max_queue_size": 1},
    "in a process": {"workers": 1, "use_multiprocessing": True},
    "in processes": {"workers": 2, "use_multiprocessing": True},
}


@pytest.mark.parametrize("maker", MAKERS)
@pytest.mark.parametrize("make", [Numbered, Bare])
def test_an_indexed_set_gives_each_batch_once_an_epoch(make, maker: str) -> None:
    model, data = noting(), make(5, **MAKERS[maker])
    model.fit(data, epochs=2, shuffle=False, verbose=0)
    assert model.seen == [*range(5)] * 2
    model.seen.clear()
    model.fit(data, epochs=2, verbose=0)
    assert sorted(model.seen[:5]) == sorted(model.seen[5:]) == [*range(5)]
    assert model.predict(data, verbose=0).shape == (10, 1)


class Maker(PyDataset):
    """Batches that say which process and which thread made them."""

    def __len__(self) -> int:
        return 4

    def __getitem__(self, index: int) -> Any:
        made = np.array([[os.getpid(), threading.get_ident() % 2**31]] * 2)
        return made, np.zeros((2, 1), "float32")


@pytest.mark.parametrize("maker", MAKERS)
def test_batches_are_made_where_the_options_say(maker: str) -> None:
    batches = as_batches(Maker(**MAKERS[maker]), device=torch.device("cpu"))
    made = [batch[0].numpy() for batch in batches]
    processes, threads = ({int(b[0, i]) for b in made} for i in (0, 1))
    options = MAKERS[maker]
    apart = options.get("use_multiprocessing", False)
    assert len(made) == 4
    assert (os.getpid() in processes) is not apart
    assert apart or (threading.get_ident() % 2**31 in threads) is (not options)


@pytest.mark.parametrize("maker", MAKERS)
def test_a_set_without_end_goes_on_from_epoch_to_epoch(maker: str) -> None:
    model, data = noting(), Numbered(None, **MAKERS[maker])
    history = model.fit(data, steps_per_epoch=3, epochs=3, verbose=0)
    assert model.seen == [*range(9)]
    assert len(history.history["loss"]) == 3
    assert data.events == ["begin", "end"] * 3
    assert model.predict(data, steps=2, verbose=0).shape == (4, 1)


def test_a_set_is_told_of_the_epochs_of_the_trainer() -> None:
    data, held_out = Numbered(4), Numbered(2)
    model = noting()
    model.fit(
        data, steps_per_epoch=3, epochs=4, shuffle=False, validation_data=held_out,
        verbose=0,
    )  # fmt: skip
    assert model.seen == [0, 1, 2, 3] * 3
    assert data.events == held_out.events == ["begin", "end"] * 4


@pytest.mark.parametrize(
    ("use", "argument"),
    [
        (lambda m, d: m.fit(d, verbose=0), "steps_per_epoch"),
        (
            lambda m, d: m.fit(Numbered(2), validation_data=d, verbose=0),
            "validation_steps",
        ),
        (lambda m, d: m.evaluate(d, verbose=0), "steps"),
        (lambda m, d: m.predict(d, verbose=0), "steps"),
    ],
)
def test_a_set_without_end_needs_a_number_of_steps(use, argument: str) -> None:
    with pytest.raises(ValueError, match=f"no end.*`{argument}` must say"):
        use(noting(), Numbered(None))


def test_a_set_of_unknown_length_is_refused() -> None:
    with pytest.raises(NotImplementedError, match="PyDataset: write `__len__"):
        noting().fit(PyDataset())


# Streams and samplers


class Stream(IterableDataset[Any]):
    def __init__(self, *arrays: np.ndarray) -> None:
        self.arrays = arrays

    def __iter__(self) -> Any:
        rows = zip(*self.arrays, strict=True)
        return iter(rows) if len(self.arrays) > 1 else iter(*self.arrays)


def test_samples_of_a_stream_are_batched() -> None:
    x, y = (a.astype("float32") for a in rows(10))
    one, other = regressor(), regressor()
    other.set_weights(one.get_weights())
    sizes: list[int] = []
    one.layers[0].register_forward_hook(lambda m, a, o: sizes.append(len(o)))
    stream = Stream(x, y)
    options: Any = {
        "epochs": 2,
        "batch_size": 4,
        "validation_batch_size": 5,
        "verbose": 0,
    }
    history = one.fit(stream, validation_data=stream, **options)
    expected = other.fit(x, y, validation_data=(x, y), shuffle=False, **options)
    assert sizes[-5:] == [4, 4, 2, 5, 5]
    for key, values in expected.history.items():
        np.testing.assert_allclose(history.history[key], values, rtol=1e-5)
    np.testing.assert_allclose(
        one.evaluate(stream, batch_size=3, verbose=0), other.evaluate(x, y, verbose=0),
        rtol=1e-5,
    )  # fmt: skip
    np.testing.assert_allclose(
        one.predict(Stream(x), batch_size=3, verbose=0), other.predict(x, verbose=0),
        rtol=1e-5,
    )  # fmt: skip
    with pytest.raises(ValueError, match="`y` must not be given when `x` is a Stream"):
        one.fit(stream, y, batch_size=4)


def test_a_stream_of_batches_is_taken_as_it_is() -> None:
    x, y = (a.astype("float32") for a in rows(8))
    stream = Stream(x.reshape(2, 4, 3), y.reshape(2, 4, 1))
    assert regressor().predict(stream, verbose=0).shape == (8, 1)


class Told(Sampler[int]):
    """A sampler like `DistributedSampler`: it is told the epoch."""

    def __init__(self, length: int) -> None:
        self.length = length
        self.epochs: list[int] = []
        self.drawn: list[int] = []

    def __len__(self) -> int:
        return self.length

    def __iter__(self) -> Any:
        self.drawn.append(self.epochs[-1] if self.epochs else -1)
        return iter(range(self.length))

    def set_epoch(self, epoch: int) -> None:
        self.epochs.append(epoch)


class ToldBatches(Told):
    def __iter__(self) -> Any:
        return ([i] for i in super().__iter__())


@pytest.mark.parametrize("arguments", [{}, {"initial_epoch": 2}])
@pytest.mark.parametrize("of_batches", [False, True])
def test_samplers_are_told_the_epoch_before_they_draw(arguments, of_batches) -> None:
    data = TensorDataset(*(torch.as_tensor(a, dtype=torch.float32) for a in rows(4)))
    sampler = ToldBatches(4) if of_batches else Told(4)
    chosen: Any = (
        {"batch_sampler": sampler}
        if of_batches
        else {"sampler": sampler, "batch_size": 2}
    )
    loader = DataLoader(data, **chosen)
    regressor().fit(loader, epochs=4, verbose=0, **arguments)
    first = arguments.get("initial_epoch", 0)
    assert sampler.epochs == sampler.drawn == [*range(first, 4)]


def test_the_sampler_inside_a_batch_sampler_is_told() -> None:
    data = TensorDataset(*(torch.as_tensor(a, dtype=torch.float32) for a in rows(4)))
    sampler = Told(4)
    inner = torch.utils.data.BatchSampler(sampler, 2, drop_last=False)
    regressor().fit(DataLoader(data, batch_sampler=inner), epochs=2, verbose=0)
    assert sampler.drawn == [0, 1]


def test_a_pass_that_ends_within_an_epoch_gets_the_next_number() -> None:
    data = TensorDataset(*(torch.as_tensor(a, dtype=torch.float32) for a in rows(4)))
    sampler = Told(4)
    loader = DataLoader(data, sampler=sampler, batch_size=1)
    regressor().fit(loader, steps_per_epoch=6, epochs=2, verbose=0)
    assert sampler.drawn == [0, 1, 2]


# The bar of `predict`


class Counting(Callback):
    def on_predict_batch_end(self, batch: int, logs: Any = None) -> None:
        self.last = batch


def test_prediction_in_parts_counts_the_batches(monkeypatch, capsys) -> None:
    model = Sequential([layers.Input((3,)), layers.Dense(4)])
    x = rows(100)[0]
    sizes: list[int] = []
    expected = model.predict(x, batch_size=40, verbose=0)
    model.layers[0].register_forward_hook(lambda m, a, o: sizes.append(len(o)))
    monkeypatch.setattr("torchkeras.models.sequential._CACHE_BYTES", 16 * 16)
    parts = model.predict(x, batch_size=40, verbose=2)
    np.testing.assert_allclose(parts, expected, rtol=1e-6)
    assert sizes == [16, 16, 8] * 2 + [16, 4]
    assert capsys.readouterr().out.startswith("3/3 - ")
    sizes.clear()
    assert model.predict(x, steps=2, verbose=0).shape == (100, 4)
    assert sizes == [16, 16, 16, 2] * 2
    note = Counting()
    model.predict(x, batch_size=40, callbacks=[note], verbose=0)
    assert note.last == 2
