"""Keras's names for turning objects into configs and back."""

from __future__ import annotations

import contextlib
from collections.abc import Mapping
from typing import Any, Self

from torchkeras._core import gate, registry
from torchkeras.saving.legacy import modernize


class CustomObjectScope:
    """A context in which objects of your own are known by name.

    Args:
        custom_objects: the objects by name.

    Example:
        >>> def cube(x):
        ...     return x**3
        >>> with CustomObjectScope({"cube": cube}):
        ...     get_registered_object("cube") is cube
        True
    """

    def __init__(self, custom_objects: Mapping[str, Any] | None) -> None:
        self.custom_objects = custom_objects or {}
        self._stack = contextlib.ExitStack()

    def __enter__(self) -> Self:
        self._stack.enter_context(registry.custom_object_scope(self.custom_objects))
        return self

    def __exit__(self, *_: object) -> None:
        self._stack.close()


custom_object_scope = CustomObjectScope


def get_registered_object(
    name: str,
    custom_objects: Mapping[str, Any] | None = None,
    module_objects: Mapping[str, Any] | None = None,
) -> Any | None:
    """Return what is registered under a name, or None.

    Args:
        name: the name, such as ``"package>name"``.
        custom_objects: where to look first.
        module_objects: where to look last.
    """
    found = registry.find_custom(name, custom_objects)
    return (module_objects or {}).get(name) if found is None else found


def serialize_keras_object(obj: Any) -> Any:
    """Return the Keras JSON form of an object, with `compile`'s arguments of a model.

    Args:
        obj: an object, or a structure of objects.

    Example:
        >>> from torchkeras.layers import Flatten
        >>> serialize_keras_object(Flatten(name="flat"))["class_name"]
        'Flatten'
    """
    config = registry.serialize_object(obj)
    compiled = getattr(obj, "get_compile_config", None)
    if compiled is not None and (arguments := compiled()):
        config["compile_config"] = arguments
    return config


def deserialize_keras_object(
    config: Any,
    custom_objects: Mapping[str, Any] | None = None,
    safe_mode: bool = True,
    **kwargs: Any,
) -> Any:
    """Return what a config stands for; nothing that it contains is ever run.

    Args:
        config: what `serialize_keras_object` or Keras returned.
        custom_objects: classes and functions of your own that it names.
        safe_mode: accepted for Keras's signature.
        **kwargs: ``module_objects`` is accepted for Keras's signature.

    Raises:
        UnsafeFileError: for a class or function that is in no table, for stored code.
        CorruptFileError: for what is no config, or not one that its class takes.

    Example:
        >>> from torchkeras.layers import Dense
        >>> config = serialize_keras_object(Dense(3))
        >>> deserialize_keras_object(config).units
        3
    """
    known = {**(kwargs.pop("module_objects", None) or {}), **(custom_objects or {})}
    if kwargs:
        raise TypeError(
            f"deserialize_keras_object: unknown arguments {sorted(kwargs)}."
        )
    with gate.passing(config), gate.explaining("the config"):
        made = registry.deserialize_object(modernize(config), known)
        arguments = isinstance(config, Mapping) and config.get("compile_config")
        if arguments and hasattr(made, "compile_from_config"):
            with registry.custom_object_scope(known):
                made.compile_from_config(arguments)
        return made
