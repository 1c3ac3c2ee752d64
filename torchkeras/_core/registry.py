"""One registry for every family of names, and the Keras form of serialized objects.

A family (activations, layers, losses, ...) is a table of names. `get` turns what a user
may write (a name, a config, an object, None) into the object; `serialize` and
`deserialize` speak Keras's JSON schema. Nothing here imports a module because a file
names it: what is not in a table does not exist.
"""

from __future__ import annotations

import contextlib
import inspect
import math
from collections.abc import Callable, Generator, Mapping
from typing import Any, TypeVar

import numpy as np
import torch

from torchkeras._core import gate, sharing, torch_functions, torch_modules
from torchkeras._core.context import context
from torchkeras._core.errors import UnsafeFileError, unknown_name
from torchkeras._core.missing import STILL_TO_COME, is_in_keras
from torchkeras._core.naming import looks_automatic, to_snake_case

T = TypeVar("T", bound=Callable[..., Any])

_families: dict[str, Registry] = {}
_custom_objects: dict[str, Any] = {}
_custom_names: dict[Any, str] = {}


class Registry:
    """The names of one family.

    Args:
        kind: what a member is called in a message, such as ``"activation"``.
        module: the Keras module that members are serialized under, such as
            ``"keras.activations"``.

    Example:
        >>> shapes = Registry("shape", "keras.shapes")
        >>> @shapes.register("disk")
        ... def circle(x):
        ...     return x
        >>> shapes.get("disk") is circle
        True
    """

    kind: str
    module: str
    entries: dict[str, Any]
    canonical: dict[Any, str]

    def __init__(self, kind: str, module: str) -> None:
        self.kind = kind
        self.module = module
        self.entries = {}
        self.canonical = {}
        self._modules: dict[Any, str] = {}
        _families[module] = self

    def register(self, *aliases: str, module: str | None = None) -> Callable[[T], T]:
        """Enter a function or class under its name, its snake case and `aliases`.

        Args:
            *aliases: further names.
            module: the Keras module that it is serialized under, if not the family's.
        """

        def enter(member: T) -> T:
            name = member.__name__
            self.canonical[member] = name
            if module is not None:
                self._modules[member] = module
            for alias in (name, to_snake_case(name), *aliases):
                self.entries.setdefault(alias, member)
            return member

        return enter

    def module_of(self, member: Any) -> str:
        """Return the Keras module that a member is serialized under."""
        return self._modules.get(member, self.module)

    def registered_name_of(self, member: Any) -> str | None:
        """Return the name that Keras adds for a member it does not export."""
        return self.canonical[member] if member in self._modules else None

    def find(self, name: str) -> Any | None:
        """Return the member of that name, whatever its case, or None."""
        if name in self.entries:
            return self.entries[name]
        folded = {key.lower(): value for key, value in self.entries.items()}
        return folded.get(name.lower())

    def lookup(self, name: str, custom_objects: Mapping[str, Any] | None = None) -> Any:
        """Return the member of that name; built-in names are never shadowed.

        Raises:
            ValueError: for an unknown name, with the closest known ones.
        """
        member = self.find(name)
        if member is None:
            member = find_custom(name, custom_objects)
        if member is None:
            hint = "Pass your own object, or register its class."
            elsewhere = [f.kind for f in _families.values() if name in f.entries]
            if elsewhere:
                hint = f"It is a known {elsewhere[0]}: meant for another argument?"
            elif self.is_to_come(name):
                hint = STILL_TO_COME
            raise ValueError(unknown_name(self.kind, name, self.entries, hint))
        return member

    def is_to_come(self, name: str) -> bool:
        """Say whether Keras has a member of that name, which is not here."""
        return is_in_keras(self.module.removeprefix("keras").strip("."), name)

    def get(self, identifier: Any) -> Any:
        """Turn a name, a config, a class, an object or None into a member.

        A class is instantiated without arguments; a function or an object is returned
        as it is.

        Raises:
            ValueError: for an unknown name.
            TypeError: for a value that is none of these.
        """
        if identifier is None:
            return None
        if isinstance(identifier, str):
            identifier = self.lookup(identifier)
        elif isinstance(identifier, Mapping):
            return deserialize_object(dict(identifier), family=self)
        if inspect.isclass(identifier):
            return identifier()
        if callable(identifier):
            return identifier
        raise TypeError(
            f"Expected a name, a config, a function or an object as {self.kind}, "
            f"got {identifier!r}."
        )

    def serialize(self, member: Any) -> Any:
        """Return the Keras form of a member: a name for a function, else a config."""
        return serialize_object(member)

    def deserialize(
        self, config: Any, custom_objects: Mapping[str, Any] | None = None
    ) -> Any:
        """Return the member that a name or a config stands for."""
        if isinstance(config, str):
            member = self.lookup(config, custom_objects)
            return member() if inspect.isclass(member) else member
        return deserialize_object(config, custom_objects, family=self)


