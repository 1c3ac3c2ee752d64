"""`Dataset`: the elements, orders and lengths of ``tf.data``."""

import itertools
import threading
import time
from typing import Any, cast

import numpy as np
import pytest
import torch
from torch.utils.data import DataLoader, IterableDataset, TensorDataset

import torchkeras
from torchkeras import layers, models
from torchkeras.utils import Dataset, PyDataset
from torchkeras.utils._elements import StringArray, TensorSpec, as_element
from torchkeras.utils._steps import Slices
from torchkeras.utils.pipeline import AUTOTUNE


def plain(element) -> Any:
    """An element without tensors."""
    if isinstance(element, tuple):
        return tuple(map(plain, element))
    if isinstance(element, dict):
        return {key: plain(value) for key, value in element.items()}
    return element.tolist() if hasattr(element, "tolist") else element


def listed(dataset) -> Any:
    return [plain(element) for element in dataset]


def numbers(count=10):
    return Dataset(range(count))


def stream(count=10):
    """The same without indices, nor a length."""
    return Dataset.from_generator(lambda: iter(range(count)))


def is_even(n):
    return n % 2 == 0


def square(n):
    return n**2


def pair(n):
    return n, {"square": n**2}


# Each row: the steps, the elements, and the length where it is known of `numbers`.
STEPS = {
    "map": (lambda d: d.map(square), [n**2 for n in range(10)], 10),
    "map to pairs": (lambda d: d.map(pair).take(1), [(0, {"square": 0})], 1),
    "map of pairs": (
        lambda d: d.map(lambda n: (n, n)).map(lambda a, b: a + b),
        list(range(0, 20, 2)),
        10,
    ),
    "filter": (lambda d: d.filter(is_even), [0, 2, 4, 6, 8], None),
    "filter pairs": (
        lambda d: d.map(lambda n: (n, n + 1)).filter(lambda a, b: b > 9),
        [(9, 10)],
        None,
    ),
    "batch": (lambda d: d.batch(4), [[0, 1, 2, 3], [4, 5, 6, 7], [8, 9]], 3),
    "whole batches": (lambda d: d.batch(4, True), [[0, 1, 2, 3], [4, 5, 6, 7]], 2),
    "batch of batches": (
        lambda d: d.batch(2).batch(2, drop_remainder=True),
        [[[0, 1], [2, 3]], [[4, 5], [6, 7]]],
        2,
    ),
    "batch of pairs": (
        lambda d: d.map(pair).batch(6).skip(1),
        [([6, 7, 8, 9], {"square": [36, 49, 64, 81]})],
        1,
    ),
    "unbatch": (lambda d: d.batch(4).unbatch(), list(range(10)), 10),
    "unbatch whole": (lambda d: d.batch(4, True).unbatch(), list(range(8)), None),
    "unbatch changed": (
        lambda d: d.batch(4).map(lambda b: (b, -b)).unbatch().take(2),
        [(0, 0), (1, -1)],
        None,
    ),
    "take": (lambda d: d.take(3), [0, 1, 2], 3),
    "take more": (lambda d: d.take(30), list(range(10)), 10),
    "take all": (lambda d: d.take(-1), list(range(10)), 10),
    "take none": (lambda d: d.take(0), [], 0),
    "skip": (lambda d: d.skip(8), [8, 9], 2),
    "skip more": (lambda d: d.skip(80), [], 0),
    "skip all": (lambda d: d.skip(-1), [], 0),
    "skip and take": (lambda d: d.skip(2).take(2), [2, 3], 2),
    "repeat": (lambda d: d.take(2).repeat(3), [0, 1] * 3, 6),
    "repeat never": (lambda d: d.repeat(0), [], 0),
    "repeat nothing": (lambda d: d.take(0).repeat(), [], 0),
    "repeat for ever": (lambda d: d.repeat().skip(9).take(3), [9, 0, 1], 3),
    "enumerate": (lambda d: d.map(square).enumerate(5).skip(9), [(14, 81)], 1),
    "concatenate": (
        lambda d: d.take(1).concatenate(d.skip(9)).concatenate(["a"]),
        [0, 9, "a"],
        3,
    ),
    "zip": (lambda d: d.zip(d.skip(7)), [(0, 7), (1, 8), (2, 9)], 3),
    "zip of three": (lambda d: Dataset.zip((d, d, d)).skip(9), [(9, 9, 9)], 1),
    "zip in batches": (
        lambda d: d.zip(d.map(square)).batch(2).take(1),
        [([0, 1], [0, 1])],
        1,
    ),
    "cache": (lambda d: d.map(square).cache().take(2), [0, 1], 2),
    "prefetch": (lambda d: d.map(square).prefetch(3), [n**2 for n in range(10)], 10),
    "prefetch by itself": (lambda d: d.prefetch(AUTOTUNE), list(range(10)), 10),
    "shuffle of one": (lambda d: d.shuffle(1), list(range(10)), 10),
    "apply": (lambda d: d.apply(lambda e: e.take(1)), [0], 1),
    "padded batch": (
        lambda d: d.take(3).map(lambda n: torch.ones(n)).padded_batch(3),
        [[[0.0, 0.0], [1.0, 0.0], [1.0, 1.0]]],
        1,
    ),
}


