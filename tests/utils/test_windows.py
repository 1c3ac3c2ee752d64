"""Windows over series and data in two parts, against few-line references."""

import inspect

import keras
import numpy as np
import pytest
import torch
from torch.utils.data import IterableDataset, TensorDataset

import torchkeras
from torchkeras import layers, models
from torchkeras.utils import Dataset, split_dataset, timeseries_dataset_from_array


@pytest.mark.parametrize("function", [timeseries_dataset_from_array, split_dataset])
def test_signatures_are_those_of_keras(function):
    mine, theirs = (
        [(p.name, p.default) for p in inspect.signature(f).parameters.values()]
        for f in (function, getattr(keras.utils, function.__name__))
    )
    assert mine == theirs


def windows_of(data, targets, length, stride, rate, begin, end):
    """All windows and targets, one after the other."""
    end = len(data) if end is None else end
    found = []
    for start in range(begin or 0, end, stride):
        steps = range(start, start + length * rate, rate)
        if steps[-1] < end and (targets is None or start < len(targets)):
            target = None if targets is None else targets[start]
            found.append((data[list(steps)], target))
    return found


@pytest.mark.parametrize(
    "options",
    [
        {},
        {"sequence_stride": 3, "sampling_rate": 2},
        {"start_index": 5},
        {"start_index": 0, "end_index": 30},
        {"start_index": 4, "end_index": 25, "sequence_stride": 2, "sampling_rate": 3},
    ],
    ids=str,
)
@pytest.mark.parametrize("delay", [None, 0, 4])
def test_windows(options, delay):
    random = np.random.RandomState(0)
    data = random.rand(40, 2).astype("float32")
    targets = None if delay is None else random.rand(40)[delay:]
    expected = windows_of(
        data,
        targets,
        5,
        options.get("sequence_stride", 1),
        options.get("sampling_rate", 1),
        options.get("start_index"),
        options.get("end_index"),
    )
    dataset = timeseries_dataset_from_array(data, targets, 5, batch_size=8, **options)
    batches = list(dataset)
    assert len(dataset) == len(batches) == -(-len(expected) // 8)
    x = torch.cat([b if targets is None else b[0] for b in batches])
    np.testing.assert_array_equal(x, np.stack([window for window, _ in expected]))
    if targets is not None:
        y = torch.cat([y for _, y in batches])
        np.testing.assert_array_equal(y, np.stack([target for _, target in expected]))
        assert y.dtype == torch.float64


def test_single_windows_and_other_data():
    letters = ["a", "b"]
    dataset = timeseries_dataset_from_array([1, 2, 3, 4], letters, 2, batch_size=None)
    assert [(x.tolist(), y) for x, y in dataset] == [([1, 2], "a"), ([2, 3], "b")]
    tensor = torch.arange(12.0).reshape(6, 2)
    (batch,) = timeseries_dataset_from_array(tensor, None, 3)
    assert batch.shape == (4, 3, 2)


def test_shuffled_windows():
    torchkeras.utils.set_random_seed(0)
    data = np.arange(50)
    for seed in (None, 3):
        dataset = timeseries_dataset_from_array(data, data, 5, shuffle=True, seed=seed)
        orders = []
        for _ in range(2):
            ((x, y),) = dataset
            assert x[:, 0].tolist() == y.tolist()
            orders.append(y.tolist())
        assert orders[0] != orders[1]
        assert sorted(orders[0]) == sorted(orders[1]) == list(range(46))


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"sequence_length": 0}, "`sequence_length` must be a positive integer"),
        ({"sequence_stride": 0}, "`sequence_stride` must be a positive integer"),
        ({"sequence_stride": 10}, "`sequence_stride` must be less than the 10 steps"),
        ({"sampling_rate": 10}, "`sampling_rate` must be less than the 10 steps"),
        ({"batch_size": 0}, "`batch_size` must be a positive integer"),
        ({"start_index": -1}, "`start_index` must be a step of the data, from 0 to 9"),
        ({"start_index": 10}, "`start_index` must be a step of the data, from 0 to 9"),
        ({"end_index": 11}, "`end_index` must be greater than .* and at most 10"),
        ({"start_index": 4, "end_index": 4}, "must be greater than `start_index`, 4"),
        ({"sequence_length": 11}, "no window of 11 steps, 1 apart, fits into the 10"),
        ({"targets": []}, "fits into the 10 steps from 0 to 10 with 0 targets"),
        ({"format": "torch"}, "`format` must be one of"),
    ],
)
def test_bad_windows(options, message):
    arguments = {"data": np.zeros(10), "targets": None, "sequence_length": 3} | options
    with pytest.raises(ValueError, match=message):
        timeseries_dataset_from_array(**arguments)


def test_windows_are_views_of_one_series():
    """A hundred thousand windows of a hundred steps take the place of the series."""
    data = np.zeros((100_000, 4), "float32")
    dataset = timeseries_dataset_from_array(data, data[:, 0], 100, batch_size=256)
    assert next(iter(dataset))[0].shape == (256, 100, 4)


