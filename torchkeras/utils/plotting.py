"""Pictures of models, drawn by Graphviz through pydot."""

from __future__ import annotations

import html
import importlib
import itertools
import os
import shutil
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

from torch import nn

from torchkeras._core import tree
from torchkeras._core.errors import (
    did_you_mean,
    invalid_argument,
    number_in,
    one_of,
)
from torchkeras._core.symbolic import KerasTensor, Node, symbolic_leaves
from torchkeras._core.typing import ActivationLike
from torchkeras.layers.core import InputLayer
from torchkeras.models import Model, Sequential
from torchkeras.models.summary import (
    in_range,
    is_trained,
    label_of,
    shape_of,
    shown_layers,
    type_of,
)

_DIRECTIONS = ("TB", "BT", "LR", "RL")


def model_to_dot(
    model: Any,
    show_shapes: bool = False,
    show_dtype: bool = False,
    show_layer_names: bool = True,
    rankdir: str = "TB",
    expand_nested: bool = False,
    dpi: float = 200,
    subgraph: bool = False,
    show_layer_activations: bool = False,
    show_trainable: bool = False,
    splines: str = "ortho",
    **kwargs: Any,
) -> Any:
    """Return a model as a graph of `pydot`.

    A functional model shows the functions it calls, too; a subclassed one is one box.

    Args:
        model: a built model.
        show_shapes: show the shapes of inputs and outputs.
        show_dtype: show the dtypes of outputs.
        show_layer_names: show names, not types only.
        rankdir: where the arrows lead: ``"TB"`` (down), ``"BT"``, ``"LR"``, ``"RL"``.
        expand_nested: draw functional and Sequential models inside the model as frames
            around their layers.
        dpi: dots per inch.
        subgraph: return a `pydot.Cluster`, to be part of another graph.
        show_layer_activations: show the activations of layers that have one.
        show_trainable: show whether layers are trained.
        splines: how Graphviz draws arrows: ``"ortho"``, ``"curved"``, ``"polyline"``,
            ``"spline"`` or ``"line"``.
        **kwargs: ``layer_range=(first, last)``, names or patterns of names as in
            `Model.summary`, draws only a part of the layers.

    Raises:
        ImportError: when pydot is not installed.
        TypeError: when `model` is not a model.
        ValueError: for a model that is not built, or an unknown argument or direction.

    Example:
        >>> from torchkeras.layers import Dense, Input
        >>> model = Sequential([Input((4,)), Dense(3), Dense(1)])
        >>> dot = model_to_dot(model)
        >>> len(dot.get_nodes()), len(dot.get_edges())  # defaults count as a node
        (3, 1)
    """
    owner = "model_to_dot"
    _check_model(owner, model)
    bounds = _layer_range(owner, kwargs)
    one_of(owner, "rankdir", rankdir, _DIRECTIONS)
    number_in(owner, "dpi", dpi, 1)
    shown = _Shown(
        show_layer_names,
        show_layer_activations,
        show_shapes,
        show_dtype,
        show_trainable,
        expand_nested,
    )
    drawing = _Drawing(_pydot(owner), shown)
    if subgraph:
        canvas = drawing.frame(model.name)
    else:
        canvas = drawing.pydot.Dot("model", graph_type="digraph")
        settings = {"rankdir": rankdir, "dpi": dpi, "splines": splines}
        for key, value in {**settings, "concentrate": True}.items():
            canvas.set(key, value)
        canvas.set_node_defaults(shape="plain", fontname="Helvetica")
    if _has_layers(model):
        layers = in_range(shown_layers(model), bounds, owner)
        drawing.fill(canvas, model, layers, model.name)
    else:
        drawing.box(canvas, model, model.name, _calls(model._nodes))
    return canvas


