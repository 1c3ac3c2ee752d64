"""Signatures of functions and classes, read once each: models ask for them by layer."""

from __future__ import annotations

import functools
import inspect
from collections.abc import Callable
from typing import Any


@functools.lru_cache(maxsize=1024)
def signature_of(called: Callable[..., Any]) -> inspect.Signature:
    """Return the signature of a function or class, not of a method of an object.

    Example:
        >>> list(signature_of(lambda x, y=1: x).parameters)
        ['x', 'y']
    """
    return inspect.signature(called)
