"""Vocabularies in files: as Keras's assets, and never read because a config says."""

import json
import zipfile
from pathlib import Path
from typing import Any

import h5py
import keras
import numpy as np
import pytest
import torch

import torchkeras
from torchkeras import layers, models
from torchkeras._core.errors import CorruptFileError, UnsafeFileError
from torchkeras.saving import custom_object_scope

# Keras's own weights do not know NumPy 2's `copy` argument.
pytestmark = pytest.mark.filterwarnings(
    "ignore:__array__ implementation doesn't accept a copy:DeprecationWarning"
)
TEXTS = ["b a", "a", "c a b é"]
WORDS = ["", "[UNK]", "a", "b", "é", "c"]


def adapted(**kwargs):
    """Return a model of text, and the vectorization in it."""
    layer = layers.TextVectorization(**kwargs)
    layer.adapt(TEXTS)
    inputs = layers.Input((1,), dtype="string")
    return models.Model(inputs, layer(inputs)), layer


KWARGS = [{}, {"output_mode": "tf_idf"}, {"split": "character"}, {"ngrams": (1, 2)}]


@pytest.mark.parametrize("suffix", [".keras", ".safetensors", ".h5"])
@pytest.mark.parametrize("kwargs", KWARGS)
def test_vocabularies_come_back(kwargs, suffix, tmp_path):
    model, layer = adapted(**kwargs)
    file = tmp_path / f"model{suffix}"
    model.save(file)
    twin = models.load_model(file)
    assert twin.layers[1].get_vocabulary() == layer.get_vocabulary()
    assert torch.equal(twin(TEXTS), model(TEXTS))
    twin.layers[1].adapt(["x", "y z"])  # what was learnt may be learnt anew
    twin.save(file)
    assert torch.equal(models.load_model(file)(TEXTS), twin(TEXTS))


@pytest.mark.parametrize("suffix", [".keras", ".safetensors", ".h5"])
def test_lookups_come_back(suffix, tmp_path):
    numbers = layers.IntegerLookup(output_mode="count", mask_token=0)
    numbers.adapt([[5, 5, 7], [0, 9, 9]])
    given = layers.StringLookup(vocabulary=["a", "b"])
    stack = models.Sequential([layers.Input((3,), dtype="int64"), numbers])
    strings = models.Sequential([layers.Input((1,), dtype="string"), given])
    for model, x in ((stack, [[5, 9, 1]]), (strings, [["b"]])):
        model.save(tmp_path / f"model{suffix}")
        twin = models.load_model(tmp_path / f"model{suffix}")
        assert torch.equal(twin(np.array(x)), model(np.array(x)))
    with pytest.raises(ValueError, match="was given its vocabulary"):
        twin.layers[0].adapt(["c"])


@pytest.mark.parametrize("suffix", [".keras", ".safetensors", ".h5"])
@pytest.mark.parametrize("make", [layers.StringLookup, layers.IntegerLookup])
def test_a_vocabulary_without_a_token_for_others(make, suffix, tmp_path):
    layer = make(oov_token=None, output_mode="tf_idf")
    x = np.array([["a", "b"], ["b", "c"]] if make is layers.StringLookup else [[1, 2]])
    layer.adapt(x)
    dtype = "string" if make is layers.StringLookup else "int64"
    model = models.Sequential([layers.Input((2,), dtype=dtype), layer])
    model.save(tmp_path / f"model{suffix}")
    twin = models.load_model(tmp_path / f"model{suffix}")
    assert torch.equal(twin(x), model(x))


def test_archives_have_the_layout_of_keras(tmp_path):
    model, layer = adapted(output_mode="tf_idf")
    file = tmp_path / "model.keras"
    model.save(file)
    place = "layers/text_vectorization"
    with zipfile.ZipFile(file) as archive:
        for owner in (place, f"{place}/_lookup_layer"):
            text = archive.read(f"assets/{owner}/vocabulary.txt").decode()
            assert text.split("\n") == layer.get_vocabulary()
        config = json.loads(archive.read("config.json"))
        with archive.open("model.weights.h5") as raw, h5py.File(raw) as store:
            for owner in (place, f"{place}/_lookup_layer"):
                weights: Any = store[f"{owner}/vars/idf_weights"]
                assert np.array_equal(weights, layer._lookup_layer.idf_weights)
    inner = config["config"]["layers"][1]["config"]
    assert inner["vocabulary"] is None
    assert inner["vocabulary_size"] == 5