def plot_model(
    model: Any,
    to_file: Any = "model.png",
    show_shapes: bool = False,
    show_dtype: bool = False,
    show_layer_names: bool = False,
    rankdir: str = "TB",
    expand_nested: bool = False,
    dpi: float = 200,
    show_layer_activations: bool = False,
    show_trainable: bool = False,
    splines: str = "ortho",
    **kwargs: Any,
) -> Any:
    """Draw a model into a file, and return the picture where IPython is installed.

    Args:
        model: a built model.
        to_file: the file; its ending says the format, PNG where there is none.
        show_shapes: show the shapes of inputs and outputs.
        show_dtype: show the dtypes of outputs.
        show_layer_names: show names, not types only.
        rankdir: where the arrows lead: ``"TB"`` (down), ``"BT"``, ``"LR"``, ``"RL"``.
        expand_nested: draw functional and Sequential models inside the model as frames
            around their layers.
        dpi: dots per inch.
        show_layer_activations: show the activations of layers that have one.
        show_trainable: show whether layers are trained.
        splines: how Graphviz draws arrows: ``"ortho"``, ``"curved"``, ``"polyline"``,
            ``"spline"`` or ``"line"``.
        **kwargs: `layer_range`, see `model_to_dot`.

    Raises:
        ImportError: when pydot or the program `dot` of Graphviz is not installed.
        TypeError: when `model` is not a model.
        ValueError: for a model that is not built, an unknown argument or direction, or
            a format that Graphviz does not write.
    """
    owner = "plot_model"
    _check_model(owner, model)
    _layer_range(owner, dict(kwargs))
    _pydot(owner)
    if shutil.which("dot") is None:
        raise ImportError(
            f"{owner}: the program `dot` of Graphviz is missing. Install Graphviz "
            "(`apt-get install graphviz`, `brew install graphviz`, or see "
            "https://graphviz.org/download), or call `model_to_dot(model).to_string()` "
            "for the source of the picture, which needs no program."
        )
    dot = model_to_dot(
        model,
        show_shapes=show_shapes,
        show_dtype=show_dtype,
        show_layer_names=show_layer_names,
        rankdir=rankdir,
        expand_nested=expand_nested,
        dpi=dpi,
        show_layer_activations=show_layer_activations,
        show_trainable=show_trainable,
        splines=splines,
        **kwargs,
    )
    path = os.fspath(to_file)
    extension = os.path.splitext(path)[1][1:].lower() or "png"
    try:
        dot.write(path, format=extension, encoding="utf-8")
    except AssertionError as error:  # pydot's sign that `dot` failed
        expected = "a file name with the ending of a format that Graphviz writes"
        raise ValueError(
            invalid_argument(owner, "to_file", expected, path, "Try '.png' or '.svg'.")
        ) from error
    return None if extension == "pdf" else _picture(path, extension)


def _picture(path: str, extension: str) -> Any:
    """Return what a notebook shows, None where there is no IPython."""
    try:
        display = importlib.import_module("IPython.display")
    except ImportError:
        return None
    kind = display.SVG if extension == "svg" else display.Image
    return kind(filename=path)


def _pydot(owner: str) -> Any:
    try:
        return importlib.import_module("pydot")
    except ImportError as error:
        raise ImportError(
            f"{owner}: pydot is missing. Install it (`pip install pydot`), and "
            "Graphviz, the program it draws with."
        ) from error


def _check_model(owner: str, model: Any) -> None:
    if not isinstance(model, Model):
        raise TypeError(invalid_argument(owner, "model", "a model", model))
    if not model.built:
        raise ValueError(
            f"{owner}: the model '{model.name}' is not built. Build it first: call it "
            "on a batch of data, or call `model.build(input_shape)`."
        )


def _layer_range(owner: str, kwargs: dict[str, Any]) -> tuple[str, str] | None:
    bounds = kwargs.pop("layer_range", None)
    if kwargs:
        name = next(iter(kwargs))
        known = [
            n for n in model_to_dot.__annotations__ if n not in ("return", "model")
        ]
        raise ValueError(
            f"{owner}: unknown argument `{name}`.{did_you_mean(name, known)}"
        )
    if bounds is not None and (isinstance(bounds, str) or len(bounds) != 2):
        expected = "the names of the first and the last layer"
        raise ValueError(invalid_argument(owner, "layer_range", expected, bounds))
    return bounds


def _has_layers(model: Any) -> bool:
    """Say whether a model's layers can be drawn: they stand for all that it does."""
    if isinstance(model, Sequential):
        return bool(model.layers)
    return isinstance(model, Model) and model.graph_of_calls is not None


