"""Files and configs of Keras 1 and 2, and what Keras 3 writes differently from us."""

import json
from typing import Any

import h5py
import numpy as np
import pytest

from torchkeras import layers, models, optimizers, saving
from torchkeras.saving import legacy


def write(path, layer_configs, arrays, training=None, version="2.3.1", **attributes):
    """Write an HDF5 file as Keras 1 and 2 did: text and lists as bytes."""
    config = {"class_name": "Sequential", "config": layer_configs}
    with h5py.File(path, "w") as file:
        file.attrs["keras_version"] = version.encode()
        file.attrs["model_config"] = json.dumps(config).encode()
        if training is not None:
            file.attrs["training_config"] = json.dumps(training).encode()
        root = file.create_group("model_weights")
        root.attrs["layer_names"] = [name.encode() for name in arrays]
        for name, value in {"keras_version": version, **attributes}.items():
            root.attrs[name] = value.encode()
        for name, values in arrays.items():
            group = root.create_group(name)
            names = [f"{name}/{name}_{i}:0" for i in range(len(values))]
            group.attrs["weight_names"] = [n.encode() for n in names]
            for weight, value in zip(names, values, strict=True):
                group[weight] = value
    return path


def random(*shape):
    return np.random.rand(*shape).astype("float32")


KERAS_2_DENSE = {
    "class_name": "Dense",
    "config": {
        "name": "dense_1",
        "trainable": True,
        "batch_input_shape": [None, 4],
        "dtype": "float32",
        "units": 3,
        "activation": "relu",
        "use_bias": True,
        "kernel_initializer": {
            "class_name": "VarianceScaling",
            "config": {
                "scale": 1.0,
                "mode": "fan_avg",
                "distribution": "uniform",
                "seed": None,
            },
        },
        "bias_initializer": {"class_name": "Zeros", "config": {}},
        "kernel_regularizer": {
            "class_name": "L1L2",
            "config": {"l1": 0.0, "l2": 0.01},
        },
        "bias_regularizer": None,
        "activity_regularizer": None,
        "kernel_constraint": {
            "class_name": "MaxNorm",
            "config": {"max_value": 2, "axis": 0},
        },
        "bias_constraint": None,
    },
}


@pytest.mark.parametrize("as_list", [True, False])
def test_keras_2(as_list, tmp_path):
    stack = [KERAS_2_DENSE]
    kernel, bias = random(4, 3), random(3)
    training = {
        "optimizer_config": {
            "class_name": "Adam",
            "config": {
                "lr": 0.002,
                "beta_1": 0.9,
                "beta_2": 0.999,
                "decay": 0.0,
                "epsilon": None,
                "amsgrad": False,
            },
        },
        "loss": "mse",
        "metrics": ["accuracy"],
        "sample_weight_mode": None,
        "loss_weights": None,
    }
    config = stack if as_list else {"name": "sequential_1", "layers": stack}
    path = write(tmp_path / "k2.h5", config, {"dense_1": [kernel, bias]}, training)
    model = models.load_model(path)
    x = random(2, 4)
    np.testing.assert_allclose(
        model.predict(x), np.maximum(x @ kernel + bias, 0), rtol=1e-5
    )
    assert type(model.layers[0].kernel_regularizer).__name__ == "L1L2"
    assert float(model.optimizer.learning_rate) == 0.002
    assert model.optimizer.epsilon == 1e-7
    model.fit(x, random(2, 3), verbose=0)


