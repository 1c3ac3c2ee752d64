"""Modules and parameters in lists, tuples and dicts: found by torch, however late."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable, Iterator, Mapping, Set
from typing import Any

from torch import Tensor, nn

from torchkeras._core.variable import Variable

#: What other containers, and modules or parameters, are looked for in.
CONTAINERS = (list, tuple, dict, deque, set, frozenset)
_STATE = (nn.Module, nn.Parameter)


class ContainedModules(nn.Module):
    """What a list, tuple or dict holds, as children and parameters that follow it.

    The container stays what it is; this module only shows torch what is in it.

    Args:
        container: the list, tuple or dict, in which others may be nested.
        above: the containers around it.

    Example:
        >>> blocks = []
        >>> shown = ContainedModules(blocks)
        >>> blocks.append(nn.Linear(2, 3))
        >>> [name for name, _ in shown.named_parameters()]
        ['0.weight', '0.bias']
    """

    container: Any
    _above: tuple[Any, ...]
    _nested: dict[Any, ContainedModules]

    def __init__(self, container: Any, above: tuple[Any, ...] = ()) -> None:
        super().__init__()
        self.__dict__.update(container=container, _above=above, _nested={})

    @property
    def _modules(self) -> dict[str, nn.Module]:
        return self._table(lambda value: isinstance(value, nn.Module))

    @property
    def _parameters(self) -> dict[str, nn.Parameter]:
        return self._table(_is_parameter)

    @property
    def _buffers(self) -> dict[str, Tensor]:
        return self._table(
            lambda value: isinstance(value, Variable) and not _is_parameter(value)
        )

    @_modules.setter
    def _modules(self, _: Any) -> None:  # type: ignore
        """Ignore the empty table that `nn.Module` begins with."""

    @_parameters.setter
    def _parameters(self, _: Any) -> None:  # type: ignore
        """Ignore it too."""

    @_buffers.setter
    def _buffers(self, _: Any) -> None:  # type: ignore
        """Ignore it too."""

    def _table(self, belongs: Callable[[Any], bool]) -> _Table:
        return _Table(self, [m for m in self._members() if belongs(m[2])])

    def _members(self) -> Iterator[tuple[str, Any, Any]]:
        """Yield name, key and value of what counts in the container."""
        taken: set[str] = set()
        for key, value in _items(self.__dict__.get("container", ())):
            shown = value if isinstance(value, _STATE) else self._show(key, value)
            if shown is None:
                continue
            name = str(key).replace(".", "_") or "_"
            while name in taken:
                name += "_"
            taken.add(name)
            yield name, key, shown

    def _show(self, key: Any, value: Any) -> ContainedModules | None:
        """Return the module that shows a nested container, the same each time."""
        path = (*self._above, self.container)
        known = any(value is container for container in path)  # it holds itself
        if known or not isinstance(value, CONTAINERS) or not holds_state(value):
            return None
        shown = self._nested.get(key)
        if shown is None or shown.container is not value:
            shown = self._nested[key] = ContainedModules(value, path)
        return shown

    def __getattr__(self, name: str) -> Any:
        for own, _, value in self._members():
            if own == name:
                return value
        return super().__getattr__(name)


class _Table(dict[str, Any]):
    """What torch reads members from; what it writes goes to the container."""

    def __init__(
        self, owner: ContainedModules, members: list[tuple[str, Any, Any]]
    ) -> None:
        super().__init__({name: value for name, _, value in members})
        self._keys = {name: key for name, key, _ in members}
        self._container = owner.__dict__.get("container")

    def __setitem__(self, name: str, value: Any) -> None:
        own = self[name]
        if isinstance(own, Variable) and type(value) is Tensor:
            own.data = value  # as torch moves buffers; a Variable stays one
            return
        super().__setitem__(name, value)
        if isinstance(self._container, (list, dict, deque)):
            self._container[self._keys[name]] = value


def _is_parameter(value: Any) -> bool:
    return isinstance(value, nn.Parameter) and getattr(
        value, "declared_trainable", True
    )


def _items(container: Any) -> Iterable[tuple[Any, Any]]:
    return container.items() if isinstance(container, Mapping) else enumerate(container)


def holds_state(container: Any) -> bool:
    """Say whether a list, tuple or dict has a module or parameter somewhere inside.

    Raises:
        TypeError: when they are in a set, which has no order to name them by.

    Example:
        >>> holds_state([1, {"a": nn.ReLU()}]), holds_state([1, 2])
        (True, False)
    """
    return _holds_state(container, set())


def _holds_state(container: Any, seen: set[int]) -> bool:
    values = container.values() if isinstance(container, Mapping) else container
    # By their types, of which there are few: a vocabulary has many entries.
    kinds = set(map(type, values))
    if any(issubclass(kind, _STATE) for kind in kinds):
        if isinstance(container, Set):
            raise TypeError(
                "A set of layers or variables has no order by which to name and save "
                f"them, got {sorted(kind.__name__ for kind in kinds)}. Put them into "
                "a list or a dict."
            )
        return True
    if not any(issubclass(kind, CONTAINERS) for kind in kinds):
        return False
    seen.add(id(container))
    return any(
        isinstance(value, CONTAINERS)
        and id(value) not in seen
        and _holds_state(value, seen)
        for value in values
    )


def may_hold_state(value: Any) -> bool:
    """Say whether a value is a container that holds state, or can come to hold some.

    Example:
        >>> may_hold_state([]), may_hold_state((1, [])), may_hold_state(((3, 3), 3))
        (True, True, False)
    """
    if isinstance(value, (tuple, frozenset)):
        return any(
            isinstance(inner, _STATE) or may_hold_state(inner) for inner in value
        )
    return isinstance(value, CONTAINERS)
