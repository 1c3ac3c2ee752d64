"""HDF5 is read by a process that may end: bounded, and as if it were read here."""

import itertools
import os
import re
import signal
import subprocess
import sys
import threading
import time

import h5py
import numpy as np
import pytest
import torch

from torchkeras import layers, models, saving
from torchkeras._core import helper, limits
from torchkeras.saving import hdf5


def make():
    return models.Sequential(
        [layers.Input((4,)), layers.Dense(5, name="a"), layers.Dense(3, name="b")]
    )


@pytest.fixture
def path(tmp_path):
    model = make()
    model.compile("adam", "mse")
    model.save(tmp_path / "model.h5")
    return tmp_path / "model.h5"


def read(path):
    """Return the values of all datasets of a file."""
    with (
        limits.budget(path.stat().st_size),
        open(path, "rb") as raw,
        hdf5.open_to_read(raw, str(path)) as store,
    ):
        return {name: entry.read() for name, entry in store.entries.items()}


def waiting():
    return [each for several in helper._waiting.values() for each in several]


def alive():
    return [each._process.pid for each in waiting()]


# What is read


ARRAYS = {
    "plain": {"data": np.arange(12, dtype="f4").reshape(3, 4)},
    "big-endian": {"data": np.arange(12, dtype=">f8").reshape(3, 4)},
    "scalar": {"data": np.float32(3)},
    "empty": {"data": np.empty((0, 3), "f4")},
    "bool": {"data": np.array([True, False])},
    "complex": {"data": np.array([1j, 2], "c8")},
    "half": {"data": np.arange(3, dtype="f2")},
    "chunked": {"data": np.arange(1000.0), "chunks": (100,)},
    "gzip": {"data": np.arange(1000), "compression": "gzip", "shuffle": True},
    "lzf": {"data": np.arange(1000, dtype="i2"), "compression": "lzf"},
    "fletcher32": {"data": np.arange(1000, dtype="u1"), "fletcher32": True},
    "unwritten": {"shape": (4, 2), "dtype": "f4", "fillvalue": 7},
    "large": {"data": np.arange(300_000, dtype="f4")},
}


@pytest.mark.parametrize("version", ["earliest", "v108", "v114"])
def test_arrays_of_every_storage(version, tmp_path):
    expected = {}
    with h5py.File(tmp_path / "f.h5", "w", libver=version) as file:
        for name, how in ARRAYS.items():
            expected[name] = np.asarray(file.create_dataset(f"g/{name}", **how)[()])
        # NumPy has no bfloat16.
        file["g/bfloat16"] = (
            torch.ones(3, dtype=torch.bfloat16).view(torch.int16).numpy().view("V2")
        )
    found = read(tmp_path / "f.h5")
    assert found.pop("g/bfloat16").equal(torch.ones(3, dtype=torch.bfloat16))
    assert found.keys() == {f"g/{name}" for name in expected}
    for name, value in expected.items():
        np.testing.assert_array_equal(found[f"g/{name}"].numpy(), value)


ATTRIBUTES = {
    "fixed": lambda names: np.array(names, "S"),
    "objects": lambda names: np.array(names, dtype=h5py.string_dtype()),
    "bytes": lambda names: np.array(names, dtype=h5py.string_dtype("ascii")),
}


@pytest.mark.parametrize("form", ATTRIBUTES)
def test_names_in_every_form(form, tmp_path):
    names = ["a", "bc", "d/e:0"]
    with h5py.File(tmp_path / "f.h5", "w") as file:
        file.attrs["layer_names"] = ATTRIBUTES[form](names)
        file.attrs["something else"] = h5py.Empty("f4")
    with open(tmp_path / "f.h5", "rb") as raw, hdf5.open_to_read(raw, "f") as store:
        assert store.names("", "layer_names") == names


def test_lists_of_names_are_of_fixed_length(path):
    with h5py.File(path) as file:
        assert file["model_weights"].attrs["layer_names"].dtype == "S1"
        assert file["model_weights/a"].attrs["weight_names"].dtype.kind == "S"


# What is refused


BOMBS_OF_TEXT = 3_000