@pytest.mark.parametrize("outputs", ["sum", "both"])
def test_the_calls_of_a_functional_model_of_keras_2(outputs):
    """A call is a list of ``[layer, call, output, keyword arguments]``."""
    shape = [None, 4]
    dense = {**KERAS_2_DENSE["config"], "units": 4}
    del dense["batch_input_shape"]
    first, twice = ["first", 0, 0, {}], [["dense_1", 0, 0, {}], ["dense_1", 1, 0, {}]]
    config = {
        "name": "model_1",
        "layers": [
            *(
                {
                    "class_name": "InputLayer",
                    "name": name,
                    "config": {"batch_input_shape": shape, "name": name},
                    "inbound_nodes": [],
                }
                for name in ("first", "second")
            ),
            {
                "class_name": "Dense",
                "name": "dense_1",
                "config": dense,
                "inbound_nodes": [[first], [["second", 0, 0, {}]]],
            },
            {
                "class_name": "Add",
                "name": "add_1",
                "config": {"name": "add_1", "trainable": True},
                "inbound_nodes": [twice],
            },
        ],
        "input_layers": [["first", 0, 0], ["second", 0, 0]],
        "output_layers": [["add_1", 0, 0]],
    }
    if outputs == "both":
        config["output_layers"] = [each[:3] for each in twice]
    model = models.Model.from_config(config)
    kernel, bias = random(4, 4), random(4)
    model.set_weights([kernel, bias])
    x = [random(2, 4), random(2, 4)]
    expected = [np.maximum(each @ kernel + bias, 0) for each in x]
    made = model.predict(x, verbose=0)
    wanted = expected if outputs == "both" else [sum(expected)]
    for own, other in zip(made if outputs == "both" else [made], wanted, strict=True):
        np.testing.assert_allclose(own, other, rtol=1e-5)


def test_tensorflow_2(tmp_path):
    stack = [
        {
            "class_name": "InputLayer",
            "config": {
                "batch_input_shape": [None, 6, 6, 2],
                "dtype": "float32",
                "sparse": False,
                "ragged": False,
                "name": "input_1",
            },
        },
        {
            "class_name": "Conv2D",
            "config": {
                "name": "c",
                "filters": 3,
                "kernel_size": [3, 3],
                "kernel_initializer": {
                    "class_name": "GlorotUniform",
                    "config": {"seed": None, "dtype": "float32"},
                },
            },
        },
        {
            "class_name": "BatchNormalizationV1",
            "config": {
                "name": "b",
                "axis": [3],
                "dtype": {"class_name": "Policy", "config": {"name": "float32"}},
                "renorm": False,
                "fused": True,
                "virtual_batch_size": None,
            },
        },
        {"class_name": "LeakyReLU", "config": {"name": "l", "alpha": 0.25}},
        {"class_name": "GlobalAveragePooling2D", "config": {"keepdims": False}},
    ]
    arrays = {
        "c": [random(3, 3, 2, 3), random(3)],
        "b": [random(3) for _ in range(4)],
        "l": [],
    }
    metric = {
        "class_name": "MeanMetricWrapper",
        "config": {"name": "accuracy", "dtype": "float32", "fn": "binary_accuracy"},
    }
    loss = {
        "class_name": "MeanSquaredError",
        "config": {"reduction": "auto", "name": "mean_squared_error", "fn": "mse"},
    }
    training = {
        "optimizer_config": {
            "class_name": "SGD",
            "config": {
                "name": "SGD",
                "learning_rate": 0.1,
                "decay": 0.5,
                "momentum": 0.0,
                "nesterov": False,
                "is_legacy_optimizer": False,
                "jit_compile": True,
            },
        },
        "loss": loss,
        "metrics": [[metric]],
        "weighted_metrics": None,
        "loss_weights": None,
    }
    path = write(
        tmp_path / "tf.h5", {"name": "s", "layers": stack}, arrays, training, "2.4.0"
    )
    model = models.load_model(path)
    assert model.layers[1].axis in (3, -1)
    assert model.layers[2].negative_slope == 0.25
    np.testing.assert_array_equal(model.get_weights()[0], arrays["c"][0])
    np.testing.assert_array_equal(model.get_weights()[5], arrays["b"][3])
    assert model.get_compile_config()["metrics"] == ["accuracy"]
    optimizer = model.optimizer
    assert float(optimizer.learning_rate) == pytest.approx(0.1)
    model.fit(random(2, 6, 6, 2), random(2, 3), verbose=0, batch_size=1)
    assert float(optimizer.learning_rate) == pytest.approx(0.1 / (1 + 0.5 * 2))


