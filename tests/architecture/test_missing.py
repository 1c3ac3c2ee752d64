"""What is said of names that are not there: misspelt, elsewhere, or still to come."""

import importlib
import subprocess
import sys
import types

import keras
import pytest

import torchkeras
from torchkeras._core.missing import keras_names


def test_the_list_of_names_is_kerass():
    for namespace, names in keras_names().items():
        module = importlib.import_module(f"keras.{namespace}".strip("."))
        public = {n for n in vars(module) if not n.startswith("_")} - {"src"}
        assert names == public, namespace


def names_of_keras(module):
    return keras_names()[module.__name__.removeprefix("torchkeras").strip(".")]


def namespaces():
    """The public modules that are there."""
    found = [torchkeras]
    for module in found:
        for name in sorted(names_of_keras(module)):
            value = getattr(module, name, None)
            if isinstance(value, types.ModuleType) and "torchkeras" in value.__name__:
                found.append(value)
    # Data sets have a few functions each.
    small = "torchkeras.datasets."
    return [m for m in dict.fromkeys(found) if not m.__name__.startswith(small)]


@pytest.mark.parametrize("module", namespaces(), ids=lambda m: m.__name__)
def test_each_namespace_tells_what_is_still_to_come_from_what_is_misspelt(module):
    name = module.__name__
    known = max(n for n in names_of_keras(module) if hasattr(module, n))
    with pytest.raises(AttributeError, match=rf"{name} has no '{known}y'\. Did you"):
        getattr(module, f"{known}y")
    assert not hasattr(module, "nothing_like_it")
    absent = sorted(n for n in names_of_keras(module) if not hasattr(module, n))
    for missing in absent[:1]:
        with pytest.raises(AttributeError, match=f"{name} has no '{missing}' yet"):
            getattr(module, missing)


@pytest.mark.parametrize(
    ("code", "message"),
    [
        ("from torchkeras.layers import Densee", "ImportError: .* mean 'Dense'"),
        ("from torchkeras.activations import rellu", "ImportError: .* mean 'relu'"),
        ("from torchkeras.layers import Adam", "ImportError: .* in torchkeras.optim"),
        ("from torchkeras import layer", "ImportError: .* mean 'Layer'"),
        ("import torchkeras.quantizers", "ModuleNotFoundError: .*quantizers yet"),
        ("from torchkeras.export import X", "ModuleNotFoundError: .*export yet"),
        ("from torchkeras import quantizers", "ImportError: .* 'quantizers' yet"),
        ("import torchkeras as k; k.losses.mse_", "AttributeError: .* mean 'mse'"),
        ("import torchkeras.layres", "ModuleNotFoundError: No module named"),
    ],
)
def test_messages_reach_who_imports(code, message):
    with pytest.raises(ImportError if "import torchkeras as" not in code
                       else AttributeError) as caught:  # fmt: skip
        exec(code, {})
    assert importlib.import_module("re").match(
        message, f"{type(caught.value).__name__}: {caught.value}"
    )


def test_tools_and_submodules_are_not_disturbed():
    code = (
        "from torchkeras.layers import core, pooling; import torchkeras;"
        "from importlib.util import find_spec; assert find_spec('torchkeras.nothing') "
        "is None; assert not hasattr(torchkeras, '__wrapped__')"
    )
    subprocess.run([sys.executable, "-W", "error", "-c", code], check=True)


def test_a_layer_that_is_still_to_come_is_told_from_an_unknown_one():
    layers = torchkeras.layers
    absent = min(n for n in names_of_keras(layers) if not hasattr(layers, n))
    with pytest.raises(ValueError, match="still lacks"):
        layers.deserialize({"class_name": absent, "config": {}})
    with pytest.raises(ValueError, match="register_keras_serializable"):
        layers.deserialize({"class_name": "OfMyOwn", "config": {}})


def test_keras_is_not_needed_for_the_names():
    assert keras.__name__ == "keras"
    code = "import sys, torchkeras._core.missing as m; m.keras_names();"
    code += "assert 'keras' not in sys.modules"
    subprocess.run([sys.executable, "-c", code], check=True)