def test_texts_that_are_one_again_and_again(tmp_path):
    """3,000 names of 60,000 bytes in a file of 130,000."""
    with h5py.File(tmp_path / "f.h5", "w", libver="earliest") as file:
        file.attrs["model_config"] = "x" * 60_000
        names = np.array(["y"] * BOMBS_OF_TEXT, object)
        file.attrs.create("layer_names", names, dtype=h5py.string_dtype())
    data = (tmp_path / "f.h5").read_bytes()
    places = rb"(?:\x01\0\0\0.{12}){%d}" % BOMBS_OF_TEXT
    found = re.search(places, data, re.DOTALL)
    assert found is not None
    large = data.index((60_000).to_bytes(4, "little"))
    bomb = data[large : large + 16] * BOMBS_OF_TEXT
    (tmp_path / "f.h5").write_bytes(data[: found.start()] + bomb + data[found.end() :])
    with pytest.raises(saving.CorruptFileError, match="damaged"):
        read(tmp_path / "f.h5")


def test_names_that_are_there_twice(path):
    with h5py.File(path, "r+") as file:
        file["model_weights"].attrs["layer_names"] = np.array(["a", "a"], "S")
        del file.attrs["listing_crc32"]
    with pytest.raises(saving.CorruptFileError, match=r"'layer_names' of .* twice"):
        models.load_model(path)


def lose_config(file):
    del file.attrs["model_config"]


def swap_names(file):
    file["model_weights"].attrs["layer_names"] = np.array(["b", "a"], "S")


def rename(file):
    file.move("model_weights/a/a/kernel", "model_weights/a/a/Kernel")


@pytest.mark.parametrize("change", [lose_config, swap_names, rename])
def test_a_listing_that_was_changed(change, path):
    with h5py.File(path, "r+") as file:
        change(file)
    with pytest.raises(saving.CorruptFileError, match=r"names, shapes or texts .* dam"):
        models.load_model(path)


BOMBS = {
    "chunks": {"shape": (4,), "dtype": "f4", "maxshape": (None,), "chunks": (2**28,)},
    "gzip": {"data": np.zeros(2**24, "f4"), "compression": "gzip"},
    "unwritten": {"shape": (2**40,), "dtype": "f4"},
}


@pytest.mark.parametrize("bomb", BOMBS)
def test_sizes_that_a_file_has_not(bomb, tmp_path):
    with h5py.File(tmp_path / "f.h5", "w") as file:
        file.create_dataset("x", **BOMBS[bomb])
    with pytest.raises(saving.UnsafeFileError, match=r"'x' takes [\d,]+ bytes, and"):
        read(tmp_path / "f.h5")