KERAS_1 = [
    {
        "class_name": "Convolution1D",
        "config": {
            "name": "conv",
            "batch_input_shape": [None, 8, 4],
            "nb_filter": 3,
            "filter_length": 2,
            "border_mode": "same",
            "subsample_length": 1,
            "activation": "linear",
            "init": "glorot_uniform",
            "bias": True,
            "W_regularizer": {"name": "WeightRegularizer", "l1": 0.0, "l2": 0.5},
            "b_regularizer": None,
            "W_constraint": {"name": "MaxNorm", "m": 2, "axis": 0},
            "input_dim": 4,
            "input_length": 8,
        },
    },
    {
        "class_name": "MaxPooling1D",
        "config": {
            "name": "pool",
            "pool_length": 2,
            "stride": 2,
            "border_mode": "valid",
        },
    },
    {
        "class_name": "LSTM",
        "config": {
            "name": "lstm",
            "output_dim": 2,
            "inner_activation": "sigmoid",
            "inner_init": "orthogonal",
            "forget_bias_init": "one",
            "dropout_W": 0.0,
            "dropout_U": 0.0,
            "consume_less": "cpu",
            "return_sequences": True,
        },
    },
    {
        "class_name": "GRU",
        "config": {"name": "gru", "output_dim": 2, "inner_activation": "sigmoid"},
    },
    {"class_name": "Dropout", "config": {"name": "drop", "p": 0.5}},
    {
        "class_name": "Dense",
        "config": {"name": "dense", "output_dim": 1, "init": "one", "bias": False},
    },
]


def test_keras_1(tmp_path):
    gates = {n: [random(*s) for s in ((3, 2), (2, 2), (2,))] for n in "icfo"}
    gru = {n: [random(*s) for s in ((2, 2), (2, 2), (2,))] for n in "zrh"}
    kernel = random(2, 1, 4, 3)
    arrays = {
        "conv": [kernel, random(3)],
        "lstm": [a for n in "icfo" for a in gates[n]],
        "gru": [a for n in "zrh" for a in gru[n]],
        "dense": [random(2, 1)],
    }
    path = write(tmp_path / "k1.h5", KERAS_1, arrays, version="1.2.2")
    model = models.load_model(path)
    assert not model.compiled
    conv, pool, lstm, last, drop, dense = model.layers
    np.testing.assert_array_equal(conv.get_weights()[0], kernel[:, 0])
    assert (conv.padding, conv.kernel_regularizer.l2) == ("same", 0.5)
    assert conv.kernel_constraint.max_value == 2
    assert tuple(pool.pool_size) == (2,)
    assert lstm.unit_forget_bias is True
    for position in range(3):
        joined = np.concatenate([gates[n][position] for n in "ifco"], -1)
        np.testing.assert_array_equal(lstm.get_weights()[position], joined)
        joined = np.concatenate([gru[n][position] for n in "zrh"], -1)
        np.testing.assert_array_equal(last.get_weights()[position], joined)
    assert last.reset_after is False
    assert (drop.rate, dense.use_bias) == (0.5, False)
    model.predict(random(2, 8, 4))


def test_kernels_of_theano_are_turned(tmp_path):
    config = {"name": "c", "filters": 3, "kernel_size": [2, 2]}
    stack = [
        {
            "class_name": "Conv2D",
            "config": {**config, "batch_input_shape": [1, 4, 4, 2]},
        }
    ]
    arrays = {"c": [random(2, 2, 2, 3), random(3)]}
    path = write(tmp_path / "t.h5", stack, arrays, backend="theano")
    kernel = models.load_model(path).get_weights()[0]
    np.testing.assert_array_equal(kernel, arrays["c"][0][::-1, ::-1])


