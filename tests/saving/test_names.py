"""Names of layers of every kind are refused when given, or travel through all files."""

from typing import Any

import keras
import numpy as np
import pytest

from torchkeras import layers, models

TRAVELLING = {
    "one space": " ",
    "a dot within": "a.b",
    "backslash": "a\\b",
    "private": "_x",
    "percent": "%s{}",
    "quotes": "a'\"b",
    "colon": "a:b",
    "newline": "a\nb",
    "long": "n" * 10_000,
    "unicode": "слой 层 🙂",
    "combining": "e\u0301",
    "a number": "1",
    "an attribute": "layers",
    "a mode": "training",
}
REFUSED = {
    "slash": "a/b",
    "NUL": "a\0b",
    "this directory": ".",
    "the one above": "..",
    "a lone surrogate": "\ud800",
    "a number itself": 1,
    "bytes": b"a",
}
FORMATS = [
    "model.safetensors",
    "model.keras",
    "model.h5",
    "w.safetensors",
    "w.weights.h5",
]


def make(library: Any, name: Any) -> Any:
    return library.Sequential(
        [
            library.layers.Input((3,)),
            library.layers.Dense(2, name=name),
            library.layers.Dense(2, name="last"),
        ]
    )


class Ours:
    layers = layers
    Sequential = models.Sequential
    load_model = staticmethod(models.load_model)


class Keras:
    layers = keras.layers
    Sequential = keras.Sequential
    load_model = staticmethod(keras.models.load_model)


def written_and_read(writer: Any, reader: Any, name: str, path: Any) -> tuple[Any, Any]:
    model = make(writer, name)
    if path.name.startswith("model"):
        model.save(path)
        return model, reader.load_model(path)
    model.save_weights(path)
    twin = make(reader, name)
    twin.load_weights(path)
    return model, twin


@pytest.mark.parametrize("name", REFUSED)
def test_a_name_that_no_file_can_hold(name: str) -> None:
    with pytest.raises(ValueError, match="`name` must be text without '/', NUL and"):
        layers.Dense(2, name=REFUSED[name])  # type: ignore[arg-type]


def test_an_empty_name_is_none() -> None:
    assert layers.Dense(2, name="").name.startswith("dense")


@pytest.mark.parametrize("file", FORMATS)
@pytest.mark.parametrize("name", TRAVELLING)
def test_a_name_travels(name: str, file: str, tmp_path: Any) -> None:
    model, twin = written_and_read(Ours, Ours, TRAVELLING[name], tmp_path / file)
    assert twin.layers[0].name == TRAVELLING[name]
    for own, other in zip(model.get_weights(), twin.get_weights(), strict=True):
        np.testing.assert_array_equal(own, other)


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("file", ["model.keras", "model.h5", "w.weights.h5"])
@pytest.mark.parametrize("name", [n for n in TRAVELLING if n != "a dot within"])
def test_a_name_travels_to_keras_and_back(name: str, file: str, tmp_path: Any) -> None:
    for writer, reader in ((Ours, Keras), (Keras, Ours)):
        model, twin = written_and_read(
            writer, reader, TRAVELLING[name], tmp_path / file
        )
        assert twin.layers[0].name == TRAVELLING[name]
        for own, other in zip(model.get_weights(), twin.get_weights(), strict=True):
            np.testing.assert_array_equal(own, other)


def test_a_property_that_fails_is_none_of_the_weights(tmp_path: Any) -> None:
    class Own(models.Model):
        def __init__(self) -> None:
            super().__init__()
            self._dense = layers.Dense(2)

        @property
        def broken(self) -> Any:
            raise ZeroDivisionError

        def call(self, inputs: Any) -> Any:
            return self._dense(inputs)

    model, twin = Own(), Own()
    for made in (model, twin):
        made(np.ones((1, 3), "float32"))
    model.save_weights(tmp_path / "w.weights.h5")
    twin.load_weights(tmp_path / "w.weights.h5")
    np.testing.assert_array_equal(model.get_weights()[0], twin.get_weights()[0])
