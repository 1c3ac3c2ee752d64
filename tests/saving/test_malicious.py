"""Files made to do harm, by every way in: refused, with nothing run, read or changed.

The numbers are those of the catalogue of recipes that model files were attacked by.
"""

import base64
import io
import json
import marshal  # noqa: TID251
import os
import pickle  # noqa: TID251
import resource
import shutil
import stat
import struct
import time
import zipfile
from pathlib import Path

import h5py
import numpy as np
import pytest
import torch
from safetensors import safe_open
from safetensors.torch import load_file

from torchkeras import layers, models, saving
from torchkeras.saving import tensor_file

SECRET = 42.0
DENSE = ("layers/dense/vars", "model_weights/d/d")


@pytest.fixture(scope="module")
def base(tmp_path_factory):
    """Files of one small compiled model, in every format, written by ourselves."""
    folder = tmp_path_factory.mktemp("base")
    model = make_model()
    model.compile("sgd", "mse")
    for extension in (".keras", ".h5", ".safetensors"):
        model.save(folder / f"model{extension}")
    model.save_weights(folder / "model.weights.h5")
    with h5py.File(folder / "secret.h5", "w") as file:
        file["k"] = np.full((4, 3), SECRET, np.float32)
        file.create_group("g/vars")["0"] = np.full((4, 3), SECRET, np.float32)
    np.full(12, SECRET, np.float32).tofile(folder / "secret.bin")
    return folder


def make_model():
    return models.Sequential([layers.Input((4,)), layers.Dense(3, name="d")])


@pytest.fixture
def here(base, tmp_path):
    """A folder with copies of the files, to which recipes do what they do."""
    shutil.copytree(base, tmp_path, dirs_exist_ok=True)
    return tmp_path


# How files are changed


def rewrite_zip(path, change=None, extra=(), **options):
    """Write an archive again, with members changed or added."""
    with zipfile.ZipFile(path) as old:
        members = {name: old.read(name) for name in old.namelist()}
    if change is not None:
        change(members)
    with zipfile.ZipFile(path, "w", **options) as new:
        for name, data in [*members.items(), *extra]:
            new.writestr(name, data)


def change_config(path, change):
    """Change the config in a file of a model, whatever its format."""
    if path.suffix == ".keras":

        def change_member(members):
            config = json.loads(members["config.json"])
            members["config.json"] = json.dumps(change(config) or config).encode()

        rewrite_zip(path, change_member)
    elif path.suffix == ".h5":
        with h5py.File(path, "r+") as file:
            config = json.loads(str(file.attrs["model_config"]))
            del file.attrs["model_config_crc32"], file.attrs["listing_crc32"]
            file.attrs["model_config"] = json.dumps(change(config) or config)
    else:
        with open(path, "rb") as raw, tensor_file.open_to_read(path, raw) as file:
            parts = dict(file.parts)
        parts["config"] = change(parts["config"]) or parts["config"]
        tensor_file.write(path, load_file(path), parts)


def layers_of(config):
    return config["config"]["layers"]


def replace_text(path, text):
    """Put a text in the place of a whole config."""
    if path.suffix == ".keras":
        rewrite_zip(path, lambda members: members.update({"config.json": text}))
    else:
        with h5py.File(path, "r+") as file:
            del file.attrs["model_config_crc32"], file.attrs["listing_crc32"]
            file.attrs["model_config"] = text


def change_dense(path, change):
    """Change the group of the layer's weights in an HDF5 file, in an archive or not."""
    if path.suffix == ".keras":

        def change_member(members):
            file = io.BytesIO(members["model.weights.h5"])
            with h5py.File(file, "r+") as opened:
                change(opened[DENSE[0]], "0")
            members["model.weights.h5"] = file.getvalue()

        rewrite_zip(path, change_member)
        return
    with h5py.File(path, "r+") as opened:
        place = next(place for place in DENSE if place in opened)
        change(opened[place], "0" if place.startswith("layers") else "kernel")


# What is refused


def open_files():
    """Count what is open, without the pipes to the process that reads HDF5."""
    handles = Path("/proc/self/fd").iterdir()
    return sum(h.is_symlink() and "pipe:" not in os.readlink(h) for h in handles)


