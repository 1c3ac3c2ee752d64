"""Files and configs of Keras 1 and 2, and what Keras 3 writes differently from us."""

import json

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
