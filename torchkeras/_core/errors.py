"""Error messages, built in one place so that all speak with one voice.

Every message says what was expected, what came and what to do, and names the layer or
the argument it is about.
"""

from __future__ import annotations

import difflib
from collections.abc import Iterable, Sequence
from typing import Any

#: Messages about files are no longer than this: the file has a say in them.
_LONGEST = 2_000


def shortened(text: str) -> str:
    """Return a text, without its middle if it is too long for a message."""
    if len(text) <= _LONGEST:
        return text
    return f"{text[: _LONGEST - 500]} [...] {text[-400:]}"


class UnsafeFileError(ValueError):
    """A file or a config asks for something that loading must never do."""

    def __init__(self, message: str = "") -> None:
        super().__init__(shortened(message))


class CorruptFileError(ValueError):
    """A file or a config is not what its name says, or is damaged."""

    def __init__(self, message: str = "") -> None:
        super().__init__(shortened(message))


def describe(value: Any) -> str:
    """Name a value for a message: arrays by shape and dtype, the rest by a short repr.

    Example:
        >>> import numpy as np
        >>> describe(np.zeros((2, 3)))
        'ndarray of shape (2, 3), dtype float64'
        >>> describe("relu")
        "'relu'"
    """
    shape = getattr(value, "shape", None)
    if shape is not None and hasattr(value, "dtype"):
        dtype = str(value.dtype).removeprefix("torch.")
        return f"{type(value).__name__} of shape {tuple(shape)}, dtype {dtype}"
    text = repr(value)
    return text if len(text) <= 120 else f"{text[:117]}..."


def did_you_mean(name: Any, known: Iterable[str]) -> str:
    """Return ``" Did you mean 'relu'?"`` for a near miss, and ``""`` otherwise."""
    if len(str(name)) > 100:
        return ""  # no typo, and slow to compare
    choices = {str(k).lower(): str(k) for k in known}
    close = difflib.get_close_matches(str(name).lower(), choices, n=3, cutoff=0.6)
    if not close:
        return ""
    return f" Did you mean {' or '.join(repr(choices[c]) for c in close)}?"


def unknown_name(kind: str, name: Any, known: Iterable[str], hint: str = "") -> str:
    """Build the message for a name that a family does not have."""
    known = sorted(set(known))
    listing = ", ".join(known[:60]) + (", ..." if len(known) > 60 else "")
    message = f"Unknown {kind} {describe(name)}.{did_you_mean(name, known)}"
    return f"{message} Known {kind} names: {listing}. {hint}".rstrip()


def invalid_argument(
    owner: str, argument: str, expected: str, got: Any, hint: str = ""
) -> str:
    """Build the message for an argument outside its legal range.

    Example:
        >>> invalid_argument("Dense", "units", "a positive integer", -3)
        'Dense: `units` must be a positive integer, got -3.'
    """
    return (
        f"{owner}: `{argument}` must be {expected}, got {describe(got)}. {hint}".strip()
    )


def positive_integer(owner: str, argument: str, value: Any) -> int:
    """Check that `value` is a positive integer and return it as an `int`.

    Raises:
        TypeError: when it is not an integer.
        ValueError: when it is not positive.
    """
    if isinstance(value, bool) or not hasattr(value, "__index__"):
        raise TypeError(invalid_argument(owner, argument, "a positive integer", value))
    value = int(value)
    if value <= 0:
        raise ValueError(invalid_argument(owner, argument, "a positive integer", value))
    return value


def count(owner: str, argument: str, value: Any, least: int = 1) -> int:
    """Check that `value` counts something and return it as an `int`.

    Integers of every kind count, and floats without a fraction, which `np.ceil` gives.

    Raises:
        TypeError: when it is no number, or has a fraction.
        ValueError: when it is less than `least`.

    Example:
        >>> count("fit", "steps_per_epoch", 4.0)
        4
    """
    expected = "a positive integer" if least == 1 else f"an integer, at least {least}"
    whole = hasattr(value, "is_integer") and value.is_integer()  # a float, perhaps
    if isinstance(value, bool) or not (whole or hasattr(value, "__index__")):
        raise TypeError(invalid_argument(owner, argument, expected, value))
    number = int(value)
    if number < least:
        raise ValueError(invalid_argument(owner, argument, expected, number))
    return number


def counted_axis(owner: str, axis: int, ndim: int, argument: str = "axis") -> int:
    """Check that an axis is one of `ndim`, and return it counted from the first one.

    Raises:
        ValueError: when it is out of range.

    Example:
        >>> counted_axis("flip", -1, 3)
        2
    """
    if not -ndim <= axis < ndim:
        expected = f"an integer in [{-ndim}, {ndim})"
        raise ValueError(invalid_argument(owner, argument, expected, axis))
    return axis % ndim


def number_in(
    owner: str,
    argument: str,
    value: Any,
    low: float = float("-inf"),
    high: float = float("inf"),
    *,
    open_high: bool = False,
) -> float:
    """Check that `value` is a number in ``[low, high]`` (``[low, high)`` if open).

    Raises:
        TypeError: when it is not a number.
        ValueError: when it is out of range or not a number at all (NaN).
    """
    interval = f"a number in [{low:g}, {high:g}{')' if open_high else ']'}"
    if float("inf") in (high, -low):
        least = "" if low == float("-inf") else f", at least {low:g}"
        most = "" if high == float("inf") else f", at most {high:g}"
        interval = f"a finite number{least}{most}"
    if isinstance(value, (str, bool)) or not hasattr(value, "__float__"):
        raise TypeError(invalid_argument(owner, argument, interval, value))
    number = float(value)
    inside = low <= number < high or (number == high and not open_high)
    if not inside or number in (float("inf"), float("-inf")):
        raise ValueError(invalid_argument(owner, argument, interval, value))
    return number


def one_of(owner: str, argument: str, value: Any, legal: Sequence[Any]) -> Any:
    """Check that `value` is one of `legal` and return it.

    Raises:
        ValueError: when it is not.
    """
    if value not in legal:
        expected = "one of " + ", ".join(map(repr, legal))
        hint = did_you_mean(value, [v for v in legal if isinstance(v, str)]).strip()
        raise ValueError(invalid_argument(owner, argument, expected, value, hint))
    return value