def refuses(path, here, call=None, match="model|secret"):
    """Check that a file is refused, quickly, and that nothing else happened."""
    names = sorted(os.listdir(here))
    handles = open_files()
    model = make_model()
    before = [w.copy() for w in model.get_weights()]
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    start = time.process_time()
    with pytest.raises((saving.UnsafeFileError, saving.CorruptFileError), match=match):
        call(path) if call else model.load_weights(path)
    assert time.process_time() - start < 2
    grown = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - peak
    assert grown < 256 * 1024
    assert sorted(os.listdir(here)) == names  # no canary, nothing left behind
    assert open_files() == handles
    for old, new in zip(before, model.get_weights(), strict=True):
        np.testing.assert_array_equal(old, new)


MODELS = ("model.keras", "model.h5", "model.safetensors")
STORES = ("model.keras", "model.h5", "model.weights.h5")


#: The ways into a file, by their public names.
READERS = {
    "saving.load_model": saving.load_model,
    "Model.load_weights": lambda path: make_model().load_weights(path),
    "saving.load_weights": lambda path: saving.load_weights(make_model(), path),
}


def entry_points(names):
    """Return the ways into the files: whole models and weights."""
    return [
        (name, how)
        for how in READERS
        for name in names
        if name != "model.weights.h5" or how != "saving.load_model"
    ]


def enter(how):
    # Of the method it is looked at whether the model stays as it was.
    return None if how == "Model.load_weights" else READERS[how]


# Code by name or bytecode


def bytecode(canary):
    code = compile(f"lambda x: open({str(canary)!r}, 'w')", "<f>", "eval").co_consts[0]
    return base64.b64encode(marshal.dumps(code)).decode()


def lambda_layer(canary):
    inner = {"code": bytecode(canary), "defaults": None, "closure": None}
    function = {"class_name": "__lambda__", "config": inner}
    return {"class_name": "Lambda", "config": {"name": "lam", "function": function}}


def new_lambda_layer(canary):
    return {"module": "keras.layers", **lambda_layer(canary)}


def old_lambda_layer(canary):
    function = [bytecode(canary), None, None]
    config = {"name": "lam", "function": function, "function_type": "lambda"}
    return {"class_name": "Lambda", "config": config}


def activation(function):
    config = {"name": "a", "activation": function}
    return {"module": "keras.layers", "class_name": "Activation", "config": config}


def function(module, name):
    return {
        "module": module,
        "class_name": "function",
        "config": name,
        "registered_name": name,
    }


def pickled(canary):
    class Evil:
        def __reduce__(self):
            return open, (str(canary), "w")

    return pickle.dumps(Evil())


def torch_module(canary):
    data = base64.b64encode(pickled(canary)).decode()
    config = {"name": "t", "module": {"class_name": "Module", "config": data}}
    return {
        "module": "keras.layers",
        "class_name": "TorchModuleWrapper",
        "config": config,
    }


def reader_layer(class_name, **config):
    return {"module": "keras.layers", "class_name": class_name, "config": config}


CODE = {
    "S1": lambda here: [new_lambda_layer(here / "canary")],
    "S2": lambda here: [old_lambda_layer(here / "canary")],
    "S3": lambda here: [lambda_layer(here / "canary")],
    "S5": lambda here: [
        {
            "module": "subprocess",
            "class_name": "Popen",
            "config": {"args": ["touch", str(here / "canary")]},
        }
    ],
    "S6-os": lambda _: [activation(function("os", "system"))],
    "S6-eval": lambda _: [activation(function("builtins", "eval"))],
    "S6-numpy": lambda _: [activation(function("numpy", "load"))],
    "S6-torch": lambda _: [activation(function("torch", "load"))],
    "S6-name": lambda _: [activation("os.system")],
    "S7": lambda here: [
        activation(function("torchkeras.config", "enable_unsafe_deserialization")),
        new_lambda_layer(here / "canary"),
    ],
    "S7-keras": lambda here: [
        activation(function("keras.config", "enable_unsafe_deserialization")),
    ],
    "S8": lambda _: [activation(function("keras.utils", "get_file"))],
    "S9": lambda here: [torch_module(here / "canary")],
    "S10": lambda here: [
        reader_layer("StringLookup", vocabulary=str(here / "secret.bin"))
    ],
    "S10-url": lambda _: [
        reader_layer("TextVectorization", vocabulary="http://127.0.0.1:9/x")
    ],
    "S10-int": lambda here: [
        reader_layer("IntegerLookup", vocabulary=str(here / "secret.bin"))
    ],
    "S11": lambda here: [reader_layer("TFSMLayer", filepath=str(here))],
    "S12": lambda _: [
        {
            "module": "keras.layers",
            "class_name": "Dense",
            "config": {"units": 3, "name": "d"},
            "registered_name": "evil>Dense",
        }
    ],
    "S25-name": lambda _: [
        {"class_name": "Dense", "config": {"units": 3, "name": "../../x"}}
    ],
}


