"""The table that `Model.summary` prints, made from shapes known without a run."""

from __future__ import annotations

import math
import re
import shutil
import textwrap
from collections.abc import Callable, Iterator
from typing import Any

from torch import nn

from torchkeras._core.symbolic import (
    OPERATORS,
    Node,
    class_name_of,
    symbolic_leaves,
)
from torchkeras.layers.core import InputLayer
from torchkeras.layers.layer import Layer
from torchkeras.layers.weights import weights_of

_WIDTH = 80
_WIDE = 96
#: Where columns end, as shares of the width: names, shapes, counts, then the extras.
_POSITIONS = {
    3: (0.45, 0.80, 1.0),
    4: (0.30, 0.55, 0.71, 1.0),
    5: (0.27, 0.49, 0.64, 0.90, 1.0),
}
#: The same without connections and with the column of what is trained.
_POSITIONS_TRAINED = (0.40, 0.68, 0.86, 1.0)


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
    graph = model.graph_of_calls
    connected = graph is not None and not graph.is_chain
    header = ["Layer (type)", "Output Shape", "Param #"]
    header += ["Connected to"] if connected else []
    header += ["Trai…"] if show_trainable else []
    width = _WIDE if len(header) == 5 else _WIDTH
    if line_length is None:
        line_length = min(width, shutil.get_terminal_size((width, 24)).columns)
    if positions is None and show_trainable and not connected:
        positions = list(_POSITIONS_TRAINED)
    widths = _widths(line_length, positions, len(header))
    layers = in_range(shown_layers(model), layer_range)
    columns = _Columns(expand_nested, show_trainable, connected)
    rows = [row for layer in layers for row in columns.rows(model, layer, 0)]
    lines = [f'Model: "{model.name}"', *_table(header, rows, widths), *_totals(model)]
    (print_fn or print)("\n".join(lines))


def _widths(length: int, positions: list[float] | None, columns: int) -> list[int]:
    ends = list(positions) if positions else list(_POSITIONS[columns])
    if ends[-1] <= 1:
        ends = [int(length * end) for end in ends]
    starts = [0, *ends[:-1]]
    return [max(8, int(b - a) - 3) for a, b in zip(starts, ends, strict=True)]


def in_range(
    layers: list[Any], bounds: tuple[str, str] | None, owner: str = "summary"
) -> list[Any]:
    """Return the layers from the first to the last that match two patterns.

    Args:
        layers: the layers.
        bounds: patterns of names, or None for all layers.
        owner: the function that has the argument `layer_range`, for messages.

    Raises:
        ValueError: when a pattern matches no layer.
    """
    if bounds is None:
        return layers
    found = [
        [i for i, layer in enumerate(layers) if re.match(bound, label_of(layer))]
        for bound in bounds
    ]
    if not found[0] or not found[1]:
        raise ValueError(
            f"{owner}: `layer_range` {bounds} matches no layers; the layers are "
            f"{[label_of(layer) for layer in layers]}."
        )
    return layers[min(found[0]) : max(found[1]) + 1]


def shown_layers(model: Any) -> list[Any]:
    """Return what is shown of a model: of a graph, functions too."""
    graph = model.graph_of_calls
    return list(model.layers) if graph is None else list(graph.operations)


def label_of(layer: Any) -> str:
    """Return the name of a layer, a module or a function's call."""
    named = isinstance(layer, (Layer, Node))
    return layer.name if named else type(layer).__name__.lower()


def type_of(layer: Any) -> str:
    """Return the class of a layer or module, or Keras's class for a function."""
    if isinstance(layer, Node):
        name = OPERATORS.get(layer.op) or class_name_of(layer.op)
        return name or getattr(layer.op, "__name__", "function")
    return type(layer).__name__


class _Columns:
    """The cells of a table's rows.

    Args:
        expand: whether layers of models inside the model have rows.
        trainable: whether there is a column of what is trained.
        connected: whether there is a column of where inputs come from.
    """

    def __init__(self, expand: bool, trainable: bool, connected: bool) -> None:
        self.expand = expand
        self.trainable = trainable
        self.connected = connected

    def rows(self, parent: Any, layer: Any, depth: int) -> Iterator[list[str]]:
        """Yield the row of a layer, and those of the layers inside it."""
        indent = "    " * (depth - 1) + "└── " if depth else ""
        shape = (
            shape_of(layer.structure)
            if isinstance(layer, Node)
            else _output_shape(parent, layer)
        )
        row = [f"{indent}{label_of(layer)} ({type_of(layer)})", shape, _count(layer)]
        if self.connected:
            row.append("-" if depth else _connections(parent, layer))
        if self.trainable:
            row.append(is_trained(layer))
        yield row
        if self.expand and isinstance(getattr(layer, "layers", None), list):
            for inner in shown_layers(layer):
                if not isinstance(inner, InputLayer):
                    yield from self.rows(layer, inner, depth + 1)


def _connections(model: Any, layer: Any) -> str:
    """Name the layers that a layer's inputs come from: layer[call][output]."""
    graph = model.graph_of_calls
    found = []
    for node in graph.nodes_of(layer):
        for tensor in node.inputs:
            made = tensor.history
            operation = made.op if isinstance(made.op, nn.Module) else made
            call = [id(n) for n in graph.nodes_of(operation)].index(id(made))
            output = [id(t) for t in made.outputs].index(id(tensor))
            found.append(f"{label_of(operation)}[{call}][{output}]")
    return ", ".join(found) or "-"


def _output_shape(parent: Any, layer: nn.Module) -> str:
    output = parent.output_of(layer)
    return "?" if output is None else shape_of(output)


def shape_of(output: Any) -> str:
    """Return the shapes of the symbolic tensors in a structure as text."""
    shapes = [str(tensor.shape) for tensor in symbolic_leaves(output)]
    text = ", ".join(shapes)
    return text if len(shapes) == 1 else f"[{text}]"


def _count(layer: Any) -> str:
    if isinstance(layer, Node):
        return "0"
    if isinstance(layer, Layer) and not layer.built:
        return "0 (unbuilt)"
    return f"{sum(w.numel() for w in weights_of(layer, set())):,}"


def is_trained(layer: Any) -> str:
    """Return "Y", "N", or "-" for what has no weights."""
    weights = [] if isinstance(layer, Node) else list(weights_of(layer, set()))
    if not weights:
        return "-"
    return "Y" if any(w.trainable for w in weights) else "N"


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
        "Trainable params": model.trainable_weights,
        "Non-trainable params": model.non_trainable_weights,
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
