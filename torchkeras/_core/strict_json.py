"""JSON as files may hold it: bounded in size, number and depth, and unambiguous."""

from __future__ import annotations

import json
import math
import re
from typing import Any, NoReturn

import numpy as np

from torchkeras._core.errors import CorruptFileError
from torchkeras._core.limits import active, how_to_raise

#: Strings, an unfinished one included. Nothing is ever matched twice: the time is
#: linear for any text.
_STRINGS = re.compile(rb'"(?:[^"\\]++|\\.)*+"?', re.DOTALL)
_NO_BRACKETS = bytes(set(range(256)) - set(b"[]{}"))


def parse(text: str | bytes, source: str) -> Any:
    """Parse JSON.

    Args:
        text: the JSON.
        source: where it comes from, for messages.

    Raises:
        CorruptFileError: for what is no JSON, or beyond a limit.

    Example:
        >>> parse('{"units": 3}', "model.keras, config.json")
        {'units': 3}
    """
    data = text.encode("utf-8", "surrogatepass") if isinstance(text, str) else text
    if problem := _oversize(data):
        raise CorruptFileError(f"{source}: the JSON {problem}")
    try:
        return _decoder.decode(data.decode("utf-8"))
    except (ValueError, RecursionError) as error:
        raise CorruptFileError(f"{source}: not valid JSON: {error}") from None


def dump(value: Any, source: str) -> str:
    """Return JSON that `parse` takes.

    Raises:
        ValueError: for values that JSON does not have, or more than `parse` takes.
    """
    try:
        text = json.dumps(value, allow_nan=False)
    except (TypeError, ValueError) as error:
        raise ValueError(f"{source} cannot be written as JSON: {error}") from None
    if problem := _oversize(text.encode()):
        raise ValueError(f"{source} could not be read again: the JSON {problem}")
    return text


def spelled(value: Any) -> Any:
    """Return a config in which numbers that JSON lacks, such as infinity, are words.

    Example:
        >>> spelled([1.0, float("-inf")])
        [1.0, {'class_name': '__float__', 'config': '-inf'}]
    """
    if isinstance(value, dict):
        return {key: spelled(item) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [spelled(item) for item in value]
    if isinstance(value, float) and not math.isfinite(value):
        return {"class_name": "__float__", "config": str(float(value))}
    return value


def _oversize(data: bytes) -> str | None:
    limits = active()
    if len(data) > limits.config_bytes:
        return f"has {len(data):,} bytes. {how_to_raise('config_bytes')}"
    items = data.count(b"{") + data.count(b"[") + data.count(b",")
    items = max(items, data.count(b'"') // 4)  # a name and a text for each
    if items > limits.config_items:
        return f"has about {items:,} items. {how_to_raise('config_items')}"
    brackets = _STRINGS.sub(b"", data).translate(None, _NO_BRACKETS)
    codes = np.frombuffer(brackets, np.uint8)
    depths = np.where(np.isin(codes, list(b"[{")), 1, -1).cumsum()
    if depths.max(initial=0) > limits.config_depth:
        return f"is nested too deep. {how_to_raise('config_depth')}"
    return None


def _unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    value: dict[str, Any] = {}
    for key, item in pairs:
        if key in value:
            raise ValueError(f"the key {key[:100]!r} is given twice")
        value[key] = item
    return value


def _no_constant(name: str) -> NoReturn:
    raise ValueError(f"{name} is no JSON value")


def _finite(text: str) -> float:
    value = float(text)
    if math.isinf(value):
        raise ValueError(f"the number {text[:50]} is too large")
    return value


_decoder = json.JSONDecoder(
    object_pairs_hook=_unique, parse_constant=_no_constant, parse_float=_finite
)