@dataclass(frozen=True)
class _Shown:
    """What a drawing shows."""

    names: bool
    activations: bool
    shapes: bool
    dtypes: bool
    trainable: bool
    nested: bool


@dataclass
class _Part:
    """Where arrows begin and end at a layer: at a box, or at those within a frame.

    Args:
        targets: the box that takes each input; one for all where there is one.
        sources: the box that makes each output; one for all where there is one.
    """

    targets: list[str]
    sources: list[str]


def _at(boxes: list[str], position: int) -> str:
    return boxes[position] if len(boxes) > 1 else boxes[0]


#: The inputs and the outputs of the calls of a layer.
_Calls = list[tuple[Any, Any]]


def _calls(nodes: list[Node]) -> _Calls:
    return [(node.inputs, node.structure) for node in nodes]


def _calls_within(model: Any) -> Iterator[tuple[Any, _Calls]]:
    """Yield the layers of a model with their calls in it."""
    if model.graph_of_calls is not None:
        for layer in shown_layers(model):
            yield layer, _calls(model.graph_of_calls.nodes_of(layer))
        return
    inputs = model.inputs
    for layer in model.layers:
        outputs = model.output_of(layer)
        yield layer, [] if outputs is None else [(inputs, outputs)]
        inputs = outputs


@dataclass
class _Drawing:
    """Puts boxes, frames and arrows into graphs of pydot.

    Args:
        pydot: the module.
        shown: what is shown.
    """

    pydot: Any
    shown: _Shown
    _taken: set[str] = field(default_factory=set)

    def fill(
        self, canvas: Any, model: Any, layers: list[Any], path: str
    ) -> dict[int, _Part]:
        """Draw layers of a model and the arrows between them.

        Args:
            canvas: the graph of pydot to draw into.
            model: the model.
            layers: which of its layers.
            path: the model's name, with those of the models around it.

        Returns:
            What was drawn for each layer, by its `id`.
        """
        calls = {id(layer): found for layer, found in _calls_within(model)}
        parts = {
            id(layer): self._part(
                canvas, layer, f"{path}/{label_of(layer)}", calls[id(layer)]
            )
            for layer in layers
        }
        if model.graph_of_calls is not None:
            arrows = _arrows(model.graph_of_calls, layers, parts)
        else:
            arrows = (
                (parts[id(before)].sources[0], parts[id(after)].targets[0])
                for before, after in itertools.pairwise(layers)
            )
        for source, target in dict.fromkeys(arrows):
            canvas.add_edge(self.pydot.Edge(source, target, penwidth="2"))
        return parts

    def _part(self, canvas: Any, layer: Any, path: str, calls: _Calls) -> _Part:
        if not (self.shown.nested and _has_layers(layer)):
            name = self.box(canvas, layer, path, calls)
            return _Part([name], [name])
        frame = self.frame(path, layer.name)
        layers = shown_layers(layer)
        parts = self.fill(frame, layer, layers, path)
        canvas.add_subgraph(frame)
        graph = layer.graph_of_calls
        if graph is None:
            first, last = parts[id(layers[0])], parts[id(layers[-1])]
            return _Part(first.targets, last.sources)
        ends = [
            [box for tensor in tensors if (box := _source(tensor, parts))]
            for tensors in (graph.inputs, graph.outputs)
        ]
        return _Part(*ends)

    def frame(self, path: str, name: str | None = None) -> Any:
        """Return an empty frame."""
        frame = self.pydot.Cluster(self._unique(path), style="dashed", labeljust="l")
        frame.set("label", _quoted(name or path))
        frame.set("fontname", "Helvetica")
        return frame

    def box(self, canvas: Any, layer: Any, path: str, calls: _Calls) -> str:
        """Draw a layer and return the name of its box."""
        name = _quoted(self._unique(path))
        canvas.add_node(self.pydot.Node(name, label=_table(layer, calls, self.shown)))
        return name

    def _unique(self, path: str) -> str:
        """Return a name that nothing has: several modules may have the same."""
        name, count = path, 1
        while name in self._taken:
            count += 1
            name = f"{path} ({count})"
        self._taken.add(name)
        return name


def _quoted(text: str) -> str:
    escaped = text.replace("\\", "\\\\").replace('"', '\\"')
    return f'"{escaped}"'