#: Objects that Keras serializes under its root module: models and dtype policies.
root = Registry("object", "keras")


def family(module: str) -> Registry:
    """Return the family that is serialized under a module, ``"keras.initializers"``."""
    return _families[module]


def family_of(member: Any) -> Registry | None:
    """Return the registry that holds a class or a function."""
    return next((f for f in _families.values() if member in f.canonical), None)


# Classes and functions of the user's own


def register_keras_serializable(
    package: str = "Custom", name: str | None = None
) -> Callable[[T], T]:
    """Let files name a class or a function of your own.

    Args:
        package: a prefix that keeps names apart; files hold ``"package>name"``.
        name: the name in files; the name of the class or function by default.

    Example:
        >>> @register_keras_serializable(package="doc")
        ... def double(x):
        ...     return 2 * x
        >>> get_registered_name(double)
        'doc>double'
    """

    def enter(member: T) -> T:
        registered = f"{package}>{name or member.__name__}"
        given: Any = member
        if not (
            not inspect.isclass(given)
            or hasattr(given, "get_config")
            or issubclass(given, torch.nn.Module)  # its attributes are its config
        ):
            raise ValueError(
                f"Cannot register {member.__name__}: a class that files name needs a "
                "`get_config` method. Add one, or inherit from a torchkeras class."
            )
        _custom_objects[registered] = member
        _custom_names[member] = registered
        return member

    return enter


def get_registered_name(obj: Any) -> str:
    """Return ``"package>name"`` for a registered member, else its own name."""
    return _custom_names.get(obj, getattr(obj, "__name__", str(obj)))


def get_registered_object(
    name: str, custom_objects: Mapping[str, Any] | None = None
) -> Any | None:
    """Return what was registered under ``"package>name"``, or None."""
    return find_custom(name, custom_objects)


def get_custom_objects() -> dict[str, Any]:
    """Return the table of the user's own objects; it may be changed in place."""
    return _custom_objects


def find_custom(name: str, custom_objects: Mapping[str, Any] | None = None) -> Any:
    """Look a name up in `custom_objects`, this thread's scopes, what is registered."""
    known = (*reversed(context.custom_objects), dict(_custom_objects))
    for table in (custom_objects or {}, *known):
        if name in table:
            return table[name]
    suffix = f">{name}"
    found = (v for table in known for k, v in table.items() if k.endswith(suffix))
    return next(found, None)


@contextlib.contextmanager
def custom_object_scope(objects: Mapping[str, Any]) -> Generator[None]:
    """Make objects of your own known by name within a ``with`` block, in this thread.

    Example:
        >>> def cube(x):
        ...     return x**3
        >>> with custom_object_scope({"cube": cube}):
        ...     get_registered_object("cube") is cube
        True
    """
    context.custom_objects.append(dict(objects))
    try:
        yield
    finally:
        context.custom_objects.pop()


# Keras's JSON schema


@sharing.writes
def serialize_object(value: Any) -> Any:
    """Return the Keras JSON form of a value, an object or a nested structure.

    A module that stands in it more than once carries a number, by which
    `deserialize_object` makes one object of it.
    """
    return _serialize(value)


