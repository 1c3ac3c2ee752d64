"""What is wrong with the values of data is found on the host, before a step.

Labels and indices outside their range, labels that are no whole numbers and weights
that are not finite: whatever the data is, the output (or layer), the value and the row
of the data are named, and nothing has changed.
"""

import contextlib
import dataclasses
import functools
from collections.abc import Callable, Generator, Iterator
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils.data import (
    DataLoader,
    Dataset,
    IterableDataset,
    TensorDataset,
)

from torchkeras import Input, callbacks, layers, losses, utils
from torchkeras.models import Model, Sequential
from torchkeras.training.arrays import ClassWeights
from torchkeras.training.data import Batches, Check, as_batches
from torchkeras.training.objective import get_loss
from torchkeras.training.validation import Target

ROWS, WRONG = 12, 7
X = np.linspace(-1, 1, ROWS * 4, dtype="float32").reshape(ROWS, 4)
IDS = np.arange(ROWS * 2).reshape(ROWS, 2) % 5
LABELS = np.arange(ROWS) % 3
SPARSE = "sparse_categorical_crossentropy"


def with_wrong(values: np.ndarray, wrong: Any) -> np.ndarray:
    """Return values of which the one of row 7 is wrong."""
    made = values.astype("float64" if isinstance(wrong, float) else "int64")
    made[(WRONG, *[-1] * (made.ndim - 1))] = wrong
    return made


# Models


def plain(loss: Any = SPARSE) -> Model:
    model = Sequential([layers.Input((4,)), layers.Dense(3, "softmax", name="a")])
    model.compile("sgd", loss)
    return model


def unbuilt(loss: Any = SPARSE) -> Model:
    model = Sequential([layers.Dense(3, "softmax", name="a")])
    model.compile("sgd", loss)
    return model


def functional(loss: Any = SPARSE) -> Model:
    inputs = Input((4,))
    model = Model(inputs, layers.Dense(3, "softmax", name="a")(inputs))
    model.compile("sgd", loss)
    return model


class Own(Model):
    """Has batch normalization and dropout, which are not the same in training."""

    def __init__(self) -> None:
        super().__init__()
        self.norm = layers.BatchNormalization()
        self.drop = layers.Dropout(0.5)
        self.dense = layers.Dense(3, "softmax")

    def call(self, inputs: Any) -> Any:
        return self.dense(self.drop(self.norm(inputs)))


def subclassed(loss: Any = SPARSE) -> Model:
    model = Own()
    model(torch.zeros(1, 4))
    model.compile("sgd", loss)
    return model


def subclassed_unbuilt(loss: Any = SPARSE) -> Model:
    model = Own()
    model.compile("sgd", loss)
    return model


MODELS = {
    f.__name__: f for f in (plain, unbuilt, functional, subclassed, subclassed_unbuilt)
}

# Data


@dataclasses.dataclass
class Rows(Dataset):
    arrays: tuple[np.ndarray, ...]

    def __len__(self) -> int:
        return ROWS

    def __getitem__(self, index: int) -> tuple[np.ndarray, ...]:
        return tuple(array[index] for array in self.arrays)


class Streamed(IterableDataset):
    def __init__(self, *arrays: np.ndarray) -> None:
        self.arrays = arrays

    def __iter__(self) -> Iterator[Any]:
        return parts(*self.arrays)


class Batched(utils.PyDataset):
    def __init__(self, *arrays: np.ndarray, **options: Any) -> None:
        super().__init__(**options)
        self.parts = list(parts(*arrays))

    def __len__(self) -> int:
        return len(self.parts)

    def __getitem__(self, index: int) -> Any:
        return self.parts[index]


def parts(*arrays: np.ndarray) -> Iterator[tuple[np.ndarray, ...]]:
    for begin in range(0, ROWS, 5):
        yield tuple(array[begin : begin + 5] for array in arrays)


def tensors(*arrays: np.ndarray) -> tuple[Tensor, ...]:
    return tuple(torch.as_tensor(array) for array in arrays)