@pytest.mark.parametrize("source", [numbers, stream])
@pytest.mark.parametrize("name", STEPS)
def test_steps(name, source):
    build, elements, length = STEPS[name]
    dataset = build(source())
    assert listed(dataset) == elements
    assert listed(dataset) == elements  # in another pass, too
    if source is numbers:
        assert int(dataset.cardinality()) == (-2 if length is None else length)


@pytest.mark.parametrize("name", STEPS)
def test_lengths_that_are_not_known(name):
    build, elements, _ = STEPS[name]
    assert int(build(stream()).cardinality()) in (-2, len(elements))


@pytest.mark.parametrize("name", STEPS)
def test_steps_as_a_torch_data_set(name):
    build, elements, _ = STEPS[name]
    for source in (numbers, stream):
        dataset = build(source()).to_torch()
        loader = DataLoader(dataset, batch_size=None, collate_fn=lambda e: e)
        assert listed(loader) == elements
        if not isinstance(dataset, IterableDataset):
            assert len(loader) == len(elements)


def test_endless_data():
    dataset = numbers(3).repeat()
    assert int(dataset.cardinality()) == int(dataset.map(square).cardinality()) == -1
    with pytest.raises(TypeError, match="length of this Dataset has no end"):
        len(dataset)
    with pytest.raises(TypeError, match="length of this Dataset is not known"):
        len(stream())
    assert numbers(0)  # an empty one is not false
    assert int(dataset.cardinality().numpy()) // 1 == -1
    assert len(numbers().take(numbers(3).cardinality())) == 3
    with pytest.raises(TypeError, match=r"`count` must be an integer, got 1\.5"):
        numbers().take(cast("int", 1.5))


@pytest.mark.parametrize("source", [numbers, stream])
@pytest.mark.parametrize("size", [3, 10, 100, None])
def test_shuffle(source, size):
    torchkeras.utils.set_random_seed(0)
    dataset = source(50).shuffle(size)
    first, second = listed(dataset), listed(dataset)
    assert sorted(first) == sorted(second) == list(range(50))
    assert first != second
    if size == 3:  # none comes before it is in the buffer
        assert all(n <= place + 2 for place, n in enumerate(first))
    torchkeras.utils.set_random_seed(0)
    assert listed(dataset) != second  # seeds follow one another ...
    torchkeras.utils.set_random_seed(0)
    assert listed(source(50).shuffle(size)) == first  # ... from the global one


def test_shuffle_with_a_seed():
    passes = [[listed(d), listed(d)] for d in (numbers().shuffle(10, seed=3),) * 1]
    assert passes[0][0] != passes[0][1]
    again = numbers().shuffle(10, seed=3)
    assert [listed(again), listed(again)] == passes[0]
    for seed in (3, None):
        same = numbers().shuffle(10, seed=seed, reshuffle_each_iteration=False)
        assert listed(same) == listed(same)
    with pytest.raises(ValueError, match="`buffer_size` must be a positive integer"):
        numbers().shuffle(0)


def test_shuffled_orders_are_uniform():
    torchkeras.utils.set_random_seed(0)
    dataset = numbers(3).shuffle(2)
    counts = {}
    for _ in range(3000):
        order = tuple(listed(dataset))
        counts[order] = counts.get(order, 0) + 1
    # Of two in the buffer one is drawn, then of the other and the last one.
    assert set(counts) == {(0, 1, 2), (0, 2, 1), (1, 0, 2), (1, 2, 0)}
    assert all(abs(count / 3000 - 0.25) < 0.04 for count in counts.values())