@pytest.mark.parametrize("name", MODELS)
@pytest.mark.parametrize("recipe", CODE)
def test_code_in_a_config(recipe, name, here):
    extra = CODE[recipe](here)
    change_config(here / name, lambda config: layers_of(config).extend(extra))
    refuses(here / name, here, saving.load_model)
    refuses(here / name, here, lambda path: saving.load_model(path, safe_mode=False))


@pytest.mark.parametrize("recipe", CODE)
def test_code_in_a_config_without_a_file(recipe, tmp_path):
    extra = CODE[recipe](tmp_path)
    config = json.loads(make_model().to_json())
    layers_of(config).extend(extra)
    for call in (
        lambda: models.model_from_json(json.dumps(config)),
        lambda: models.Sequential.from_config(config["config"]),
        lambda: saving.deserialize_keras_object(config),
        lambda: saving.deserialize_keras_object(config, safe_mode=False),
        lambda: [layers.deserialize(layer) for layer in extra],
    ):
        with pytest.raises((ValueError, TypeError), match=r".{20}"):
            call()
    assert os.listdir(tmp_path) == []


@pytest.mark.parametrize("name", MODELS)
@pytest.mark.parametrize("layer", [new_lambda_layer, old_lambda_layer])
def test_weights_of_a_file_with_bytecode(layer, name, here):
    """What the refusal advises works: the model made in Python takes the weights."""
    expected = saving.load_model(here / name).get_weights()
    change_config(
        here / name, lambda c: layers_of(c).append(layer(str(here / "canary")))
    )
    with pytest.raises(
        saving.UnsafeFileError, match="take the weights over by `load_w"
    ):
        saving.load_model(here / name)
    model = make_model()
    model.add(layers.Lambda(torch.relu, name="lam"))
    model.load_weights(here / name)
    for old, new in zip(expected, model.get_weights(), strict=True):
        np.testing.assert_array_equal(old, new)
    assert "canary" not in os.listdir(here)


class Evil(layers.Dense):
    """What a file wants to get in the place of a built-in layer."""


def test_names_of_built_in_classes_are_not_shadowed(here):
    with saving.custom_object_scope({"Dense": Evil, "evil>Dense": Evil}):
        loaded = saving.load_model(here / "model.keras", {"Dense": Evil})
    assert type(loaded.layers[0]) is layers.Dense


# HDF5


def link(kind):
    def change(group, key):
        del group[key]
        group[key] = kind

    return change


def external_storage(group, key):
    del group[key]
    folder = Path(group.file.filename).parent
    storage = [(str(folder / "secret.bin"), 0, 48)]
    group.create_dataset(key, (4, 3), np.float32, external=storage)


def external_in_archive(group, key):
    del group[key]
    storage = [("secret.bin", 0, 48)]
    group.create_dataset(key, (4, 3), np.float32, external=storage)


def virtual(group, key):
    del group[key]
    source = h5py.VirtualSource("secret.h5", "k", (4, 3), np.float32)
    layout = h5py.VirtualLayout((4, 3), np.float32)
    layout[:] = source
    group.create_virtual_dataset(key, layout)


def bomb(shape, **options):
    def change(group, key):
        del group[key]
        group.create_dataset(key, shape, np.float32, **options)

    return change


def of_dtype(data, **options):
    def change(group, key):
        del group[key]
        group.create_dataset(key, data=data, **options)

    return change


def whole_group(kind):
    def change(group, key):
        parent, name = group.parent, group.name.split("/")[-1]
        del parent[name]
        parent[name] = kind

    return change


def circle(group, key):
    group["again"] = group.parent