WHOLE = f"row {WRONG} of the data"
IN_ORDER = rf"row {WRONG} of the data \(row 2 of batch 1\)"
OF_BATCH = "row 2 of batch 1 of the data"
#: How data is given, and how the row that is wrong is named.
DATA: dict[str, tuple[Callable[..., tuple[Any, ...]], str]] = {
    "arrays": (lambda *a: a, WHOLE),
    "tensors": (tensors, WHOLE),
    "lists": (lambda *a: tuple(array.tolist() for array in a), WHOLE),
    "tables": (lambda x, *a: (pd.DataFrame(x), *map(pd.Series, a)), WHOLE),
    "tensor dataset": (lambda *a: (TensorDataset(*tensors(*a)),), WHOLE),
    "dataset": (lambda *a: (Rows(a),), WHOLE),
    "generator": (lambda *a: (parts(*a),), IN_ORDER),
    "PyDataset": (lambda *a: (Batched(*a),), OF_BATCH),
    "threads": (lambda *a: (Batched(*a, workers=2),), OF_BATCH),
    "loader": (lambda *a: (DataLoader(Rows(a), 5),), IN_ORDER),
    "loader of batches": (lambda *a: (DataLoader(Streamed(*a), None),), IN_ORDER),
    "shuffled loader": (
        lambda *a: (DataLoader(Rows(a), 5, shuffle=True),),
        r"row \d of batch \d of the data",
    ),
    "pipeline": (
        lambda *a: (utils.Dataset.from_tensor_slices(a).batch(5),),
        OF_BATCH,
    ),
    "iterable dataset": (lambda *a: (Streamed(*a),), IN_ORDER),
}
#: The values that no label and no weight has, and how they are written.
WRONG_LABELS: dict[str, Any] = {"5": 5, "-1": -1, "0.5": 0.5, "nan": float("nan")}


@contextlib.contextmanager
def refused(model: Model, match: str, begun: bool = False) -> Generator[Any]:
    """Expect an error; but for batches before the wrong one the model is as it was."""
    built, training = model.built, model.training
    before = [w.copy() for w in model.get_weights()]
    steps = int(model.optimizer.iterations)
    with pytest.raises(ValueError, match=match) as caught:
        yield caught
    assert len(str(caught.value)) < 800
    assert model.training == training
    if begun:
        return
    assert int(model.optimizer.iterations) == steps
    if built:
        for now, old in zip(model.get_weights(), before, strict=True):
            np.testing.assert_array_equal(now, old)


class NoSteps(callbacks.Callback):
    """Fails when anything has begun."""

    def on_train_begin(self, logs: Any = None) -> None:
        raise AssertionError("training began")


def begins(kind: str) -> bool:
    """Say whether batches come one by one, so that some are trained on."""
    return kind not in ("arrays", "tensors", "lists", "tables", "tensor dataset")


def message(value: str, where: str, output: str = "a", loss: str = SPARSE) -> str:
    return (
        f"^{loss}: labels must be whole numbers from 0 to 2, as the output '{output}' "
        f"has 3 classes, got {value} in {where}"
    )


@pytest.mark.parametrize("value", WRONG_LABELS)
@pytest.mark.parametrize("kind", DATA)
def test_labels_of_every_kind_of_data(kind: str, value: str) -> None:  # A9, A10
    make, where = DATA[kind]
    labels = with_wrong(LABELS, WRONG_LABELS[value])
    model = plain()
    with refused(model, message(value, where), begins(kind)):
        model.fit(*make(X, labels), shuffle=False, verbose=0)
    with refused(model, message(value, where)):
        model.evaluate(*make(X, labels), verbose=0)
    if kind in ("lists", "generator"):
        return
    named = where.replace("the data", "`validation_data`")
    given: Any = make(X, labels)
    with refused(plain(), message(value, named)):
        plain().fit(
            X, LABELS, verbose=0, validation_data=given if len(given) > 1 else given[0]
        )


@pytest.mark.parametrize("kind", ["arrays", "tensors", "dataset", "tensor dataset"])
def test_the_row_is_that_of_the_data_where_we_shuffle(kind: str) -> None:
    make, where = DATA[kind]
    for wrong, value in ((5, "5"), (0.5, "0.5")):
        model = plain()
        with refused(model, message(value, where), begins(kind)):
            model.fit(*make(X, with_wrong(LABELS, wrong)), batch_size=3, verbose=0)


