"""Every operation is compared with Keras, over several sets of arguments."""

import collections
import importlib
from pathlib import Path

import keras
import pytest

from torchkeras import ops
from torchkeras._core.operation import operations

TABLES = sorted(
    path.stem
    for path in Path(__file__).parent.glob("test_*.py")
    if path.stem != "test_completeness"
)
MODULES = [importlib.import_module(f"tests.parity.ops.{name}") for name in TABLES]
#: Functions that are compared by a test of their own in one of the tables' files.
ELSEWHERE = {name for module in MODULES for name in getattr(module, "ELSEWHERE", ())}
#: Where Keras on torch is wrong: compared with NumPy or the definition, in their files.
ELSEWHERE |= {"imag", "nextafter", "sparsemax", "vectorize"}
ROWS = collections.Counter(
    case.name.split(".")[-1]
    for module in MODULES
    for case in getattr(module, "CASES", ())
)


def names(namespace):
    return {
        name
        for name in dir(namespace)
        if not name.startswith("_") and callable(getattr(namespace, name))
    }


@pytest.mark.parametrize("name", sorted(names(keras.ops)))
def test_an_operation_of_keras_has_rows(name):
    assert callable(getattr(ops, name))
    assert ROWS[name] >= 2 or name in ELSEWHERE


def test_namespaces_hold_what_keras_has():
    for space in ("numpy", "nn", "linalg", "image"):
        own = names(getattr(ops, space))
        assert names(getattr(keras.ops, space)) <= own


@pytest.mark.parametrize("name", sorted(operations))
def test_a_saved_operation_is_a_class_of_keras(name):
    entry = operations[name]
    if entry.module.endswith((".doc", ".random")):
        pytest.skip("an example's, or of random numbers, for which Keras has no class")
    assert hasattr(importlib.import_module(entry.module), name)
