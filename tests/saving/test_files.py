"""Files as such: their modes, their bytes, and what is read when one is replaced."""

import os
import stat
import subprocess
import sys

import numpy as np
import pytest

from torchkeras import layers, models, optimizers

FILES = [
    "model.safetensors",
    "model.keras",
    "model.h5",
    "w.safetensors",
    "w.weights.h5",
]


def make(value=None):
    model = models.Sequential([layers.Input((4,), name="in")], name="m")
    model.add(layers.Dense(3, name="a"))
    model.add(layers.BatchNormalization(name="b"))
    model.compile(optimizers.Adam(name="adam"), "mse", metrics=["mae", "mse"])
    model.set_weights([np.full(w.shape, value or 0.5) for w in model.weights])
    if value is None:
        model.fit(np.ones((4, 4)), np.ones((4, 3)), verbose=0)
    return model


def save(model, path):
    (model.save if path.name.startswith("model") else model.save_weights)(path)


def load(path):
    if path.name.startswith("model"):
        return models.load_model(path)
    model = make(0)
    model.load_weights(path)
    return model


# The mode


@pytest.mark.skipif(os.name == "nt", reason="needs modes")
@pytest.mark.parametrize("umask", [0o022, 0o002, 0o077])
@pytest.mark.parametrize("name", FILES)
def test_the_mode_of_a_new_file_is_what_the_umask_says(name, umask, tmp_path):
    before = os.umask(umask)
    try:
        save(make(1), tmp_path / name)
        (tmp_path / "other").write_bytes(b"")
    finally:
        os.umask(before)
    assert stat.S_IMODE((tmp_path / name).stat().st_mode) == 0o666 & ~umask
    assert (tmp_path / name).stat().st_mode == (tmp_path / "other").stat().st_mode


@pytest.mark.skipif(os.name == "nt", reason="needs modes")
@pytest.mark.parametrize("name", FILES)
def test_a_file_that_is_replaced_keeps_its_mode(name, tmp_path):
    (tmp_path / name).write_bytes(b"")
    os.chmod(tmp_path / name, 0o640)
    save(make(1), tmp_path / name)
    assert stat.S_IMODE((tmp_path / name).stat().st_mode) == 0o640


# The bytes

SAVING = """
import pathlib, sys
from tests.saving.test_files import FILES, make, save
for name in FILES:
    save(make(), pathlib.Path(sys.argv[1]) / name)
"""


@pytest.fixture(scope="module")
def saved_elsewhere(tmp_path_factory):
    """A model, saved now by this process and later by another one."""
    here, there = (tmp_path_factory.mktemp(name) for name in ("here", "there"))
    for name in FILES:
        save(make(), here / name)
    environment = {**os.environ, "PYTHONHASHSEED": "7"}
    command = [sys.executable, "-c", SAVING, str(there)]
    subprocess.run(command, check=True, env=environment)
    return here, there


@pytest.mark.parametrize("name", FILES)
def test_equal_models_give_equal_bytes(name, saved_elsewhere):
    here, there = saved_elsewhere
    assert (here / name).read_bytes() == (there / name).read_bytes()


# A file that is replaced while it is read


@pytest.mark.parametrize("name", FILES)
def test_a_file_that_is_replaced_is_read_as_it_was_or_as_it_is(name, tmp_path):
    """It is replaced at moments spread over all lines that are run for reading it."""
    path, spare, other = tmp_path / name, tmp_path / "old", tmp_path / "new"
    for value, kept in ((1.0, spare), (2.0, other)):
        save(make(value), path)
        path.rename(kept)
    lines = 0

    def replace_at(moment):
        def trace(frame, event, argument):
            nonlocal lines
            if "torchkeras" not in frame.f_code.co_filename:
                return None
            lines += event == "line"
            if lines == moment and not path.samefile(other):
                path.unlink()
                os.link(other, path)
            return trace

        return trace

    def values_when(moment):
        nonlocal lines
        path.unlink(missing_ok=True)
        os.link(spare, path)
        lines, before = 0, sys.gettrace()
        sys.settrace(replace_at(moment))
        try:
            model = load(path)
        finally:
            sys.settrace(before)
        return {value for w in model.get_weights() for value in w.flat}

    assert values_when(-1) == {1.0}
    last = lines
    found = [values_when(moment) for moment in range(1, last, last // 20)]
    assert all(values in ({1.0}, {2.0}) for values in found)
    assert found[0] == {2.0}
    assert found[-1] == {1.0}