def test_the_batch_is_that_of_the_data_where_we_shuffle() -> None:
    model = plain()
    with refused(model, message("5", OF_BATCH), begun=True):
        model.fit(Batched(X, with_wrong(LABELS, 5)), shuffle=True, verbose=0)


def test_the_row_of_a_validation_split_is_that_of_the_data() -> None:
    model = plain()
    with refused(model, message("5", WHOLE)):
        model.fit(X, with_wrong(LABELS, 5), validation_split=0.6, verbose=0)


@pytest.mark.parametrize("method", ["train_on_batch", "test_on_batch"])
@pytest.mark.parametrize("make", MODELS)
def test_labels_of_single_batches(method: str, make: str) -> None:
    model = MODELS[make]()
    name = "output_0" if make.startswith("subclassed") else "a"
    with refused(model, message("5", WHOLE, name)):
        getattr(model, method)(X, with_wrong(LABELS, 5))


@pytest.mark.parametrize("kind", ["arrays", "generator", "dataset"])
@pytest.mark.parametrize("make", MODELS)
def test_labels_of_every_model(make: str, kind: str) -> None:
    data, where = DATA[kind]
    model = MODELS[make]()
    name = "output_0" if make.startswith("subclassed") else "a"
    with refused(model, message("5", where, name), begins(kind)):
        model.fit(*data(X, with_wrong(LABELS, 5)), shuffle=False, verbose=0)
    model.fit(X, LABELS, verbose=0)  # it goes on


LOSSES: dict[str, Callable[[], Any]] = {
    SPARSE: lambda: SPARSE,
    "object": losses.SparseCategoricalCrossentropy,
    "crossentropy": lambda: "crossentropy",
    "function": lambda: losses.sparse_categorical_crossentropy,
    "generalized": losses.CategoricalGeneralizedCrossEntropy,
    "torch": torch.nn.CrossEntropyLoss,
    "torch function": lambda: torch.nn.functional.cross_entropy,
    "torch nll": torch.nn.NLLLoss,
    "torch margin": torch.nn.MultiMarginLoss,
}


@pytest.mark.filterwarnings("ignore:The output 'a' is a softmax")
@pytest.mark.parametrize("value", ["5", "0.5"])
@pytest.mark.parametrize("name", LOSSES)
def test_every_loss_of_labels(name: str, value: str) -> None:
    model = plain(LOSSES[name]())
    with refused(model, f"got {value} in {WHOLE}"):
        model.fit(X, with_wrong(LABELS, WRONG_LABELS[value]), verbose=0)


def test_ctc_labels_are_checked() -> None:
    model = Sequential([layers.Input((6, 4)), layers.Dense(3)])
    model.compile("sgd", "ctc")
    x, labels = np.zeros((ROWS, 6, 4)), np.ones((ROWS, 2), "int64")
    labels[WRONG, 1] = 3
    with refused(model, rf"^ctc: .* got 3 in {WHOLE}, at \(1,\) in it"):
        model.fit(x, labels, verbose=0)


@pytest.mark.filterwarnings("ignore:The output 'a' is a softmax")
def test_labels_that_stand_for_no_class_pass() -> None:
    labels = with_wrong(LABELS, -1)
    for loss in (
        losses.SparseCategoricalCrossentropy(ignore_class=-1),
        torch.nn.CrossEntropyLoss(ignore_index=-1),
    ):
        for make, _ in DATA.values():
            plain(loss).fit(*make(X, labels), verbose=0)
    torchs = with_wrong(LABELS, -100)
    plain(torch.nn.CrossEntropyLoss()).fit(X, torchs, verbose=0)
    with pytest.raises(ValueError, match="got -2 in"):
        plain(losses.SparseCategoricalCrossentropy(ignore_class=-1)).fit(
            X, with_wrong(LABELS, -2), verbose=0
        )


class Masked(losses.SparseCategoricalCrossentropy):
    """Has a use of its own for labels below 0."""

    def call(self, y_true: Any, y_pred: Any) -> Any:
        return super().call(y_true.clamp(min=0), y_pred) * (y_true >= 0)


def by_hand(y_true: Any, y_pred: Any) -> Any:
    return losses.sparse_categorical_crossentropy(y_true.clamp(min=0), y_pred)


