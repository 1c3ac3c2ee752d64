"""Settings, dtype policies and the device context."""

import logging
import subprocess
import sys
import warnings
from typing import Any

import keras
import numpy as np
import pytest
import torch
import torch.nn.functional as F
from torch.nn.attention import SDPBackend

import torchkeras
from torchkeras import config, dtype_policies, layers, ops
from torchkeras._core import tracebacks

X = np.zeros((12, 2), "float32")
Y = np.zeros((12, 1), "float32")


@pytest.fixture
def model():
    made = torchkeras.Sequential([layers.Input((2,)), layers.Dense(1)])
    made.compile("sgd", "mse")
    return made


# Logging


@pytest.fixture
def not_interactive():
    config.disable_interactive_logging()
    yield
    config.enable_interactive_logging()


@pytest.mark.usefixtures("not_interactive")
def test_progress_goes_to_the_logger(model, caplog, capsys, monkeypatch):
    monkeypatch.setattr(sys.stdout, "isatty", lambda: True, raising=False)
    assert not config.is_interactive_logging_enabled()
    with caplog.at_level(logging.INFO, "torchkeras"):
        model.fit(X, Y, epochs=2)
    assert capsys.readouterr().out == ""
    lines = [record.getMessage() for record in caplog.records]
    assert lines[::2] == ["Epoch 1/2", "Epoch 2/2"]
    assert all("loss: 0.0000" in line for line in lines[1::2])


def test_progress_goes_to_standard_output(model, caplog, capsys):
    assert config.is_interactive_logging_enabled()
    with caplog.at_level(logging.INFO, "torchkeras"):
        model.fit(X, Y)
    assert "loss" in capsys.readouterr().out
    assert not caplog.records


# Flash attention


def test_flash_attention():
    # As a layer asks: does torch choose the flash kernel of the CPU?
    query = torch.ones(1, 2, 4, 8)

    def kernel():
        chosen = torch._fused_sdp_choice(  # pyright: ignore[reportPrivateImportUsage]
            query, query, query
        )
        return SDPBackend(chosen)

    assert config.is_flash_attention_enabled()
    assert kernel() == SDPBackend.FLASH_ATTENTION
    expected = F.scaled_dot_product_attention(query, query, query)
    config.disable_flash_attention()
    try:
        assert not config.is_flash_attention_enabled()
        assert kernel() != SDPBackend.FLASH_ATTENTION
        found = F.scaled_dot_product_attention(query, query, query)
        torch.testing.assert_close(found, expected)
    finally:
        config.enable_flash_attention()
    assert config.is_flash_attention_enabled()


# Limits


@pytest.fixture
def limits():
    yield
    config.set_max_epochs(None)
    config.set_max_steps_per_epoch(None)


@pytest.mark.usefixtures("limits")
def test_a_limit_of_epochs(model):
    assert config.max_epochs() is None
    config.set_max_epochs(2)
    assert config.max_epochs() == 2
    with pytest.warns(UserWarning, match="Limiting epochs to 2"):
        history = model.fit(X, Y, epochs=5, verbose=0)
    assert history.epoch == [0, 1]
    assert model.fit(X, Y, epochs=1, verbose=0).epoch == [0]


@pytest.mark.usefixtures("limits")
def test_a_limit_of_steps(model):
    seen = []

    class Count(torchkeras.callbacks.Callback):
        def on_train_batch_end(self, batch, logs=None):
            seen.append("train")

        def on_test_batch_end(self, batch, logs=None):
            seen.append("test")

    assert config.max_steps_per_epoch() is None
    config.set_max_steps_per_epoch(2)
    assert config.max_steps_per_epoch() == 2
    options: dict[str, Any] = {"batch_size": 2, "callbacks": [Count()], "verbose": 0}
    with pytest.warns(UserWarning, match="batches of an epoch to 2"):
        model.fit(X, Y, epochs=2, validation_data=(X, Y), **options)
    assert seen == ["train", "train", "test", "test"] * 2
    seen.clear()
    with pytest.warns(UserWarning, match="batches of an epoch to 2"):
        model.evaluate(X, Y, **options)
    assert seen == ["test"] * 2
    with pytest.warns(UserWarning, match="batches of an epoch to 2"):
        assert len(model.predict(X, batch_size=2, steps=4, verbose=0)) == 4
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert len(model.predict(X, batch_size=6, verbose=0)) == 12


