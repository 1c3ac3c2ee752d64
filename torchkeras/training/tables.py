"""Tables of rows, as Hugging Face's ``datasets`` has them, known by their methods."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import numpy as np
from torch.utils.data import Dataset, IterableDataset

#: The column of the targets, by the names that it usually has.
_TARGETS = ("label", "labels", "target", "targets")


def is_table(x: Any) -> bool:
    """Say whether a value is a table of rows, or a stream of them."""
    names = ("column_names", "features", "with_format")
    return not isinstance(x, Mapping) and all(hasattr(x, name) for name in names)


def read_columns(*columns: Any) -> list[Any]:
    """Return columns of a table that are not read yet as arrays, others as they are."""
    names = ("column_name", "source", "__getitem__")
    return [
        np.asarray(column[:]) if all(hasattr(column, n) for n in names) else column
        for column in columns
    ]


def rows_of(table: Any) -> Dataset[Any]:
    """Return the rows of a table, each ``(x, y)``, as a data set of torch.

    `y` is the column ``label``, ``labels``, ``target`` or ``targets``, if there is one;
    `x` is the other column, or a dict of all others.
    """
    return _Rows(table) if hasattr(table, "__len__") else _RowStream(table)


def refuse_splits(caller: str, x: Any) -> None:
    """Refuse a dict of tables.

    Raises:
        ValueError: naming its parts.
    """
    if isinstance(x, Mapping) and x and all(is_table(part) for part in x.values()):
        raise ValueError(
            f"{caller}: `x` must be one data set, got a dict of them. Pass one of "
            f"{', '.join(map(repr, x))}."
        )


class _Rows(Dataset[Any]):
    """Rows by index."""

    def __init__(self, table: Any) -> None:
        has_format = (getattr(table, "format", None) or {}).get("type")
        self.table = table if has_format else table.with_format("numpy")

    def __len__(self) -> int:
        return len(self.table)

    def __getitem__(self, index: int) -> Any:
        return _sample(self.table[index])

    def __getitems__(self, indices: Sequence[int]) -> list[Any]:
        columns = self.table[list(indices)]  # read together
        return [
            _sample({name: column[row] for name, column in columns.items()})
            for row in range(len(indices))
        ]


class _RowStream(IterableDataset[Any]):
    """Rows in their order."""

    def __init__(self, table: Any) -> None:
        self.table = table

    def __iter__(self) -> Iterator[Any]:
        return map(_sample, self.table)


def _sample(row: Mapping[str, Any]) -> Any:
    """Return a row as ``(x, y)``, or `x` where it has no target."""
    values = {
        name: np.asarray(value) if isinstance(value, list) else value
        for name, value in row.items()
    }
    target = next((name for name in _TARGETS if name in values), None)
    y = None if target is None else values.pop(target)
    x = next(iter(values.values())) if len(values) == 1 else values
    return x if target is None else (x, y)