@pytest.mark.parametrize("loss", [Masked(), by_hand], ids=["class", "function"])
def test_labels_of_a_loss_of_ones_own_are_its_own_affair(loss: Any) -> None:
    model = plain(loss)
    model.fit(X, with_wrong(LABELS, -1), verbose=0)
    model.fit(parts(X, with_wrong(LABELS, -1)), verbose=0)


@pytest.mark.parametrize("dtype", ["bool", "uint8", "int8", "uint16", "int32", "uint32",
                                   "uint64", "float16", "float32"])  # fmt: skip
def test_labels_of_every_dtype(dtype: str) -> None:
    model = plain()
    model.fit(X, (LABELS % 2).astype(dtype), verbose=0)
    if dtype != "bool":
        with refused_later(f"got 5 in {WHOLE}"):
            model.fit(X, with_wrong(LABELS, 5).astype(dtype), verbose=0)


def refused_later(match: str) -> Any:
    return pytest.raises(ValueError, match=match)


def test_labels_in_images_name_the_position() -> None:
    model = Sequential([layers.Input((4, 2)), layers.Dense(3, "softmax", name="a")])
    model.compile("sgd", SPARSE)
    labels = np.zeros((ROWS, 4), int)
    labels[WRONG, 2] = 9
    with refused(model, rf"got 9 in {WHOLE}, at \(2,\) in it"):
        model.fit(np.zeros((ROWS, 4, 2)), labels, verbose=0)
    model.fit(np.zeros((ROWS, 4, 2)), labels[:, :, None] % 3, verbose=0)


# Several outputs


def two(loss: Any = SPARSE) -> Model:
    inputs = Input((4,))
    heads = [layers.Dense(3, "softmax", name=name)(inputs) for name in "ab"]
    model = Model(inputs, heads)
    model.compile("sgd", loss)
    return model


def two_in_dict() -> Model:
    inputs = Input((4,))
    heads = {n: layers.Dense(3, "softmax")(inputs) for n in "ab"}
    model = Model(inputs, heads)
    model.compile("sgd", {"b": SPARSE})
    return model


def two_subclassed() -> Model:
    class Two(Model):
        def __init__(self) -> None:
            super().__init__()
            self.heads = [layers.Dense(3, "softmax") for _ in range(2)]

        def call(self, inputs: Any) -> Any:
            return {n: head(inputs) for n, head in zip("ab", self.heads, strict=True)}

    model = Two()
    model.compile("sgd", SPARSE)
    return model


@pytest.mark.parametrize("kind", ["arrays", "generator"])
@pytest.mark.parametrize(
    ("make", "structure"),
    [
        (two, lambda a, b: [a, b]),
        (two, lambda a, b: {"a": a, "b": b}),
        (two_in_dict, lambda a, b: {"b": b}),
        (two_subclassed, lambda a, b: {"a": a, "b": b}),
    ],
    ids=["list", "dict", "one of two", "subclassed"],
)
def test_the_output_is_named(make: Any, structure: Any, kind: str) -> None:
    wrong = with_wrong(LABELS, 5)
    model = make()
    if kind == "arrays":
        with refused(model, message("5", WHOLE, "b")):
            model.fit(X, structure(LABELS, wrong), verbose=0)
    else:
        data = ((x, structure(a, b)) for x, a, b in parts(X, LABELS, wrong))
        with refused(model, message("5", IN_ORDER, "b"), begun=True):
            model.fit(data, verbose=0)


# Weights of samples

WEIGHTS = np.ones(ROWS, "float32")


@pytest.mark.parametrize("value", ["nan", "inf", "-inf"])
@pytest.mark.parametrize("kind", [k for k in DATA if k != "tables"])
def test_weights_that_are_not_finite(kind: str, value: str) -> None:
    make, where = DATA[kind]
    weights = with_wrong(WEIGHTS, float(value)).astype("float32")
    found = f"`sample_weight` must hold finite numbers, got {value} in {where}"
    for method in ("fit", "evaluate"):
        data = make(X, LABELS, weights)
        given = {"sample_weight": data[2]} if len(data) > 1 else {}
        model = plain()
        with refused(model, found, begins(kind)):
            getattr(model, method)(*data[:2], **given, verbose=0)
    with refused(plain(), found if kind == "arrays" else "finite"):
        plain().train_on_batch(X, LABELS, weights)


