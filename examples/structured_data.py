"""Classify the rows of a table: numbers, categories and their crosses.

The table is made here: people who apply for a loan, of whom some pay it back. Take the
columns of any table in its place, for example of a CSV file that pandas has read.

Run: ``python examples/structured_data.py``.
"""

import argparse

import numpy as np

from torchkeras import Model, layers
from torchkeras.utils import Dataset, FeatureSpace, set_random_seed, split_dataset

Columns = dict[str, np.ndarray]
JOBS = np.array(["baker", "clerk", "driver", "nurse", "teacher"])


def make_table(rows: int) -> tuple[Columns, np.ndarray]:
    """Return the columns of a table, and who pays back."""
    random = np.random.default_rng(0)
    columns = {
        "age": random.integers(18, 80, rows).astype("float32"),
        "income": random.lognormal(10, 0.5, rows).astype("float32"),
        "debt": random.exponential(8000, rows).astype("float32"),
        "job": random.choice(JOBS, rows),
        "owns_house": random.integers(0, 2, rows),
    }
    middle_aged = (columns["age"] > 30) & (columns["age"] < 60)
    score = np.log(columns["income"]) - 10 - columns["debt"] / 20_000 + middle_aged
    # What a job says depends on the house: only a cross of both tells.
    score += np.where((columns["job"] == "driver") == columns["owns_house"], 1, -1)
    score += random.normal(0, 0.3, rows)
    return columns, (score > 0.5).astype("float32")[:, None]


def main(rows: int = 4000, epochs: int = 10) -> float:
    """Train on four fifths of the rows and return the accuracy on the others."""
    set_random_seed(0)
    train, test = split_dataset(
        Dataset.from_tensor_slices(make_table(rows)),
        left_size=0.8,
        shuffle=True,
        seed=0,
    )
    space = FeatureSpace(
        {
            "age": FeatureSpace.float_discretized(num_bins=12),
            "income": "float_normalized",
            "debt": "float_normalized",
            "job": "string_categorical",
            "owns_house": "integer_categorical",
        },
        crosses=[("job", "owns_house")],
        crossing_dim=64,
    )
    space.adapt(train.batch(256))

    features = space.get_encoded_features()
    hidden = layers.Dense(32, activation="relu")(features)
    hidden = layers.Dropout(0.2)(hidden)
    outputs = layers.Dense(1, activation="sigmoid")(hidden)

    # Training takes features, which are made once; who asks later has a table.
    model = Model(features, outputs)
    model.compile("adam", "binary_crossentropy", metrics=["accuracy"])
    model.fit(
        train.batch(128).map(lambda x, y: (space(x), y)).cache(),
        validation_data=test.batch(128).map(lambda x, y: (space(x), y)).cache(),
        epochs=epochs,
    )
    for_tables = Model(space.get_inputs(), outputs)
    columns, _ = make_table(3)
    print("chances of the first three:", for_tables.predict(columns, verbose=0).ravel())
    for_tables.compile(loss="binary_crossentropy", metrics=["accuracy"])
    return for_tables.evaluate(test.batch(128))[1]


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--epochs", type=int, default=10)
    print(f"accuracy: {main(epochs=parser.parse_args().epochs):.3f}")
