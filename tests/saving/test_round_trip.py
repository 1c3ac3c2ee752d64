"""What is saved comes back bit for bit, in every format."""

import json
import os
import stat
import warnings

import h5py
import numpy as np
import pytest
import torch
from safetensors import safe_open
from safetensors.torch import load_file, save_file
from torch import nn

from torchkeras import layers, models, optimizers, saving, tree
from torchkeras.saving import hdf5

MODELS = [".safetensors", ".keras", ".h5", ".hdf5"]
WEIGHTS = [".safetensors", ".weights.h5"]


def images():
    return models.Sequential(
        [
            layers.Input((8, 8, 3)),
            layers.Rescaling(1 / 2, -1.0),
            layers.Conv2D(4, 3, padding="same", activation="relu"),
            layers.BatchNormalization(),
            layers.MaxPooling2D(2),
            layers.Flatten(),
            layers.Dropout(0.3),
            layers.Dense(3, "softmax", kernel_regularizer="l2"),
        ]
    )


def sequences():
    return models.Sequential(
        [
            layers.Input((6,), dtype="int32"),
            layers.Embedding(11, 4, mask_zero=True),
            layers.Bidirectional(layers.LSTM(3, return_sequences=True)),
            layers.GRU(3, return_sequences=True),
            layers.TimeDistributed(layers.Dense(4)),
            layers.SimpleRNN(3),
            models.Sequential([layers.Dense(2), layers.LayerNormalization()]),
        ]
    )


def named():
    return models.Sequential(
        [
            layers.Input((5,)),
            layers.Dense(4, name="first"),
            layers.Dense(2, name="last"),
        ]
    )


CASES = {"images": images, "sequences": sequences, "named": named}


def inputs_for(model, rows=5):
    if model.inputs[0].dtype == "int32":
        return np.random.randint(0, 11, (rows, *model.input_shape[1:]))
    return np.random.rand(rows, *model.input_shape[1:]).astype("float32")


def train(model, epochs=1):
    x = inputs_for(model)
    y = np.random.rand(5, model.output_shape[-1]).astype("float32")
    model.fit(x, y, batch_size=2, epochs=epochs, shuffle=False, verbose=0)


def assert_same_weights(model, other):
    for old, new in zip(model.get_weights(), other.get_weights(), strict=True):
        np.testing.assert_array_equal(old, new)


@pytest.mark.parametrize("extension", MODELS)
@pytest.mark.parametrize("case", CASES)
@pytest.mark.parametrize("optimizer", [None, "adam"])
def test_a_loaded_model_predicts_the_same(case, optimizer, extension, tmp_path):
    model = CASES[case]()
    if optimizer:
        model.compile(optimizer, "mean_squared_error", metrics=["mae"])
        train(model)
    x = inputs_for(model)
    model.save(tmp_path / f"model{extension}")
    loaded = models.load_model(tmp_path / f"model{extension}")
    np.testing.assert_array_equal(model.predict(x), loaded.predict(x))
    assert_same_weights(model, loaded)
    assert json.loads(loaded.to_json()) == json.loads(model.to_json())
    assert loaded.compiled == bool(optimizer)
    if optimizer:
        assert loaded.get_compile_config() == model.get_compile_config()
        for old, new in zip(
            model.optimizer.variables, loaded.optimizer.variables, strict=True
        ):
            np.testing.assert_array_equal(old.numpy(), new.numpy())


@pytest.mark.parametrize(
    "optimizer",
    [
        lambda: optimizers.SGD(0.01, momentum=0.9),
        lambda: optimizers.Adam(0.003, amsgrad=True),
        lambda: optimizers.Adam(use_ema=True, gradient_accumulation_steps=2),
        lambda: torch.optim.AdamW,
    ],
    ids=["sgd", "amsgrad", "ema", "torch"],
)
def test_training_goes_on_exactly_where_it_stopped(optimizer, tmp_path):
    model = images()
    model.layers[-2].rate = 0.0
    model.compile(optimizer(), "mse")
    train(model)
    model.save(tmp_path / "model.safetensors")
    loaded = models.load_model(tmp_path / "model.safetensors")
    for each in (model, loaded):
        torch.manual_seed(1)
        np.random.seed(1)
        train(each, epochs=2)
    assert_same_weights(model, loaded)
    assert int(loaded.optimizer.iterations) == int(model.optimizer.iterations)


