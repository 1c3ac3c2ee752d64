"""fit, evaluate and predict against a loop in plain torch, for every kind of data.

Each row carries its number, so that the loop knows which rows a step was given and
takes the targets and the weights of these rows from tables of its own.
"""

import copy
import itertools
from collections.abc import Callable, Iterator
from typing import Any

import keras
import numpy as np
import pytest
import torch
from torch import Tensor
from torch.utils.data import DataLoader, Dataset, IterableDataset, TensorDataset

from torchkeras import config, layers, optimizers
from torchkeras.models import Model, Sequential
from torchkeras.utils import PyDataset

ROWS, BATCH, BATCHES = 23, 5, 5
RATE = 0.1
DRAW = np.random.default_rng(0)
#: The first column is the number of the row.
X = np.column_stack([np.arange(ROWS) / ROWS, DRAW.normal(size=(ROWS, 4))])
Y = DRAW.normal(size=(ROWS, 2))
WEIGHTS = DRAW.uniform(0.25, 2.0, ROWS)

Data = tuple[Any, Any, Any]


def joined(parts: Any) -> list[Any]:
    return list(itertools.chain.from_iterable(parts))


def float32(*arrays: np.ndarray) -> Any:
    return tuple(a.astype("float32") for a in arrays)


def as_dict(x: Any) -> Any:
    return {"a": x[:, :2], "b": x[:, 2:]}


def as_list(x: Any) -> Any:
    return [x[:, :2], x[:, 2:]]


def batches_of(data: Data, change: Callable[[Any], Any] = lambda x: x) -> list[Any]:
    bounds = range(0, ROWS, BATCH)
    parts = [tuple(part[i : i + BATCH] for part in data) for i in bounds]
    return [(change(x), *rest) for x, *rest in parts]


class Rows(Dataset[Any]):
    """A map-style dataset of single samples."""

    def __init__(self, data: Data) -> None:
        self.data = data

    def __len__(self) -> int:
        return ROWS

    def __getitem__(self, index: int) -> Any:
        return tuple(part[index] for part in self.data)


class Stream(IterableDataset[Any]):
    """An iterable dataset of single samples."""

    def __init__(self, data: Data) -> None:
        self.data = data

    def __iter__(self) -> Iterator[Any]:
        return iter(Rows(self.data)[i] for i in range(ROWS))