HDF5 = {
    "S13": link(h5py.ExternalLink("secret.h5", "/k")),
    "S14": whole_group(h5py.ExternalLink("secret.h5", "/g/vars")),
    "S15": link(h5py.SoftLink("/metadata")),
    "S15-group": whole_group(h5py.SoftLink("/layers")),
    "S16": external_in_archive,
    "S17": virtual,
    "S18": bomb((2**50,), compression="gzip", chunks=(1024,)),
    "S18-2d": bomb((2**20, 2**20), compression="gzip", chunks=(1024, 1024)),
    "S18-unwritten": bomb((2**30,)),
    "circle": circle,
    "objects": of_dtype(np.array(["a"], object), dtype=h5py.string_dtype()),
    "references": of_dtype(np.array([None]), dtype=h5py.ref_dtype),
    "compound": of_dtype(np.zeros(3, [("a", "f4"), ("b", "f4")])),
    "filter": lambda group, key: add_unknown_filter(group, key),
}


def add_unknown_filter(group, key):
    del group[key]
    plan = h5py.h5p.create(h5py.h5p.DATASET_CREATE)
    plan.set_chunk((4, 3))
    plan.set_filter(32015, h5py.h5z.FLAG_OPTIONAL, (3,))
    space = h5py.h5s.create_simple((4, 3))
    h5py.h5d.create(group.id, key.encode(), h5py.h5t.IEEE_F32LE, space, plan)


@pytest.mark.parametrize(("name", "how"), entry_points(STORES))
@pytest.mark.parametrize("recipe", HDF5)
def test_hdf5(recipe, name, how, here, monkeypatch):
    monkeypatch.chdir(here)  # relative names in links lead to the secret
    change_dense(here / name, HDF5[recipe])
    refuses(here / name, here, enter(how))


# Zip


def compress(name, data):
    def change(path):
        rewrite_zip(
            path,
            lambda members: members.update({name: data(members)}),
            compression=zipfile.ZIP_DEFLATED,
        )

    return change


def add(*members):
    return lambda path: rewrite_zip(path, extra=members)


def add_special(name, mode=0, content=b"x"):
    info = zipfile.ZipInfo("renamed")
    info.filename = name
    info.external_attr = mode << 16
    return add((info, content))


def add_empty(path, count):
    rewrite_zip(path, extra=[(f"{number}", b"") for number in range(count)])


def twice(path):
    config = json.loads(zipfile.ZipFile(path).read("config.json"))
    layers_of(config).append(new_lambda_layer("canary"))
    rewrite_zip(path, extra=[("config.json", json.dumps(config))])


ZIP = {
    "S20": compress("config.json", lambda _: b" " * 2**26),
    "S21": compress("model.weights.h5", lambda m: m["model.weights.h5"] + bytes(2**26)),
    "S22": compress("assets/bomb.bin", lambda _: bytes(2**26)),
    "S22-many": lambda path: add_empty(path, 10_001),
    "S23": compress("model.weights.npz", lambda m: m.pop("model.weights.h5")),
    "S24": twice,
    "S25-up": add(("../../x", b"x")),
    "S25-absolute": add(("/x", b"x")),
    "S25-backslash": add(("..\\x", b"x")),
    "S25-drive": add(("c:/x", b"x")),
    "S25-symlink": add_special("link", stat.S_IFLNK | 0o777, b"/etc/passwd"),
    "S25-device": add_special("device", stat.S_IFCHR | 0o777),
}


@pytest.mark.filterwarnings("ignore:Duplicate name:UserWarning")
@pytest.mark.parametrize("how", READERS)
@pytest.mark.parametrize("recipe", ZIP)
def test_zip(recipe, how, here):
    ZIP[recipe](here / "model.keras")
    refuses(here / "model.keras", here, enter(how))


@pytest.mark.slow
def test_zip_of_very_many_members(here):
    add_empty(here / "model.keras", 10**5)
    refuses(here / "model.keras", here, saving.load_model)


# JSON

