"""Faults while saving and loading: what was there stays, and the message helps."""

import json
import multiprocessing
import os
import random
import resource
import signal
import time
import warnings
import zipfile

import h5py
import numpy as np
import pytest
import torch

from torchkeras import layers, models, saving
from torchkeras.saving import tensor_file

MODELS = ["model.safetensors", "model.keras", "model.h5"]
FILES = [*MODELS, "w.safetensors", "w.weights.h5"]


def make(units=(5, 3), names=("a", "b"), seed=None):
    model = models.Sequential([layers.Input((4,))])
    for size, name in zip(units, names, strict=True):
        model.add(layers.Dense(size, name=name))
    if seed is not None:
        generator = np.random.default_rng(seed)
        model.set_weights([generator.random(w.shape) for w in model.get_weights()])
    return model


def save(model, path):
    (model.save if path.name.startswith("model") else model.save_weights)(path)


@pytest.fixture(params=FILES)
def path(request, tmp_path):
    """A file with a compiled model, or its weights."""
    model = make()
    model.compile("adam", "mse")
    model.fit(np.ones((4, 4)), np.ones((4, 3)), verbose=0)
    save(model, tmp_path / request.param)
    return tmp_path / request.param


def load(path):
    """Load a model from a file of a model, weights from another."""
    if path.name.startswith("model"):
        return models.load_model(path)
    model = make()
    model.load_weights(path)
    return model


def state_of(model):
    values = [w.copy() for w in model.get_weights()]
    if model.optimizer is not None:
        values += [v.numpy() for v in model.optimizer.variables]
    return values


def unchanged(model, before):
    pairs = zip(state_of(model), before, strict=True)
    return all(np.array_equal(old, new, equal_nan=True) for old, new in pairs)


# A33: a full disk

forks = pytest.mark.skipif(not hasattr(os, "fork"), reason="needs a POSIX system")


def in_child(function, *args):
    """Run a function in a process of its own, and return the process."""
    child = multiprocessing.get_context("fork").Process(target=function, args=args)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)  # threads of torch's wait
        child.start()
    return child


def save_to_full_disk(model, path, size, answer):
    signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, size))
    try:
        save(model, path)
    except OSError as error:
        answer.send(str(error))
    else:
        answer.send(None)


@forks
@pytest.mark.parametrize("size", [100, 20_000, 60_000])
def test_a_full_disk(path, size):
    path.write_bytes(b"what was there before")
    model = models.Sequential([layers.Input((64,)), layers.Dense(256, name="d")])
    answer, theirs = multiprocessing.Pipe()
    in_child(save_to_full_disk, model, path, size, theirs).join()
    assert answer.recv()
    assert path.read_bytes() == b"what was there before"
    assert os.listdir(path.parent) == [path.name]


# A34: a kill at any moment


def save_again_and_again(path):
    model = models.Sequential([layers.Input((64,)), layers.Dense(512, name="d")])
    for value in range(10**6):
        model.set_weights([np.full((64, 512), value), np.full(512, value)])
        model.save(path)


@forks
@pytest.mark.parametrize("name", MODELS)
@pytest.mark.parametrize("kills", [4, pytest.param(50, marks=pytest.mark.slow)])
def test_a_kill_while_saving(kills, name, tmp_path):
    path = tmp_path / name
    for _ in range(kills):
        path.unlink(missing_ok=True)
        child = in_child(save_again_and_again, path)
        while not path.exists():
            time.sleep(0.001)
        time.sleep(random.random() / 20)
        child.kill()
        child.join()
        kernel, bias = models.load_model(path).get_weights()
        assert (kernel == kernel[0, 0]).all()
        assert (bias == kernel[0, 0]).all()


# A35: places and names


@pytest.mark.parametrize("name", FILES)
def test_a_missing_directory(name, tmp_path):
    with pytest.raises(FileNotFoundError, match=r"directory '.*nowhere' .*not exist"):
        save(make(), tmp_path / "nowhere" / name)