def loop_in_the_library(path):
    """Let a heap of texts have free space of no size, over which HDF5 2.0 loops."""
    with h5py.File(path, "w") as file:
        file.attrs["layer_names"] = np.array(["abc", "def"], object)
    data = bytearray(path.read_bytes())
    place = data.index(b"GCOL") + 16
    while data[place]:
        size = int.from_bytes(data[place + 8 : place + 16], "little")
        place += 16 + -(-size // 8) * 8
    data[place + 8 : place + 16] = bytes(8)
    path.write_bytes(data)


@pytest.mark.parametrize("load", [models.load_model, lambda p: make().load_weights(p)])
def test_what_comes_to_no_end_is_ended(load, tmp_path):
    loop_in_the_library(tmp_path / "f.h5")
    start = time.process_time()
    with pytest.raises(
        saving.CorruptFileError, match=r"f\.h5: .*crashed, or came to no"
    ):
        load(tmp_path / "f.h5")
    assert time.process_time() - start < 0.5  # it is another process that loops
    assert not any(each.is_fit is False for each in waiting())


# The process


def test_one_process_waits_for_the_next_file(path):
    read(path)
    before = alive()
    assert len(before) == 1
    read(path)
    assert alive() == before
    path.write_bytes(path.read_bytes()[:1_000])
    with pytest.raises(saving.CorruptFileError, match="damaged"):
        read(path)
    assert alive() == []  # what read damage reads nothing else


def test_a_process_that_somebody_ended_is_replaced(path):
    read(path)
    waiting()[0]._process.kill()
    waiting()[0]._process.wait()
    assert read(path)


def test_files_within_and_beside_one_another(path):
    expected = read(path)
    answers = []

    def read_within():
        with open(path, "rb") as raw, hdf5.open_to_read(raw, "f") as store:
            answers.append(read(path))
            answers.append({name: e.read() for name, e in store.entries.items()})

    threads = [threading.Thread(target=read_within) for _ in range(3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(answers) == 6
    for answer in answers:
        assert all(value.equal(expected[name]) for name, value in answer.items())
    assert len(alive()) == 1


@pytest.mark.skipif(not hasattr(os, "fork"), reason="needs a POSIX system")
@pytest.mark.filterwarnings("ignore::DeprecationWarning")
def test_a_fork_has_a_process_of_its_own(path):
    read(path)
    before = alive()
    child = os.fork()
    if not child:
        read(path)
        theirs = [
            each for (pid, _), each in helper._waiting.items() if pid == os.getpid()
        ]
        os._exit(0 if len(theirs) == 1 and alive()[0] == before[0] else 1)
    assert os.waitpid(child, 0)[1] == 0
    assert read(path)
    assert alive() == before


def test_an_interrupted_load_leaves_nothing_behind(path):
    with (
        pytest.raises(KeyboardInterrupt),
        open(path, "rb") as raw,
        hdf5.open_to_read(raw, str(path)),
    ):
        raise KeyboardInterrupt
    assert read(path)


def test_where_no_other_process_can_be_it_is_read_here(path, tmp_path, monkeypatch):
    expected = read(path)
    before = alive()
    monkeypatch.setattr(sys, "frozen", True, raising=False)
    monkeypatch.setattr(helper, "Helper", None)
    found = read(path)
    assert all(value.equal(expected[name]) for name, value in found.items())
    with h5py.File(tmp_path / "f.h5", "w") as file:
        file.create_dataset("x", data=np.arange(100), compression="gzip")
    assert read(tmp_path / "f.h5")["x"].tolist() == list(range(100))
    assert alive() == before
    path.write_bytes(path.read_bytes()[:1_000])
    with pytest.raises(saving.CorruptFileError, match="damaged HDF5"):
        read(path)


def test_an_interpreter_that_does_not_run(path, monkeypatch):
    monkeypatch.setattr(helper, "_waiting", {})
    monkeypatch.setattr(helper, "_START", "raise SystemExit")
    with pytest.raises(OSError, match=r"does not run, which reads HDF5 files\. Can"):
        read(path)


def test_all_ends_with_the_program(path):
    code = (
        "from torchkeras import models\n"
        "from torchkeras._core import helper\n"
        f"models.load_model({str(path)!r})\n"
        "print([w[0]._process.pid for w in helper._waiting.values()][0])"
    )
    command = [sys.executable, "-W", "error", "-c", code]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    assert done.stderr == ""
    with pytest.raises(ProcessLookupError, match="No such process"):
        os.kill(int(done.stdout), 0)


# Ctrl-C while writing


@pytest.mark.parametrize("name", ["m.h5", "m.keras", "m.weights.h5"])
def test_an_interrupt_while_writing_is_one(name, tmp_path, monkeypatch):
    """In whichever call back from the library it comes."""
    model = make()
    save = model.save_weights if "weights" in name else model.save
    save(tmp_path / name)
    old = (tmp_path / name).read_bytes()
    write = hdf5._PatientFile.write
    for number in range(1, 30, 4):
        calls = itertools.count(1)

        def interrupted(self, data, calls=calls, number=number):
            if next(calls) == number:
                signal.raise_signal(signal.SIGINT)
            return write(self, data)

        monkeypatch.setattr(hdf5._PatientFile, "write", interrupted)
        with pytest.raises(KeyboardInterrupt):
            save(tmp_path / name)
        assert (tmp_path / name).read_bytes() == old
        assert os.listdir(tmp_path) == [name]
    assert signal.getsignal(signal.SIGINT) is signal.default_int_handler
