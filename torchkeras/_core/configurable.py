"""Objects whose config is their constructor's arguments."""

from __future__ import annotations

from typing import Any, Self

from torchkeras._core import gate
from torchkeras._core.registry import deserialize_object
from torchkeras._core.signatures import signature_of


class Configurable:
    """Give `get_config` and `from_config` to a class that keeps its arguments.

    Each argument of the constructor is read from the attribute of its name.

    Example:
        >>> class Scale(Configurable):
        ...     def __init__(self, factor=2.0):
        ...         self.factor = factor
        >>> Scale(3.0).get_config()
        {'factor': 3.0}
    """

    def get_config(self) -> dict[str, Any]:
        """Return the constructor's arguments.

        Raises:
            NotImplementedError: when an argument is not kept as an attribute.
        """
        config: dict[str, Any] = {}
        for name, parameter in signature_of(type(self)).parameters.items():
            if parameter.kind in (parameter.VAR_POSITIONAL, parameter.VAR_KEYWORD):
                continue
            if not hasattr(self, name):
                raise NotImplementedError(
                    f"{type(self).__name__} has an argument `{name}` and no attribute "
                    f"of that name. Keep it as `self.{name}`, or define `get_config`."
                )
            config[name] = getattr(self, name)
        return config

    @classmethod
    @gate.takes_config
    def from_config(cls, config: dict[str, Any]) -> Self:
        """Make an object from the result of `get_config`."""
        return cls(**{name: deserialize_object(v) for name, v in config.items()})
