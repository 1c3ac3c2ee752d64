"""What the configs of Keras 1, 2 and 3 call differently, in tables.

Configs are brought to our own form before anything is made from them. Tables speak only
of arguments that a built-in class does not have: what it has keeps its meaning, and
classes of the user's own are left alone.
"""

from __future__ import annotations

import functools
import inspect
from collections.abc import Callable
from typing import Any

from torchkeras._core import sharing
from torchkeras._core.registry import NAME_IS_GIVEN, family_of, find_class

Config = dict[str, Any]

#: Classes that had other names.
CLASSES = {
    "Convolution1D": "Conv1D",
    "Convolution2D": "Conv2D",
    "AtrousConvolution1D": "Conv1D",
    "AtrousConvolution2D": "Conv2D",
    "BatchNormalizationV1": "BatchNormalization",
    "BatchNormalizationV2": "BatchNormalization",
    "LSTMV1": "LSTM",
    "LSTMV2": "LSTM",
    "GRUV1": "GRU",
    "GRUV2": "GRU",
    "Policy": "DTypePolicy",
    "WeightRegularizer": "L1L2",
    "L1L2Regularizer": "L1L2",
}

#: Arguments that had other names; the first name that the class has is the right one.
ARGUMENTS = {
    "output_dim": ("units",),
    "p": ("rate",),
    "sigma": ("stddev",),
    "alpha": ("negative_slope",),
    "m": ("max_value",),
    "border_mode": ("padding",),
    "subsample": ("strides",),
    "subsample_length": ("strides",),
    "stride": ("strides",),
    "dim_ordering": ("data_format",),
    "nb_filter": ("filters",),
    "filter_length": ("kernel_size",),
    "atrous_rate": ("dilation_rate",),
    "pool_length": ("pool_size",),
    "bias": ("use_bias",),
    "init": ("kernel_initializer", "embeddings_initializer"),
    "inner_init": ("recurrent_initializer",),
    "inner_activation": ("recurrent_activation",),
    "forget_bias_init": ("unit_forget_bias",),
    "beta_init": ("beta_initializer",),
    "gamma_init": ("gamma_initializer",),
    "running_mean_initializer": ("moving_mean_initializer",),
    "running_variance_initializer": ("moving_variance_initializer",),
    "dropout_W": ("dropout",),
    "dropout_U": ("recurrent_dropout",),
    "W_regularizer": ("kernel_regularizer", "embeddings_regularizer"),
    "U_regularizer": ("recurrent_regularizer",),
    "b_regularizer": ("bias_regularizer",),
    "W_constraint": ("kernel_constraint", "embeddings_constraint"),
    "U_constraint": ("recurrent_constraint",),
    "b_constraint": ("bias_constraint",),
    "lr": ("learning_rate",),
}

#: Arguments that are gone and never changed what is computed.
GONE = frozenset(
    "consume_less dtype fn fused implementation input_dtype is_legacy_optimizer "
    "jit_compile renorm_momentum schedule_decay".split()
)

#: Values that had other names.
VALUES: dict[str, dict[Any, Any]] = {
    "data_format": {"tf": "channels_last", "th": "channels_first"},
    "unit_forget_bias": {"one": True, "zero": False},
    "reduction": {"auto": "sum_over_batch_size"},
}

#: Public names of classes that Keras's HDF5 files call by another one.
_NAMES_IN_HDF5 = {"GroupQueryAttention": "GroupedQueryAttention"}

#: Keywords of every layer that its constructor takes without naming them.
_KEYWORDS = frozenset(
    "batch_input_shape batch_shape batch_size input_dim input_length "
    "input_shape".split()
)
_ABSENT = (None, False)