def test_hard_sigmoid_changed_its_meaning(tmp_path):
    config = {"units": 2, "activation": "hard_sigmoid", "batch_input_shape": [None, 3]}
    stack = [{"class_name": "Dense", "config": {"name": "d", **config}}]
    path = write(tmp_path / "h.h5", stack, {"d": [random(3, 2), random(2)]})
    with pytest.warns(UserWarning, match=r"hard_sigmoid.*will differ"):
        models.load_model(path)


def test_old_files_of_weights(tmp_path):
    """Before Keras 3 any HDF5 file of weights had a group for each layer."""
    path = write(tmp_path / "old.weights.h5", [], {"d": [random(4, 3), random(3)]})
    with h5py.File(path, "r+") as file:
        file.copy("model_weights/d", "d")
        for name, value in file["model_weights"].attrs.items():
            file.attrs[name] = value
        expected = np.asarray(file["d/d/d_0:0"])
        del file["model_weights"]
    model = models.Sequential([layers.Input((4,)), layers.Dense(3)])
    model.load_weights(path)
    np.testing.assert_array_equal(model.get_weights()[0], expected)


def test_the_first_store_of_keras_3(tmp_path):
    """TensorFlow 2.12 and 2.13 called the groups of layers by another name."""
    model = models.Sequential([layers.Input((4,)), layers.Dense(3)])
    model.save_weights(tmp_path / "w.weights.h5")
    with h5py.File(tmp_path / "w.weights.h5", "r+") as file:
        file.move("layers", "_layer_checkpoint_dependencies")
        del file.attrs["listing_crc32"]
    other = models.Sequential([layers.Input((4,)), layers.Dense(3)])
    other.load_weights(tmp_path / "w.weights.h5")
    np.testing.assert_array_equal(model.get_weights()[0], other.get_weights()[0])


@pytest.mark.parametrize("place", ["config.json", "model_config"])
def test_missing_parts(place, tmp_path):
    path = write(tmp_path / "m.h5", [KERAS_2_DENSE], {"dense_1": [random(4, 3)]})
    if place == "model_config":
        with h5py.File(path, "r+") as file:
            del file["model_weights/dense_1/dense_1"]
    with pytest.raises(saving.CorruptFileError, match=r"missing in|does not have it"):
        models.load_model(path)


def test_configs_of_keras_3_are_left_alone():
    model = models.Sequential([layers.Input((4,)), layers.Dense(3, "relu")])
    model.compile("adam", "mse")
    config = json.loads(json.dumps(saving.serialize_keras_object(model)))
    assert legacy.modernize(config) == config


def test_classes_of_the_user_are_left_alone():
    @saving.register_keras_serializable(package="legacy")
    class Odd(layers.Layer):
        def __init__(self, init, bias=False, **kwargs):
            super().__init__(**kwargs)

    config = {
        "module": Odd.__module__,
        "class_name": "Odd",
        "config": {"init": "x", "bias": None, "implementation": 2},
        "registered_name": "legacy>Odd",
    }
    assert legacy.modernize(config) == config


def test_every_rename_leads_to_an_argument():
    """A row of the table that no class answers to would be a mistake."""
    classes = [getattr(layers, n) for n in layers.__all__] + [optimizers.Adam]
    known = {
        n for cls in classes if isinstance(cls, type) for n in legacy._accepted(cls)
    }
    known |= {"max_value", "stddev"}
    for old, names in legacy.ARGUMENTS.items():
        assert set(names) <= known, old


# Which weight is which


def nested(names, dtype=None):
    """A model whose parts are often frozen: one inside, with layers of those names."""
    first, norm, last = names
    base = models.Sequential(
        [
            layers.Input((4,)),
            layers.Dense(4, name=first),
            layers.BatchNormalization(name=norm),
            layers.Dense(4, name=last),
        ],
        name="base",
    )
    inputs = layers.Input((4,))
    model = models.Model(inputs, layers.Dense(4, name="head")(base(inputs)))
    model.set_weights([random(*w.shape) for w in model.get_weights()])
    return model


