"""The table that `Model.summary` prints, made from shapes known without a run."""

from __future__ import annotations

import math
import re
import shutil
import textwrap
from collections.abc import Callable, Iterator
from typing import Any

from torch import nn

from torchkeras._core import tree
from torchkeras.layers.core import InputLayer
from torchkeras.layers.layer import Layer, weights_of

_WIDTH = 80
#: Where columns end, as shares of the width: names, shapes, counts, then the extras.
_POSITIONS = {3: (0.45, 0.80, 1.0), 4: (0.40, 0.68, 0.86, 1.0)}


def print_summary(
    model: Any,
    line_length: int | None = None,
    positions: list[float] | None = None,
    print_fn: Callable[[str], Any] | None = None,
    expand_nested: bool = False,
    show_trainable: bool = False,
    layer_range: tuple[str, str] | None = None,
) -> None:
    """Print a table of a model's layers.

    Args:
        model: the model.
        line_length: the width in characters.
        positions: where columns end, as shares of the width or in characters.
        print_fn: takes the text; `print` by default.
        expand_nested: show the layers of models inside this one.
        show_trainable: show which layers are trained.
        layer_range: the names (or patterns) of the first and the last layer to show.

    Raises:
        ValueError: when `layer_range` matches no layers.
    """
    header = ["Layer (type)", "Output Shape", "Param #"]
    header += ["Trai…"] if show_trainable else []
    if line_length is None:
        line_length = min(_WIDTH, shutil.get_terminal_size((_WIDTH, 24)).columns)
    widths = _widths(line_length, positions, len(header))
    layers = _in_range(list(model.layers), layer_range)
    rows = [
        row
        for layer in layers
        for row in _rows(model, layer, 0, expand_nested, show_trainable)
    ]
    lines = [f'Model: "{model.name}"', *_table(header, rows, widths), *_totals(model)]
    (print_fn or print)("\n".join(lines))


def _widths(length: int, positions: list[float] | None, columns: int) -> list[int]:
    ends = list(positions) if positions else list(_POSITIONS[columns])
    if ends[-1] <= 1:
        ends = [int(length * end) for end in ends]
    starts = [0, *ends[:-1]]
    return [max(8, int(b - a) - 3) for a, b in zip(starts, ends, strict=True)]


def _in_range(layers: list[Any], bounds: tuple[str, str] | None) -> list[Any]:
    if bounds is None:
        return layers
    found = [
        [i for i, layer in enumerate(layers) if re.match(bound, _name(layer))]
        for bound in bounds
    ]
    if not found[0] or not found[1]:
        raise ValueError(
            f"summary: `layer_range` {bounds} matches no layers; the layers are "
            f"{[_name(layer) for layer in layers]}."
        )
    return layers[min(found[0]) : max(found[1]) + 1]


def _name(layer: nn.Module) -> str:
    return layer.name if isinstance(layer, Layer) else type(layer).__name__.lower()


def _rows(
    parent: Any, layer: nn.Module, depth: int, expand: bool, trainable: bool
) -> Iterator[list[str]]:
    indent = "    " * (depth - 1) + "└── " if depth else ""
    row = [
        f"{indent}{_name(layer)} ({type(layer).__name__})",
        _output_shape(parent, layer),
        _count(layer),
    ]
    if trainable:
        row.append("Y" if _is_trained(layer) else "N")
    yield row
    nested = getattr(layer, "layers", None) if expand else None
    if isinstance(nested, list):
        for inner in nested:
            if not isinstance(inner, InputLayer):
                yield from _rows(layer, inner, depth + 1, expand, trainable)


def _output_shape(parent: Any, layer: nn.Module) -> str:
    output = parent.output_of(layer)
    if output is None:
        return "?"
    return ", ".join(str(tensor.shape) for tensor in tree.flatten(output))


def _count(layer: nn.Module) -> str:
    if isinstance(layer, Layer) and not layer.built:
        return "0 (unbuilt)"
    return f"{sum(w.numel() for w in weights_of(layer, set())):,}"


def _is_trained(layer: nn.Module) -> bool:
    weights = list(weights_of(layer, set()))
    if not weights:
        return getattr(layer, "trainable", True)
    return any(w.trainable for w in weights)


def _table(header: list[str], rows: list[list[str]], widths: list[int]) -> list[str]:
    def rule(left: str, middle: str, right: str, fill: str) -> str:
        return left + middle.join(fill * (w + 2) for w in widths) + right

    def line(cells: list[str], bar: str) -> Iterator[str]:
        wrapped = [_wrap(c, w) for c, w in zip(cells, widths, strict=True)]
        for i in range(max(map(len, wrapped))):
            parts = [column[i] if i < len(column) else "" for column in wrapped]
            padded = [
                f" {p:>{w}} " if k == 2 else f" {p:<{w}} "
                for k, (p, w) in enumerate(zip(parts, widths, strict=True))
            ]
            yield bar + bar.join(padded) + bar

    lines = [rule("┏", "┳", "┓", "━"), *line(header, "┃"), rule("┡", "╇", "┩", "━")]
    for index, row in enumerate(rows):
        lines += [rule("├", "┼", "┤", "─")] if index else []
        lines += line(row, "│")
    return [*lines, rule("└", "┴", "┘", "─")]


def _wrap(text: str, width: int) -> list[str]:
    return textwrap.wrap(text, width, break_on_hyphens=False) or [""]


def _totals(model: Any) -> list[str]:
    optimizer: Any = getattr(model, "optimizer", None)
    state = optimizer.variables if getattr(optimizer, "built", False) else []
    groups = {
        "Total params": [*model.weights, *state],
        "Trainable params": [w for w in model.weights if w.trainable],
        "Non-trainable params": [w for w in model.weights if not w.trainable],
    }
    if state:
        groups["Optimizer params"] = state
    return [f" {label}: {_amount(own)}" for label, own in groups.items()]


def _amount(weights: list[Any]) -> str:
    count = sum(w.numel() for w in weights)
    size = float(sum(w.value.nbytes for w in weights))
    units = ["B", "KB", "MB", "GB", "TB"]
    power = min(int(math.log(size, 1024)), len(units) - 1) if size else 0
    return f"{count:,} ({size / 1024**power:.2f} {units[power]})"