@pytest.mark.parametrize("name", ["max_epochs", "max_steps_per_epoch"])
def test_wrong_limits(name):
    set_limit = getattr(config, f"set_{name}")
    for value, error in [(0, ValueError), (-1, ValueError), (1.5, TypeError)]:
        with pytest.raises(error, match=f"`{name}` must be a positive integer"):
            set_limit(value)
    assert getattr(config, name)() is None


def test_limits_of_the_environment(monkeypatch):
    monkeypatch.setenv("KERAS_MAX_EPOCHS", "3")
    monkeypatch.setenv("KERAS_MAX_STEPS_PER_EPOCH", "7")
    code = """
from torchkeras._core import config
print(config.max_epochs(), config.max_steps_per_epoch())
"""
    result = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True
    )
    assert result.stdout.split() == ["3", "7"]


# Tracebacks


@pytest.fixture
def shown(monkeypatch):
    """Give what the hook of before was asked to show, frame by frame."""
    frames = []

    def hook(kind, error, traceback):
        cause = error
        while cause is not None:
            walked = tracebacks.traceback.extract_tb(cause.__traceback__)
            frames.append([frame.name for frame in walked])
            cause = cause.__cause__

    monkeypatch.setattr(sys, "excepthook", hook)
    config.enable_traceback_filtering()
    config.enable_traceback_filtering()  # twice is as good as once
    yield frames
    config.disable_traceback_filtering()
    assert sys.excepthook is hook


def _fail():
    ops.image.resize(torch.ones(2), (2, 2))


def test_tracebacks_are_filtered(shown):
    assert config.is_traceback_filtering_enabled()
    with pytest.raises(ValueError, match="must be an image") as caught:
        _fail()
    error = caught.value
    whole = error.__traceback__
    sys.excepthook(type(error), error, whole)
    assert shown == [["test_tracebacks_are_filtered", "_fail"]]
    assert error.__traceback__ is whole


def test_tracebacks_of_causes_are_filtered(shown):
    cause = None
    try:
        ops.image.resize(torch.ones(2), (2, 2))
    except ValueError as error:
        cause = error
    with pytest.raises(RuntimeError, match="no") as caught:
        raise RuntimeError("no") from cause
    sys.excepthook(RuntimeError, caught.value, caught.tb)
    assert shown == [["test_tracebacks_of_causes_are_filtered"]] * 2


def test_tracebacks_are_whole_at_first():
    assert not config.is_traceback_filtering_enabled()
    assert tracebacks.filtered(None) is None
    with pytest.raises(ValueError, match="must be an image") as caught:
        _fail()
    outer: Any = caught.tb
    inner = outer.tb_next.tb_next  # all hidden: better than nothing
    assert tracebacks.filtered(inner) is inner


# Devices


def test_the_device_context():
    before = config.floatx(), torch.empty(()).device
    with torchkeras.device("cpu:0") as chosen:
        assert chosen == torch.device("cpu:0")
        assert ops.convert_to_tensor([1.0]).device.type == "cpu"
    with torchkeras.device("meta"):
        assert ops.convert_to_tensor([1.0]).device.type == "meta"
        layer = layers.Dense(3)
        layer.build((None, 2))
        assert layer.kernel.device.type == "meta"
    assert (config.floatx(), torch.empty(()).device) == before


def test_the_device_context_ends_with_an_error():
    with pytest.raises(KeyError), torchkeras.device("meta"):
        raise KeyError
    assert ops.convert_to_tensor([1.0]).device.type != "meta"


def test_gpu_is_the_accelerator(monkeypatch):
    found = torch.device("xpu")
    monkeypatch.setattr(torch.accelerator, "current_accelerator", lambda **_: found)
    with torchkeras.device("GPU:1") as chosen:
        assert chosen == torch.device("xpu:1")


