"""What a public module says of a name that it does not have.

Keras's public names are listed in `keras_names.txt`, a namespace a line, so that a name
that is still to come is told from a misspelt one.
"""

from __future__ import annotations

import dis
import functools
import importlib.abc
import importlib.util
import sys
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from types import FrameType
from typing import Any

from torchkeras._core.errors import did_you_mean

_PACKAGE = "torchkeras"
_IMPORT_FROM = dis.opmap["IMPORT_FROM"]


@functools.cache
def keras_names() -> dict[str, frozenset[str]]:
    """Return Keras's public names by namespace; that of the root is ``""``.

    Example:
        >>> "Dense" in keras_names()["layers"]
        True
    """
    text = Path(__file__).with_name("keras_names.txt").read_text(encoding="utf-8")
    pairs = [line.split(": ", 1) for line in text.splitlines()]
    return {space.strip("."): frozenset(names.split()) for space, names in pairs}


def is_in_keras(namespace: str, name: str) -> bool:
    """Say whether Keras has a name in a namespace such as ``"layers"``.

    Example:
        >>> is_in_keras("layers", "Dense"), is_in_keras("layers", "Densee")
        (True, False)
    """
    return name in keras_names().get(namespace, ())


def explain_missing(
    module: str, lazy: Mapping[str, Callable[[], Any]] | None = None
) -> Callable[[str], Any]:
    """Return the ``__getattr__`` of a public module: its message says what to do.

    Args:
        module: the module's name.
        lazy: what loads the names that are loaded when they are first asked for.

    Example:
        >>> explain_missing("torchkeras.layers")("Densee")
        Traceback (most recent call last):
        AttributeError: torchkeras.layers has no 'Densee'. Did you mean 'Dense'?
    """
    loaders = lazy or {}

    def getattr_(name: str) -> Any:
        if name in loaders:
            return loaders[name]()
        if name.startswith("_"):  # asked for by tools
            raise AttributeError(f"module {module!r} has no attribute {name!r}")
        message = _message(module, name)
        # Python keeps an AttributeError's message from who writes `from ... import`.
        if _is_import(sys._getframe(1)) and not _is_module(f"{module}.{name}"):
            raise ImportError(message, name=module)
        raise AttributeError(message, name=name)

    return getattr_


def _message(module: str, name: str) -> str:
    namespace = module.removeprefix(_PACKAGE).strip(".")
    if is_in_keras(namespace, name):
        return f"{module} has no {name!r} yet. {STILL_TO_COME}"
    public = sys.modules.get(module)
    known = getattr(public, "__all__", None) or [n for n in dir(public) if n[0] != "_"]
    hint = did_you_mean(name, known)
    elsewhere = [
        f"{_PACKAGE}.{space}" if space else _PACKAGE
        for space, names in keras_names().items()
        if name in names and hasattr(sys.modules.get(f"{_PACKAGE}.{space}"), name)
    ]
    if elsewhere:
        hint = f" It is in {elsewhere[0]}."
    return f"{module} has no {name!r}.{hint}"


#: What is said of a name that Keras has.
STILL_TO_COME = (
    "It is a part of Keras that torchkeras still lacks: docs/coverage.md lists what is "
    "there and what is not."
)


def _is_import(frame: FrameType) -> bool:
    """Say whether a frame runs ``from module import name``."""
    code = frame.f_code
    return (
        code.co_name == "_handle_fromlist"
        or code.co_code[frame.f_lasti] == _IMPORT_FROM
    )


def _is_module(name: str) -> bool:
    try:
        return importlib.util.find_spec(name) is not None
    except ModuleNotFoundError:
        return False


class MissingModules(importlib.abc.MetaPathFinder):
    """Says what ``import torchkeras.applications`` is told: Keras's, and still to come.

    It is asked last, of modules that nobody else found, and finds none.
    """

    def find_spec(
        self, fullname: str, path: Sequence[str] | None, target: Any = None
    ) -> None:
        """Raise a ModuleNotFoundError for a module that Keras has."""
        package, _, namespace = fullname.partition(".")
        parent, _, name = namespace.rpartition(".")
        here = Path(__file__).parents[1].joinpath(*namespace.split("."))
        there_is_one = here.is_dir() or here.with_suffix(".py").is_file()
        if package == _PACKAGE and is_in_keras(parent, name) and not there_is_one:
            message = f"There is no {fullname} yet. {STILL_TO_COME}"
            raise ModuleNotFoundError(message, name=fullname)


def explain_missing_modules() -> None:
    """Let imports of modules that are still to come say so."""
    if not any(type(finder).__name__ == "MissingModules" for finder in sys.meta_path):
        sys.meta_path.append(MissingModules())
