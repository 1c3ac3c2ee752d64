"""Modules in lists and dicts: found by torch, however late they are put in."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from torch import nn

from torchkeras._core import tree


class ContainedModules(nn.Module):
    """The modules in a list, tuple or dict, as children that follow its changes.

    The container stays what it is; this module only shows torch what is in it.

    Args:
        container: the list, tuple or dict, in which others may be nested.

    Example:
        >>> blocks = []
        >>> shown = ContainedModules(blocks)
        >>> blocks.append(nn.Linear(2, 3))
        >>> [name for name, _ in shown.named_parameters()]
        ['0.weight', '0.bias']
    """

    def __init__(self, container: Any) -> None:
        super().__init__()
        self.__dict__["container"] = container

    @property
    def _modules(self) -> dict[str, nn.Module]:
        return dict(self._children())

    @_modules.setter
    def _modules(self, _: Any) -> None:  # type: ignore
        """Ignore the empty table that `nn.Module` begins with."""

    def _children(self) -> Iterator[tuple[str, nn.Module]]:
        container = self.__dict__.get("container", ())
        named = (
            container.items()
            if isinstance(container, Mapping)
            else enumerate(container)
        )
        for name, value in named:
            if isinstance(value, nn.Module):
                yield str(name).replace(".", "_"), value
            elif holds_modules(value):
                yield str(name).replace(".", "_"), ContainedModules(value)


def holds_modules(value: Any) -> bool:
    """Say whether a list, tuple or dict has a module somewhere inside.

    Example:
        >>> holds_modules([1, {"a": nn.ReLU()}]), holds_modules([1, 2])
        (True, False)
    """
    return tree.is_nested(value) and any(
        isinstance(leaf, nn.Module) for leaf in tree.flatten(value)
    )


def may_hold_modules(value: Any) -> bool:
    """Say whether a value holds modules, or is an empty list or dict that may get some.

    Example:
        >>> may_hold_modules([]), may_hold_modules(()), may_hold_modules([1])
        (True, False, False)
    """
    return holds_modules(value) or (type(value) in (list, dict) and not value)