# Elements


def test_elements_are_tensors_and_strings():
    element = as_element(
        {
            "a": np.float64(1),
            "b": [1, 2],
            "c": ["x"],
            "d": (1.5, b"y", True),
            "e": [None],
        }
    )
    assert element["a"].dtype == torch.float64
    assert element["b"].dtype == torch.int32
    assert isinstance(element["c"], StringArray)
    assert element["d"][0].dtype == torch.float32
    assert element["d"][1:] == (b"y", torch.tensor(True))
    assert element["e"] == (None,)
    with torch.device("meta"):
        assert as_element(3).device.type == "cpu"


def test_strings_are_arrays():
    (batch,) = Dataset(["a", "bcd"]).batch(2)
    assert batch.numpy().tolist() == ["a", "bcd"]
    assert type(batch.numpy()) is np.ndarray
    assert batch[1] == "bcd"
    (joined,) = Dataset(np.array([["a", "b"], ["c", "d"]])).batch(2)
    assert joined.shape == (2, 2)
    rows = Dataset.from_tensor_slices((np.array(["a", "b"]), [1, 2])).batch(2)
    assert listed(rows) == [(["a", "b"], [1, 2])]


def test_element_spec():
    dataset = Dataset.from_tensor_slices({"x": np.zeros((4, 3)), "t": ["a"] * 4})
    assert dataset.element_spec == {
        "x": TensorSpec((3,), "float64"),
        "t": TensorSpec((), "string"),
    }
    batches = dataset.shuffle(4).batch(2)
    assert batches.element_spec["x"] == TensorSpec((None, 3), "float64")
    assert batches.map(lambda e: e["x"]).element_spec.shape == (None, 3)
    assert dataset.batch(2, drop_remainder=True).element_spec["t"].shape == (2,)
    with pytest.raises(ValueError, match="element_spec: this Dataset has no elements"):
        _ = dataset.take(0).element_spec


def test_to_look_at_an_element_changes_nothing():
    torchkeras.utils.set_random_seed(0)
    looked, other = (numbers().shuffle(10, seed=1) for _ in range(2))
    state = torch.get_rng_state()
    _ = looked.map(lambda n: n + torch.rand(())).element_spec
    assert torch.equal(torch.get_rng_state(), state)
    assert listed(looked) == listed(other)


def test_numpy_iterator():
    dataset = Dataset(["a", "b"]).zip(numbers(2)).batch(2)
    ((texts, labels),) = dataset.as_numpy_iterator()
    assert type(texts) is type(labels) is np.ndarray


def test_a_function_that_changes_its_input_changes_no_data():
    data = np.ones((3, 2), "float32")
    for dataset in (
        Dataset.from_tensor_slices(data).map(lambda x: x.mul_(2)),
        Dataset.from_tensor_slices(data).batch(3).cache().map(lambda x: x.mul_(2)),
    ):
        for _ in range(3):
            assert all(bool((x == 2).all()) for x in dataset)
    assert (data == 1).all()


def test_elements_that_do_not_fit_into_a_batch():
    ragged = numbers(3).map(lambda n: torch.zeros(n, 2))
    with pytest.raises(
        ValueError, match=r"one shape, got \(0, 2\), \(1, 2\), \(2, 2\)"
    ):
        list(ragged.batch(3))
    with pytest.raises(ValueError, match="all arrays need the same number of rows"):
        Dataset.from_tensor_slices((np.zeros(2), np.zeros(3)))


def test_no_gradients():
    dense = layers.Dense(1)
    (output,) = (
        Dataset.from_tensor_slices(np.ones((1, 3), "float32")).batch(1).map(dense)
    )
    assert not output.requires_grad
    output.numpy()


# When it happens


def test_cache_makes_elements_once():
    made = []

    def make(n):
        made.append(int(n))
        return n

    dataset = numbers(3).map(make).cache()
    list(dataset.take(2))  # no whole pass: nothing is kept
    assert listed(dataset) == listed(dataset) == [0, 1, 2]
    assert made == [0, 1, 0, 1, 2]
    with pytest.raises(ValueError, match="`filename` must be empty, got 'file'"):
        dataset.cache("file")