def _serialize(value: Any) -> Any:
    if value is None or isinstance(value, (str, bool, int, float)):
        return value
    if isinstance(value, _ATOMS):
        return _serialize_atom(value)
    if isinstance(value, (np.ndarray, torch.Tensor)):
        return _serialize_array(value)
    if isinstance(value, (list, tuple)):
        return [_serialize(item) for item in value]
    if isinstance(value, Mapping) and not hasattr(value, "get_config"):
        return {key: _serialize(item) for key, item in value.items()}
    if hasattr(value, "get_config"):
        return _serialize_instance(value)
    if isinstance(value, torch.nn.Module):
        return _serialize_module(value)
    if callable(value) and hasattr(value, "__name__"):
        return serialize_function(value)
    raise TypeError(
        f"Cannot serialize {value!r} of type {type(value).__name__}: give its class a "
        "`get_config` method and register it with `register_keras_serializable`."
    )


def _serialize_array(value: Any) -> dict[str, Any]:
    inner: dict[str, Any] = {"dtype": str(value.dtype).removeprefix("torch.")}
    if "complex" in inner["dtype"]:  # pairs of numbers, on one more axis
        tensor: torch.Tensor = torch.as_tensor(value)
        inner["value"] = torch.view_as_real(tensor.detach().resolve_conj()).tolist()
    else:
        inner["value"] = value.tolist()
    if 0 in value.shape:
        inner["shape"] = list(value.shape)  # which an empty list does not show
    kind = "__tensor__" if torch.is_tensor(value) else "__numpy__"
    return {"class_name": kind, "config": inner}


def _deserialize_tensor(inner: Mapping[str, Any]) -> torch.Tensor:
    dtype = torch_functions.CONSTANTS[f"torch.{inner['dtype']}"]
    if dtype.is_complex:
        pairs = torch.tensor(inner["value"], dtype=dtype.to_real())
        return torch.view_as_complex(pairs)
    tensor = torch.tensor(inner["value"], dtype=dtype)
    return tensor.reshape(inner["shape"]) if "shape" in inner else tensor


def _deserialize_numpy(inner: Mapping[str, Any]) -> np.ndarray:
    dtype = np.dtype(inner["dtype"])
    if dtype.kind == "c":
        real, imaginary = np.moveaxis(np.array(inner["value"], dtype="float64"), -1, 0)
        return (real + 1j * imaginary).astype(dtype)
    array = np.array(inner["value"], dtype=dtype)
    return array.reshape(inner["shape"]) if "shape" in inner else array


_ATOMS = (torch.dtype, slice, type(Ellipsis), np.generic, complex)


def _serialize_atom(value: Any) -> Any:
    if isinstance(value, torch.dtype):
        return str(value).removeprefix("torch.")
    if isinstance(value, np.generic):
        return _serialize(value.item())
    if isinstance(value, complex):
        return {"class_name": "__complex__", "config": [value.real, value.imag]}
    if value is Ellipsis:
        return {"class_name": "__ellipsis__", "config": {}}
    parts = ("start", "stop", "step")
    inner = {name: _serialize(getattr(value, name)) for name in parts}
    return {"class_name": "__slice__", "config": inner}


#: Beside the config of a layer that was given a name like an automatic one.
NAME_IS_GIVEN = "name_is_given"


def _serialize_instance(value: Any) -> dict[str, Any]:
    """Return ``{"module", "class_name", "config", "registered_name"}`` of an object."""
    cls = type(value)
    family = family_of(cls)
    config: dict[str, Any] = {
        "module": family.module_of(cls) if family else cls.__module__,
        "class_name": family.canonical[cls] if family else cls.__name__,
        "config": _serialize(value.get_config()),
        "registered_name": family.registered_name_of(cls)
        if family
        else get_registered_name(cls),
    }
    build_config = getattr(value, "get_build_config", None)
    if build_config is not None and (built := build_config()):
        config["build_config"] = _serialize(built)
    if isinstance(value, torch.nn.Module):
        config[sharing.KEY] = sharing.number_of(value)
        given = getattr(value, "_name_is_given", False)
        if given and looks_automatic(str(config["config"].get("name")), cls.__name__):
            config[NAME_IS_GIVEN] = True
    return config