def freeze(model, positions):
    for position in positions:
        model.get_layer("base").layers[position].trainable = False


def rename_weights(path, rename):
    """Rename the weights of the model inside, in the order of the file."""
    with h5py.File(path, "r+") as file:
        del file.attrs["listing_crc32"]
        root: Any = file["model_weights/base"]
        old = [name.decode() for name in root.attrs["weight_names"]]
        new = [rename(name, number) for number, name in enumerate(old)]
        for before, after in zip(old, new, strict=True):
            root.move(before, f"renamed/{after}")
        root.attrs["weight_names"] = [f"renamed/{name}" for name in new]


NAMED, UNNAMED = ("first", "norm", "last"), (None, None, None)
FREEZES = ([], [0], [2], [1, 2], [0, 1, 2])


@pytest.mark.parametrize("frozen_later", FREEZES[1:4], ids=str)
@pytest.mark.parametrize("frozen", FREEZES, ids=str)
@pytest.mark.parametrize("names", [NAMED, UNNAMED], ids=["given", "automatic"])
def test_what_is_frozen_does_not_matter(names, frozen, frozen_later, tmp_path):
    model = nested(names)
    freeze(model, frozen)
    model.save(tmp_path / "m.h5")
    for by_name in (False, True):
        other = nested(names)
        freeze(other, frozen_later)
        other.load_weights(tmp_path / "m.h5", by_name=by_name)
        for ours, theirs in zip(model.weights, other.weights, strict=True):
            np.testing.assert_array_equal(ours.numpy(), theirs.numpy())


#: Names that a version of Keras gave the weights of a layer in a nested model.
OLD_NAMES = {
    "Keras 3": lambda layer, weight: f"base/{layer}/{weight}",
    "Keras 2": lambda layer, weight: f"{layer}/{weight}:0",
    "Keras 2, counted": lambda layer, weight: f"{layer}_12/{weight}_3:0",
    "Keras 1": lambda layer, weight: f"{layer}_{KERAS_1_WEIGHTS[weight]}",
}
KERAS_1_WEIGHTS = {
    "kernel": "W",
    "bias": "b",
    "gamma": "gamma",
    "beta": "beta",
    "moving_mean": "running_mean",
    "moving_variance": "running_std",
}


@pytest.mark.parametrize("frozen", FREEZES, ids=str)
@pytest.mark.parametrize("version", OLD_NAMES)
def test_names_of_each_version_are_understood(version, frozen, tmp_path):
    model = nested(NAMED)
    freeze(model, frozen)
    model.save(tmp_path / "m.h5")
    rename_weights(tmp_path / "m.h5", lambda n, _: OLD_NAMES[version](*n.split("/")))
    with h5py.File(tmp_path / "m.h5", "r+") as file:  # without the folder around them
        group: Any = file["model_weights/base"]
        names = [name.removeprefix("renamed/") for name in group.attrs["weight_names"]]
        for name in names:
            group.move(f"renamed/{name}", name)
        group.attrs["weight_names"] = names
    other = nested(NAMED)
    other.load_weights(tmp_path / "m.h5")
    for ours, theirs in zip(model.weights, other.weights, strict=True):
        np.testing.assert_array_equal(ours.numpy(), theirs.numpy())


def test_names_that_say_nothing_leave_the_order(tmp_path):
    model = nested(NAMED)
    model.save(tmp_path / "m.h5")
    rename_weights(tmp_path / "m.h5", lambda _, number: f"param{number}")
    other = nested(NAMED)
    other.load_weights(tmp_path / "m.h5")
    np.testing.assert_array_equal(other.get_weights()[0], model.get_weights()[0])
    frozen = nested(NAMED)
    freeze(frozen, [0])
    before = [w.numpy() for w in frozen.weights]
    with pytest.raises(ValueError, match="Names and order") as caught:
        frozen.load_weights(tmp_path / "m.h5")
    assert "base: first/kernel" in str(caught.value)
    for ours, weight in zip(before, frozen.weights, strict=True):
        np.testing.assert_array_equal(ours, weight.numpy())
    freeze(model, [0])
    model.save(tmp_path / "frozen.h5")
    rename_weights(tmp_path / "frozen.h5", lambda _, number: f"param{number}")
    # The config says what was frozen.
    loaded = models.load_model(tmp_path / "frozen.h5")
    for ours, theirs in zip(model.weights, loaded.weights, strict=True):
        np.testing.assert_array_equal(ours.numpy(), theirs.numpy())