LAYER = '{"class_name": "Flatten", "config": {}}'
JSON = {
    "deep": '{"class_name": "Sequential", "config": ' + '{"a":' * 20_000,
    "deep-closed": "[" * 20_000 + "]" * 20_000,
    "deep-lists": '{"class_name": "Sequential", "config": '
    + "[" * 190
    + "]" * 190
    + "}",
    "deep-objects": '{"class_name": "Sequential", "config": '
    + '{"class_name": "Sequential", "config": ' * 190
    + "1"
    + "}" * 191,
    "not-utf8": b"\xff\xfe{}",
    "list": "[1, 2]",
    "text": '"Sequential"',
    "empty": "",
    "nan": '{"class_name": "Sequential", "config": {"a": NaN}}',
    "infinity": '{"class_name": "Sequential", "config": {"a": -Infinity}}',
    "huge": '{"class_name": "Sequential", "config": {"a": 1e999}}',
    "digits": '{"class_name": "Sequential", "config": {"a": 1' + "0" * 10**6 + "}}",
    "layers": '{"class_name": "Sequential", "config": {"layers": ['
    + ",".join([LAYER] * 100_001)
    + "]}}",
    "unknown": '{"class_name": "Nonsense", "config": {}}',
    "no-config": '{"class_name": "Sequential"}',
    "no-layers": '{"class_name": "Sequential", "config": {}}',
    "no-class": '{"config": {}}',
    "class-list": '{"class_name": ["Sequential"], "config": {}}',
    "twice": '{"class_name": "Sequential", "class_name": "Dense", "config": {}}',
    "text-array": '{"class_name": "__numpy__", "config": {"value": ["a"], '
    '"dtype": "U1000000000"}}',
    "no-model": '{"class_name": "Dense", "config": {"units": 3}}',
}


@pytest.mark.parametrize("name", ["model.keras", "model.h5"])
@pytest.mark.parametrize("recipe", JSON)
def test_json(recipe, name, here):
    text = JSON[recipe]
    if name == "model.h5" and isinstance(text, bytes):
        text = np.bytes_(text)
    replace_text(here / name, text)
    refuses(here / name, here, saving.load_model)


@pytest.mark.parametrize("name", MODELS)
@pytest.mark.parametrize(
    "layer",
    [
        {"class_name": "Dense", "config": {"units": 2**31}},
        {"class_name": "Embedding", "config": {"input_dim": 2**40, "output_dim": 8}},
        {"class_name": "Conv1D", "config": {"filters": 2**30, "kernel_size": [3]}},
        {"class_name": "LSTM", "config": {"units": 2**20}},
        {"class_name": "Dense", "config": {"units": 2**62}},
        {"class_name": "Dense", "config": {"units": 2**70}},
        {"class_name": "Reshape", "config": {"target_shape": [2**40]}},
    ],
    ids=lambda layer: layer["class_name"],
)
def test_config_that_asks_for_memory(layer, name, here):
    def change(config):
        layers_of(config)[1:] = [{"module": "keras.layers", **layer}]
        if layer["class_name"] in ("LSTM", "Conv1D"):
            layers_of(config)[0]["config"]["batch_shape"] = [None, 4, 4]
        config["config"].pop("build_input_shape", None)
        config.pop("build_config", None)

    change_config(here / name, change)
    refuses(here / name, here, saving.load_model)


def call_of(name, number):
    history = {"keras_history": [name, number, 0], "shape": [None, 4], "dtype": "float"}
    return {"args": [{"class_name": "__keras_tensor__", "config": history}]}


def graph_of(count):
    """One layer that is called many times, each time on its last output."""
    source = {"batch_shape": [None, 4], "name": "in"}
    calls = [call_of("in", 0), *(call_of("d", number) for number in range(count - 1))]
    one = {"class_name": "Dense", "name": "d", "config": {"units": 4, "name": "d"}}
    return {
        "class_name": "Functional",
        "config": {
            "layers": [
                {"class_name": "InputLayer", "config": source, "name": "in"},
                {**one, "inbound_nodes": calls},
            ],
            "input_layers": [["in", 0, 0]],
            "output_layers": [["d", count - 1, 0]],
        },
    }