def _serialize_module(module: torch.nn.Module) -> dict[str, Any]:
    """Return the form of a module of torch, or of the user's own without a config."""
    cls = type(module)
    of_torch = torch_modules.CLASSES.get(cls.__name__) is cls
    config = torch_modules.config_of(module)
    config["arguments"] = torch_functions.as_arguments(config["arguments"])
    return {
        "module": torch_modules.MODULE if of_torch else cls.__module__,
        "class_name": cls.__name__,
        "config": _serialize(config),
        "registered_name": cls.__name__ if of_torch else get_registered_name(cls),
        sharing.KEY: sharing.number_of(module),
    }


def serialize_function(value: Any) -> Any:
    """Return the name of a built-in function, or the reference to a registered one."""
    if family := family_of(value):
        return family.canonical[value]
    if (name := torch_functions.NAMES.get(value)) is not None:
        return {
            "module": torch_functions.MODULE,
            "class_name": "function",
            "config": name,
            "registered_name": "function",
        }
    if value.__name__ == "<lambda>":
        raise ValueError(
            "Cannot serialize a lambda function: its code would have to be stored in "
            "the file and run when it is loaded. Define a named function and register "
            "it with `register_keras_serializable`."
        )
    return {
        "module": value.__module__,
        "class_name": "function",
        "config": value.__name__,
        "registered_name": get_registered_name(value),
    }


def deserialize_object(
    config: Any,
    custom_objects: Mapping[str, Any] | None = None,
    family: Registry | None = None,
) -> Any:
    """Return the value that a Keras JSON form stands for.

    Args:
        config: what `serialize_object` returned, or its parsed JSON.
        custom_objects: names of your own classes and functions.
        family: where a class without a module is looked for first.

    Raises:
        UnsafeFileError: for a class that is in no table, and for stored code.
        CorruptFileError: for what is no config, or not one that its class takes.
    """
    if not isinstance(config, (list, tuple, Mapping)):
        return config
    if not context.inside_gate:
        with gate.passing(config):
            return deserialize_object(config, custom_objects, family)
    if isinstance(config, (list, tuple)):
        with sharing.reading():
            return [deserialize_object(c, custom_objects) for c in config]
    if "class_name" not in config:
        with sharing.reading():
            return {k: deserialize_object(v, custom_objects) for k, v in config.items()}
    with gate.explaining(f"the config of {_label(config)}"):
        return _deserialize(config, custom_objects, family)


def _label(config: Mapping[str, Any]) -> str:
    """Return the class that a config names, and its own name, for messages."""
    inner = config.get("config")
    name = inner.get("name") if isinstance(inner, Mapping) else None
    label = repr(str(config["class_name"])[:100])
    return f"{label} ({name[:100]!r})" if isinstance(name, str) else label


def _deserialize(
    config: Mapping[str, Any],
    custom_objects: Mapping[str, Any] | None,
    family: Registry | None,
) -> Any:
    name, inner = config["class_name"], config.get("config")
    if name in _LITERALS:
        return _LITERALS[name](inner)
    if name == "function":
        return _find_function(config, custom_objects)
    cls = find_class(config, custom_objects, family)
    number = config.get(sharing.KEY)
    if (made := sharing.find(number, cls)) is not None:
        return made
    with sharing.reading():
        instance = _from_config(cls, name, inner, custom_objects)
        if hasattr(instance, "_with_name_of_config"):
            instance._with_name_of_config(bool(config.get(NAME_IS_GIVEN)))
        sharing.keep(number, cls, instance)
        build_config = config.get("build_config")
        if build_config and hasattr(instance, "build_from_config"):
            instance.build_from_config(build_config)
    return instance