def test_weights_of_the_second_output() -> None:
    model = two()
    weights = with_wrong(WEIGHTS, float("nan"))
    with refused(model, rf"`sample_weight\[1\]` must hold .* got nan in {WHOLE}"):
        model.fit(X, [LABELS, LABELS], sample_weight=[WEIGHTS, weights], verbose=0)


def test_large_weights_are_finite() -> None:
    model = plain()
    model.evaluate(X, LABELS, sample_weight=np.full(ROWS, 3e38), verbose=0)


# Weights of classes


@pytest.mark.parametrize("kind", DATA)
def test_a_class_without_a_weight_is_told_of_once(kind: str) -> None:
    lacking = (
        "^fit: `class_weight` has no weight for the classes \\[1, 2\\] in the data"
    )
    data = DATA[kind][0](X, LABELS)
    with pytest.warns(UserWarning, match=lacking) as caught:
        plain().fit(*data, epochs=1, class_weight={0: 2.0}, verbose=0)
    assert len(caught) == 1
    data = DATA[kind][0](X, LABELS)
    plain().fit(*data, class_weight={0: 2.0, 1: 1.0, 2: 3.0, 9: 1.0}, verbose=0)


def test_a_class_without_a_weight_in_one_batch() -> None:
    with pytest.warns(UserWarning, match=r"^train_on_batch: .* classes \[0, 2\]"):
        plain().train_on_batch(X, LABELS, class_weight={1: 2.0})


@pytest.mark.parametrize(
    ("targets", "expected"),
    [
        ([0, 1, 2, 0], [2, 3, 4, 2]),
        ([[0], [1], [2], [0]], [2, 3, 4, 2]),
        ([[1.0, 0, 0], [0, 1, 0], [0, 0.4, 0.6], [0.5, 0.2, 0.3]], [2, 3, 4, 2]),
        ([0.2, 0.9, 1.7, 0.0], [2, 3, 4, 2]),
        ([-1, 1, -7, 0], [5, 3, 1, 2]),
    ],
    ids=["labels", "column", "one-hot", "fractions", "no class"],
)
def test_weights_of_classes_are_kerass(targets: Any, expected: Any) -> None:
    reference = pytest.importorskip("keras")
    utils = reference.src.trainers.data_adapters.data_adapter_utils
    weights = {0: 2.0, 1: 3.0, 2: 4.0, -1: 5.0}
    found = ClassWeights("fit", weights)(torch.tensor(targets))
    theirs = utils.class_weight_to_sample_weights(np.array(targets), weights)
    np.testing.assert_array_equal(found, expected)
    np.testing.assert_array_equal(theirs, expected)


def test_weights_of_large_numbers_take_no_table() -> None:
    weights = ClassWeights("fit", {0: 2.0, 10**15: 3.0})
    assert weights(torch.tensor([10**15, 0])).tolist() == [3.0, 2.0]


def test_weights_of_classes_of_several_outputs() -> None:
    with pytest.raises(ValueError, match=r"^fit: `class_weight` needs"):
        two().fit(X, [LABELS, LABELS], class_weight={0: 1.0}, verbose=0)


# Indices


def embedding_first() -> Model:
    model = Sequential([layers.Embedding(5, 3, name="table"), layers.Flatten()])
    model.add(layers.Dense(1))
    return model


def embedding_in_graph() -> Model:
    ids, other = Input((2,), dtype="int64", name="ids"), Input((4,), name="other")
    found = layers.Flatten()(layers.Embedding(5, 3, name="table")(ids))
    return Model([other, ids], layers.Dense(1)(layers.Concatenate()([found, other])))


def embedding_in_nested_graph() -> Model:
    ids = Input((2,), dtype="int64", name="ids")
    encoder = Sequential([layers.Embedding(5, 3, name="table"), layers.Flatten()])
    return Model(ids, layers.Dense(1)(encoder(ids)))


class Looking(Model):
    def __init__(self) -> None:
        super().__init__()
        self.table = layers.Embedding(5, 3, name="table")
        self.dense = layers.Dense(1)

    def call(self, inputs: Any) -> Any:
        return self.dense(self.table(inputs["ids"]).mean(1) + inputs["other"][:, :3])


