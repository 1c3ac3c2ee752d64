"""A dict of settings that can be read by attribute, and frozen."""

from __future__ import annotations

import json
from collections.abc import Iterator, MutableMapping
from typing import Any

from torchkeras._core.errors import did_you_mean


class Config(MutableMapping[str, Any]):
    """Settings by name, as attributes and as items.

    Args:
        **kwargs: the settings.

    Example:
        >>> config = Config(learning_rate=0.1)
        >>> config.seed = 3
        >>> config["seed"], config.learning_rate, config.to_json()
        (3, 0.1, '{"learning_rate": 0.1, "seed": 3}')
        >>> config.freeze()
        >>> config.seed = 4
        Traceback (most recent call last):
        ValueError: Config: 'seed' cannot be changed: the settings are frozen. ...
    """

    frozen: bool
    """Whether settings cannot be changed."""

    _config: dict[str, Any]

    def __init__(self, **kwargs: Any) -> None:
        object.__setattr__(self, "_config", kwargs)
        object.__setattr__(self, "frozen", False)

    def freeze(self) -> None:
        """Let no setting be changed from now on."""
        object.__setattr__(self, "frozen", True)

    def unfreeze(self) -> None:
        """Let settings be changed again."""
        object.__setattr__(self, "frozen", False)

    def as_dict(self) -> dict[str, Any]:
        """Return the settings as a dict."""
        return dict(self._config)

    def to_json(self) -> str:
        """Return the settings as JSON."""
        return json.dumps(self._config)

    def __getattr__(self, name: str) -> Any:
        config = object.__getattribute__(self, "__dict__").get("_config", {})
        if name in config:
            return config[name]
        raise AttributeError(
            f"Config has no setting {name!r}.{did_you_mean(name, config)}"
        )

    def __setattr__(self, name: str, value: Any) -> None:
        if hasattr(type(self), name) or name in self.__dict__:
            raise AttributeError(
                f"Config: {name!r} is a name of its own. Set it as an item, "
                f"config[{name!r}]."
            )
        self[name] = value

    def __getitem__(self, key: str) -> Any:
        return self._config[key]

    def __setitem__(self, key: str, value: Any) -> None:
        self._refuse_if_frozen(key)
        self._config[key] = value

    def __delitem__(self, key: str) -> None:
        self._refuse_if_frozen(key)
        del self._config[key]

    def _refuse_if_frozen(self, key: str) -> None:
        if self.frozen:
            raise ValueError(
                f"Config: {key!r} cannot be changed: the settings are frozen. Call "
                "`unfreeze` first."
            )

    def __iter__(self) -> Iterator[str]:
        return iter(sorted(self._config))

    def __len__(self) -> int:
        return len(self._config)

    def __repr__(self) -> str:
        return f"<Config {self._config}>"
