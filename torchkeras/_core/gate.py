"""The gate: every config passes it, from a file or not, before anything is made of it.

What a config is (its size, depth, literals, names, code in it) is looked at once, as a
whole: `check`. What goes wrong while the objects that it names are made is the config's
fault too: `explaining` turns it into `CorruptFileError`.

The border is the class whose `from_config` the user calls. Its arguments are the user's
own, as if the constructor was called, so a `TypeError` or a `ValueError` of the
constructor stays what it is. What is nested in them, and all that `deserialize` or a
loader reads, is the config's.
"""

from __future__ import annotations

import contextlib
import functools
import re
from collections.abc import Callable, Generator, Mapping
from typing import Any, NoReturn, Self, TypeVar

import torch

from torchkeras._core import torch_functions
from torchkeras._core.context import context
from torchkeras._core.errors import CorruptFileError, UnsafeFileError, shortened
from torchkeras._core.limits import active, budget, how_to_raise

F = TypeVar("F", bound=Callable[..., Any])

#: Classes of a config that stand for arrays.
ARRAYS = ("__numpy__", "__tensor__")

#: What making an object from a config may raise when the config is wrong.
FAILURES = (
    ArithmeticError,
    AttributeError,
    LookupError,
    RuntimeError,
    TypeError,
    ValueError,
)
_DTYPES = frozenset(
    name.removeprefix("torch.")
    for name, value in torch_functions.CONSTANTS.items()
    if isinstance(value, torch.dtype) and not name.startswith("torch.q")
)
_PLAIN = frozenset({int, float, bool, type(None)})
#: How marshalled code, pickles and files of `torch.save` begin, in base64.
_CODE = re.compile(r"[4Y]w[A-Za-z]AAA|gA[JNR-V]|UEsDB")


# What a config is


def check(config: Any, source: str = "The config") -> None:
    """Check a config as a whole.

    Args:
        config: parsed JSON, or what `get_config` returned.
        source: where it comes from, for messages.

    Raises:
        CorruptFileError: when it is not the config of an object, or holds itself.
        UnsafeFileError: when it holds code, or too much of anything.

    Example:
        >>> check({"class_name": "Dense", "config": {"units": 3}})
    """
    deepest = active().config_depth
    items = layers = 0
    # The deepest first: what holds itself is found at once.
    waiting: list[tuple[Any, int]] = [((config,), 0)]
    while waiting:
        part, depth = waiting.pop()
        if isinstance(part, Mapping):
            _check_object(part, source)
            layers += _length(part.get("layers"))
            part = part.values()
        items += len(part)
        _check_number(items, "config_items", source)
        _check_number(layers, "layers", source)
        if depth > deepest:
            raise CorruptFileError(
                f"{source} holds itself, or is nested too deep. "
                f"{how_to_raise('config_depth')}"
            )
        for value in part:
            if type(value) in _PLAIN:
                continue
            if isinstance(value, str):
                if len(value) > 100 and _CODE.match(value):
                    refuse_code(source)
            elif isinstance(value, (list, tuple, Mapping)):
                waiting.append((value, depth + 1))


def checked(config: Any, source: str) -> dict[str, Any]:
    """Check the config of a model as a whole, and return it.

    Args:
        config: the parsed JSON.
        source: where it comes from, for messages.

    Raises:
        CorruptFileError: when it is not the config of an object.
        UnsafeFileError: when it holds code, or too much of anything.
    """
    if not isinstance(config, dict) or not isinstance(config.get("class_name"), str):
        raise CorruptFileError(
            f"{source}: expected the config of a model, an object with 'class_name' "
            f"and 'config', got {brief(config)}."
        )
    check(config, source)
    return config


def _check_number(found: int, name: str, source: str) -> None:
    if found > getattr(active(), name):
        what = name.removeprefix("config_")
        raise UnsafeFileError(
            f"{source} has {found:,} {what} or more. {how_to_raise(name)}"
        )


def _length(value: Any) -> int:
    return len(value) if isinstance(value, (list, tuple)) else 0


def _check_object(node: Mapping[str, Any], source: str) -> None:
    calls = _length(node.get("inbound_nodes"))
    if calls > active().calls:
        raise UnsafeFileError(
            f"{source} has a layer that is called {calls:,} times. "
            f"{how_to_raise('calls')}"
        )
    if "class_name" not in node:
        return
    name, inner = node["class_name"], node.get("config")
    if not isinstance(name, str):
        raise CorruptFileError(
            f"{source}: 'class_name' must be text, got {brief(name)}."
        )
    for key in ("module", "registered_name"):
        if not isinstance(node.get(key), (str, type(None))):
            raise CorruptFileError(
                f"{source}: '{key}' of {name[:100]!r} must be text, got "
                f"{brief(node[key])}."
            )
    if name == "__lambda__" or (name == "Lambda" and _has_bytecode(inner)):
        refuse_code(source)
    if name in ARRAYS:
        _check_array(name, inner, source)