@pytest.mark.parametrize("extension", MODELS)
def test_the_optimizer_can_be_left_out(extension, tmp_path):
    model = named()
    model.compile("adam", "mse")
    train(model)
    model.save(tmp_path / f"model{extension}", include_optimizer=False)
    assert not models.load_model(tmp_path / f"model{extension}").compiled
    model.save(tmp_path / f"model{extension}")
    assert models.load_model(tmp_path / f"model{extension}").compiled
    loaded = models.load_model(tmp_path / f"model{extension}", compile=False)
    assert not loaded.compiled


@pytest.mark.parametrize("extension", MODELS)
def test_a_model_compiled_and_never_trained(extension, tmp_path):
    model = named()
    model.compile(optimizers.SGD(0.25, momentum=0.5), "mse")
    model.save(tmp_path / f"model{extension}")
    loaded = models.load_model(tmp_path / f"model{extension}")
    assert float(loaded.optimizer.learning_rate) == 0.25
    train(loaded)


@pytest.mark.parametrize("extension", WEIGHTS)
@pytest.mark.parametrize("case", CASES)
def test_weights_alone(case, extension, tmp_path):
    model, other = CASES[case](), CASES[case]()
    model.save_weights(tmp_path / f"w{extension}")
    other.load_weights(tmp_path / f"w{extension}")
    assert_same_weights(model, other)


@pytest.mark.parametrize("extension", MODELS)
@pytest.mark.parametrize("case", CASES)
def test_weights_of_a_whole_model(case, extension, tmp_path):
    model, other = CASES[case](), CASES[case]()
    model.save(tmp_path / f"m{extension}")
    other.load_weights(tmp_path / f"m{extension}")
    assert_same_weights(model, other)


@saving.register_keras_serializable("tests")
class Affine(layers.Layer):
    """A layer with weights of its own, a scalar among them."""

    def build(self, input_shape):
        self.gain = self.add_weight((input_shape[-1],), "uniform", name="gain")
        self.shift = self.add_weight((), "ones", trainable=False, name="shift")

    def call(self, inputs):
        return inputs * self.gain + self.shift


def of_dtype(dtype):
    def made(cls, *args):
        return cls(*args, dtype=dtype)

    return models.Sequential(
        [
            made(layers.Input, (6, 6, 2)),
            made(layers.Conv2D, 3, 2),
            made(layers.BatchNormalization),
            made(layers.Reshape, (5, 15)),
            made(layers.GRU, 2),
            made(Affine),
            made(layers.Dense, 2),
        ]
    )


@pytest.mark.parametrize("extension", [*MODELS, *WEIGHTS])
@pytest.mark.parametrize("dtype", ["bfloat16", "float16", "float64"])
@pytest.mark.parametrize("trained", [False, True], ids=["new", "trained"])
def test_other_dtypes(trained, dtype, extension, tmp_path):
    model, own = of_dtype(dtype), getattr(torch, dtype)
    model.set_weights([np.random.randn(*w.shape) for w in model.get_weights()])
    if trained:
        model.compile("adam", "mse")
        model.fit(torch.ones(4, 6, 6, 2, dtype=own), torch.zeros(4, 2), verbose=0)
    path = tmp_path / f"m{extension}"
    (model.save if extension in MODELS else model.save_weights)(path)
    other = of_dtype(dtype)
    other.load_weights(path)
    made = [other, *([models.load_model(path)] if extension in MODELS else [])]
    for twin in made:
        states = model.state_dict().values(), twin.state_dict().values()
        for old, new in zip(*states, strict=True):
            assert new.dtype == old.dtype
            assert torch.equal(_bits(old), _bits(new))
        twin.set_weights(model.get_weights())  # NumPy's floats hold all values
        for old, new in zip(*states, strict=True):
            assert torch.equal(_bits(old), _bits(new))
    if trained and extension in MODELS:
        for old, new in zip(
            model.optimizer.variables, made[1].optimizer.variables, strict=True
        ):
            assert torch.equal(old.value, new.value)


def _bits(tensor):
    return tensor.detach().contiguous().reshape(-1).view(torch.uint8)