@pytest.mark.parametrize("name", MODELS)
@pytest.mark.parametrize("recipe", ["calls", "names", "names-of-a-graph"])
def test_configs_that_ask_for_time(recipe, name, here):
    same = {"class_name": "Dense", "config": {"units": 3, "name": "d"}}
    config = {
        "calls": graph_of(20_000),
        "names": {"class_name": "Sequential", "config": {"layers": [same] * 20_000}},
        "names-of-a-graph": graph_of(1),
    }[recipe]
    if recipe == "names-of-a-graph":
        layers_of(config).extend([layers_of(config)[1]] * 20_000)
    change_config(here / name, lambda _: config)
    refuses(here / name, here, saving.load_model)


@saving.register_keras_serializable("malicious")
class Own(layers.Layer):
    """A class of the user's: what its constructor does is not tried on `meta`."""

    def call(self, inputs):
        return inputs


@pytest.mark.parametrize("name", MODELS)
@pytest.mark.parametrize(
    "layer",
    [
        {"class_name": "Dense", "config": {"units": 10**8}},
        {"class_name": "SimpleRNN", "config": {"units": 10**5}},
        {"class_name": "PReLU", "config": {}},
    ],
    ids=lambda layer: layer["class_name"],
)
def test_config_that_asks_for_memory_beside_a_class_of_the_users_own(layer, name, here):
    model = models.Sequential([layers.Input((4, 5)), Own(name="own")])
    model.save(here / name)

    def change(config):
        config["config"].pop("build_input_shape", None)
        config.pop("build_config", None)
        layers_of(config).append({"module": "keras.layers", **layer})
        if layer["class_name"] == "PReLU":
            layers_of(config)[0]["config"]["batch_shape"] = [None, 10**5, 10**4]

    change_config(here / name, change)
    refuses(here / name, here, saving.load_model, match=r"limits\(expansion=")


@pytest.mark.parametrize("name", MODELS)
@pytest.mark.parametrize(
    "metric",
    [
        {"class_name": "MeanIoU", "config": {"num_classes": 10**5}},
        {"class_name": "AUC", "config": {"num_thresholds": 10**9}},
        {"class_name": "AUC", "config": {"multi_label": True, "num_labels": 10**9}},
    ],
    ids=["MeanIoU", "AUC", "AUC-labels"],
)
def test_metric_that_asks_for_memory(metric, name, here):
    model = make_model()
    model.compile("sgd", "mse", metrics=["mae"])
    model.save(here / name)
    metric = {"module": "keras.metrics", **metric}
    if name == "model.h5":
        with h5py.File(here / name, "r+") as file:
            config = json.loads(str(file.attrs["training_config"]))
            config["metrics"] = [metric]
            file.attrs["training_config"] = json.dumps(config)
            del file.attrs["training_config_crc32"], file.attrs["listing_crc32"]
    else:
        change_config(
            here / name, lambda c: c["compile_config"].update(metrics=[metric])
        )
    refuses(here / name, here, saving.load_model, match=r"limits\(expansion=")


def test_compressions_within_one_another(here):
    def change(group, key):
        bomb((2**15, 2**10), compression="gzip", chunks=True)(group, key)
        group[key][:] = 0

    change_dense(here / "model.keras", change)
    rewrite_zip(here / "model.keras", compression=zipfile.ZIP_DEFLATED)
    assert os.path.getsize(here / "model.keras") < 20_000
    refuses(here / "model.keras", here)


# safetensors


def tensors(header, data=b"", length=None):
    text = json.dumps(header).encode() if isinstance(header, dict) else header
    size = len(text) if length is None else length
    return struct.pack("<Q", size % 2**64) + text + data


def one(**changes):
    return {"a": {"dtype": "F32", "shape": [2], "data_offsets": [0, 8], **changes}}


EIGHT = bytes(8)
SAFETENSORS = {
    "S28-2^63": tensors(one(), EIGHT, 2**63),
    "S28-200MB": tensors(one(), EIGHT, 2 * 10**8),
    "S29-past-end": tensors(one(data_offsets=[0, 80]), EIGHT),
    "S29-reversed": tensors(one(data_offsets=[8, 0]), EIGHT),
    "S29-overlap": tensors({**one(), "b": one()["a"]}, EIGHT),
    "S29-hole": tensors(one(data_offsets=[8, 16]), EIGHT * 2),
    "S29-trailing": tensors(one(), EIGHT * 2),
    "S30": tensors(one(shape=[2**33, 2**33]), EIGHT),
    "S31-dtype": tensors(one(dtype="F33"), EIGHT),
    "S31-negative": tensors(one(shape=[-2]), EIGHT),
    "S31-metadata": tensors({**one(), "__metadata__": {"a": 1}}, EIGHT),
    "S31-twice": tensors(
        b'{"a":{"dtype":"F32","shape":[2],"data_offsets":[0,8]},'
        b'"a":{"dtype":"F32","shape":[2],"data_offsets":[0,8]}}',
        EIGHT,
    ),
    "short": b"\x10",
    "header-version": tensors(
        {**one(), "__metadata__": {"torchkeras_format": "99"}}, EIGHT
    ),
    "header-checksum": tensors(
        {**one(), "__metadata__": {"torchkeras_format": "1", "config": "{}"}}, EIGHT
    ),
}