def modernize(config: Any) -> Any:
    """Return a config that any Keras wrote, as ours would be.

    Args:
        config: parsed JSON: a config, or a structure of configs.
    """
    if isinstance(config, list):
        return [modernize(item) for item in config]
    if not isinstance(config, dict):
        return config
    name = config.get("class_name")
    if name is None:
        return {key: modernize(value) for key, value in config.items()}
    if name in _WRAPPERS:
        return _unwrap(config)
    cls = _built_in(config)
    if cls is None and name in CLASSES:
        config = {**config, "class_name": CLASSES[name]}
        cls = _built_in(config)
    inner = config.get("config")
    if isinstance(inner, list) and name == "Sequential":
        inner = {"layers": inner}  # as Keras 1 and 2.0 kept them
    if isinstance(inner, dict):
        inner = {key: modernize(value) for key, value in inner.items()}
        if cls is not None and not hasattr(cls, "layers"):  # models read their own
            inner = _arguments(cls, inner)
    return {**config, "config": inner}


def _built_in(config: Config) -> type | None:
    """Return the class a config names, None for one that is not ours."""
    try:
        cls = find_class(config)
    except ValueError:
        return None
    return cls if family_of(cls) else None


@functools.cache
def _accepted(cls: type) -> frozenset[str]:
    """Return the arguments that a class takes, those it hands to its bases included."""
    own = inspect.signature(cls).parameters
    names = set(own)
    if all(p.kind is not p.VAR_KEYWORD for p in own.values()):
        return frozenset(names)
    # Which base takes the rest is not known: one between may be handed a dict.
    for base in cls.__mro__:
        if "__init__" in vars(base):
            names.update(inspect.signature(vars(base)["__init__"]).parameters)
    return frozenset(names | _KEYWORDS)


def _arguments(cls: type, inner: Config) -> Config:
    accepted = _accepted(cls)
    for rule in _RULES:
        rule(cls.__name__, inner)
    values: Config = {}
    for key, value in inner.items():
        if key not in accepted:
            new = next((n for n in ARGUMENTS.get(key, ()) if n in accepted), None)
            if new is None and (key in GONE or value in _ABSENT):
                continue
            key = new or key
        if isinstance(value, str):
            value = VALUES.get(key, {}).get(value, value)
        values.setdefault(key, value)
    return values


# What a table cannot say


def _join_kernel_sizes(name: str, inner: Config) -> None:
    if "nb_row" in inner and "nb_col" in inner:
        inner["kernel_size"] = [inner.pop("nb_row"), inner.pop("nb_col")]


def _take_axis_out_of_list(name: str, inner: Config) -> None:
    axis = inner.get("axis")
    if name == "BatchNormalization" and isinstance(axis, list) and len(axis) == 1:
        inner["axis"] = axis[0]
    if name == "BatchNormalization" and inner.get("mode") == 0:
        del inner["mode"]


def _reset_before(name: str, inner: Config) -> None:
    # Before the argument came, the reset gate was applied before the product.
    if name in ("GRU", "GRUCell"):
        inner.setdefault("reset_after", False)


def _name_penalties(name: str, inner: Config) -> None:
    for key, value in inner.items():
        if not key.endswith(("_regularizer", "_constraint")):
            continue
        if isinstance(value, dict) and "name" in value and "class_name" not in value:
            rest = {k: v for k, v in value.items() if k != "name"}
            inner[key] = modernize({"class_name": value["name"], "config": rest})


def _decay_rate(name: str, inner: Config) -> None:
    if "epsilon" in inner and inner["epsilon"] is None:
        del inner["epsilon"]
    if "lr" not in inner and "learning_rate" not in inner:
        return
    decay = inner.pop("decay", None)
    key = "lr" if "lr" in inner else "learning_rate"
    if decay and isinstance(inner[key], (int, float)):
        schedule = {
            "initial_learning_rate": inner[key],
            "decay_steps": 1,
            "decay_rate": decay,
        }
        inner[key] = {"class_name": "InverseTimeDecay", "config": schedule}


_RULES: tuple[Callable[[str, Config], None], ...] = (
    _join_kernel_sizes,
    _take_axis_out_of_list,
    _reset_before,
    _name_penalties,
    _decay_rate,
)