ONLY = lambda ids: ids  # noqa: E731
EMBEDDED: dict[str, tuple[Callable[[], Model], Callable[[Any], Any]]] = {
    "first": (embedding_first, ONLY),
    "graph": (embedding_in_graph, lambda ids: [X[: len(ids)], ids]),
    "graph by name": (
        embedding_in_graph, lambda ids: {"ids": ids, "other": X[: len(ids)]}
    ),
    "nested": (embedding_in_nested_graph, ONLY),
    "subclassed": (Looking, lambda ids: {"other": X[: len(ids)], "ids": ids}),
}  # fmt: skip


@pytest.mark.parametrize("value", [5, 7, -1])
@pytest.mark.parametrize("name", EMBEDDED)
def test_indices_outside_the_table(name: str, value: int) -> None:  # A11
    make, structure = EMBEDDED[name]
    ids, y = with_wrong(IDS, value), np.zeros((ROWS, 1))
    found = rf"'table' \(Embedding\).*input_dim=5, got {value} in {{}}, at \(1,\) in it"

    def compiled() -> Model:
        model = make()
        model.compile("sgd", "mse")
        return model

    model = compiled()
    with refused(model, found.format(WHOLE)):
        model.fit(structure(ids), y, batch_size=3, verbose=0)
    model = compiled()
    pairs = ((structure(a), b) for a, b in parts(ids, y))
    with refused(model, found.format(IN_ORDER), begun=True):
        model.fit(pairs, verbose=0)
    with refused(model, found.format(WHOLE)):
        model.train_on_batch(structure(ids), y)
    with refused(model, found.format(WHOLE)):
        model.evaluate(structure(ids), y, verbose=0)
    with refused(model, found.format(WHOLE)):
        model.predict(structure(ids), batch_size=3, verbose=0)
    with refused(model, found.format(WHOLE)):
        model.predict_on_batch(structure(ids))
    model.fit(structure(IDS), y, verbose=0)
    model.predict(structure(IDS), verbose=0)
    model.predict_on_batch(structure(IDS))


def test_indices_of_a_model_with_a_loss_of_its_own() -> None:
    class Own(Sequential):
        def compute_loss(self, x=None, y=None, y_pred=None, sample_weight=None,
                         training=True):  # fmt: skip
            return y_pred.square().mean()

    model = Own([layers.Embedding(5, 3, name="table"), layers.Flatten()])
    model.compile("sgd", SPARSE)
    model.fit(IDS, np.full(ROWS, 99), verbose=0)
    with refused_later(f"'table'.* got 7 in {WHOLE}"):
        model.fit(with_wrong(IDS, 7), np.full(ROWS, 99), verbose=0)


def test_an_output_that_had_no_target_at_first() -> None:
    model = two()
    model.compile("sgd", {"a": SPARSE, "b": SPARSE})
    with pytest.raises(ValueError, match="'b' has a loss and no target"):
        model.fit(X, {"a": LABELS}, verbose=0)
    with refused(model, message("5", WHOLE, "b")):
        model.fit(X, {"a": LABELS, "b": with_wrong(LABELS, 5)}, verbose=0)


# Shapes of targets

WIDE = np.zeros((ROWS, 3), "float32")


def regressor(loss: Any, names: str = "ab") -> Model:
    inputs = Input((4,))
    hidden = layers.BatchNormalization()(inputs)
    heads = [layers.Dense(2, name=name)(hidden) for name in names]
    model = Model(inputs, heads)
    model.compile("sgd", loss, metrics=[["mae"]] * len(names))
    return model


NAMES = """
    MeanSquaredError MeanAbsoluteError BinaryCrossentropy Huber LogCosh Hinge Poisson
    CategoricalCrossentropy KLDivergence CosineSimilarity BinaryFocalCrossentropy Dice
    Tversky SquaredHinge MeanAbsolutePercentageError MeanSquaredLogarithmicError
""".split()
SHAPED = {name: getattr(losses, name) for name in NAMES} | {
    "torch": torch.nn.MSELoss,
    "torch huber": torch.nn.HuberLoss,
}


