"""Configs: the constructor's arguments, and layers made of them again."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from torchkeras._core.errors import did_you_mean
from torchkeras._core.registry import serialize_object
from torchkeras._core.signatures import signature_of
from torchkeras.layers._state import LayerState

#: Arguments of every layer, in the order of Keras's configs.
COMMON = ("name", "trainable", "dtype")


def config_of(layer: LayerState, common: dict[str, Any]) -> dict[str, Any]:
    """Return the constructor's arguments of a layer.

    Args:
        layer: the layer.
        common: what all layers have, which may differ from what was given.
    """
    owner = _config_owner(type(layer))
    values = _captured_arguments(layer) if owner is None else _attributes(layer, owner)
    values = {**common, **values, **common}
    if layer.activity_regularizer is not None:
        values["activity_regularizer"] = layer.activity_regularizer
    return serialize_object(values)


def _attributes(layer: LayerState, owner: type) -> dict[str, Any]:
    """Return the arguments of a built-in class, which keeps them as attributes."""
    parameters = signature_of(owner.__init__).parameters
    return {name: getattr(layer, name) for name, parameter in parameters.items()
            if parameter.kind is parameter.POSITIONAL_OR_KEYWORD
            and name != "self" and hasattr(layer, name)}  # fmt: skip


def _captured_arguments(layer: LayerState) -> dict[str, Any]:
    """Return what the constructor was given, and its defaults."""
    args, kwargs = layer._captured
    signature = signature_of(type(layer).__init__)
    bound = signature.bind(layer, *args, **kwargs)
    bound.apply_defaults()
    values: dict[str, Any] = {}
    for name, parameter in list(signature.parameters.items())[1:]:
        if parameter.kind is parameter.VAR_KEYWORD:
            values.update(bound.arguments[name])
        elif parameter.kind is not parameter.VAR_POSITIONAL:
            values[name] = bound.arguments[name]
    if type(layer).__module__.startswith("torchkeras."):
        values = {k: layer.__dict__.get(k, v) for k, v in values.items()}
    return values


def _config_owner(cls: type) -> type | None:
    """Return the built-in class below which a user's class has its own `get_config`."""
    built_in = [c for c in cls.__mro__ if c.__module__.startswith("torchkeras.")]
    own = next(c for c in cls.__mro__ if "get_config" in vars(c))
    return None if own in built_in else built_in[0]


def check_keywords(cls: type, unknown: Mapping[str, Any]) -> None:
    """Refuse the keywords that a constructor is left with.

    Raises:
        ValueError: when there are any, with close names.
    """
    if unknown:
        known = signature_of(cls.__init__).parameters
        close = did_you_mean(next(iter(unknown)), [*known, *COMMON])
        raise ValueError(
            f"{cls.__name__}: unknown argument(s) {sorted(unknown)}.{close}"
        )


def check_arguments(cls: type, config: Mapping[str, Any]) -> None:
    """Check that the constructor of a class takes what a config holds.

    Raises:
        TypeError: when it does not.
    """
    parameters = signature_of(cls.__init__).parameters.values()
    own = dict(config)
    for key in set(COMMON) - {p.name for p in parameters}:
        own.pop(key, None)
    try:
        signature_of(cls.__init__).bind(None, **own)
    except TypeError as error:
        raise TypeError(
            f"{cls.__name__}: its config does not fit its constructor: {error}. Let "
            "`get_config` return the arguments of `__init__`, all of them and no other."
        ) from None


def make_from(cls: type, values: Mapping[str, Any]) -> tuple[Any, dict[str, Any]]:
    """Call a constructor; return what it made, and the values that it does not take.

    Raises:
        TypeError: for arguments that neither the constructor nor all layers have.
    """
    parameters = signature_of(cls.__init__).parameters
    if any(p.kind is p.VAR_KEYWORD for p in parameters.values()):
        return cls(**values), {}
    check_arguments(cls, values)
    taken = {k: v for k, v in values.items() if k in parameters}
    return cls(**taken), {k: v for k, v in values.items() if k not in parameters}
