"""`FeatureSpace`: columns encoded as their layers do, joined in Keras's order."""

import inspect
import subprocess
import sys

import keras
import numpy as np
import pandas as pd
import pytest
import torch
from torch.utils.data import DataLoader

from torchkeras import layers, models
from torchkeras.utils import Dataset, FeatureSpace

ROWS = 40


def table(rows=ROWS):
    random = np.random.RandomState(0)
    return {
        "age": random.randint(20, 70, rows),
        "city": random.choice(["Rome", "Oslo", "Bonn"], rows),
        "code": random.choice([7, 11, 13], rows),
        "height": random.normal(170, 10, rows),
        "weight": random.normal(70, 10, rows).astype("float32"),
    }


def first(rows, data=None):
    return {name: column[:rows] for name, column in (data or table()).items()}


FEATURES = {
    "weight": "float_normalized",
    "height": FeatureSpace.float_rescaled(scale=0.01),
    "code": "integer_categorical",
    "city": "string_categorical",
    "age": FeatureSpace.float_discretized(num_bins=3),
}


def space(**options):
    return FeatureSpace({**FEATURES}, **options)


@pytest.fixture(scope="module")
def adapted():
    features = {name: value for name, value in FEATURES.items() if name != "age"}
    bins = FeatureSpace.float_discretized(num_bins=3, bin_boundaries=[30.0, 50.0])
    made = FeatureSpace(features | {"age": bins}, crosses=[("city", "code")])
    made.adapt(table())
    return made


def one_hot(values, known):
    return np.array([[v == k for k in known] for v in values], "float32")


def by_frequency(values):
    """Tokens, the most frequent one first, the larger one of equal ones."""
    counts = {v: int((values == v).sum()) for v in sorted(set(values.tolist()))}
    return sorted(counts, key=lambda v: (counts[v], v), reverse=True)


def test_numbers(adapted):
    data = table()
    outputs = adapted(data).numpy()
    bins = np.digitize(data["age"], [30, 50])
    weight = data["weight"]
    expected = [
        one_hot(bins, range(3)),
        one_hot(data["city"], ["?", *by_frequency(data["city"])]),
        one_hot(data["code"], ["?", *by_frequency(data["code"])]),
        data["height"][:, None] * 0.01,
        ((weight - weight.mean()) / weight.std())[:, None],
    ]
    plain = np.concatenate(expected, 1)  # in the order of names, then the crosses
    np.testing.assert_allclose(outputs[:, :-32], plain, atol=1e-5)
    crossed = outputs[:, -32:]
    assert (crossed.sum(1) == 1).all()
    pairs = list(zip(data["city"], data["code"], strict=True))
    for i, j in ((0, k) for k in range(1, ROWS)):
        if pairs[i] == pairs[j]:
            assert (crossed[i] == crossed[j]).all()
    assert len({tuple(row) for row in crossed}) > 4


def test_unknown_values(adapted):
    row = {"age": 10.0, "city": "Bern", "code": 17, "height": 100.0, "weight": 0.0}
    assert adapted(row)[:11].tolist() == [1, 0, 0, 1, 0, 0, 0, 1, 0, 0, 0]


def test_kinds_of_columns(adapted):
    data = first(5)
    expected = adapted(data)
    frame = pd.DataFrame(table()).head(5)
    tensors = {
        name: column if name == "city" else torch.tensor(column)[:, None]
        for name, column in data.items()
    }
    for columns in (
        {name: column.tolist() for name, column in data.items()},
        {name: frame[name] for name in frame},
        tensors,
    ):
        torch.testing.assert_close(adapted(columns), expected)
    for row in range(2):
        single = {name: column[row] for name, column in data.items()}
        torch.testing.assert_close(adapted(single), expected[row])