@pytest.mark.filterwarnings("ignore:Using a target size")
@pytest.mark.parametrize("kind", ["arrays", "generator", "loader"])
@pytest.mark.parametrize("name", SHAPED)
def test_targets_of_another_shape(name: str, kind: str) -> None:  # A12
    model = regressor(SHAPED[name]())
    rows = ROWS if kind == "arrays" else 5
    right = np.zeros((ROWS, 2), "float32")
    batches: Any = [(x, [a, b]) for x, a, b in parts(X, right, WIDE)]
    data: tuple[Any, ...] = {
        "arrays": (X, [right, WIDE]),
        "generator": (iter(batches),),
        "loader": (DataLoader(batches, None),),
    }[kind]
    shapes = rf"\({rows}, 3\).*\({rows}, 2\)|\({rows}, 2\).*\({rows}, 3\)"
    with refused(model, shapes) as caught:
        model.fit(*data, callbacks=[NoSteps()], verbose=0)
    text = str(caught.value)
    assert "output 'b'" in text or "output is 'b'" in text
    assert model.history is None


def test_weights_of_another_shape() -> None:
    model = regressor("mse")
    y = np.zeros((ROWS, 2))
    weights = [np.ones(ROWS), np.ones((ROWS, 7))]
    with refused(model, r"sample_weight.*\(12, 7\).*output is 'b'"):
        model.fit(X, [y, y], sample_weight=weights, callbacks=[NoSteps()], verbose=0)


def test_an_output_without_loss_has_any_target() -> None:
    model = regressor("mse")
    model.compile("sgd", ["mse", None])
    model.fit(X, [np.zeros((ROWS, 2)), WIDE], verbose=0)


def test_a_loss_of_ones_own_is_not_tried() -> None:
    calls: list[int] = []

    def own(y_true: Any, y_pred: Any) -> Any:
        calls.append(len(y_true))
        return (y_true[:, :2] - y_pred).square()

    model = regressor(own, "a")
    model.compile("sgd", own)
    model.fit(X, WIDE, batch_size=6, verbose=0)
    assert calls == [6, 6]


class Wide(Model):
    def __init__(self) -> None:
        super().__init__()
        self.dense = layers.Dense(2, name="d")

    def call(self, inputs: Any) -> Any:
        return self.dense(inputs)


@pytest.mark.parametrize("held", ["weight", "dtype", "keyword"])
def test_a_loss_that_holds_tensors_is_not_tried(held: str) -> None:
    """They may be on the device that the data is moved to later on."""
    loss: Any = torch.nn.CrossEntropyLoss(torch.ones(3, device="meta"))
    if held == "dtype":
        loss = torch.nn.CrossEntropyLoss(torch.ones(3, dtype=torch.float64))
    elif held == "keyword":
        function = torch.nn.functional.cross_entropy
        loss = functools.partial(function, weight=torch.ones(3, device="meta"))
    made = get_loss(loss, None, None)
    assert made is not None
    taken = Target("a", (None, 3), made, set())
    taken.try_shapes(torch.zeros(ROWS, dtype=torch.int64), None)
    with pytest.raises(ValueError, match="got 5 in row 1"):
        taken.check(torch.tensor([0, 5]), "row {}".format)


def test_what_is_found_in_the_step_names_the_output_or_the_metric() -> None:
    model = Wide()
    model(torch.zeros(1, 4))
    model.compile("sgd", "mse")
    with pytest.raises(ValueError, match=r"(.|\n)*by the loss of 'output_0'"):
        model.fit(X, WIDE, verbose=0)
    model.compile("sgd", lambda y, p: p.mean(-1), metrics=["mae"])
    with pytest.raises(ValueError, match=r"(.|\n)*by the metric 'mae' of 'output_0'"):
        model.fit(X, WIDE, verbose=0)


# Where, when and how often


@pytest.mark.parametrize("kind", ["arrays", "generator", "loader", "dataset"])
def test_the_first_batch_is_checked_before_training_begins(kind: str) -> None:
    model = plain()
    wrong = np.full(ROWS, 5)
    with refused(model, "row 0 of|row \\d+ of"):
        model.fit(*DATA[kind][0](X, wrong), callbacks=[NoSteps()], verbose=0)


class Reads(TorchDispatchMode):
    """Counts how often values of a tensor as large as all of the data are read."""

    def __init__(self, size: int) -> None:
        super().__init__()
        self.size = size
        self.count = 0

    def __torch_dispatch__(
        self, func: Any, types: Any, args: Any = (), kwargs: Any = None
    ) -> Any:
        if func.__name__.split(".")[0] == "aminmax":
            self.count += args[0].numel() == self.size
        return func(*args, **(kwargs or {}))