def test_a_recurrent_model_learns_from_windows():
    torchkeras.utils.set_random_seed(0)
    wave = np.sin(np.arange(200) / 5).astype("float32")[:, None]
    dataset = timeseries_dataset_from_array(
        wave[:-8], wave[8:], 8, batch_size=32, shuffle=True, seed=0
    )
    model = models.Sequential([layers.GRU(8), layers.Dense(1)])
    model.compile("adam", "mse")
    losses = model.fit(dataset, epochs=5, verbose=0).history["loss"]
    assert losses[-1] < losses[0] * 0.8


# Two parts


def listed(dataset):
    return [tree(element) for element in dataset]


def tree(element):
    if isinstance(element, tuple):
        return tuple(map(tree, element))
    return element.tolist() if hasattr(element, "tolist") else element


@pytest.mark.parametrize(
    ("left", "right", "sizes"),
    [
        (0.8, None, (8, 2)),
        (None, 0.3, (7, 3)),
        (7, None, (7, 3)),
        (None, 1, (9, 1)),
        (2, 3, (2, 3)),
        (0.5, 0.25, (5, 2)),
        (0.5, 2, (5, 2)),
    ],
)
def test_sizes_of_parts(left, right, sizes):
    first, second = split_dataset(np.arange(10), left, right)
    assert (len(first), len(second)) == sizes
    assert listed(first) == list(range(sizes[0]))
    assert listed(second) == list(range(10 - sizes[1], 10))


X, Y = np.arange(12).reshape(6, 2), np.arange(6)
PAIRS = [(x.tolist(), int(y)) for x, y in zip(X, Y, strict=True)]


class Stream(IterableDataset):
    def __iter__(self):
        return iter(zip(X, Y, strict=True))


@pytest.mark.parametrize(
    "data",
    [
        (X, Y),
        [X, Y],
        (torch.tensor(X), torch.tensor(Y)),
        TensorDataset(torch.tensor(X), torch.tensor(Y)),
        Stream(),
        Dataset.from_tensor_slices((X, Y)),
        Dataset(Stream()).map(lambda x, y: (x, y)).prefetch(2),
        Dataset.from_tensor_slices((X, Y)).batch(4).prefetch(2),
    ],
    ids=["tuple", "list", "tensors", "torch", "stream", "ours", "ahead", "batched"],
)
def test_data_of_every_kind(data):
    first, second = split_dataset(data, left_size=4)
    if isinstance(data, Dataset) and "ahead" in repr(data) and len(first) == 1:
        assert first.element_spec[0].shape == (None, 2)
        first, second = first.unbatch(), second.unbatch()
    assert listed(first) + listed(second) == PAIRS
    assert len(second) == 2


def test_drawn_parts_are_those_of_keras():
    first, second = split_dataset(np.arange(10), 0.7, shuffle=True, seed=5)
    theirs = keras.utils.split_dataset(np.arange(10), 0.7, shuffle=True, seed=5)
    for mine, part in zip((first, second), theirs, strict=True):
        assert listed(mine) == [int(part[i][0]) for i in range(len(part))]
    one, other = (split_dataset(np.arange(99), 50, shuffle=True)[0] for _ in range(2))
    assert listed(one) != listed(other)


@pytest.mark.parametrize(
    ("options", "error", "message"),
    [
        ({}, ValueError, "at least one of `left_size` and `right_size`"),
        ({"left_size": "8"}, TypeError, "`left_size` must be a number of samples"),
        ({"left_size": True}, TypeError, "`left_size` must be a number of samples"),
        ({"left_size": 1.5}, ValueError, "`left_size` must be a share between 0 and 1"),
        ({"right_size": 10}, ValueError, "`right_size` must be an integer from 1 to 9"),
        ({"left_size": 0}, ValueError, "`left_size` must be an integer from 1 to 9"),
        ({"left_size": 6, "right_size": 6}, ValueError, "together at most 10"),
        ({"left_size": 0.01}, ValueError, "are 0 and 10 samples"),
    ],
)
def test_bad_sizes(options, error, message):
    with pytest.raises(error, match=message):
        split_dataset(np.arange(10), **options)


def test_bad_data():
    with pytest.raises(ValueError, match="all arrays need the same number of rows"):
        split_dataset((np.zeros(3), np.zeros(4)), 0.5)
    with pytest.raises(ValueError, match="`dataset` has no samples"):
        split_dataset(np.zeros((0, 3)), 0.5)
    with pytest.raises(TypeError, match="`source` must be a sequence, an iterable or"):
        split_dataset(3, 0.5)


def test_fit_puts_parts_into_batches():
    random = np.random.RandomState(0)
    x = random.rand(40, 3).astype("float32")
    left, right = split_dataset((x, x.sum(1, keepdims=True)), 0.8, shuffle=True, seed=0)
    model = models.Sequential([layers.Dense(1)])
    model.compile("sgd", "mse")
    history = model.fit(left, validation_data=right, batch_size=16, epochs=2, verbose=0)
    assert history.params is not None
    assert history.params["steps"] == 2
    batches = model.fit(left.batch(16), validation_data=right.batch(8), verbose=0)
    assert batches.params is not None
    assert batches.params["steps"] == 2
