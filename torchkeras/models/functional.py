"""`Functional`: the model of a graph of calls between symbolic tensors."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from torch import Tensor, fx, nn

from torchkeras._core import dtypes, sharing, tree
from torchkeras._core.registry import root
from torchkeras._core.symbolic import Node, like, symbolic_leaves
from torchkeras.layers._masks import with_masks
from torchkeras.layers.core import Embedding, InputLayer
from torchkeras.layers.layer import Layer
from torchkeras.models import schema
from torchkeras.models.graph import (
    AddLoss,
    Attributes,
    Graph,
    function_of,
    holds_tensors,
)
from torchkeras.models.model import Model, is_made_of_graph, lookups_of


@root.register(module="keras.src.models.functional")
class Functional(Model):
    """The model of a graph, which ``Model(inputs, outputs)`` makes.

    Args:
        inputs: a symbolic tensor, or a list or dict of them.
        outputs: a symbolic tensor, or a list, a dict or any structure of them.
        name: the name.
        **kwargs: ``trainable`` and ``dtype``, as for any model.

    Raises:
        TypeError: when only one of inputs and outputs is given.
        ValueError: when the outputs need an input that is not among `inputs`.

    Example:
        >>> from torchkeras import Input, Model, layers
        >>> inputs = Input((4,))
        >>> model = Model(inputs, layers.Dense(2)(inputs) + 1)
        >>> type(model).__name__, model.output_shape
        ('Functional', (None, 2))
    """

    _graph: Graph
    _fx_graph: fx.Graph
    #: The key in `_modules` of each module that the graph calls, by its `id`.
    _keys: dict[int, str]
    #: What runs the graph, its source, and what it reads its modules from: None for
    #: the model itself.
    _function: Callable[..., Any]
    _source: str
    _root: Attributes | None

    def __init__(
        self,
        inputs: Any = None,
        outputs: Any = None,
        name: str | None = None,
        **kwargs: Any,
    ) -> None:
        if inputs is None or outputs is None:
            missing = "inputs" if inputs is None else "outputs"
            raise TypeError(
                f"{type(self).__name__}: a functional model needs `inputs` and "
                f"`outputs`, and `{missing}` is missing. Write Model(inputs, outputs)."
            )
        super().__init__(name=name, **kwargs)
        self._make_graph(Graph(inputs, outputs))

    def _make_graph(self, graph: Graph) -> None:
        keys = {id(module): key for key, module in self._modules.items()}
        layers = [each for each in graph.layers if not isinstance(each, InputLayer)]
        new = [layer for layer in layers if id(layer) not in keys]
        for layer, key in zip(new, self._keys_for(new, self._modules), strict=True):
            keys[id(layer)] = key
        keys = {id(layer): keys[id(layer)] for layer in layers}
        self._modules.update({keys[id(layer)]: layer for layer in layers})
        self.__dict__["_keys"] = keys
        self._adopt(graph)
        shapes = tree.map_structure(lambda t: t.shape, graph.input_structure)
        self._finish_build({"input_shape": shapes})

    def _adopt(self, graph: Graph) -> None:
        """Take the graph as this model's, and write the function that runs it."""
        keys = {id(self._modules[key]): key for key in self._keys.values()}
        self.__dict__.update(_graph=graph, _keys=keys)
        # Past the bookkeeping of containers: these hold nothing of the model's state.
        self.__dict__.update(inputs=graph.inputs, outputs=graph.outputs)
        self.__dict__["_takers"] = _takers(graph)
        self.graph = graph.compile(self, keys)

    # Calling

    def call(self, inputs: Any, mask: Any = None) -> Any:
        """Compute the outputs by the graph."""
        graph = self._graph
        if mask is not None:
            inputs = with_masks(inputs, mask)
        if type(inputs) is Tensor and inputs.ndim == graph.rank:
            return self._function(self._root or self, inputs)
        return self._function(self._root or self, *graph.arrange(self.name, inputs))

    forward = call

    def _choose_path(self) -> None:
        super()._choose_path()
        if len(self._graph.inputs) == 1:
            dtype = dtypes.DTYPES.get(self._graph.inputs[0].dtype)
            if dtype is not None and not dtype.is_floating_point:
                self._fast_path_dtypes = (dtype,)

    def compute_output_spec(self, *args: Any, **kwargs: Any) -> Any:
        """Return symbolic tensors of the outputs' shapes and dtypes."""
        graph = self._graph
        shapes = [getattr(leaf, "shape", None) for leaf in tree.flatten(args)]
        if kwargs or shapes != [t.shape for t in graph.inputs]:
            return super().compute_output_spec(*args, **kwargs)
        made = tree.map_structure(like, graph.output_structure)
        single = isinstance(made, (list, tuple)) and len(made) == 1
        return made[0] if single else made

    def get_build_config(self) -> None:
        """Return None: the graph knows the shapes."""

    def add_loss(self, loss: Any) -> None:
        """Add a term to the loss: made from the inputs, or within `call`.

        Args:
            loss: a scalar tensor, or several; symbolic ones are made from the inputs.

        Raises:
            ValueError: for symbolic tensors that are no scalars.

        Example:
            >>> from torchkeras import Input, Model, layers
            >>> inputs = Input((3,))
            >>> code = layers.Dense(2)(inputs)
            >>> model = Model(inputs, layers.Dense(3)(code))
            >>> model.add_loss(0.1 * (code**2).mean())
            >>> model.compile("adam", "mse")
        """
        terms = symbolic_leaves(loss)
        if not terms:
            super().add_loss(loss)
            return
        for term in terms:
            if term.shape != ():
                raise ValueError(
                    f"Model '{self.name}': `add_loss` takes scalars, got '{term.name}' "
                    f"of shape {term.shape}. Take the mean: `ops.mean(loss)`."
                )
        self._add_terms([AddLoss()(term) for term in terms])

    def _add_terms(self, terms: list[Any]) -> None:
        graph = self._graph
        parts = graph.input_structure, graph.output_structure
        self._make_graph(Graph(*parts, [*graph.terms, *terms]))
        self._forget_weights()

    # The graph of torch.fx

    @property
    def graph(self) -> fx.Graph:
        """The `torch.fx` graph; set it to run another one.

        ``fx.GraphModule(model, model.graph)`` is the model as torch's tools take it.
        """
        return self._fx_graph

    @graph.setter
    def graph(self, graph: fx.Graph) -> None:
        self.__dict__["_fx_graph"] = graph
        self.recompile()

    def recompile(self) -> None:
        """Write the function of the graph anew, after a change to `graph`."""
        function, source = function_of(self.graph, self)
        whole = holds_tensors(self.graph)
        self.__dict__.update(
            _function=function,
            _source=source,
            _root=None if whole else Attributes(self._modules),
        )

    @property
    def code(self) -> str:
        """The source of the function that the model runs."""
        return self._source

    def __getstate__(self) -> dict[str, Any]:
        # What stands here can be made again, and a function has no copy.
        made = (
            "_function", "_source", "_root", "_fx_graph", "_takers", "inputs", "outputs"
        )  # fmt: skip
        return {k: v for k, v in super().__getstate__().items() if k not in made}

    def __setstate__(self, state: dict[str, Any]) -> None:
        super().__setstate__(state)
        self._adopt(self._graph)

    # What is in it

    @property
    def layers(self) -> list[Layer]:
        """The layers in Keras's order, with inputs."""
        return self._graph.layers

    @property
    def operations(self) -> list[Any]:
        """What the model calls, in Keras's order: layers and functions."""
        return list(self._graph.operations)

    @property
    def graph_of_calls(self) -> Graph:
        """The calls that lead from the inputs to the outputs."""
        return self._graph

    def _nodes_of(self, layer: nn.Module) -> list[Node]:
        return self._graph.nodes_of(layer)

    @property
    def input(self) -> Any:
        """The symbolic inputs, in the structure that the model was made with."""
        return self._graph.input_structure

    @property
    def output(self) -> Any:
        """The symbolic outputs, in the structure that the model was made with."""
        return self._graph.output_structure

    @property
    def output_names(self) -> list[str]:
        """The names of the outputs: of the layers that make them."""
        return self._graph.output_names

    def _output_names(self) -> Any:
        graph = self._graph
        return tree.pack_sequence_as(graph.output_structure, graph.output_names)

    def lookups(self, x: Any) -> list[tuple[Embedding, Any]]:
        if not self._takers:
            return []
        graph = self._graph
        pairs = zip(graph.inputs, graph.arrange(self.name, x), strict=True)
        given = {id(tensor): value for tensor, value in pairs}
        found = []
        for op, taken in self._takers:
            values = tree.map_structure(lambda t: given[id(t)], taken)
            found.extend(lookups_of(op, values))
        return found

    @property
    def input_keys(self) -> list[str] | None:
        """The keys that a dict of inputs needs, where there is more than one input."""
        graph = self._graph
        if isinstance(graph.input_structure, dict):
            return sorted(graph.input_structure)
        return sorted(t.name for t in graph.inputs) if len(graph.inputs) > 1 else None

    @sharing.writes
    def get_config(self) -> dict[str, Any]:
        """Return what `from_config` makes a twin from: a graph, or the arguments."""
        if not is_made_of_graph(type(self)):
            return super().get_config()
        return {
            "name": self.name,
            "trainable": self.trainable,
            **schema.serialize_graph(self._graph),
        }


Model.functional_class = Functional


def _takers(graph: Graph) -> list[tuple[Any, Any]]:
    """Return what looks inputs up as they are, and which inputs each takes."""
    inputs = set(map(id, graph.inputs))

    def looks_up(node: Node) -> bool:
        taken = symbolic_leaves(node.args[:1])
        modules = node.op.modules() if isinstance(node.op, nn.Module) else ()
        return (
            bool(taken)
            and inputs.issuperset(map(id, taken))
            and any(isinstance(module, Embedding) for module in modules)
        )

    return [(node.op, node.args[0]) for node in graph.nodes if looks_up(node)]