def test_wrong_devices():
    for name in ("abacus", "cpu:x", 3, None):
        with (
            pytest.raises(ValueError, match="`device_name` must be the name of"),
            torchkeras.device(name),  # type: ignore[arg-type]
        ):
            pass


def test_no_code_is_run():
    with pytest.raises(NotImplementedError, match="never runs code from a file"):
        config.enable_unsafe_deserialization()


# Dtype policies


def test_the_old_name_of_a_policy():
    assert torchkeras.FloatDTypePolicy is dtype_policies.DTypePolicy
    old = keras.dtype_policies.FloatDTypePolicy("mixed_float16")
    form: Any = keras.dtype_policies.serialize(old)
    assert form["class_name"] == "FloatDTypePolicy"
    assert dtype_policies.deserialize(form).name == "mixed_float16"


@pytest.fixture
def policies():
    made = dtype_policies.DTypePolicyMap("float32")
    made["encoder/dense"] = "bfloat16"
    made["encoder/.*"] = dtype_policies.DTypePolicy("float16")
    return made


def test_a_map_of_policies(policies):
    assert policies["encoder/dense"].name == "bfloat16"
    assert policies["encoder/query"].name == "float16"
    assert policies["encoder"].name == policies["decoder"].name == "float32"
    assert (policies.compute_dtype, policies.variable_dtype) == ("float32",) * 2
    assert policies.name == "map_float32"
    assert list(policies) == ["encoder/dense", "encoder/.*"]
    assert "encoder/query" not in policies
    policies["encoder/q.*"] = "float64"
    with pytest.raises(ValueError, match="'encoder/query' matches several entries"):
        policies["encoder/query"]
    with pytest.raises(ValueError, match="has the policy 'float64' already"):
        policies["encoder/q.*"] = "float16"
    del policies["encoder/q.*"]
    assert len(policies) == 2
    assert "encoder/.*" in repr(policies)


def test_a_layer_takes_the_policy_of_its_path(policies):
    policies["inner_.*"] = "mixed_bfloat16"
    plain = layers.Dense(2, dtype=policies, name="outer")
    mixed = layers.Dense(2, dtype=policies, name="inner_1")
    assert (plain.compute_dtype, mixed.compute_dtype) == ("float32", "bfloat16")
    assert mixed(torch.ones(1, 3)).dtype == torch.bfloat16
    again = layers.Dense.from_config(mixed.get_config())
    assert again.compute_dtype == "bfloat16"


def test_a_map_is_saved_as_keras_does(policies):
    theirs = keras.dtype_policies.DTypePolicyMap("float32")
    theirs["encoder/dense"] = keras.DTypePolicy("bfloat16")
    theirs["encoder/.*"] = keras.DTypePolicy("float16")
    form: Any = dtype_policies.serialize(policies)
    reference: Any = keras.dtype_policies.serialize(theirs)
    for key in ("module", "class_name", "registered_name"):
        assert form[key] == reference[key]
    assert form["config"]["policy_map"] == reference["config"]["policy_map"]
    for each in (form, reference):
        made = dtype_policies.deserialize(each)
        assert made == policies
        assert made != dtype_policies.DTypePolicyMap("float32")
        assert hash(made) == hash(policies)
    back: Any = keras.dtype_policies.deserialize(form)
    assert back["encoder/query"].name == "float16"


def test_a_map_without_a_default_takes_the_global_policy():
    dtype_policies_map = dtype_policies.DTypePolicyMap()
    form = dtype_policies.serialize(dtype_policies_map)
    config.set_dtype_policy("mixed_bfloat16")
    try:
        assert dtype_policies.deserialize(form).compute_dtype == "bfloat16"
    finally:
        config.set_dtype_policy(None)


def test_wrong_maps(policies):
    with pytest.raises(ValueError, match="`default_policy` must be a policy or None"):
        dtype_policies.DTypePolicyMap(policies)
    with pytest.raises(TypeError, match="`policy_map` must be a dict of policies"):
        dtype_policies.DTypePolicyMap("float32", [1])  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="Unknown dtype policy 'flaot32'"):
        policies["x"] = "flaot32"
