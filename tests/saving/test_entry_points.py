"""Every public function that takes a config or a path, with what may be wrong with it.

A new one fails here until it stands in a table.
"""

import inspect
import re

import pytest

import torchkeras
from tests.saving.test_gate import CODE as BYTECODE
from tests.saving.test_gate import CONFIGS, REFUSED, holding_itself
from tests.saving.test_malicious import CODE, JSON, READERS
from torchkeras import (
    activations,
    constraints,
    dtype_policies,
    initializers,
    layers,
    losses,
    metrics,
    models,
    optimizers,
    regularizers,
    saving,
)

#: Names of parameters that are configs, or places of files.
TAKES = re.compile(r"config|json|identifier|path|file|fname|direc|_dir|origin|vocab")

#: Functions of a config of an object.
READ_CONFIGS = {
    "activations.deserialize": activations.deserialize,
    "activations.get": activations.get,
    "constraints.deserialize": constraints.deserialize,
    "constraints.get": constraints.get,
    "dtype_policies.deserialize": dtype_policies.deserialize,
    "dtype_policies.get": dtype_policies.get,
    "initializers.deserialize": initializers.deserialize,
    "initializers.get": initializers.get,
    "layers.deserialize": layers.deserialize,
    "losses.deserialize": losses.deserialize,
    "losses.get": losses.get,
    "metrics.deserialize": metrics.deserialize,
    "metrics.get": metrics.get,
    "optimizers.deserialize": optimizers.deserialize,
    "optimizers.get": optimizers.get,
    "optimizers.schedules.deserialize": optimizers.schedules.deserialize,
    "regularizers.deserialize": regularizers.deserialize,
    "regularizers.get": regularizers.get,
    "saving.deserialize_keras_object": saving.deserialize_keras_object,
}
#: The methods of a config: what is called is found for each class.
CONFIG_METHODS = {"from_config", "build_from_config", "compile_from_config"}
#: Functions of a whole model's config, with which its files are tested as well.
READ_JSON = {"models.model_from_json"}
#: Functions that read a model's file; the recipes are those of `test_malicious`.
READ_FILES = {"saving.load_model", "saving.load_weights", "Model.load_weights"}
#: Functions that write, or that read what is no model, and where they are tested.
ELSEWHERE = {
    "writes": r"\w+\.save_(model|weights)|Model\.save|\w+\.save_assets"
    r"|CSVLogger|ModelCheckpoint|[\w.]+\.(save_img|plot_model)",
    "tests/utils, tests/datasets": r"utils\.get_file|[\w.]+\.load_img|datasets\..*"
    r"|[\w.]+_dataset_from_directory|Dataset\.cache",
    "tests/saving/test_assets.py": r"\w+\.(load_assets|[gs]et_vocabulary)"
    r"|\w*Lookup|TextVectorization",
    "no file": r"DTypePolicy(Map)?\.at|ops\.(nn\.)?ctc_decode",
}
KNOWN = {*READ_CONFIGS, *CONFIG_METHODS, *READ_JSON, *READ_FILES}


def modules():
    waiting = seen = [torchkeras]
    for module in waiting:
        yield module
        for name in names_of(module):
            inner = getattr(module, name)
            public = inspect.ismodule(inner) and "._" not in inner.__name__
            if public and inner.__name__.startswith("torchkeras") and inner not in seen:
                seen.append(inner)


def names_of(module):
    return getattr(module, "__all__", [n for n in dir(module) if n[0] != "_"])


def members():
    """Yield the public functions and classes, each under one name."""
    found = {}
    for module in modules():
        for name in names_of(module):
            member = getattr(module, name)
            own = getattr(member, "__module__", None) or ""
            listed = hasattr(module, "__all__") or own == module.__name__
            if own.startswith("torchkeras") and listed:
                full = f"{module.__name__}.{name}".removeprefix("torchkeras.")
                names, _ = found.setdefault(id(member), ([], member))
                names.append(full)
    for names, member in found.values():
        yield next((n for n in names if n in KNOWN), names[0]), member


def takes_config_or_path(function):
    name = function.__name__
    parameters = inspect.signature(function).parameters
    return name in ("get", "deserialize") or any(map(TAKES.search, parameters))


def methods_of(cls):
    for name in dir(cls):
        method = inspect.getattr_static(cls, name)
        method = getattr(method, "__func__", method)
        if not inspect.isfunction(method) or (name[0] == "_" and name != "__init__"):
            continue
        if method.__module__.startswith("torchkeras"):
            yield name, method


def entry_points():
    """Return what takes a config or a path: functions, and methods by their classes."""
    found = {}
    for name, member in members():
        if not inspect.isclass(member):
            if callable(member) and takes_config_or_path(member):
                found[name] = [member]
            continue
        for method_name, method in methods_of(member):
            if takes_config_or_path(method):
                owner = method.__qualname__.split(".")[0]
                one = method_name in CONFIG_METHODS
                key = owner if method_name == "__init__" else f"{owner}.{method_name}"
                found.setdefault(method_name if one else key, []).append(member)
    return found


ENTRY_POINTS = entry_points()
CLASSES = [(name, cls) for name in sorted(CONFIG_METHODS) for cls in ENTRY_POINTS[name]]


def test_every_entry_point_stands_in_a_table():
    elsewhere = re.compile("|".join(ELSEWHERE.values()))
    new = {n for n in ENTRY_POINTS if n not in KNOWN and not elsewhere.fullmatch(n)}
    assert not new
    assert not KNOWN - {*ENTRY_POINTS}
    assert {*READERS} == READ_FILES


@pytest.mark.parametrize("name", READ_CONFIGS)
def test_configs(name, tmp_path):
    read = READ_CONFIGS[name]
    recipes = {key: [*CODE[key](tmp_path)][-1] for key in CODE} | CONFIGS
    for recipe, config in recipes.items():
        with pytest.raises(REFUSED, match=r".{20}") as caught:
            read(config)
        assert len(str(caught.value)) <= 2_000, recipe
        assert BYTECODE[:10] not in str(caught.value), recipe
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("recipe", [n for n in JSON if n != "no-model"])
def test_json_of_models(recipe):
    with pytest.raises(REFUSED, match=r".{20}") as caught:
        models.model_from_json(JSON[recipe])
    assert len(str(caught.value)) <= 2_000


def deep():
    value = 1
    for _ in range(5_000):
        value = [value]
    return value


METHOD_CONFIGS = {
    "no config": 3,
    "holds itself": holding_itself(),
    "nested too deep": {"input_shape": deep()},
    "bytecode": {"function": [BYTECODE, None, None]},
    "a lambda": {"layer": {"class_name": "__lambda__", "config": {}}},
    "a class of 3": {"layer": {"class_name": 3}},
    "an array of text": {"x": {"class_name": "__numpy__", "config": {"dtype": "U9"}}},
}


@pytest.mark.parametrize("recipe", METHOD_CONFIGS)
def test_configs_of_methods(recipe):
    for name, cls in CLASSES:
        method = getattr(cls, name)
        owner = () if name == "from_config" else (cls.__new__(cls),)
        with pytest.raises(REFUSED, match=r".{20}"):
            method(*owner, METHOD_CONFIGS[recipe])