def test_words_that_are_no_lines_stand_in_the_config(tmp_path):
    model, layer = adapted(split=lines, standardize=None)
    layer.adapt(["a\nb", "c\u2028d", "\r"])
    with custom_object_scope({"lines": lines}):
        model.save(tmp_path / "model.keras")
        twin = models.load_model(tmp_path / "model.keras")
    assert twin.layers[1].get_vocabulary() == layer.get_vocabulary()
    with zipfile.ZipFile(tmp_path / "model.keras") as archive:
        assert not [name for name in archive.namelist() if "assets" in name]


def lines(texts):
    """Return each text as one word."""
    return [[text] for text in texts]


def replaced(source, target, member, change):
    """Copy an archive with a member changed, or left out for None."""
    with zipfile.ZipFile(source) as old, zipfile.ZipFile(target, "w") as new:
        for name in old.namelist():
            data = old.read(name)
            if name.endswith(member):
                data = change(data)
            if data is not None:
                new.writestr(name, data)


def test_a_file_of_keras_with_line_ends_of_windows(tmp_path):
    model, _ = adapted()
    model.save(tmp_path / "a.keras")
    replaced(
        tmp_path / "a.keras", tmp_path / "b.keras", "vocabulary.txt",
        lambda data: data.replace(b"\n", b"\r\n") + b"\r\n",
    )  # fmt: skip
    assert models.load_model(tmp_path / "b.keras").layers[1].get_vocabulary() == WORDS


def test_assets_that_are_damaged_or_missing(tmp_path):
    model, _ = adapted()
    a, b = tmp_path / "a.keras", tmp_path / "b.keras"
    model.save(a)
    for data, message in ((b"\xff", "is no utf-8 text"), (b"a\na", "more than once")):
        replaced(a, b, "vocabulary.txt", lambda _, data=data: data)
        with pytest.raises(CorruptFileError, match=message):
            models.load_model(b)
    replaced(a, b, "vocabulary.txt", lambda _: None)
    with pytest.raises(ValueError, match="has no vocabulary"):
        models.load_model(b)(TEXTS)


@pytest.mark.parametrize("name", ["StringLookup", "IntegerLookup", "TextVectorization"])
@pytest.mark.parametrize("address", [False, True])
def test_a_config_never_makes_a_layer_read(name, address, tmp_path):
    secret = tmp_path / "secret.txt"
    secret.write_text("1\n2\n")
    path = "http://127.0.0.1:9/words" if address else str(secret)
    layer = getattr(layers, name)()
    config = {**layer.get_config(), "vocabulary": path}
    with pytest.raises(UnsafeFileError, match="A config never makes a layer read"):
        type(layer).from_config(config)
    dtype = "int64" if name == "IntegerLookup" else "string"
    model = models.Sequential([layers.Input((1,), dtype=dtype), layer])
    model.save(tmp_path / "a.keras")

    def change(data):
        config = json.loads(data)
        config["config"]["layers"][1]["config"]["vocabulary"] = path
        return json.dumps(config)

    replaced(tmp_path / "a.keras", tmp_path / "b.keras", "config.json", change)
    with pytest.raises(UnsafeFileError, match="A config never makes a layer read"):
        models.load_model(tmp_path / "b.keras")


def with_notes(library):
    """Return a class of layers of a library that have files of their own."""

    class Noted(library.layers.Layer):
        text = ""

        def call(self, inputs):
            return inputs

        def save_assets(self, dir_path):
            Path(dir_path, "note.txt").write_text(self.text)

        def load_assets(self, dir_path):
            self.text = Path(dir_path, "note.txt").read_text()

    return Noted


@pytest.mark.parametrize(
    ("writer", "reader"),
    [(torchkeras, keras), (keras, torchkeras), (torchkeras, torchkeras)],
)
def test_files_of_a_layer_of_ones_own_are_exchanged(writer, reader, tmp_path):
    layer = with_notes(writer)()
    layer.text = "written"
    inputs = writer.Input((2,))
    model = writer.Model(inputs, writer.layers.Dense(1)(layer(inputs)))
    model.save(tmp_path / "model.keras")
    custom = {"Noted": with_notes(reader)}
    twin = reader.models.load_model(tmp_path / "model.keras", custom_objects=custom)
    assert twin.layers[1].text == "written"