def test_arrays_are_checked_once_and_batches_as_they_come() -> None:
    model = plain()
    model.fit(X, LABELS, verbose=0)
    with Reads(ROWS) as reads:
        model.fit(X, LABELS, batch_size=4, epochs=3, verbose=0)
    assert reads.count == 1
    loader = DataLoader(Rows((X, LABELS)), 4)
    with Reads(4) as reads:
        model.fit(loader, epochs=3, verbose=0)
    assert reads.count == 3 * 3


def run(batches: Batches, check: Check) -> None:
    batches.check_with(check)
    list(batches)


@pytest.mark.parametrize("kind", ["arrays", "generator"])
def test_data_for_an_accelerator_is_checked_on_the_host(kind: str) -> None:
    """A wrong index in a kernel of an accelerator would end its use in this process."""
    model = plain()
    model.fit(X, LABELS, verbose=0)
    assert model._compiled is not None
    checks = model._compiled.checks
    assert checks is not None
    make, where = DATA[kind]
    seen: list[str] = []

    def check(batch: Any, place: Any) -> None:
        seen.extend(t.device.type for t in batch if t is not None)
        checks(model, batch, place)

    wrong = as_batches(*make(X, with_wrong(LABELS, 5)), device=torch.device("meta"))
    with pytest.raises(ValueError, match=f"got 5 in {where}"):
        run(wrong, check)
    assert set(seen) == {"cpu"}
    fine = as_batches(*make(X, LABELS), device=torch.device("meta"))
    fine.check_with(check)
    assert {t.device.type for batch in fine for t in batch} == {"meta"}


def test_what_lives_on_an_accelerator_is_not_read() -> None:
    """To look at it would wait for the device."""
    model = plain()
    model.fit(X, LABELS, verbose=0)
    assert model._compiled is not None
    checks = model._compiled.checks
    assert checks is not None
    there = (torch.zeros(3, 4, device="meta"), torch.zeros(3, device="meta"))
    checks(model, (*there, torch.ones(3, device="meta")), str)
    table = embedding_first()
    table.compile("sgd", "mse")
    table.fit(IDS, np.zeros((ROWS, 1)), verbose=0)
    assert table._compiled is not None
    assert table._compiled.checks is not None
    table._compiled.checks(table, (torch.zeros(3, 2, device="meta"), None, None), str)


def test_another_last_layer_has_other_classes() -> None:
    model = plain()
    model.fit(X, LABELS, verbose=0)
    assert isinstance(model, Sequential)
    model.pop()
    model.add(layers.Dense(6, "softmax"))
    model.compile("sgd", SPARSE)
    model.fit(X, with_wrong(LABELS, 5), verbose=0)


def test_a_step_of_ones_own_makes_of_targets_what_it_likes() -> None:
    class Stepping(Sequential):
        def train_step(self, data: Any) -> Any:
            x, (labels, _) = data
            return super().train_step((x, labels))

    model = Stepping([layers.Input((4,)), layers.Dense(3, "softmax")])
    model.compile("sgd", SPARSE)
    model.fit(X, [LABELS, np.full(ROWS, 9)], verbose=0)
    fresh = Own()
    fresh.compile("sgd", SPARSE)
    fresh.fit(X, LABELS, verbose=0)


def test_a_run_to_look_at_outputs_changes_nothing() -> None:
    """Labels of a model that is not a graph are known after a run on a batch."""
    calls: list[bool] = []

    class Counting(Own):
        def call(self, inputs: Any) -> Any:
            calls.append(self.training)
            return super().call(inputs)

    torch.manual_seed(0)
    model = Counting()
    model(torch.zeros(1, 4))
    model.compile("sgd", SPARSE)
    del calls[:]
    model.fit(X, LABELS, batch_size=6, epochs=2, verbose=0)
    assert calls == [False, True, True, True, True]
    model.fit(X, LABELS, batch_size=6, verbose=0)
    assert calls[5:] == [True, True]
    model.compile("sgd", "mse")
    model.fit(X, X[:, :3], batch_size=6, verbose=0)
    assert calls[7:] == [True, True]