def test_prefetch_works_ahead_in_a_thread():
    made = []

    def make(n):
        made.append((int(n), threading.current_thread()))
        return n

    iterator = iter(numbers(100).map(make).prefetch(4))
    next(iterator)
    until = time.monotonic() + 5
    while len(made) < 6 and time.monotonic() < until:
        time.sleep(0.01)
    assert len(made) == 6  # the one given, four ahead and the one being made
    assert threading.current_thread() not in {thread for _, thread in made}
    del iterator  # ends the thread
    assert not any(t.name.startswith("torchkeras-data") for t in threading.enumerate())


@pytest.mark.parametrize("step", ["prefetch", "map"])
def test_an_error_arrives_where_the_data_are_used(step):
    def fail(n):
        if n == 3:
            raise RuntimeError("no three")
        return n

    dataset = numbers().map(fail, num_parallel_calls=1 if step == "map" else None)
    dataset = dataset.prefetch(2) if step == "prefetch" else dataset
    seen = []
    with pytest.raises(RuntimeError, match="no three"):
        seen.extend(dataset)
    del seen


def test_workers_keep_the_order():
    dataset = numbers().map(square).batch(4, num_parallel_calls=2)
    assert listed(dataset) == [[0, 1, 4, 9], [16, 25, 36, 49], [64, 81]]
    assert listed(stream().map(square, 2)) == [n**2 for n in range(10)]
    with pytest.raises(ValueError, match="`num_parallel_calls` must be a positive"):
        numbers().map(square, 0)


def test_layers_and_models_in_workers():
    model = models.Sequential([layers.Input((3,)), layers.Dense(2)])
    x = np.random.RandomState(0).rand(6, 3).astype("float32")
    batches = Dataset.from_tensor_slices(x).batch(3)
    expected = torch.cat(list(batches.map(model)))
    np.testing.assert_allclose(expected, model.predict(x, verbose=0), atol=1e-6)
    torch.testing.assert_close(torch.cat(list(batches.map(model, 2))), expected)


@pytest.mark.parametrize("seed", [None, 1])
def test_random_layers_differ_in_workers_and_passes(seed):
    torchkeras.utils.set_random_seed(0)
    drop = layers.Dropout(0.5, seed=seed)
    ones = Dataset.from_tensor_slices(np.ones((4, 64), "float32"))
    dataset = ones.map(lambda x: drop(x, training=True), num_parallel_calls=2)
    rows = [tuple(row) for _ in range(2) for row in listed(dataset)]
    assert len(set(rows)) == 8
    torchkeras.utils.set_random_seed(0)
    drop = layers.Dropout(0.5, seed=seed)
    assert [tuple(row) for _ in range(2) for row in listed(dataset)] == rows


# With torch and with models


def test_torch_workers_share_a_stream():
    loader = DataLoader(stream().to_torch(), batch_size=None, num_workers=2)
    assert sorted(listed(loader)) == list(range(10))


def test_buffers_are_left_out_for_torch():
    dataset = numbers().shuffle(10).map(square).batch(2).prefetch(2).unbatch()
    samples = dataset.to_torch()
    assert not isinstance(samples, IterableDataset)
    loader = DataLoader(samples, batch_size=5, shuffle=True, num_workers=1)
    batches = list(loader)
    assert sorted(torch.cat(batches).tolist()) == [n**2 for n in range(10)]


SOURCES = {
    "list": lambda: [1, 2, 3],
    "range": lambda: range(1, 4),
    "array": lambda: np.arange(1, 4),
    "torch": lambda: torch.arange(1, 4),
    "function": lambda: lambda: iter([1, 2, 3]),
    "loader": lambda: DataLoader(Dataset([1, 2, 3]).to_torch(), batch_size=None),
    "data set": lambda: Dataset([1, 2, 3]),
    "set": lambda: {1: None, 2: None, 3: None}.keys(),
}


@pytest.mark.parametrize("name", SOURCES)
def test_sources(name):
    dataset = Dataset(SOURCES[name]())
    assert listed(dataset) == listed(dataset) == [1, 2, 3]


def test_torch_data_sets_and_indexed_ones():
    pairs = TensorDataset(torch.arange(3), torch.arange(3) * 2)
    assert listed(Dataset(pairs)) == [(0, 0), (1, 2), (2, 4)]

    class Own(PyDataset):
        def __len__(self):
            return 2

        def __getitem__(self, index):
            return np.full(2, index), np.zeros(2)

    assert listed(Dataset(Own())) == [([0, 0], [0.0, 0.0]), ([1, 1], [0.0, 0.0])]