class Indexed(PyDataset):
    def __init__(self, batches: list[Any], **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.batches = batches

    def __len__(self) -> int:
        return len(self.batches)

    def __getitem__(self, index: int) -> Any:
        return self.batches[index]


class KerasIndexed(keras.utils.PyDataset):
    def __len__(self) -> int:
        return BATCHES

    def __getitem__(self, index: int) -> Any:
        return batches_of(float32(X, Y, WEIGHTS))[index]


def tensors() -> Any:
    return tuple(map(torch.from_numpy, float32(X, Y, WEIGHTS)))


def arrays(x: Any, y: Any, sample_weight: Any) -> dict[str, Any]:
    return {"x": x, "y": y, "sample_weight": sample_weight, "batch_size": BATCH}


#: What is given to `fit`, by kind. A generator goes round: each pass takes its part.
KINDS: dict[str, Callable[[], dict[str, Any]]] = {
    "arrays": lambda: arrays(*float32(X, Y, WEIGHTS)),
    "arrays of float64": lambda: arrays(X.copy(), Y.copy(), WEIGHTS.copy()),
    "lists": lambda: arrays(X.tolist(), Y.tolist(), WEIGHTS.tolist()),
    "tensors": lambda: arrays(*tensors()),
    "strided": lambda: arrays(X[::-1][::-1], np.asfortranarray(Y), WEIGHTS.copy()),
    "dict": lambda: arrays(as_dict(float32(X)[0]), *float32(Y, WEIGHTS)),
    "list": lambda: arrays(as_list(tensors()[0]), *tensors()[1:]),
    "tensor dataset": lambda: {"x": TensorDataset(*tensors()), "batch_size": BATCH},
    "dataset": lambda: {"x": Rows(tensors()), "batch_size": BATCH},
    "loader": lambda: {"x": DataLoader(TensorDataset(*tensors()), BATCH)},
    "loader of a stream": lambda: {"x": DataLoader(Stream(tensors()), BATCH)},
    "generator": lambda: {"x": itertools.cycle(batches_of(float32(X, Y, WEIGHTS)))},
    "generator of dicts": lambda: {
        "x": itertools.cycle(batches_of(float32(X, Y, WEIGHTS), as_dict))
    },
    "PyDataset": lambda: {"x": Indexed(batches_of(float32(X, Y, WEIGHTS)))},
    "PyDataset of dicts": lambda: {
        "x": Indexed(batches_of(float32(X, Y, WEIGHTS), as_dict))
    },
    "PyDataset with threads": lambda: {
        "x": Indexed(batches_of(float32(X, Y, WEIGHTS)), workers=2, max_queue_size=2)
    },
    "PyDataset of Keras": lambda: {"x": KerasIndexed()},
}
GENERATORS = [kind for kind in KINDS if kind.startswith("generator")]
#: Kinds whose order `shuffle` chooses: of rows, or of whole batches.
SHUFFLED = [
    kind
    for kind in KINDS
    if kind not in GENERATORS and not kind.startswith("loader")
]  # fmt: skip
RESTARTING = [*SHUFFLED, "loader", "loader of a stream"]


def model_for(kind: str) -> Model:
    """Return a model of weights that are always the same, for this kind of inputs."""
    hidden = [layers.Dense(3, activation="tanh"), layers.Dense(2)]
    if "dict" in kind or kind == "list":
        a, b = (layers.Input((n,), name=name) for n, name in ((2, "a"), (3, "b")))
        inputs = {"a": a, "b": b} if "dict" in kind else [a, b]
        joined = layers.Concatenate()([a, b])
        model = Model(inputs, hidden[1](hidden[0](joined)))
    else:
        model = Sequential([layers.Input((5,)), *hidden])
    draw = np.random.default_rng(1)
    model.set_weights([draw.normal(size=w.shape) for w in model.weights])
    return model


class Loop:
    """The same training in plain torch, over rows by their numbers."""

    def __init__(self, model: Model) -> None:
        self.weights = [
            torch.tensor(w.astype("float64"), requires_grad=True)
            for w in model.get_weights()
        ]

    def outputs(self, rows: list[int]) -> Tensor:
        kernel, bias, last, last_bias = self.weights
        x = torch.from_numpy(X[rows])
        return torch.tanh(x @ kernel + bias) @ last + last_bias

    def loss(self, rows: list[int], weighted: bool = True) -> Tensor:
        losses = (self.outputs(rows) - torch.from_numpy(Y[rows])).square().mean(1)
        return (losses * torch.from_numpy(WEIGHTS[rows]) if weighted else losses).mean()

    def epoch(self, batches: list[list[int]]) -> float:
        """Train on these batches and return the mean loss of their rows."""
        total = 0.0
        for rows in batches:
            loss = self.loss(rows)
            gradients = torch.autograd.grad(loss, self.weights)
            with torch.no_grad():
                for weight, gradient in zip(self.weights, gradients, strict=True):
                    weight -= RATE * gradient
            total += loss.item() * len(rows)
        return total / sum(map(len, batches))


IN_ORDER = [list(range(i, min(i + BATCH, ROWS))) for i in range(0, ROWS, BATCH)]


def watch(model: Model) -> list[list[int]]:
    """Return a list that gets the numbers of the rows of each training step."""
    seen: list[list[int]] = []

    def note(module: Any, args: Any) -> None:
        if module.training:
            numbers = flat(args[0])[0][:, 0] * ROWS
            seen.append(numbers.round().int().tolist())

    model.register_forward_pre_hook(note)
    return seen


def assert_same(model: Model, loop: Loop) -> None:
    for own, weight in zip(model.get_weights(), loop.weights, strict=True):
        np.testing.assert_allclose(own, weight.detach(), rtol=1e-4, atol=1e-5)


def steps_for(kind: str, argument: str = "steps") -> dict[str, Any]:
    return {argument: BATCHES} if kind in GENERATORS else {}


@pytest.mark.parametrize("kind", KINDS)
def test_training_in_order(kind: str) -> None:
    model = model_for(kind)
    model.compile(optimizers.SGD(RATE), "mse")
    loop, seen = Loop(model), watch(model)
    for _ in range(2):
        data = KINDS[kind]()
        before = copy.deepcopy(data) if kind not in GENERATORS else None
        seen.clear()
        history = model.fit(
            **data, epochs=2, shuffle=False, verbose=0,
            **steps_for(kind, "steps_per_epoch"),
        ).history  # fmt: skip
        assert seen == IN_ORDER * 2
        expected = [loop.epoch(IN_ORDER) for _ in range(2)]
        assert history == {"loss": pytest.approx(expected, rel=1e-4)}
        assert_same(model, loop)
        if before is not None and "y" in before:
            for value, old in zip(flat(data), flat(before), strict=True):
                np.testing.assert_array_equal(value, old)


def flat(data: Any) -> list[Any]:
    """Return the arrays and numbers of nested dicts and lists."""
    if isinstance(data, dict):
        data = list(data.values())
    return joined(map(flat, data)) if isinstance(data, list) else [data]


@pytest.mark.parametrize("kind", SHUFFLED)
def test_training_in_another_order(kind: str) -> None:
    """Targets and weights go with their rows, in an order new in each epoch."""
    model = model_for(kind)
    model.compile(optimizers.SGD(RATE), "mse")
    loop, seen = Loop(model), watch(model)
    orders = []
    for _ in range(2):
        seen.clear()
        history = model.fit(**KINDS[kind](), epochs=2, verbose=0).history
        epochs = seen[:BATCHES], seen[BATCHES:]
        for batches in epochs:
            assert sorted(joined(batches)) == list(range(ROWS))
        orders += [str(batches) for batches in epochs]
        expected = [loop.epoch(batches) for batches in epochs]
        assert history["loss"] == pytest.approx(expected, rel=1e-4)
        assert_same(model, loop)
    assert len(set(orders)) == 4


@pytest.mark.parametrize("kind", KINDS)
def test_a_pass_that_an_epoch_leaves_goes_on_in_the_next(kind: str) -> None:
    model = model_for(kind)
    model.compile(optimizers.SGD(RATE), "mse")
    loop, seen = Loop(model), watch(model)
    for _ in range(2):
        seen.clear()
        history = model.fit(
            **KINDS[kind](), epochs=4, steps_per_epoch=3, shuffle=False, verbose=0
        ).history
        assert seen == (IN_ORDER * 3)[:12]
        epochs = [seen[i : i + 3] for i in range(0, 12, 3)]
        expected = [loop.epoch(batches) for batches in epochs]
        assert history["loss"] == pytest.approx(expected, rel=1e-4)
    assert_same(model, loop)


@pytest.mark.parametrize("kind", SHUFFLED)
def test_a_pass_in_another_order_goes_on_with_the_rows_it_has_left(kind: str) -> None:
    model = model_for(kind)
    model.compile(optimizers.SGD(RATE), "mse")
    seen = watch(model)
    model.fit(**KINDS[kind](), epochs=5, steps_per_epoch=2, verbose=0)
    for batches in (seen[:BATCHES], seen[BATCHES:]):
        assert sorted(joined(batches)) == list(range(ROWS))


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("steps", [None, 2])
def test_evaluation(kind: str, steps: int | None) -> None:
    model = model_for(kind)
    model.compile(
        optimizers.SGD(RATE), "mse", metrics=["mae"], weighted_metrics=["mse"]
    )
    loop = Loop(model)
    rows = list(range(ROWS if steps is None else steps * BATCH))
    errors = loop.outputs(rows).detach().numpy() - Y[rows]
    expected = {
        "loss": loop.loss(rows).item(),
        "mae": np.abs(errors).mean(),
        "mse": np.average((errors**2).mean(1), weights=WEIGHTS[rows]),
    }
    limits: dict[str, Any] = steps_for(kind) if steps is None else {"steps": steps}
    for _ in range(2):
        results = model.evaluate(**KINDS[kind](), **limits, verbose=0, return_dict=True)
        assert results == pytest.approx(expected, rel=1e-4)
        listed = model.evaluate(**KINDS[kind](), **limits, verbose=0)
        assert listed == pytest.approx(list(expected.values()), rel=1e-4)
    assert_same(model, Loop(model_for(kind)))


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("steps", [None, 2])
def test_prediction(kind: str, steps: int | None) -> None:
    model = model_for(kind)
    rows = list(range(ROWS if steps is None else steps * BATCH))
    expected = Loop(model).outputs(rows).detach().numpy()
    limits: dict[str, Any] = steps_for(kind) if steps is None else {"steps": steps}
    for _ in range(2):
        data = KINDS[kind]()
        given = {k: v for k, v in data.items() if k in ("x", "batch_size")}
        outputs = model.predict(**given, **limits, verbose=0)
        np.testing.assert_allclose(outputs, expected, rtol=1e-4, atol=1e-5)
        assert outputs.dtype == np.float32


@pytest.mark.parametrize("kind", KINDS)
def test_validation(kind: str) -> None:
    """It is of the weights after the epoch, and changes nothing."""
    model = model_for(kind)
    model.compile(optimizers.SGD(RATE), "mse", metrics=["mae"])
    loop = Loop(model)
    given = KINDS[kind]()
    data = (
        (given["x"], given["y"], given["sample_weight"]) if "y" in given else given["x"]
    )
    limits = {"validation_steps": BATCHES} if kind in GENERATORS else {}
    for _ in range(2):
        history = model.fit(
            **KINDS[kind](), epochs=2, shuffle=False, verbose=0, validation_data=data,
            validation_batch_size=BATCH, **limits, **steps_for(kind, "steps_per_epoch"),
        ).history  # fmt: skip
        for epoch in range(2):
            loop.epoch(IN_ORDER)
            rows = list(range(ROWS))
            errors = loop.outputs(rows).detach().numpy() - Y
            loss, mae = loop.loss(rows).item(), np.abs(errors).mean()
            assert history["val_loss"][epoch] == pytest.approx(loss, rel=1e-4)
            assert history["val_mae"][epoch] == pytest.approx(mae, rel=1e-4)
    assert_same(model, loop)


@pytest.mark.parametrize("kind", [k for k in KINDS if k in RESTARTING])
def test_validation_steps(kind: str) -> None:
    """Each validation begins at the first row."""
    model = model_for(kind)
    model.compile(optimizers.SGD(RATE), "mse")
    loop = Loop(model)
    given = KINDS[kind]()
    data = (
        (given["x"], given["y"], given["sample_weight"]) if "y" in given else given["x"]
    )
    history = model.fit(
        **KINDS[kind](), epochs=2, shuffle=False, verbose=0, validation_data=data,
        validation_batch_size=BATCH, validation_steps=2,
    ).history  # fmt: skip
    for epoch in range(2):
        loop.epoch(IN_ORDER)
        loss = loop.loss(list(range(2 * BATCH))).item()
        assert history["val_loss"][epoch] == pytest.approx(loss, rel=1e-4)


@pytest.mark.parametrize("kind", [k for k in KINDS if "y" in KINDS[k]()])
def test_the_last_rows_are_for_validation(kind: str) -> None:
    model = model_for(kind)
    model.compile(optimizers.SGD(RATE), "mse")
    loop, seen = Loop(model), watch(model)
    for _ in range(2):
        seen.clear()
        history = model.fit(**KINDS[kind](), validation_split=0.3, verbose=0).history
        assert sorted(joined(seen)) == list(range(16))
        assert history["loss"] == [pytest.approx(loop.epoch(seen), rel=1e-4)]
        loss = loop.loss(list(range(16, ROWS))).item()
        assert history["val_loss"] == [pytest.approx(loss, rel=1e-4)]


@pytest.mark.parametrize("kind", [k for k in KINDS if "y" in KINDS[k]()])
def test_single_batches(kind: str) -> None:
    """Each stands alone: what it returns is of its own rows, before the update."""
    model = model_for(kind)
    model.compile(optimizers.SGD(RATE), "mse", metrics=["mae"])
    loop = Loop(model)
    given = KINDS[kind]()
    del given["batch_size"]
    rows = list(range(ROWS))
    for _ in range(2):
        outputs = loop.outputs(rows).detach().numpy()
        results = [loop.loss(rows).item(), np.abs(outputs - Y).mean()]
        predicted = model.predict_on_batch(given["x"])
        np.testing.assert_allclose(predicted, outputs, rtol=1e-4, atol=1e-5)
        assert model.test_on_batch(**given) == pytest.approx(results, rel=1e-4)
        named = model.test_on_batch(**given, return_dict=True)
        assert list(named.values()) == pytest.approx(results, rel=1e-4)
        assert model.train_on_batch(**given) == pytest.approx(results, rel=1e-4)
        loop.epoch([rows])
        assert_same(model, loop)


# Classes

LABELS = np.tile([0, 1, 2, 3, 1], 5)[:ROWS]
#: Class 3 is not listed: it weighs 1.
CLASS_WEIGHT = {0: 3.0, 1: 0.5, 2: 2.0}
OF_CLASS = np.array([3.0, 0.5, 2.0, 1.0])[LABELS]
TARGETS: dict[str, Callable[[], np.ndarray]] = {
    "labels": lambda: LABELS.copy(),
    "column": lambda: LABELS[:, None].copy(),
    "int32": lambda: LABELS.astype("int32"),
    "uint8": lambda: LABELS.astype("uint8"),
    "float32": lambda: LABELS.astype("float32"),
    "one-hot": lambda: np.eye(4, dtype="float32")[LABELS],
}
CLASS_KINDS: dict[str, Callable[..., dict[str, Any]]] = {
    "arrays": lambda *data: arrays(*data),
    "tensors": lambda *data: arrays(*map(torch.from_numpy, data)),
    "tensor dataset": lambda *data: {
        "x": TensorDataset(*map(torch.from_numpy, data)), "batch_size": BATCH
    },
    "loader": lambda *data: {
        "x": DataLoader(TensorDataset(*map(torch.from_numpy, data)), BATCH)
    },
    "generator": lambda *data: {"x": iter(batches_of(data))},
    "PyDataset": lambda *data: {"x": Indexed(batches_of(data))},
}  # fmt: skip


def classifier(targets: str) -> tuple[Model, np.ndarray]:
    """Return a model that stays as it is, and its loss on each row."""
    sparse = "" if targets == "one-hot" else "sparse_"
    model = Sequential([layers.Input((5,)), layers.Dense(4, activation="softmax")])
    draw = np.random.default_rng(1)
    model.set_weights([draw.normal(size=w.shape) for w in model.weights])
    model.compile(
        optimizers.SGD(0.0),
        f"{sparse}categorical_crossentropy",
        metrics=["accuracy"],
        weighted_metrics=["accuracy"],
    )
    kernel, bias = model.get_weights()
    logits = torch.from_numpy(X @ kernel + bias)
    return model, -logits.log_softmax(-1).numpy()[np.arange(ROWS), LABELS]


@pytest.mark.filterwarnings("ignore:.*no weight for the classes")
@pytest.mark.parametrize("targets", TARGETS)
@pytest.mark.parametrize("kind", CLASS_KINDS)
def test_classes_weigh_as_they_are_told(kind: str, targets: str) -> None:
    model, losses = classifier(targets)
    right = model.predict(X, verbose=0).argmax(1) == LABELS
    weights = WEIGHTS * OF_CLASS
    expected = {
        "loss": np.mean(losses * weights),
        "accuracy": np.mean(right),
        "weighted_accuracy": np.average(right, weights=weights),
    }
    data = (*float32(X), TARGETS[targets](), *float32(WEIGHTS))
    before, listed = copy.deepcopy(data), dict(CLASS_WEIGHT)
    for _ in range(2):
        history = model.fit(
            **CLASS_KINDS[kind](*data), class_weight=listed, verbose=0
        ).history
        found = {name: values[0] for name, values in history.items()}
        assert found == pytest.approx(expected, rel=1e-4)
    for array, old in zip(data, before, strict=True):
        np.testing.assert_array_equal(array, old)
    assert listed == CLASS_WEIGHT


@pytest.mark.filterwarnings("ignore:.*no weight for the classes")
@pytest.mark.parametrize("targets", TARGETS)
@pytest.mark.parametrize("weighted", [True, False])
def test_classes_weigh_in_a_single_batch_too(targets: str, weighted: bool) -> None:
    model, losses = classifier(targets)
    weights = WEIGHTS * OF_CLASS if weighted else OF_CLASS
    sample_weight = WEIGHTS.astype("float32") if weighted else None
    y = TARGETS[targets]()
    for _ in range(2):
        results = model.train_on_batch(
            X, y, sample_weight, class_weight=CLASS_WEIGHT, return_dict=True
        )
        assert results["loss"] == pytest.approx(np.mean(losses * weights), rel=1e-4)
    np.testing.assert_array_equal(y, TARGETS[targets]())
    if sample_weight is not None:
        np.testing.assert_array_equal(sample_weight, WEIGHTS.astype("float32"))


# Precision


@pytest.fixture
def double() -> Iterator[None]:
    config.set_floatx("float64")
    yield
    config.set_floatx("float32")


@pytest.mark.usefixtures("double")
@pytest.mark.parametrize("kind", KINDS)
def test_data_are_of_the_dtype_that_was_set(kind: str) -> None:
    model = model_for(kind)
    model.compile(optimizers.SGD(RATE), "mse")
    loop = Loop(model)
    dtypes = set()
    model.register_forward_pre_hook(
        lambda module, args: dtypes.update(v.dtype for v in flat(args[0]))
    )
    model.fit(
        **KINDS[kind](), shuffle=False, verbose=0, **steps_for(kind, "steps_per_epoch")
    )
    given = {k: v for k, v in KINDS[kind]().items() if k in ("x", "batch_size")}
    outputs = model.predict(**given, **steps_for(kind), verbose=0)
    assert dtypes == {torch.float64}
    assert outputs.dtype == np.float64
    assert all(weight.dtype == np.float64 for weight in model.get_weights())
    loop.epoch(IN_ORDER)
    exact = kind in ("arrays of float64", "lists", "strided")
    expected = loop.outputs(list(range(ROWS))).detach().numpy()
    np.testing.assert_allclose(outputs, expected, rtol=1e-12 if exact else 1e-4)