def test_unknown_extensions(tmp_path):
    model = make()
    endings = r"must end in \.safetensors, \.keras, \.h5, \.hdf5, got '.*'"
    for name in ("model", "model.txt", "model.pt", "keras"):
        with pytest.raises(ValueError, match=f"save_model: .*{endings}"):
            model.save(tmp_path / name)
        with pytest.raises(ValueError, match=f"load_model: .*{endings}"):
            models.load_model(tmp_path / name)
        with pytest.raises(ValueError, match=f"load_weights: .*{endings}"):
            model.load_weights(tmp_path / name)
    with pytest.raises(ValueError, match=r"end in \.safetensors, \.weights\.h5, got"):
        model.save_weights(tmp_path / "w.h5")
    assert os.listdir(tmp_path) == []


def test_a_file_that_is_not_there(path):
    wrong = path.with_name(f"_{path.name}")
    with pytest.raises(FileNotFoundError, match=f"no file.*Did you mean '{path.name}'"):
        load(wrong)
    with pytest.raises(FileNotFoundError, match="there is no file"):
        load(path.with_name("gone") / path.name)


def test_a_directory_in_the_place_of_a_file(path):
    path.unlink()
    path.mkdir()
    for call in (load, lambda p: save(make(), p)):
        with pytest.raises(IsADirectoryError, match="is a directory"):
            call(path)


# A36: damaged files