@pytest.mark.parametrize("extension", MODELS)
def test_mixed_precision_and_frozen_layers(extension, tmp_path):
    model = models.Sequential(
        [
            layers.Input((4,)),
            layers.Dense(3, dtype="mixed_bfloat16", trainable=False),
            layers.BatchNormalization(trainable=False),
            layers.Dense(2),
        ]
    )
    model.layers[1].set_weights([np.random.rand(3) for _ in range(4)])
    model.save(tmp_path / f"m{extension}")
    loaded = models.load_model(tmp_path / f"m{extension}")
    assert_same_weights(model, loaded)
    assert loaded.layers[0].dtype_policy.name == "mixed_bfloat16"
    assert [w.trainable for w in loaded.weights] == [w.trainable for w in model.weights]


@pytest.mark.parametrize("extension", WEIGHTS)
def test_torch_modules_among_the_layers(extension, tmp_path):
    def make():
        stack = nn.Sequential(nn.Linear(4, 4), nn.BatchNorm1d(4))
        return models.Sequential([layers.Input((4,)), stack, layers.Dense(2)])

    model, other = make(), make()
    model.save_weights(tmp_path / f"w{extension}")
    other.load_weights(tmp_path / f"w{extension}")
    states = (m.state_dict().values() for m in (model, other))
    assert all(torch.equal(old, new) for old, new in zip(*states, strict=True))


STRUCTURES = {
    "a tuple": (0, 0),
    "a list": [0, 0],
    "tuples in tuples": ((0, 0), 0),
    "lists in a tuple": ([0], 0),
    "a tuple in lists": [[0, (0,)], 0],
    "in dicts": {"x": (0, 0), "y": [0, {"z": (0,)}]},
}


@pytest.mark.parametrize("again", [*MODELS, "config", "JSON", "a model around it"])
@pytest.mark.parametrize("structure", STRUCTURES)
def test_the_structures_of_inputs_and_outputs(structure, again, tmp_path):
    """Tuples stay tuples, and lists lists, though JSON knows lists only."""

    def each(function, *structures):
        return tree.map_structure(function, *structures)

    wanted = STRUCTURES[structure]
    given = each(lambda _: layers.Input((3,)), wanted)
    model = models.Model(given, each(lambda i: layers.Dense(2)(i), given))
    x = each(lambda _: torch.randn(2, 3), wanted)
    if again == "config":
        twin = models.Model.from_config(model.get_config())
    elif again == "JSON":
        twin = models.model_from_json(model.to_json())
    else:
        is_inside = again not in MODELS
        saved = models.Model(given, {"inner": model(given)}) if is_inside else model
        path = tmp_path / f"model{'.keras' if is_inside else again}"
        saved.save(path)
        twin = models.load_model(path)
        if is_inside:
            twin = next(m for m in twin.layers if isinstance(m, models.Model))
    twin.set_weights(model.get_weights())
    for made in (twin.input, twin(x), twin.predict(x, verbose=0)):
        assert each(lambda _: 0, made) == wanted
    torch.testing.assert_close(twin(x), model(x), rtol=0, atol=0)


@pytest.mark.parametrize(
    "tuples", [7, [], {"output_layers": 7}, {"output_layers": [7]}, {"inputs": [[0]]}]
)
def test_tuples_that_are_nowhere(tuples):
    inputs = layers.Input((3,))
    config = models.Model(inputs, [inputs * 2, inputs * 3]).get_config()
    config["tuples"] = tuples
    if tuples in ([], {"inputs": [[0]]}):
        assert isinstance(models.Model.from_config(config)(torch.ones(1, 3)), list)
        return
    with pytest.raises(ValueError, match="names inputs or outputs that its layers"):
        models.Model.from_config(config)


def test_safetensors_hold_what_torch_calls_them(tmp_path):
    model = named()
    model.compile("adam", "mse")
    train(model)
    model.save(tmp_path / "m.safetensors")
    model.save_weights(tmp_path / "w.safetensors")
    tensors = load_file(tmp_path / "w.safetensors")
    assert sorted(tensors) == sorted(model.state_dict())
    nn.Module.load_state_dict(named(), tensors)
    whole = load_file(tmp_path / "m.safetensors")
    extra = sorted(whole.keys() - tensors.keys())
    assert "optimizer.state.first.linear.bias.exp_avg" in extra
    assert all(name.startswith("optimizer.") for name in extra)
    with safe_open(tmp_path / "m.safetensors", "pt") as file:
        assert json.loads(file.metadata()["config"])["class_name"] == "Sequential"