def test_kinds_of_weights_that_contradict_the_order(tmp_path):
    model = nested(NAMED)
    model.save(tmp_path / "m.h5")
    swapped = {"kernel": "bias", "bias": "kernel"}
    rename_weights(
        tmp_path / "m.h5",
        lambda name, n: f"p{n}/{swapped.get(last := name.split('/')[1], last)}",
    )
    with pytest.raises(ValueError, match=r"contradict.*\n.*first/kernel and 'renamed"):
        nested(NAMED).load_weights(tmp_path / "m.h5")


def stack(*names):
    model = models.Sequential([layers.Input((3,))])
    for name in names:
        model.add(layers.Dense(3, name=name))
    model.set_weights([random(*w.shape) for w in model.get_weights()])
    return model


@pytest.mark.parametrize(
    ("saved", "loading", "pairs"),
    [
        (["a", "b", "c"], ["a", "b", "c"], [0, 1, 2]),
        (["a", "b", "c"], ["c", "a", "b"], [2, 0, 1]),
        (["a", "b", "c"], [None, None, None], [0, 1, 2]),
        ([None, None, None], [None, None, None], [0, 1, 2]),
        (["dense_8", "dense_9", "dense_10"], ["dense_9", "dense_10", "dense_11"],
         [0, 1, 2]),
        (["a", "b", "c"], ["a", "x", "c"], [0, 1, 2]),
        (["a", None, "c"], ["a", None, "c"], [0, 1, 2]),
        (["a", "b", "c"], ["b", "a", "x"], None),
        (["a", "b", "c"], ["x", "y", "a"], None),
        (["a", "b", "dense_5"], ["b", "dense_5", "a"], [1, 2, 0]),
    ],
)  # fmt: skip
def test_layers_go_by_their_names_where_all_fit(saved, loading, pairs, tmp_path):
    model, other = stack(*saved), stack(*loading)
    model.save(tmp_path / "m.h5")
    if pairs is None:
        with pytest.raises(ValueError, match=r"contradict.*\n  the layer"):
            other.load_weights(tmp_path / "m.h5")
        with pytest.warns(UserWarning, match="contradict"):
            other.load_weights(tmp_path / "m.h5", skip_mismatch=True)
        other.load_weights(tmp_path / "m.h5", by_name=True)
        pairs = [saved.index(name) if name in saved else None for name in loading]
    else:
        other.load_weights(tmp_path / "m.h5")
    for layer, position in zip(other.layers, pairs, strict=True):
        if position is not None:
            expected = model.layers[position].get_weights()[0]
            np.testing.assert_array_equal(layer.get_weights()[0], expected)


def test_equal_names_inside_a_layer(tmp_path):
    """Two models inside whose layers have the same names."""

    def build():
        inner = [stack("a", "b") for _ in range(2)]
        middle = models.Sequential([layers.Input((3,)), *inner], name="middle")
        return models.Sequential([layers.Input((3,)), middle])

    model = build()
    model.layers[0].layers[0].trainable = False
    model.save(tmp_path / "m.h5")
    other = build()
    other.layers[0].layers[1].layers[0].trainable = False
    other.load_weights(tmp_path / "m.h5")
    for ours, theirs in zip(model.weights, other.weights, strict=True):
        np.testing.assert_array_equal(ours.numpy(), theirs.numpy())
