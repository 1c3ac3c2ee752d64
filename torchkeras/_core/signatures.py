"""Signatures of functions and classes, read once each: models ask for them by layer."""

from __future__ import annotations

import inspect
import weakref
from collections.abc import Callable
from typing import Any

import torch

_known: weakref.WeakKeyDictionary[Callable[..., Any], inspect.Signature] = (
    weakref.WeakKeyDictionary()
)


def signature_of(called: Callable[..., Any]) -> inspect.Signature:
    """Return the signature of a function or class, not of a method of an object.

    Example:
        >>> list(signature_of(lambda x, y=1: x).parameters)
        ['x', 'y']
    """
    if torch.compiler.is_compiling():  # which follows no weak references
        return inspect.signature(called)
    found = _known.get(called)
    if found is None:
        found = _known[called] = inspect.signature(called)
    return found