def test_a_layer_called_optimizer(tmp_path):
    model = models.Sequential([layers.Input((4,)), layers.Dense(3, name="optimizer_")])
    model.layers[0].name = "optimizer"
    model._modules = {"optimizer": model.layers[0]}
    model.compile("adam", "mse")
    train(model)
    model.save(tmp_path / "m.safetensors")
    loaded = models.load_model(tmp_path / "m.safetensors")
    assert_same_weights(model, loaded)
    assert int(loaded.optimizer.iterations) == int(model.optimizer.iterations)


def test_weights_written_by_torch_alone(tmp_path):
    model, other = named(), named()
    save_file(dict(model.state_dict()), tmp_path / "torch.safetensors")
    other.load_weights(tmp_path / "torch.safetensors")
    assert_same_weights(model, other)
    with pytest.raises(ValueError, match="holds weights only"):
        models.load_model(tmp_path / "torch.safetensors")


def test_layers_to_skip(tmp_path):
    model, other = named(), named()
    kept = other.layers[1].get_weights()
    for extension in WEIGHTS:
        model.save_weights(tmp_path / f"w{extension}")
        skipped = [other.layers[1]]
        other.load_weights(tmp_path / f"w{extension}", objects_to_skip=skipped)
        np.testing.assert_array_equal(other.layers[1].get_weights()[0], kept[0])
        assert_same_weights(model.layers[0], other.layers[0])
        saving.save_weights(
            model, tmp_path / f"s{extension}", objects_to_skip=model.layers[:1]
        )
        with pytest.raises(ValueError, match="missing in the file"):
            other.load_weights(tmp_path / f"s{extension}")


# Classes of the user's own


@saving.register_keras_serializable(package="tests")
class Residual(layers.Layer):
    """A layer of layers, which needs its name in files."""

    def __init__(self, units, **kwargs):
        super().__init__(**kwargs)
        self.units = units
        self.inner = layers.Dense(units, "relu")
        self.outer = layers.Dense(units)

    def build(self, input_shape):
        self.gain = self.add_weight((1,), "ones", name="gain")
        self.count = self.add_weight((), "zeros", trainable=False, name="count")

    def call(self, inputs):
        return inputs + self.gain * self.outer(self.inner(inputs))


class Unregistered(Residual):
    """The same, which files can only name with the user's help."""


def double(x):
    return 2 * x


@pytest.mark.parametrize("extension", MODELS)
def test_a_registered_class(extension, tmp_path):
    model = models.Sequential([layers.Input((4,)), Residual(4), layers.Dense(1)])
    model.layers[0].gain.assign([3.0])
    path = tmp_path / f"m{extension}"
    model.save(path)
    loaded = models.load_model(path)
    assert type(loaded.layers[0]) is Residual
    assert_same_weights(model, loaded)


@pytest.mark.parametrize("extension", MODELS)
def test_custom_objects(extension, tmp_path):
    model = models.Sequential([layers.Input((4,)), Unregistered(4)])
    model.add(layers.Activation(double))
    model.compile("sgd", loss=quarter)
    path = tmp_path / f"m{extension}"
    model.save(path)
    with pytest.raises(saving.UnsafeFileError, match=r"Unregistered.*custom_objects"):
        models.load_model(path)
    known = {"Unregistered": Unregistered, "double": double}
    with pytest.raises(saving.UnsafeFileError, match=r"quarter.*custom_objects"):
        models.load_model(path, known)
    assert not models.load_model(path, known, compile=False).compiled
    loaded = models.load_model(path, {**known, "quarter": quarter})
    assert loaded.loss is quarter
    assert_same_weights(model, loaded)


def quarter(y_true, y_pred):
    return ((y_true - y_pred) ** 2).mean(-1) / 4