# Arrows


def _arrows(
    graph: Any, layers: list[Any], parts: dict[int, _Part]
) -> Iterator[tuple[str, str]]:
    for layer in layers:
        for node in graph.nodes_of(layer):
            for position, tensor in _arguments(node):
                source = _source(tensor, parts)
                if source is not None:
                    yield source, _at(parts[id(layer)].targets, position)


def _source(tensor: KerasTensor, parts: dict[int, _Part]) -> str | None:
    """Return the box that makes a tensor, None when it is not drawn."""
    node: Any = tensor.history
    part = parts.get(id(node.op if isinstance(node.op, nn.Module) else node))
    if part is None:
        return None
    position = [id(made) for made in node.outputs].index(id(tensor))
    return _at(part.sources, position)


def _arguments(node: Node) -> list[tuple[int, KerasTensor]]:
    """Return the symbolic inputs of a call, with their places among a model's."""
    graph = getattr(node.op, "graph_of_calls", None)
    if graph is None:
        return [(0, tensor) for tensor in node.inputs]
    inputs = node.args[0] if node.args else next(iter(node.kwargs.values()))
    if isinstance(inputs, dict):
        expected = graph.input_structure
        by_name = isinstance(expected, dict)
        names = expected if by_name else [tensor.name for tensor in graph.inputs]
        inputs = [inputs[name] for name in names]
    leaves = enumerate(tree.flatten(inputs))
    return [(i, leaf) for i, leaf in leaves if isinstance(leaf, KerasTensor)]


# Boxes


def _table(layer: Any, calls: _Calls, shown: _Shown) -> str:
    """Return a box as the table that Graphviz understands, in its kind of HTML."""
    cells = [_cell(f"{what}: ", text) for what, text in _facts(layer, calls, shown)]
    trained = is_trained(layer) if shown.trainable else "-"
    if trained != "-":
        color, text = {
            "Y": ("forestgreen", "Trainable"),
            "N": ("firebrick", "Non-trainable"),
        }[trained]
        cells.append(_cell("", text, background=color, color="white"))
    span = max(1, len(cells))
    kind = type_of(layer)
    dark = {"span": span, "background": "black", "color": "white", "size": 16}
    rows = [
        _cell("", label_of(layer), f" ({kind})", **dark)
        if shown.names
        else _cell("", kind, **dark)
    ]
    activation = getattr(layer, "activation", None) if shown.activations else None
    if activation is not None:
        rows.append(_cell("Activation: ", _activation_name(activation), span=span))
    rows += ["".join(cells)] if cells else []
    body = "".join(f"<tr>{row}</tr>" for row in rows)
    style = 'border="0" cellborder="1" cellspacing="0" cellpadding="10"'
    return f"<<table {style}>{body}</table>>"


def _cell(
    before: str,
    strong: str,
    after: str = "",
    span: int = 1,
    background: str = "white",
    color: str = "black",
    size: int = 14,
) -> str:
    before, strong, after = map(html.escape, (before, strong, after))
    return (
        f'<td colspan="{span}" bgcolor="{background}">'
        f'<font point-size="{size}" color="{color}">'
        f"{before}<b>{strong}</b>{after}</font></td>"
    )


def _facts(layer: Any, calls: _Calls, shown: _Shown) -> Iterator[tuple[str, str]]:
    if shown.shapes:
        if not isinstance(layer, InputLayer):
            yield "Input shape", _each([shape_of(inputs) for inputs, _ in calls])
        yield "Output shape", _each([shape_of(outputs) for _, outputs in calls])
    if shown.dtypes:
        yield "Output dtype", _each([_dtypes(outputs) for _, outputs in calls])


def _each(texts: list[str]) -> str:
    """Join what differs between the calls of a layer."""
    return " or ".join(dict.fromkeys(texts)) or "?"


def _dtypes(structure: Any) -> str:
    names = [tensor.static_dtype for tensor in symbolic_leaves(structure)]
    return names[0] if len(names) == 1 else f"[{', '.join(names)}]"


def _activation_name(activation: ActivationLike) -> str:
    for attribute in ("name", "__name__"):
        name = getattr(activation, attribute, None)
        if isinstance(name, str):
            return name
    return type(activation).__name__