def _has_bytecode(inner: Any) -> bool:
    """Say whether a Lambda layer's config is of the kind that Keras 1 and 2 wrote."""
    return isinstance(inner, Mapping) and (
        isinstance(inner.get("function"), (list, tuple))
        or inner.get("function_type") == "lambda"
    )


def refuse_code(source: str) -> NoReturn:
    """Refuse what could only be run."""
    raise UnsafeFileError(
        f"{source} holds the bytecode of a Python lambda, or a pickle, and loading "
        "never runs code from a file, with safe_mode=False neither. Make the model in "
        "Python, with a named function, and take the weights over by `load_weights`; "
        "or save it with a function registered by `register_keras_serializable`, and "
        "pass that in `custom_objects`."
    )


def _check_array(name: str, inner: Any, source: str) -> None:
    """Check the dtype of an array in a config: one of text can be of any size."""
    dtype = inner.get("dtype") if isinstance(inner, Mapping) else None
    if not isinstance(dtype, str) or dtype not in _DTYPES:
        raise CorruptFileError(
            f"{source}: expected 'value' and the name of a dtype of numbers in "
            f"{name!r}, got {brief(inner)}."
        )


def brief(value: Any) -> str:
    """Name a part of a config for a message."""
    if isinstance(value, Mapping):
        return f"an object with {sorted(map(str, value))[:10]}"
    if isinstance(value, (list, tuple)):
        return f"a list of {len(value)}"
    return repr(value)[:80]


# What is made of it


@contextlib.contextmanager
def passing(config: Any, source: str = "The config") -> Generator[None]:
    """Let a config through the gate, unless it is a part of one that is inside.

    Args:
        config: the config; None for one that `checked` has seen.
        source: where it comes from, for messages.
    """
    if context.inside_gate:
        yield
        return
    check(config, source)
    context.inside_gate = True
    try:
        with budget():
            yield
    finally:
        context.inside_gate = False


class explaining:  # noqa: N801
    """Turn what goes wrong in this context into `CorruptFileError`.

    Args:
        what: what is made, to begin messages with.
        failures: the errors that the config is to blame for.

    Example:
        >>> with explaining("the config of 'Dense'"):
        ...     {}["units"]
        Traceback (most recent call last):
        torchkeras._core.errors.CorruptFileError: the config of 'Dense': the key...
    """

    def __init__(
        self, what: str, failures: tuple[type[Exception], ...] = FAILURES
    ) -> None:
        self._what = what
        self._failures = failures

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: Any, error: BaseException | None, _: Any) -> None:
        if not isinstance(error, self._failures) or isinstance(
            error, (CorruptFileError, UnsafeFileError, torch.OutOfMemoryError)
        ):
            return
        reason = str(error)
        if isinstance(error, KeyError):
            reason = f"the key {reason[:200]} is missing"
        elif isinstance(error, RecursionError):
            reason = "it is nested too deep, or holds itself"
        # The cause would be shown with it: it is, where that is short.
        cause = error if len(reason) == len(shortened(reason)) else None
        raise CorruptFileError(f"{self._what}: {reason}") from cause


def takes_config(function: F) -> F:
    """Let the config that a ``from_config`` is called with pass the gate."""
    return _gated(function, (LookupError, RecursionError))


def takes_whole_config(function: F) -> F:
    """Let a config of which nothing is an argument of a constructor pass the gate.

    Such is the config of a stack, or one that says how an object was built or compiled.
    """
    return _gated(function, FAILURES)


def _gated(function: F, failures: tuple[type[Exception], ...]) -> F:
    @functools.wraps(function)
    def gated(owner: Any, config: Any, *args: Any, **kwargs: Any) -> Any:
        if context.inside_gate:
            return function(owner, config, *args, **kwargs)
        cls = owner if isinstance(owner, type) else type(owner)
        source = f"{cls.__name__}.{function.__name__}: the config"
        if not isinstance(config, (Mapping, list)):
            raise CorruptFileError(
                f"{source} must be a dictionary, got {brief(config)}."
            )
        with passing(config, source), explaining(source, failures):
            return function(owner, config, *args, **kwargs)

    return gated  # type: ignore[return-value]