@pytest.mark.parametrize("extension", WEIGHTS)
def test_weights_of_a_subclassed_model(extension, tmp_path):
    class Net(models.Model):
        def __init__(self):
            super().__init__()
            self.blocks = nn.ModuleList([layers.Dense(4), layers.Dense(4)])
            self.last = layers.Dense(1)

        def call(self, inputs):
            for block in self.blocks:
                inputs = block(inputs)
            return self.last(inputs)

    model, other = Net(), Net()
    for net in (model, other):
        net(torch.ones(2, 4))
    model.save_weights(tmp_path / f"w{extension}")
    other.load_weights(tmp_path / f"w{extension}")
    assert_same_weights(model, other)


class Plain(models.Model):
    """A model that writes no config and whose constructor takes no name."""

    def __init__(self, units=3):
        super().__init__()
        self.first = layers.Dense(units)
        self.blocks = [layers.Dense(2, trainable=False)]

    def call(self, inputs):
        return self.blocks[0](self.first(inputs))


class Raw(models.Model):
    """A model with a weight of its own, made in `build`."""

    def build(self, input_shape):
        self.kernel = self.add_weight((input_shape[-1], 2), name="kernel")

    def call(self, inputs):
        return inputs @ self.kernel


@pytest.mark.parametrize("extension", MODELS)
@pytest.mark.parametrize("make", [lambda: Plain(5), Raw], ids=["plain", "raw"])
def test_a_subclassed_model_loads_back(make, extension, tmp_path):
    model, x = make(), torch.ones(2, 4)
    expected = model(x)
    model.save(tmp_path / f"m{extension}")
    classes = {"Plain": Plain, "Raw": Raw}
    other = models.load_model(tmp_path / f"m{extension}", custom_objects=classes)
    assert torch.equal(other(x), expected)
    assert other.name == model.name
    trained = [[w.trainable for w in m.weights] for m in (model, other)]
    assert trained[0] == trained[1]


@pytest.mark.parametrize("inside", [False, True], ids=["itself", "inside"])
@pytest.mark.parametrize("extension", MODELS)
def test_a_config_that_its_constructor_does_not_take(extension, inside, tmp_path):
    class Forgetful(Plain):
        def __init__(self, units):
            super().__init__(units)

        def get_config(self):
            return {"name": self.name, "size": 3}

    model = Forgetful(3)
    model(torch.ones(2, 4))
    if inside:
        inputs = layers.Input((4,))
        model = models.Model(inputs, model(inputs))
    path = tmp_path / f"m{extension}"
    path.write_bytes(b"as before")
    with pytest.raises(TypeError, match=r"Forgetful: its config does not .*'units'"):
        model.save(path)
    assert path.read_bytes() == b"as before"
    assert os.listdir(tmp_path) == [path.name]


def test_losses_that_no_file_can_name(tmp_path):
    model = named()
    model.compile("sgd", loss=lambda y_true, y_pred: (y_true - y_pred).mean())
    with pytest.warns(UserWarning, match="compile it again after loading.*lambda"):
        model.save(tmp_path / "m.keras")
    assert not models.load_model(tmp_path / "m.keras").compiled


# Keras's names


def test_objects_and_configs():
    model = images()
    model.compile("adam", "mse", metrics=["mae"])
    config = json.loads(json.dumps(saving.serialize_keras_object(model)))
    twin = saving.deserialize_keras_object(config)
    assert twin.get_compile_config() == model.get_compile_config()
    assert saving.get_registered_name(Residual) == "tests>Residual"
    assert saving.get_registered_object("tests>Residual") is Residual
    assert saving.get_registered_object("x", module_objects={"x": 1}) == 1
    with saving.CustomObjectScope({"double": double}):
        assert saving.get_registered_object("double") is double
    assert saving.get_registered_object("double") is None


# Where files are written


@pytest.fixture
def small():
    return models.Sequential([layers.Input((4,)), layers.Dense(3)])


def test_files_have_the_permissions_of_any_other(small, tmp_path):
    before = os.umask(0o027)
    try:
        small.save(tmp_path / "m.keras")
    finally:
        os.umask(before)
    assert stat.S_IMODE(os.stat(tmp_path / "m.keras").st_mode) == 0o640
    os.chmod(tmp_path / "m.keras", 0o604)
    small.save(tmp_path / "m.keras")
    assert stat.S_IMODE(os.stat(tmp_path / "m.keras").st_mode) == 0o604