@pytest.mark.parametrize(
    ("source", "message"),
    [
        (iter([1]), "used up by one pass: give the function that makes it"),
        ({"a": [1]}, "Arrays by name are for `Dataset.from_tensor_slices`"),
        ("text", "`source` must be a sequence, an iterable or a function"),
        (3, "`source` must be a sequence, an iterable or a function"),
    ],
)
def test_bad_sources(source, message):
    with pytest.raises(TypeError, match=message):
        Dataset(source)


def test_bad_functions():
    with pytest.raises(TypeError, match="`map_func` must be a function, got 3"):
        numbers().map(cast("Any", 3))


def classified(count=64):
    x = np.random.RandomState(0).rand(count, 4).astype("float32")
    return x, (x.sum(1) > 2).astype("float32")[:, None]


@pytest.fixture
def model():
    torchkeras.utils.set_random_seed(0)
    model = models.Sequential([layers.Dense(1, activation="sigmoid")])
    model.compile("sgd", "binary_crossentropy", metrics=["accuracy"])
    return model


def test_fit_and_predict(model):
    x, y = classified()
    dataset = Dataset.from_tensor_slices((x, y)).batch(16)
    weights = [w.numpy() for w in (model.build((None, 4)), model)[1].weights]
    by_arrays = model.fit(x, y, batch_size=16, shuffle=False, epochs=2, verbose=0)
    model.set_weights(weights)
    history = model.fit(dataset, validation_data=dataset, epochs=2, verbose=0).history
    np.testing.assert_allclose(history["loss"], by_arrays.history["loss"], rtol=1e-5)
    assert history["val_loss"][1] == pytest.approx(
        model.evaluate(x, y, verbose=0)[0], rel=1e-5
    )
    predicted = model.predict(dataset.map(lambda x, y: x), verbose=0)
    np.testing.assert_allclose(predicted, model.predict(x, verbose=0), atol=1e-6)


def test_fit_on_endless_data_needs_steps(model):
    endless = Dataset.from_tensor_slices(classified()).batch(8).repeat()
    with pytest.raises(ValueError, match="steps_per_epoch"):
        model.fit(endless, verbose=0)
    history = model.fit(endless, steps_per_epoch=3, epochs=2, verbose=0)
    assert len(history.history["loss"]) == 2


def test_fit_with_all_steps_of_a_tutorial(model):
    dataset = Dataset.from_tensor_slices(classified())
    train, rest = dataset.take(48), dataset.skip(48)
    normalize = layers.Rescaling(2.0, -1.0)
    train = train.map(lambda x, y: (normalize(x), y), num_parallel_calls=AUTOTUNE)
    train = train.cache().shuffle(48).batch(16).prefetch(AUTOTUNE)
    history = model.fit(train, validation_data=rest.batch(16), epochs=3, verbose=0)
    assert history.history["loss"][-1] < history.history["loss"][0]


def test_a_chain_is_cheap_to_make():
    dataset = numbers(1)
    for _ in itertools.repeat(None, 50):
        dataset = dataset.map(square)
    assert repr(dataset) == "<Dataset of 1 elements, last step map>"


@pytest.mark.parametrize(
    "build",
    [
        lambda d: d.shuffle(8).batch(3),
        lambda d: d.take(7).skip(1).repeat(2).batch(3),
        lambda d: d.zip(d).shuffle(8).batch(3),
        lambda d: d.enumerate().batch(3),
    ],
)
def test_rows_of_arrays_are_taken_together(build, monkeypatch):
    dataset = build(Dataset.from_tensor_slices(np.arange(8)))

    def refuse(self, key):
        raise AssertionError("one by one")

    monkeypatch.setattr(Slices, "at", refuse)
    assert len(list(dataset)) == len(dataset)


def test_elements_are_pinned_for_an_accelerator(monkeypatch):
    pinned = []

    def pin(tensor):
        pinned.append(tensor)
        return tensor

    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.Tensor, "pin_memory", pin)
    sounds = torch.nested.nested_tensor([torch.ones(2)], layout=torch.jagged)
    elements = list(Dataset([(torch.ones(3), "text")]).prefetch(1))
    assert len(pinned) == 1
    assert elements[0][1] == "text"
    list(Dataset.from_generator(lambda: [sounds]).prefetch(1))
    assert len(pinned) == 1
