"""Files with random damage: refused in one of three ways, or read as they were."""

import itertools
import random
import resource
import time
import warnings

import h5py
import numpy as np
import pytest

from torchkeras import layers, models, saving, utils

REFUSALS = (saving.UnsafeFileError, saving.CorruptFileError, OSError)
FORMATS = ("model.keras", "model.h5", "model.weights.h5", "model.safetensors")
#: A file as others write it, of which no checksum tells what its values were.
PLAIN = "plain.h5"
MANY = 2_000 // 3 + 1


def make():
    return models.Sequential(
        [layers.Input((4,)), layers.Dense(5, name="a"), layers.Dense(3, name="b")]
    )


def write(path):
    utils.set_random_seed(0)  # the same damage each time
    model = make()
    model.compile("adam", "mse")
    model.fit(np.ones((4, 4)), np.ones((4, 3)), verbose=0)
    (model.save_weights if "weights" in path.name else model.save)(path)
    if path.name == PLAIN:
        with h5py.File(path, "r+") as file:
            file.visititems(lambda _, node: strip(node))
            strip(file)
            file.attrs["layer_names"] = np.array(["a", "b"], object)  # in a heap


def strip(node):
    for name in [name for name in node.attrs if name.endswith("crc32")]:
        del node.attrs[name]


def load(path):
    if "weights" not in path.name:
        return models.load_model(path)
    model = make()
    model.load_weights(path)
    return model


def mutant(data, chance):
    """Return data with some damage: flipped bits, overwritten, moved or lost bytes."""
    result = bytearray(data)
    start, other = chance.randrange(len(data)), chance.randrange(len(data))
    size = chance.randrange(1, 64)
    match chance.randrange(6):
        case 0 | 1:
            for _ in range(chance.choice([1, 1, 2, 8])):
                result[chance.randrange(len(data))] ^= 1 << chance.randrange(8)
        case 2:
            width = chance.choice([1, 2, 4, 8])
            filling = chance.choice([b"\0", b"\1", b"\x7f", b"\xff"])
            result[start : start + width] = filling * width
        case 3:
            result[start : start + size] = data[other : other + size]
        case 4:
            del result[start : start + size]
        case 5:
            result[start : start + size] = chance.randbytes(size)
    return bytes(result)


@pytest.mark.parametrize(
    ("name", "seed", "count"),
    [
        *((name, 0, 20) for name in (*FORMATS, PLAIN)),
        *(
            pytest.param(name, seed, MANY, marks=pytest.mark.slow)
            for name in FORMATS
            for seed in (1, 2, 3)
        ),
        pytest.param(PLAIN, 1, MANY, marks=pytest.mark.slow),
    ],
)
def test_damage(name, seed, count, tmp_path):
    path = tmp_path / name
    write(path)
    data, expected = path.read_bytes(), load(path).get_weights()
    chance = random.Random(seed)
    bound = 4 * len(data) // 1024 + 64 * 1024
    refused: list[str] = []
    for number in range(count):
        path.write_bytes(mutant(data, chance))
        peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
        start, cpu = time.perf_counter(), time.process_time()
        try:
            with warnings.catch_warnings(action="ignore"):
                model = load(path)
        except REFUSALS as error:
            refused.append(str(error))
        except ValueError as error:
            if name != PLAIN:
                raise
            refused.append(str(error))  # one that lost its config is of weights alone
        else:
            pairs = itertools.zip_longest(expected, model.get_weights())
            right = all(np.array_equal(*pair) for pair in pairs)
            assert right or name == PLAIN, number
        # The machine may be busy with other things; the library has its own bound.
        assert min(time.perf_counter() - start, time.process_time() - cpu + 1) < 2
        grown = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - peak
        assert grown < bound, number
    assert len(refused) > count // 4
    assert max(map(len, refused)) < 2_500