def test_a_link_to_a_file_stays_one(small, tmp_path):
    (tmp_path / "real.keras").touch()
    (tmp_path / "link.keras").symlink_to(tmp_path / "real.keras")
    small.save(tmp_path / "link.keras")
    assert (tmp_path / "link.keras").is_symlink()
    assert_same_weights(small, models.load_model(tmp_path / "real.keras"))


@pytest.mark.parametrize("name", ["m.keras", "m.safetensors", "m.h5", "m.weights.h5"])
def test_files_that_are_there(small, name, tmp_path, monkeypatch):
    save = small.save_weights if "weights" in name else small.save
    save(str(tmp_path / name))
    before = (tmp_path / name).read_bytes()
    with pytest.raises(FileExistsError, match=f"{name}.*overwrite=True"):
        save(tmp_path / name, overwrite=False)
    monkeypatch.setattr("sys.stdin.isatty", lambda: True, raising=False)
    answers = iter(["maybe", "n", "y"])
    monkeypatch.setattr("builtins.input", lambda _: next(answers))
    save(tmp_path / name, overwrite=False)
    assert (tmp_path / name).read_bytes() == before
    small.layers[0].set_weights([np.zeros((4, 3)), np.ones(3)])
    save(tmp_path / name, overwrite=False)
    assert (tmp_path / name).read_bytes() != before


def test_an_unbuilt_model(tmp_path):
    model = models.Sequential([layers.Dense(3)])
    with pytest.warns(UserWarning, match="is not built: the file will hold no weights"):
        model.save(tmp_path / "m.keras")
    assert not models.load_model(tmp_path / "m.keras").built
    for call in (model.save_weights, model.load_weights):
        with pytest.raises(ValueError, match="is not built, so it has no weights yet"):
            call(tmp_path / "m.weights.h5")


def test_what_cannot_be_saved(small, tmp_path):
    with pytest.raises(TypeError, match="expected a model, got Dense"):
        saving.save_model(layers.Dense(3), tmp_path / "m.keras")
    with pytest.raises(TypeError, match="expected a model, got dict"):
        saving.save_weights({}, tmp_path / "m.weights.h5")
    with pytest.raises(TypeError, match="`filepath` must be a string or a path"):
        small.save(3)
    with pytest.raises(ValueError, match="`zipped` must be True or None"):
        small.save(tmp_path / "m.keras", zipped=False)
    with pytest.raises(ValueError, match="`max_shard_size` must be None"):
        saving.save_weights(small, tmp_path / "m.weights.h5", max_shard_size=1)
    small.layers[0].name = "../../x"
    for name in ("m.keras", "m.h5", "m.safetensors"):
        with pytest.raises(ValueError, match=r"'\.\./\.\./x': a name must be text"):
            small.save(tmp_path / name)
    assert os.listdir(tmp_path) == []


def test_large_lists_of_names_are_split(tmp_path):
    names = [f"layer_{i:030}" for i in range(4_500)]
    with open(tmp_path / "f.h5", "wb+") as raw, hdf5.open_to_write(raw) as writer:
        writer.names(writer.root, "layer_names", names)
    with h5py.File(tmp_path / "f.h5") as file:
        numbered = {"layer_names0", "layer_names1", "layer_names2"}
        assert set(file.attrs) == {*numbered, "listing_crc32"}
    with open(tmp_path / "f.h5", "rb") as raw, hdf5.open_to_read(raw, "f.h5") as store:
        assert store.names("", "layer_names") == names


def test_limits_can_be_raised(small, tmp_path):
    small.save(tmp_path / "m.keras")
    with saving.limits(config_bytes=100):
        with pytest.raises(
            saving.CorruptFileError, match=r"limits\(config_bytes=\.\.\.\)"
        ):
            models.load_model(tmp_path / "m.keras")
        with saving.limits(config_bytes=10_000):
            models.load_model(tmp_path / "m.keras")
    with pytest.raises(ValueError, match="unknown limit 'layer'"):
        saving.limits(layer=3).__enter__()


@pytest.mark.gpu
@pytest.mark.parametrize("extension", MODELS)
def test_on_an_accelerator(extension, tmp_path):
    model = images().to(torch.accelerator.current_accelerator())
    model.compile("adam", "mse")
    train(model)
    model.save(tmp_path / f"m{extension}")
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        loaded = models.load_model(tmp_path / f"m{extension}")
    assert_same_weights(model, loaded)
    train(loaded)