def test_empty_and_truncated_files(path):
    data = path.read_bytes()
    for size in (0, 1, 7, 9, 100, len(data) // 2, len(data) - 1):
        path.write_bytes(data[:size])
        with pytest.raises(saving.CorruptFileError, match=path.name):
            load(path)


def make_config(path):
    return load(path).to_json() if path.name.startswith("model") else None


def refusal_of(path):
    try:
        load(path)
    except ValueError as error:
        return str(error)
    return None


def test_flipped_bytes(path):
    """Wherever a byte is wrong, no wrong model comes out."""
    expected, config = load(path).get_weights(), make_config(path)
    data = path.read_bytes()
    generator = random.Random(0)
    refusals = []
    for _ in range(40):
        position = generator.randrange(len(data))
        damaged = bytearray(data)
        damaged[position] ^= 1 << generator.randrange(8)
        path.write_bytes(damaged)
        if message := refusal_of(path):
            refusals.append(message)
            continue
        got = load(path).get_weights()
        assert all(map(np.array_equal, expected, got)), position
        assert make_config(path) == config
    assert len(refusals) > 5
    assert all(path.name in message for message in refusals)


def test_damaged_values_are_named(path):
    data = path.read_bytes()
    model = make()
    model.load_weights(path)
    values = model.layers[0].get_weights()[0]
    if path.suffix == ".safetensors":
        values = np.ascontiguousarray(values.T)
    start = data.index(values.tobytes())
    path.write_bytes(data[:start] + b"\x01\x02" + data[start + 2 :])
    before = state_of(model)
    with pytest.raises(saving.CorruptFileError, match="damaged") as caught:
        model.load_weights(path)
    place = {
        ".keras": "model.weights.h5",
        ".safetensors": "a.linear.weight",
        "model.h5": "model_weights/a/a/kernel",
        "w.weights.h5": "layers/dense/vars/0",
    }
    expected = place.get(path.name) or place[path.suffix]
    assert expected in str(caught.value)
    assert unchanged(model, before)


def test_damaged_state_of_the_optimizer_leaves_the_weights_alone(tmp_path):
    model = make(seed=0)
    model.compile("adam", "mse")
    model.fit(np.ones((4, 4)), np.ones((4, 3)), verbose=0)
    for name in ("model.safetensors", "model.h5", "w.weights.h5"):
        path = tmp_path / name
        save(model, path)
        data = path.read_bytes()
        moment = model.optimizer.torch.state[model.layers[0].linear.bias]["exp_avg_sq"]
        start = data.index(moment.numpy().tobytes())
        path.write_bytes(data[:start] + b"\x01\x02" + data[start + 2 :])
        other = make(seed=1)
        other.compile("adam", "mse")
        before = state_of(other)
        with pytest.raises(saving.CorruptFileError, match="damaged"):
            other.load_weights(path)
        assert unchanged(other, before)


# A37, A38: weights that do not fit


def test_all_differing_shapes_are_listed(path):
    model = make(units=(6, 2), seed=1)
    model.compile("sgd", "mse")
    before = state_of(model)
    with pytest.raises(ValueError, match="Nothing was changed") as caught:
        model.load_weights(path)
    message = str(caught.value)
    turned = path.suffix == ".safetensors"
    for expected, got in (
        (((6, 4), (5, 4)) if turned else ((4, 6), (4, 5))),
        ((6,), (5,)),
        (((2, 6), (3, 5)) if turned else ((6, 2), (5, 3))),
        ((2,), (3,)),
    ):
        assert f"expected shape {expected}, the file has {got}" in message
    assert path.name in message
    assert unchanged(model, before)
    with pytest.warns(UserWarning, match="The rest was loaded"):
        model.load_weights(path, skip_mismatch=True)
    assert unchanged(model, before)


def test_missing_and_extra_layers_are_listed(path):
    model = make((5, 3, 2), ("a", "c", "b"), seed=1)
    before = state_of(model)
    with pytest.raises(ValueError, match="Nothing was changed") as caught:
        model.load_weights(path)
    assert "missing in the file" in str(caught.value)
    assert unchanged(model, before)
    with pytest.warns(UserWarning, match=r"missing in the file:\n"):
        model.load_weights(path, skip_mismatch=True)
    source = make()
    source.load_weights(path)
    np.testing.assert_array_equal(
        model.layers[0].get_weights()[0], source.layers[0].get_weights()[0]
    )


def test_extra_layers_are_listed(path):
    model = make((5,), ("a",), seed=1)
    with pytest.raises(ValueError, match="that the model does not have:\n"):
        model.load_weights(path)
    with pytest.warns(UserWarning, match="that the model does not have:\n"):
        model.load_weights(path, skip_mismatch=True)
    source = make()
    source.load_weights(path)
    np.testing.assert_array_equal(
        model.layers[0].get_weights()[0], source.layers[0].get_weights()[0]
    )


def test_dtypes_that_lose_what_a_file_holds(tmp_path):
    model = make()
    model.save_weights(tmp_path / "w.weights.h5")
    with h5py.File(tmp_path / "w.weights.h5", "r+") as file:
        del file["layers/dense/vars/0"]
        file["layers/dense/vars/0"] = np.ones((4, 5), np.complex64)
        del file.attrs["listing_crc32"]
    with pytest.raises(
        ValueError, match=r"expected torch\.float32, the file has torch"
    ):
        model.load_weights(tmp_path / "w.weights.h5")


@pytest.mark.parametrize(
    "dtype",
    ["bool", "uint64", "complex64", "text", "enum", "float16", "int32", "uint8"],
)
@pytest.mark.parametrize("name", ["model.h5", "w.weights.h5", "w.safetensors"])
def test_types_that_float_weights_cannot_have(name, dtype, tmp_path):
    model, path = make(seed=0), tmp_path / name
    save(model, path)
    if name == "w.safetensors":
        if dtype in ("text", "enum"):
            pytest.skip("the format has none")
        with open(path, "rb") as raw, tensor_file.open_to_read(path, raw) as file:
            values = {key: entry.read() for key, entry in file.entries.items()}
            parts = dict(file.parts)
        values["a.linear.bias"] = torch.ones(5).to(getattr(torch, dtype))
        tensor_file.write(path, values, parts)
    else:
        place = (
            "model_weights/a/a/bias" if name == "model.h5" else "layers/dense/vars/1"
        )
        with h5py.File(path, "r+") as file:
            del file[place], file.attrs["listing_crc32"]
            if dtype == "enum":
                names = h5py.enum_dtype({"a": 0, "b": 1})
                file.create_dataset(place, data=np.ones(5, np.int8), dtype=names)
            else:
                file[place] = ["1"] * 5 if dtype == "text" else np.ones(5, dtype)
    other = make(seed=1)
    before = state_of(other)
    if dtype in ("float16", "int32", "uint8"):
        other.load_weights(path)
        assert (other.layers[0].get_weights()[1] == 1).all()
        return
    with pytest.raises(ValueError, match=r"the file has torch|only arrays of numbers"):
        other.load_weights(path)
    assert unchanged(other, before)


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
@pytest.mark.parametrize("name", FILES)
def test_values_that_are_not_finite(name, value, tmp_path):
    model, path = make(seed=0), tmp_path / name
    weights = model.get_weights()
    weights[3][1] = value
    weights[0][:] = 3e38  # of which the sum is infinite
    model.set_weights(weights)
    save(model, path)
    other = make(seed=1)
    before = state_of(other)
    named = r"NaN or infinite values in [^,]*\bb(/|\.linear\.)bias\)?\. "
    with pytest.raises(saving.CorruptFileError, match=f"{named}Nothing was changed"):
        other.load_weights(path, check_finite=True)
    assert unchanged(other, before)
    with pytest.warns(UserWarning, match=f"{named}check_finite=True refuses") as warned:
        other.load_weights(path)
    assert len(warned) == 1
    assert unchanged(other, weights)
    if name in MODELS:
        with pytest.raises(saving.CorruptFileError, match=named):
            models.load_model(path, check_finite=True)
        with pytest.warns(UserWarning, match=named) as warned:
            models.load_model(path)
    assert [w.filename for w in warned] == [__file__]


@pytest.mark.parametrize("name", ["model.keras", "model.safetensors", "w.weights.h5"])
def test_by_name_is_for_old_files(name, tmp_path):
    model = make()
    save(model, tmp_path / name)
    with pytest.raises(ValueError, match=r"`by_name` works for \.h5 files"):
        model.load_weights(tmp_path / name, by_name=True)


def test_by_name(tmp_path):
    model = make((5, 3, 2), ("a", "b", "c"), seed=0)
    model.save(tmp_path / "model.h5")
    other = make((2, 7), ("c", "x"), seed=1)
    with pytest.raises(ValueError, match=r"expected shape \(4, 2\), the file has \(3"):
        other.load_weights(tmp_path / "model.h5", by_name=True)
    other = make((5, 7), ("a", "x"), seed=1)
    kept = other.layers[1].get_weights()[0]
    other.load_weights(tmp_path / "model.h5", by_name=True)
    np.testing.assert_array_equal(
        other.layers[0].get_weights()[0], model.layers[0].get_weights()[0]
    )
    np.testing.assert_array_equal(other.layers[1].get_weights()[0], kept)


# A file and its config that contradict each other


def test_a_config_of_another_model(tmp_path):
    path = tmp_path / "model.keras"
    make((5, 3)).save(path)
    with zipfile.ZipFile(path) as archive:
        members = {name: archive.read(name) for name in archive.namelist()}
    config = json.loads(members["config.json"])
    config["config"]["layers"][-1]["config"]["units"] = 7
    members["config.json"] = json.dumps(config).encode()
    with zipfile.ZipFile(path, "w") as archive:
        for name, data in members.items():
            archive.writestr(name, data)
    with pytest.raises(
        saving.CorruptFileError, match=r"expected shape \(5, 7\), the file has \(5, 3\)"
    ):
        models.load_model(path)


@pytest.mark.parametrize(
    ("data", "what"),
    [
        (b"<!DOCTYPE html>", "a web page: the download failed"),
        (b"version https://git-lfs.github.com/spec/v1\n", "a pointer of Git LFS"),
        (b"\x1f\x8b\x08", "compressed by gzip"),
        (b"\x89HDF\r\n\x1a\n", "an HDF5 file"),
        (b"PK\x03\x04", "a zip archive"),
        (b"nonsense", "or damaged"),
    ],
)
def test_files_of_another_kind(data, what, tmp_path):
    for name in MODELS:
        (tmp_path / name).write_bytes(data)
        with pytest.raises(saving.CorruptFileError, match="damaged") as caught:
            models.load_model(tmp_path / name)
        is_right = {"an HDF5 file": "model.h5", "a zip archive": "model.keras"}
        assert what in str(caught.value) or is_right[what] == name


def test_an_optimizer_of_another_kind_begins_anew(tmp_path):
    model = make()
    model.compile("adam", "mse")
    model.fit(np.ones((4, 4)), np.ones((4, 3)), verbose=0)
    for name in ("model.safetensors", "w.weights.h5"):
        save(model, tmp_path / name)
        other = make(seed=1)
        other.compile("rmsprop", "mse")
        with pytest.warns(UserWarning, match="optimizer was not restored"):
            other.load_weights(tmp_path / name)
        for old, new in zip(model.get_weights(), other.get_weights(), strict=True):
            np.testing.assert_array_equal(old, new)