#: Classes around a function that is a loss or a metric by itself.
_WRAPPERS = ("MeanMetricWrapper", "LossFunctionWrapper")


def _unwrap(config: Config) -> Any:
    inner = config.get("config") or {}
    function = inner.get("fn")
    if not isinstance(function, str):
        return config
    # "accuracy" chooses its function again by the shapes.
    return inner["name"] if inner.get("name") == "accuracy" else function


# What `compile` was called with

_COMPILE_ARGUMENTS = (
    "loss",
    "loss_weights",
    "metrics",
    "weighted_metrics",
    "run_eagerly",
    "steps_per_execution",
    "jit_compile",
)
_FAMILIES = {
    "loss": "keras.losses",
    "metrics": "keras.metrics",
    "weighted_metrics": "keras.metrics",
}


def compile_config_of(training_config: Any) -> Config | None:
    """Return the compile config that an HDF5 file's training config stands for."""
    if (
        not isinstance(training_config, dict)
        or "optimizer_config" not in training_config
    ):
        return None
    config = {
        key: modernize(_in_family(training_config[key], _FAMILIES.get(key)))
        for key in _COMPILE_ARGUMENTS
        if key in training_config
    }
    for key in ("metrics", "weighted_metrics"):
        if isinstance(listed := config.get(key), list) and len(listed) == 1:
            # TensorFlow's Keras listed metrics by output, also for a single one.
            config[key] = listed[0] if isinstance(listed[0], list) else listed
    optimizer = _in_family(training_config["optimizer_config"], "keras.optimizers")
    return {"optimizer": modernize(optimizer), **config}


def _in_family(config: Any, module: str | None) -> Any:
    """Say which family built-in classes belong to: a loss and a metric share names."""
    if isinstance(config, list):
        return [_in_family(item, module) for item in config]
    if not isinstance(config, dict) or module is None:
        return config
    if "class_name" not in config:
        return {key: _in_family(value, module) for key, value in config.items()}
    placed = {"module": module, **config}
    return placed if _built_in(placed) else config


#: Short names of losses, which Keras writes to HDF5 files and cannot read from them.
_LONG_NAMES = {
    "bce": "binary_crossentropy",
    "kld": "kl_divergence",
    "mae": "mean_absolute_error",
    "mape": "mean_absolute_percentage_error",
    "mse": "mean_squared_error",
    "msle": "mean_squared_logarithmic_error",
}


def _with_long_names(loss: Any) -> Any:
    if isinstance(loss, str):
        return _LONG_NAMES.get(loss.lower(), loss)
    if isinstance(loss, list):
        return [_with_long_names(item) for item in loss]
    if isinstance(loss, dict) and "class_name" not in loss:
        return {key: _with_long_names(item) for key, item in loss.items()}
    return loss


def training_config_of(compile_config: Config) -> Config:
    """Return the training config that Keras expects in an HDF5 file."""
    config = {k: compile_config[k] for k in _COMPILE_ARGUMENTS if k in compile_config}
    config["loss"] = _with_long_names(config.get("loss"))
    optimizer = compile_config["optimizer"]
    return {**config, "optimizer_config": without_module(optimizer)}


def without_module(config: Any) -> Any:
    """Return a config as Keras's HDF5 files have it: layers by their class alone."""
    if not isinstance(config, dict) or "class_name" not in config:
        return config
    inner = config["config"]
    if isinstance(inner, dict) and isinstance(inner.get("layers"), list):
        inner = {**inner, "layers": [without_module(item) for item in inner["layers"]]}
    name = config.get("registered_name") or config["class_name"]
    name = _NAMES_IN_HDF5.get(name, name)
    place = {
        key: config[key]
        for key in ("name", "inbound_nodes", sharing.KEY, NAME_IS_GIVEN)
        if key in config
    }
    return {"class_name": name, "config": inner, **place}