@pytest.mark.parametrize(
    "data",
    [
        lambda: Dataset.from_tensor_slices(table()),
        lambda: Dataset.from_tensor_slices(table()).batch(7),
        lambda: Dataset.from_tensor_slices((table(), np.zeros(ROWS))).batch(7),
        lambda: (first(ROWS) for _ in range(1)),
        lambda: DataLoader(Dataset.from_tensor_slices(table()).to_torch(), 8),
    ],
    ids=["rows", "batches", "with targets", "generator", "loader"],
)
def test_adapt_takes_data_of_every_kind(data):
    mine, other = space(), space()
    mine.adapt(data())
    other.adapt(table())
    torch.testing.assert_close(mine(first(4)), other(first(4)))
    data_set = Dataset.from_tensor_slices(first(4)).batch(3).map(mine)
    torch.testing.assert_close(torch.cat(list(data_set)), other(first(4)))


def test_to_adapt_again_forgets():
    mine = space()
    mine.adapt(table())
    before = mine(first(3)).shape
    data = table() | {"city": np.array(["Kyiv", "Lima"] * (ROWS // 2))}
    mine.adapt(data)
    assert mine(first(3, data)).shape[1] == before[1] - 1
    assert mine.get_encoded_features().shape == (None, before[1] - 1)


def test_dict():
    mine = space(
        output_mode="dict",
        crosses=[FeatureSpace.cross(("city", "code"), 8, output_mode="int")],
    )
    mine.adapt(table())
    outputs = mine(first(6))
    assert {name: tuple(x.shape) for name, x in outputs.items()} == {
        "age": (6, 3),
        "city": (6, 4),
        "code": (6, 4),
        "height": (6, 1),
        "weight": (6, 1),
        "city_X_code": (6, 1),
    }
    assert int(outputs["city_X_code"].max()) < 8
    single = mine({name: column[0] for name, column in table().items()})
    assert single["city"].shape == (4,)


def test_every_kind_of_feature():
    kinds = {
        "float": ("weight", 1),
        "float_normalized": ("weight", 1),
        "float_rescaled": ("weight", 1),
        "float_discretized": ("weight", 5),
        "integer_categorical": ("code", 4),
        "integer_hashed": ("code", 9),
        "string_categorical": ("city", 4),
        "string_hashed": ("city", 9),
    }
    data = table()
    for kind, (column, width) in kinds.items():
        mine = FeatureSpace({column: kind}, hashing_dim=9, num_discretization_bins=5)
        mine.adapt(data)
        assert mine(first(3)).shape == (3, width), kind


def test_what_needs_nothing_learned_needs_no_adapt():
    mine = FeatureSpace(
        {
            "weight": FeatureSpace.float(),
            "city": FeatureSpace.string_hashed(4),
            "code": FeatureSpace.feature(
                "int32", layers.IntegerLookup(vocabulary=[7, 11]), "one_hot"
            ),
        }
    )
    assert mine(first(3)).shape == (3, 8)


def test_layers_of_ones_own():
    doubled = layers.Lambda(lambda x: 2 * x)
    mine = FeatureSpace({"height": FeatureSpace.feature("float32", doubled, "float")})
    np.testing.assert_allclose(
        mine(first(3)).numpy()[:, 0], 2 * table()["height"][:3], rtol=1e-6
    )


def test_models(adapted):
    data = table()
    features = adapted.get_encoded_features()
    outputs = layers.Dense(1, activation="sigmoid")(features)
    training_model = models.Model(features, outputs)
    inference_model = models.Model(adapted.get_inputs(), outputs)
    training_model.compile("adam", "binary_crossentropy")
    targets = (data["age"] > 45).astype("float32")[:, None]
    rows = Dataset.from_tensor_slices((data, targets)).batch(8)
    history = training_model.fit(
        rows.map(lambda x, y: (adapted(x), y)), epochs=3, verbose=0
    ).history
    assert history["loss"][-1] < history["loss"][0]
    np.testing.assert_allclose(
        inference_model.predict(data, verbose=0),
        training_model.predict(adapted(data), verbose=0),
        atol=1e-6,
    )


def test_files(adapted, tmp_path):
    path = tmp_path / "space.keras"
    adapted.save(path)
    loaded = models.load_model(path)
    assert isinstance(loaded, FeatureSpace)
    torch.testing.assert_close(loaded(first(9)), adapted(first(9)))
    assert loaded.get_encoded_features().shape == adapted.get_encoded_features().shape
    script = (
        "import torchkeras; "
        f"print(torchkeras.models.load_model({str(path)!r}).output_mode)"
    )
    done = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True, check=True
    )
    assert done.stdout == "concat\n"


def test_one_that_learned_nothing_yet_travels_too(tmp_path):
    with pytest.warns(UserWarning, match="is not built: the file will hold no weights"):
        space().save(tmp_path / "space.keras")
    loaded = models.load_model(tmp_path / "space.keras")
    with pytest.raises(ValueError, match="must know its columns first"):
        loaded(table())
    loaded.adapt(table())
    assert loaded(first(2)).shape == (2, 13)


def test_a_learned_discretization_travels(tmp_path):
    mine = space(output_mode="dict", crosses=[("age", "city")], crossing_dim=5)
    mine.adapt(table())
    mine.save(tmp_path / "space.keras")
    loaded = models.load_model(tmp_path / "space.keras")
    for name, value in mine(first(9)).items():
        torch.testing.assert_close(loaded(first(9))[name], value)


def test_config():
    mine = space(crosses=[("city", "code")], hashing_dim=7, name="rows")
    again = FeatureSpace.from_config(mine.get_config())
    assert again.name == "rows"
    assert again.hashing_dim == 7
    assert [cross.name for cross in again.crosses] == ["city_X_code"]
    assert {n: f.dtype for n, f in again.features.items()} == {
        n: f.dtype for n, f in mine.features.items()
    }


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: FeatureSpace({}), "`features` must be a dict of at least one column"),
        (lambda: FeatureSpace({"a": "flaot"}), "Unknown kind of feature 'a': 'flaot'"),
        (
            lambda: FeatureSpace({"a": "float"}, output_mode="x"),
            "`output_mode` must be",
        ),
        (
            lambda: FeatureSpace({"a": "float"}, crosses=[("a", "b")]),
            r"got \['b'\] too",
        ),
        (lambda: FeatureSpace.cross(("a", "b"), 3, "float"), "`output_mode` must be"),
        (lambda: FeatureSpace.feature("float32", None, "x"), "`output_mode` must be"),
        (lambda: space()(table()), "must know its columns first: call `adapt"),
        (lambda: space().get_inputs(), "must know its columns first: call `adapt"),
        (lambda: space().adapt(np.zeros(3)), "a dict of columns, or an iterable of"),
        (lambda: space().adapt([np.zeros(3)]), "takes a dict of the columns"),
        (
            lambda: space().adapt({"age": [1]}),
            r"it misses \['weight', 'code', 'city'\]",
        ),
        (lambda: space().adapt([]), "`adapt` got no data"),
        (
            lambda: space().adapt(table() | {"weight": ["x"] * ROWS}),
            "the column 'weight' must hold numbers",
        ),
        (
            lambda: space().adapt(table() | {"code": np.full(ROWS, 0.5)}),
            "the column 'code' must hold integers",
        ),
        (
            lambda: FeatureSpace({"a": FeatureSpace.string_hashed(3, "int")})(
                {"a": "b"}
            ),
            "the feature 'a' is not encoded",
        ),
        (
            lambda: FeatureSpace(
                {"a": FeatureSpace.feature("float32", layers.Identity(), "one_hot")}
            )({"a": [1.0]}),
            "how many values Identity gives is not known",
        ),
    ],
)
def test_bad_input(make, message):
    with pytest.raises(ValueError, match=message):
        make()


def test_a_missing_column_is_told(adapted):
    with pytest.raises(ValueError, match=r"it misses \['city', 'age'\]"):
        adapted({"code": [1], "height": [1.0], "weight": [1.0]})


NAMES = [
    "cross",
    "feature",
    "float",
    "float_rescaled",
    "float_normalized",
    "float_discretized",
    "integer_categorical",
    "string_categorical",
    "string_hashed",
    "integer_hashed",
]


@pytest.mark.parametrize("name", [None, *NAMES])
def test_signatures_are_those_of_keras(name):
    def parameters(owner):
        function = owner if name is None else getattr(owner, name)
        found = inspect.signature(function).parameters.values()
        return [(p.name, p.default) for p in found]

    assert parameters(FeatureSpace) == parameters(keras.utils.FeatureSpace)
