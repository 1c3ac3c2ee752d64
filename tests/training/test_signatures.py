"""The methods of layers and models have the arguments and the defaults of Keras's."""

import inspect
from typing import Any

import keras
import pytest

from torchkeras import layers, models

PAIRS = [
    (layers.Layer, keras.layers.Layer),
    (models.Model, keras.Model),
    (models.Sequential, keras.Sequential),
]
#: Where we take more than Keras does, or leave what it takes to a clear error.
OURS = {
    "add_weight": "options by name only",
    "compute_mask": "no mask is a default",
    "compute_output_spec": "anything that a call takes",
    "forward": "torch's own",
    "call": "of a Sequential: the mode is a state",
    "save_weights": "files are not split yet",
}
ROWS = [
    (ours, theirs, name)
    for ours, theirs in PAIRS
    for name in dir(theirs)
    if not name.startswith("_")
    and inspect.isfunction(getattr(theirs, name, None))
    and callable(getattr(ours, name, None))
]


def arguments_of(method: Any) -> dict[str, Any]:
    parameters = inspect.signature(method).parameters.values()
    return {p.name: p.default for p in parameters}


@pytest.mark.parametrize(("ours", "theirs", "name"), ROWS)
def test_arguments_and_defaults_are_those_of_keras(ours, theirs, name) -> None:
    own, expected = (arguments_of(getattr(cls, name)) for cls in (ours, theirs))
    if name not in OURS:
        assert list(own.items()) == list(expected.items())
        return
    # What both have has one default, save that ours may have one where Keras has none.
    for argument in own.keys() & expected.keys():
        if expected[argument] is not inspect.Parameter.empty:
            assert own[argument] == expected[argument]


def test_there_are_methods_to_compare() -> None:
    names = {name for *_, name in ROWS}
    assert {"fit", "evaluate", "predict", "compile", "add_weight", "build"} <= names
    assert set(OURS) <= names
