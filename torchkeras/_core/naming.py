"""Names that are given when a user gives none: ``dense``, ``dense_1``, ..."""

from __future__ import annotations

import collections
import re
import threading

_counters: collections.Counter[str] = collections.Counter()
_counting = threading.Lock()  # all threads share the counters


def to_snake_case(name: str) -> str:
    """Turn a class name into a snake-case name, as Keras does.

    Example:
        >>> to_snake_case("Conv2DTranspose"), to_snake_case("LSTM")
        ('conv2d_transpose', 'lstm')
    """
    name = re.sub(r"\W+", "", name)
    name = re.sub(r"(.)([A-Z][a-z]+)", r"\1_\2", name)
    return re.sub(r"([a-z])([A-Z])", r"\1_\2", name).lower()


def split_number(name: str) -> tuple[str, int]:
    """Return a name without the number that counts it, and the number.

    Example:
        >>> split_number("dense_3"), split_number("dense")
        (('dense', 3), ('dense', -1))
    """
    found = re.fullmatch(r"(.+)_(\d+)", name)
    return (found[1], int(found[2])) if found else (name, -1)


#: What a name must be, for messages.
LEGAL_NAME = "text without '/', NUL and lone surrogates, and not '.' or '..'"


def is_legal_name(name: object) -> bool:
    """Say whether something can be the name of a layer: a part of a path in any file.

    Example:
        >>> [is_legal_name(name) for name in ("dense", "层", "a/b", "..", 1)]
        [True, True, False, False, False]
    """
    if not isinstance(name, str) or name in (".", "..") or {"/", "\0"} & {*name}:
        return False
    return not any("\ud800" <= character <= "\udfff" for character in name)


def looks_automatic(name: str, class_name: str) -> bool:
    """Say whether an object may have got its name without being asked.

    Example:
        >>> looks_automatic("dense_3", "Dense"), looks_automatic("head", "Dense")
        (True, False)
    """
    base, _ = split_number(name)
    return base in (to_snake_case(class_name), class_name.lower())  # as in Keras 1


def auto_name(prefix: str) -> str:
    """Return `prefix`, then ``prefix_1``, ``prefix_2``, ... on further calls."""
    count = get_uid(prefix) - 1
    return f"{prefix}_{count}" if count else prefix


def get_uid(prefix: str = "") -> int:
    """Count one more name with this prefix, and return how many there are."""
    with _counting:
        _counters[prefix] += 1
        return _counters[prefix]


def reset() -> None:
    """Start counting again, so that the next ``Dense`` is called ``dense``."""
    with _counting:
        _counters.clear()