@pytest.mark.parametrize("how", READERS)
@pytest.mark.parametrize("recipe", SAFETENSORS)
def test_safetensors(recipe, how, here):
    (here / "model.safetensors").write_bytes(SAFETENSORS[recipe])
    refuses(here / "model.safetensors", here, enter(how))


def test_long_names_of_many_tensors(here):
    path = here / "model.safetensors"
    header = {
        f"{number}" * 200: {"dtype": "F32", "shape": [0], "data_offsets": [0, 0]}
        for number in range(1_000)
    }
    path.write_bytes(tensors(header))
    with pytest.raises(ValueError, match=r"missing in the file") as caught:
        make_model().load_weights(path)
    assert len(str(caught.value)) <= 2_000


@pytest.mark.parametrize("own", [True, False])
def test_very_many_empty_tensors(own, here):
    path = here / "model.safetensors"
    header = {
        f"t{number}": {"dtype": "F32", "shape": [0], "data_offsets": [0, 0]}
        for number in range(100_000)
    }
    if own:
        with safe_open(path, framework="pt") as file:
            header["__metadata__"] = file.metadata()
    path.write_bytes(tensors(header))
    model = make_model()
    for call in (model.load_weights, saving.load_model)[: 1 + own]:
        start = time.process_time()
        with pytest.raises(saving.UnsafeFileError, match=r"100,000 tensors.*tensors="):
            call(path)
        assert time.process_time() - start < 2


@pytest.mark.parametrize(
    "state",
    [
        {"state": {}, "keras": {"iterations": 1}, "more": {"__tensor__": "nowhere"}},
        {"__tensor__": ["unhashable"]},
    ],
)
def test_safetensors_that_name_tensors_they_do_not_have(state, here):
    path = here / "model.safetensors"
    with open(path, "rb") as raw, tensor_file.open_to_read(path, raw) as file:
        parts = {**file.parts, "optimizer": state}
    tensor_file.write(path, load_file(path), parts)
    refuses(path, here, saving.load_model)


@pytest.mark.parametrize(
    "state",
    [{}, 3, [1], {"state": 3}, {"state": {"x": 3}}, {"state": {"d.linear.weight": 1}}],
)
def test_safetensors_with_another_optimizer_state(state, here):
    path = here / "model.safetensors"
    with open(path, "rb") as raw, tensor_file.open_to_read(path, raw) as file:
        parts = {**file.parts, "optimizer": state}
        tensors = {k: e.read() for k, e in file.entries.items() if k.startswith("d.")}
    tensor_file.write(path, tensors, parts)
    if state:
        with pytest.warns(UserWarning, match="begins anew"):
            saving.load_model(path)


# Pickles under our names


@pytest.mark.parametrize("protocol", [2, 4, 5])
@pytest.mark.parametrize("name", [*MODELS, "model.weights.h5"])
def test_pickles(name, protocol, here):
    class Evil:
        def __reduce__(self):
            return open, (str(here / "canary"), "w")

    (here / name).write_bytes(pickle.dumps(Evil(), protocol))
    refuses(here / name, here)
    refuses(here / name, here, saving.load_model)


@pytest.mark.parametrize("name", [*MODELS, "model.weights.h5"])
@pytest.mark.parametrize("zipped", [True, False])
def test_torch_checkpoints(name, zipped, here):
    values = {"w": torch.ones(4)}
    torch.save(values, here / name, _use_new_zipfile_serialization=zipped)
    refuses(here / name, here)
    refuses(here / name, here, saving.load_model)
