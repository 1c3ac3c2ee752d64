"""The shape that a config must have before anything is made from it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from torchkeras._core import tree
from torchkeras._core.dtypes import DTYPES
from torchkeras._core.errors import CorruptFileError, UnsafeFileError
from torchkeras._core.limits import active, how_to_raise

#: Classes of a config that stand for arrays.
ARRAYS = ("__numpy__", "__tensor__")


def check_config(config: Any, source: str) -> dict[str, Any]:
    """Check the config of a model and return it.

    Args:
        config: the parsed JSON.
        source: where it comes from, for messages.

    Raises:
        CorruptFileError: when it is not the config of an object.
        UnsafeFileError: when it holds code, or too many layers.
    """
    if not isinstance(config, dict) or not isinstance(config.get("class_name"), str):
        raise CorruptFileError(
            f"{source}: expected the config of a model, an object with 'class_name' "
            f"and 'config', got {_brief(config)}."
        )
    layers = 0
    for node in tree.mappings_in(config):
        _check_object(node, source)
        listed = node.get("layers")
        layers += len(listed) if isinstance(listed, list) else 0
    if layers > active().layers:
        raise UnsafeFileError(
            f"{source}: the model has {layers:,} layers. {how_to_raise('layers')}"
        )
    return config


def _check_object(node: Mapping[str, Any], source: str) -> None:
    if "class_name" not in node:
        return
    name, inner = node["class_name"], node.get("config")
    if not isinstance(name, str):
        raise CorruptFileError(
            f"{source}: 'class_name' must be text, got {_brief(name)}."
        )
    for key in ("module", "registered_name"):
        if not isinstance(node.get(key), (str, type(None))):
            raise CorruptFileError(
                f"{source}: '{key}' of {name!r} must be text, got {_brief(node[key])}."
            )
    if name == "__lambda__" or (name == "Lambda" and _has_bytecode(inner)):
        raise UnsafeFileError(
            f"{source}: the config holds the bytecode of a Python lambda, and loading "
            "never runs code from a file, with safe_mode=False neither. Make the model "
            "in Python, with a named function, and take the weights over by "
            "`load_weights`; or save it with a function registered by "
            "`register_keras_serializable`, and pass that in `custom_objects`."
        )
    if name in ARRAYS:
        _check_array(name, inner, source)


def _has_bytecode(inner: Any) -> bool:
    """Say whether a Lambda layer's config is of the kind that Keras 1 and 2 wrote."""
    return isinstance(inner, Mapping) and (
        isinstance(inner.get("function"), list)
        or inner.get("function_type") == "lambda"
    )


def _check_array(name: str, inner: Any, source: str) -> None:
    """Check the dtype of an array in a config: one of text can be of any size."""
    if not isinstance(inner, Mapping) or inner.get("dtype") not in DTYPES:
        raise CorruptFileError(
            f"{source}: expected 'value' and the name of a dtype of numbers in "
            f"{name!r}, got {_brief(inner)}."
        )


def _brief(value: Any) -> str:
    if isinstance(value, Mapping):
        return f"an object with {sorted(map(str, value))[:10]}"
    if isinstance(value, (list, tuple)):
        return f"a list of {len(value)}"
    return repr(value)[:80]