def find_class(
    config: Mapping[str, Any],
    custom_objects: Mapping[str, Any] | None = None,
    family: Registry | None = None,
) -> type:
    """Return the class that a config names, from the closed tables.

    Raises:
        ValueError: when it is in none of them.
    """
    name, module = config["class_name"], config.get("module")
    registered = config.get("registered_name")
    if module == torch_modules.MODULE and name in torch_modules.CLASSES:
        return torch_modules.CLASSES[name]
    for registry in _candidates(module, family):
        cls = registry.entries.get(name)
        if inspect.isclass(cls):
            if registered and registered != name:
                raise UnsafeFileError(
                    f"The config calls the built-in {registry.kind} {name!r} by the "
                    f"registered name {registered!r}: one of them is wrong."
                )
            return cls
    cls = find_custom(registered or name, custom_objects)
    if cls is None:
        cls = find_custom(name, custom_objects)
    if not inspect.isclass(cls):
        kind = family.kind if family else "class"
        known = (
            family.entries
            if family
            else [k for f in _families.values() for k in f.entries]
        )
        hint = (
            f"If {name} is your own, register it with `register_keras_serializable` or "
            f"pass `custom_objects={{{name!r}: {name}}}`."
        )
        if family and family.is_to_come(name):
            hint = STILL_TO_COME
        if not _is_ours(module):
            raise UnsafeFileError(_foreign(f"{module}.{name}", hint))
        raise UnsafeFileError(unknown_name(kind, name, known, hint))
    return cls


def _candidates(module: str | None, family: Registry | None) -> list[Registry]:
    """Return the families in which a class of that Keras module can be."""
    if module in ("builtins", None):
        others = [f for f in _families.values() if f is not family]
        return [family, *others] if family else others
    if not _is_ours(module):
        return []
    return list(_families.values()) if module not in _families else [_families[module]]


def _is_ours(module: Any) -> bool:
    """Say whether a config's module is one of Keras's, or left open."""
    package = str(module or "builtins").split(".")[0]
    return package in ("builtins", "keras", "tf_keras", "torchkeras")


def _foreign(name: str, hint: str) -> str:
    return (
        f"The config names {name}, which is neither built in nor registered, and no "
        f"module is imported because a file names it. {hint}"
    )


def _find_function(
    config: Mapping[str, Any], custom_objects: Mapping[str, Any] | None
) -> Any:
    name, module = config.get("config"), config.get("module")
    name = name if isinstance(name, str) else str(name)
    if module == torch_functions.MODULE and name in torch_functions.BY_NAME:
        return torch_functions.BY_NAME[name]
    for registry in _candidates(module, None):
        member = registry.entries.get(name)
        if callable(member) and not inspect.isclass(member):
            return member
    for key in (config.get("registered_name"), name):
        if key and (found := find_custom(key, custom_objects)) is not None:
            return found
    hint = (
        "If it is your own, register it with `register_keras_serializable` or pass "
        f"`custom_objects={{{name!r}: ...}}`."
    )
    raise UnsafeFileError(_foreign(f"the function {module}.{name}", hint))


def _from_config(
    cls: Any, name: str, inner: Any, custom_objects: Mapping[str, Any] | None
) -> Any:
    inner = {} if inner is None else inner
    if not isinstance(inner, Mapping):
        raise ValueError(
            f"The config of {name!r} must be a dictionary, got {type(inner).__name__}."
        )
    with custom_object_scope(custom_objects or {}):
        if hasattr(cls, "from_config"):
            return cls.from_config(dict(inner))
        values = {k: deserialize_object(v) for k, v in inner.items()}
        if issubclass(cls, torch.nn.Module) and not hasattr(cls, "get_config"):
            return torch_modules.make(cls, values)
        return cls(**values)


#: Floats that JSON has no form for.
_SPELLED = {"inf": math.inf, "-inf": -math.inf, "nan": math.nan}
_LITERALS: dict[str, Callable[[Any], Any]] = {
    "__tensor__": _deserialize_tensor,
    "__numpy__": _deserialize_numpy,
    "__tuple__": lambda c: tuple(deserialize_object(c)),
    "__lambda__": lambda _: gate.refuse_code("The config"),
    "__ellipsis__": lambda _: Ellipsis,
    "__slice__": lambda c: slice(c["start"], c["stop"], c["step"]),
    "__typespec__": lambda _: None,
    "__torch__": lambda c: torch_functions.CONSTANTS[c],
    "__complex__": lambda c: complex(*c),
    "__float__": lambda c: _SPELLED[c],
}
