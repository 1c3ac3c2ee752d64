"""`Model`: a layer that is trained, summed up and saved as a whole."""

from __future__ import annotations

import inspect
import json
from collections.abc import Callable, Mapping
from typing import Any

from torch import Tensor, fx, nn

from torchkeras._core import dtypes, tree
from torchkeras._core.errors import did_you_mean
from torchkeras._core.naming import auto_name, to_snake_case
from torchkeras._core.registry import deserialize_object, root, serialize_object
from torchkeras._core.symbolic import (
    KerasTensor,
    like,
    recorded_outputs,
    symbolic_leaves,
)
from torchkeras._core.tracking import ContainedModules
from torchkeras.layers.core import InputLayer
from torchkeras.layers.layer import Layer, as_shape, shapes_of, symbolic_tensors
from torchkeras.losses import Loss
from torchkeras.models import schema
from torchkeras.models.graph import (
    AddLoss,
    Attributes,
    Graph,
    function_of,
    holds_tensors,
    identifier,
)
from torchkeras.models.summary import print_summary
from torchkeras.saving import api as saving
from torchkeras.training.trainer import Trainer


@root.register("Functional")
class Model(Trainer):
    """The base of all models, and the model of a graph of layers.

    Either call layers on an `Input` and pass inputs and outputs, or subclass and write
    `call` (or torch's `forward`). A subclass may also pass inputs and outputs to
    ``super().__init__``.

    Args:
        inputs: a symbolic tensor, or a list or dict of them.
        outputs: a symbolic tensor, or a list, a dict or any structure of them.
        name: the name.
        trainable: whether the weights are trained.
        dtype: a dtype or a dtype policy.

    Raises:
        ValueError: when the outputs need an input that is not among `inputs`.

    Example:
        >>> import torch
        >>> from torchkeras.layers import Dense, Input
        >>> inputs = Input((4,))
        >>> hidden = Dense(8, activation="relu")(inputs)
        >>> model = Model(inputs, Dense(1)(torch.cat([inputs, hidden], dim=-1)))
        >>> model.output_shape, model.count_params()
        ((None, 1), 53)
        >>> class Twice(Model):
        ...     def __init__(self):
        ...         super().__init__()
        ...         self.dense = Dense(4)
        ...
        ...     def call(self, inputs):
        ...         return self.dense(self.dense(inputs))
        >>> Twice()(torch.ones(2, 4)).shape
        torch.Size([2, 4])
    """

    #: Lists of symbolic tensors, or None; a subclass may call its own so.
    inputs: Any
    outputs: Any

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        functional = _functional_arguments(type(self).__name__, args, kwargs)
        if functional is not None and type(self) is Model and not kwargs.get("name"):
            kwargs["name"] = auto_name("functional")
        super().__init__(**kwargs)
        self.inputs = None
        self.outputs = None
        self.__dict__.update(_graph=None, _inner_outputs={})
        if functional is not None:
            self._make_graph(Graph(*functional))

    def build(self, input_shape: Any) -> None:
        """Make the weights for inputs of that shape, by a run on the `meta` device.

        Args:
            input_shape: the shape with the batch axis, or a structure of shapes.
        """
        if not self.built and type(self).build is Model.build:
            inputs = symbolic_tensors(input_shape, self.compute_dtype)
            self._run_symbolically((inputs,), {})

    def _build_from(self, args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
        given = inspect.signature(self.call).bind(*args, **kwargs).arguments
        shapes = {f"{k}_shape": shapes_of(v) for k, v in given.items() if _has_shape(v)}
        if type(self).build is not Model.build or len(shapes) < 2:
            super()._build_from(args, kwargs)
            return
        self._run_symbolically(*tree.map_structure(_symbolic, (args, kwargs)))
        self._finish_build(shapes)

    def build_from_config(self, config: dict[str, Any]) -> None:
        """Build from what `get_build_config` returned."""
        if self.built or type(self).build is not Model.build or len(config) < 2:
            super().build_from_config(config)
            return
        shapes = {key: as_shape(value) for key, value in config.items()}
        inputs = {
            key.removesuffix("_shape"): symbolic_tensors(shape, self.compute_dtype)
            for key, shape in shapes.items()
        }
        self._run_symbolically((), inputs)
        self._finish_build(shapes)

    def _run_symbolically(self, args: Any, kwargs: Any) -> None:
        self.built = True  # so that the run itself does not build again
        try:
            with recorded_outputs() as outputs:
                self.compute_output_spec(*args, **kwargs)
        finally:
            self.built = False
        self.__dict__["_inner_outputs"] = outputs

    # The graph of a functional model

    def _make_graph(self, graph: Graph) -> None:
        known = {id(module): key for key, module in self._modules.items()}
        keys: dict[int, str] = {}
        for layer in graph.layers:
            if not isinstance(layer, InputLayer):
                key = known.get(id(layer)) or self._key_for(layer)
                keys[id(layer)] = key
                self._modules[key] = layer
        self.__dict__["_keys"] = keys
        self._adopt(graph)
        shapes = tree.map_structure(lambda t: t.shape, graph.input_structure)
        self._finish_build({"input_shape": shapes})

    def _adopt(self, graph: Graph) -> None:
        """Take the graph as this model's, and write the function that runs it."""
        keys = {id(self._modules[key]): key for key in self._keys.values()}
        self.__dict__.update(_graph=graph, _keys=keys)
        self.inputs, self.outputs = graph.inputs, graph.outputs
        self.graph = graph.compile(self, keys)

    def add_loss(self, loss: Any) -> None:
        """Add a term to the loss: within `call`, or to a functional model.

        Args:
            loss: a scalar tensor, or several. Of a functional model, symbolic ones made
                from its inputs.

        Raises:
            ValueError: for symbolic tensors that are no scalars, or given to a model
                that is not functional.

        Example:
            >>> from torchkeras import Input, layers
            >>> inputs = Input((3,))
            >>> code = layers.Dense(2)(inputs)
            >>> model = Model(inputs, layers.Dense(3)(code))
            >>> model.add_loss(0.1 * (code**2).mean())
            >>> model.compile("adam", "mse")
        """
        terms = symbolic_leaves(loss)
        if not terms or self._graph is None:
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
        self.__dict__["_weights_ready"] = None  # of layers that are new, perhaps

    def _key_for(self, layer: nn.Module) -> str:
        """Return the key in `state_dict`: the layer's name, or its torch class's."""
        name = layer.name if isinstance(layer, Layer) else type(layer).__name__
        key = name if isinstance(layer, Layer) else to_snake_case(name)
        key = base = identifier(key)
        count = 0
        while key in self._modules or hasattr(type(self), key) or key in self.__dict__:
            count += 1
            key = f"{base}_{count}"
        return key

    @property
    def graph(self) -> fx.Graph:
        """The `torch.fx` graph of a functional model; set it to run another one.

        ``fx.GraphModule(model, model.graph)`` is the model as torch's tools take it.
        """
        if self._graph is None:
            raise AttributeError(
                f"The model '{self.name}' has no graph: it was not made of `inputs` "
                "and `outputs`."
            )
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
        """The source of the function that a functional model runs."""
        _ = self.graph
        return self._source

    def call(self, inputs: Any, mask: Any = None) -> Any:
        """Compute the outputs: of a functional model by its graph."""
        graph = self._graph
        if graph is None:
            raise NotImplementedError(
                f"Model '{self.name}' ({type(self).__name__}) does not define `call`. "
                "Write `call(self, inputs)` (or `forward`), or pass `inputs` and "
                "`outputs` to `super().__init__`."
            )
        if type(inputs) is Tensor and inputs.ndim == graph.rank:
            return self._function(self._root or self, inputs)
        if mask is not None:
            for tensor, own in zip(tree.flatten(inputs), tree.flatten(mask)):  # noqa: B905
                if own is not None:
                    tensor._keras_mask = own
        return self._function(self._root or self, *graph.arrange(self.name, inputs))

    forward = call

    def _choose_path(self) -> None:
        super()._choose_path()
        if self._graph is not None and len(self._graph.inputs) == 1:
            self._plain_dtypes = (dtypes.DTYPES[self._graph.inputs[0].dtype],)

    def _put_mask(self, args: tuple[Any, ...], outputs: Any, mask: Any) -> None:
        # The layers inside have put theirs.
        if type(self).compute_mask is not Layer.compute_mask:
            super()._put_mask(args, outputs, mask)

    def compute_output_spec(self, *args: Any, **kwargs: Any) -> Any:
        """Return symbolic tensors of the outputs' shapes and dtypes."""
        graph = self._graph
        shapes = [getattr(leaf, "shape", None) for leaf in tree.flatten(args)]
        if graph is None or kwargs or shapes != [t.shape for t in graph.inputs]:
            return super().compute_output_spec(*args, **kwargs)
        made = tree.map_structure(like, graph.output_structure)
        single = isinstance(made, (list, tuple)) and len(made) == 1
        return made[0] if single else made

    def get_build_config(self) -> dict[str, Any] | None:
        """Return the shapes the model was built with; a graph knows its own."""
        return None if self._graph is not None else super().get_build_config()

    def _output_names(self) -> list[str] | None:
        if self._graph is None:
            return None
        structure = self._graph.output_structure
        by_key = isinstance(structure, dict) and not any(
            tree.is_nested(part) for part in structure.values()
        )
        return list(structure) if by_key else self._graph.output_names

    @property
    def output_names(self) -> list[str]:
        """The names of the outputs: of the layers that make them."""
        return [] if self._graph is None else self._graph.output_names

    @property
    def first_layer(self) -> Any:
        """The layer that gets the inputs as they are; None where it is not known."""
        graph = self._graph
        if graph is None or len(graph.inputs) != 1:
            return None
        only = graph.inputs[0]
        takers = [n for n in graph.nodes if any(t is only for t in n.inputs)]
        return takers[0].op if len(takers) == 1 else None

    @property
    def input_keys(self) -> list[str] | None:
        """The keys that a dict of inputs needs, where there is more than one input."""
        graph = self._graph
        if graph is None:
            return super().input_keys
        if isinstance(graph.input_structure, dict):
            return sorted(graph.input_structure)
        return sorted(t.name for t in graph.inputs) if len(graph.inputs) > 1 else None

    @property
    def input(self) -> Any:
        """The symbolic inputs, in the structure that the model was made with."""
        if self._graph is not None:
            return self._graph.input_structure
        made = symbolic_leaves(self.inputs)
        return made[0] if made else super().input

    @property
    def output(self) -> Any:
        """The symbolic outputs, in the structure that the model was made with."""
        if self._graph is not None:
            return self._graph.output_structure
        made = symbolic_leaves(self.outputs)
        return made[0] if made else super().output

    @property
    def graph_of_calls(self) -> Graph | None:
        """The calls of a functional model, None of any other."""
        return self._graph

    @property
    def operations(self) -> list[Any]:
        """What a functional model calls, in Keras's order: layers and functions."""
        return [] if self._graph is None else list(self._graph.operations)

    def __getstate__(self) -> dict[str, Any]:
        # What stands here can be made again, and a function has no copy.
        state = super().__getstate__()
        if self._graph is not None:
            made = ("_function", "_source", "_root", "_fx_graph", "inputs", "outputs")
            state = {k: v for k, v in state.items() if k not in made}
        return state

    def __setstate__(self, state: dict[str, Any]) -> None:
        super().__setstate__(state)
        if self._graph is not None:
            self._adopt(self._graph)

    # Layers

    @property
    def layers(self) -> list[Any]:
        """The layers; of a functional model in Keras's order, with inputs."""
        if self._graph is not None:
            return self._graph.layers
        found = dict.fromkeys(_leaves_of(self))  # each once, as in Keras
        return [m for m in found if not isinstance(m, InputLayer) and _is_layer(m)]

    def get_layer(self, name: str | None = None, index: int | None = None) -> Any:
        """Return a layer by name or by position.

        Args:
            name: the layer's name.
            index: the layer's position in `layers`.

        Raises:
            ValueError: when there is no such layer.
        """
        if (name is None) == (index is None):
            raise ValueError(
                f"get_layer: give either `name` or `index`, got name={name!r} and "
                f"index={index!r}."
            )
        if index is not None:
            if not -len(self.layers) <= index < len(self.layers):
                raise ValueError(
                    f"get_layer: the model '{self.name}' has {len(self.layers)} "
                    f"layers, got index={index}."
                )
            return self.layers[index]
        names = [name_of(layer) for layer in self.layers]
        if name in names:
            return self.layers[names.index(name)]
        raise ValueError(
            f"get_layer: the model '{self.name}' has no layer {name!r}."
            f"{did_you_mean(name, names)} It has: {names}."
        )

    def output_of(self, layer: nn.Module) -> Any:
        """Return the symbolic output of a layer within this model, None if unknown."""
        if self._graph is not None:
            nodes = self._graph.nodes_of(layer)
        else:
            nodes = getattr(layer, "_nodes", [])
        if nodes:
            return nodes[0].structure
        made = symbolic_leaves(getattr(layer, "outputs", None))
        return self._inner_outputs.get(layer, made or None)

    def reset_states(self) -> None:
        """Let stateful layers begin the next batch with states of zeros."""
        for layer in self.modules():
            if isinstance(layer, Layer) and getattr(layer, "stateful", False):
                layer.reset_state()

    # What it is

    @property
    def input_shape(self) -> Any:
        """The shape of the input, with None for unknown sizes."""
        return _one_shape(self, self.inputs)

    @property
    def output_shape(self) -> Any:
        """The shape of the output, with None for unknown sizes."""
        return _one_shape(self, self.outputs)

    def summary(
        self,
        line_length: int | None = None,
        positions: list[float] | None = None,
        print_fn: Callable[[str], Any] | None = None,
        expand_nested: bool = False,
        show_trainable: bool = False,
        layer_range: tuple[str, str] | None = None,
    ) -> None:
        """Print the layers, their output shapes and their numbers of weights.

        Args:
            line_length: the width in characters.
            positions: where columns end, as shares of the width or in characters.
            print_fn: takes the text; `print` by default.
            expand_nested: show the layers of models inside this one.
            show_trainable: show which layers are trained.
            layer_range: the names (or patterns) of the first and the last layer.
        """
        print_summary(
            self,
            line_length=line_length,
            positions=positions,
            print_fn=print_fn,
            expand_nested=expand_nested,
            show_trainable=show_trainable,
            layer_range=layer_range,
        )

    def to_json(self, **kwargs: Any) -> str:
        """Return the architecture as JSON, in Keras's schema.

        Args:
            **kwargs: passed to `json.dumps`.
        """
        return json.dumps(serialize_object(self), **kwargs)

    # Files

    def save(
        self,
        filepath: Any,
        overwrite: bool = True,
        zipped: bool | None = None,
        **kwargs: Any,
    ) -> None:
        """Save the model: layers, weights, `compile`'s arguments, optimizer.

        Args:
            filepath: ends in ``.safetensors``, ``.keras`` or ``.h5``.
            overwrite: replace a file that is there.
            zipped: accepted for Keras's signature; a ``.keras`` file is always a zip.
            **kwargs: ``include_optimizer=False`` leaves the optimizer out.
        """
        saving.save_model(self, filepath, overwrite=overwrite, zipped=zipped, **kwargs)

    def save_weights(self, filepath: Any, overwrite: bool = True) -> None:
        """Save the weights.

        Args:
            filepath: ends in ``.weights.h5`` or ``.safetensors``.
            overwrite: replace a file that is there.
        """
        saving.save_weights(self, filepath, overwrite=overwrite)

    def load_weights(
        self, filepath: Any, skip_mismatch: bool = False, **kwargs: Any
    ) -> None:
        """Load weights that `save_weights` or Keras wrote; all of them or none.

        Args:
            filepath: the file.
            skip_mismatch: load what fits, and warn about the rest.
            **kwargs: ``by_name=True`` matches layers of an ``.h5`` file by name.
        """
        saving.load_weights(self, filepath, skip_mismatch=skip_mismatch, **kwargs)

    @property
    def keras_identity(self) -> dict[str, Any]:
        """What Keras calls a model that is a graph and no class of its own."""
        if type(self) is not Model or self._graph is None:
            return {}
        name = "Functional"
        module = "keras.src.models.functional"
        return {"module": module, "class_name": name, "registered_name": name}

    def get_config(self) -> dict[str, Any]:
        """Return what `from_config` makes a twin from: a graph, or the arguments."""
        if self._graph is None or not _is_made_of_graph(type(self)):
            return super().get_config()
        return {
            "name": self.name,
            "trainable": self.trainable,
            **schema.serialize_graph(self._graph),
        }

    @classmethod
    def from_config(cls, config: dict[str, Any], custom_objects: Any = None) -> Any:
        """Make a model from what `get_config` returned."""
        if schema.is_graph(config) and _is_made_of_graph(cls):
            inputs, outputs, terms = schema.deserialize_graph(config, custom_objects)
            trainable = config.get("trainable")
            model = cls(inputs=inputs, outputs=outputs, name=config.get("name"))
            if terms:
                model._add_terms(terms)
            if trainable is False:
                model.trainable = False
            return model
        values = {k: deserialize_object(v, custom_objects) for k, v in config.items()}
        return cls(**values)


def _functional_arguments(
    owner: str, args: tuple[Any, ...], kwargs: dict[str, Any]
) -> tuple[Any, Any] | None:
    """Take inputs and outputs out of a constructor's arguments; None without them.

    Raises:
        TypeError: when only one of them is given, or too many arguments.
    """
    for name, value in zip(("inputs", "outputs", "name"), args, strict=False):
        if name in kwargs:
            raise TypeError(f"{owner}: `{name}` is given twice.")
        kwargs[name] = value
    if len(args) > 3:
        raise TypeError(
            f"{owner}: takes `inputs`, `outputs` and `name`, got {len(args)} arguments."
        )
    inputs, outputs = kwargs.pop("inputs", None), kwargs.pop("outputs", None)
    if inputs is None and outputs is None:
        return None
    if inputs is None or outputs is None:
        missing = "inputs" if inputs is None else "outputs"
        raise TypeError(
            f"{owner}: a functional model needs `inputs` and `outputs`, and "
            f"`{missing}` is missing. Write Model(inputs, outputs)."
        )
    return inputs, outputs


def _has_shape(argument: Any) -> bool:
    return any(hasattr(leaf, "shape") for leaf in tree.flatten(argument))


def _symbolic(leaf: Any) -> Any:
    """Return a symbolic tensor like a tensor, all else as it is."""
    if not isinstance(leaf, Tensor):
        return leaf
    return KerasTensor(shapes_of(leaf), str(leaf.dtype).removeprefix("torch."))


def _is_made_of_graph(cls: type[Model]) -> bool:
    """Say whether a class is made of inputs and outputs, as `Model` itself is."""
    parameters = list(inspect.signature(cls.__init__).parameters.values())[1:]
    kinds = {p.kind for p in parameters}
    names = [p.name for p in parameters]
    variadic = {inspect.Parameter.VAR_POSITIONAL, inspect.Parameter.VAR_KEYWORD}
    return kinds == variadic or names[:2] == ["inputs", "outputs"]


def name_of(layer: nn.Module) -> str:
    """Return the name of a layer, or of the class of a plain torch module."""
    return layer.name if isinstance(layer, Layer) else type(layer).__name__


def _is_layer(module: nn.Module) -> bool:
    """Say whether a module is no metric and no loss, which are modules as well."""
    return not isinstance(module, Loss) and not hasattr(module, "update_state")


def _leaves_of(module: nn.Module) -> list[nn.Module]:
    """Return the layers directly inside a module, through containers of torch's."""
    found: list[nn.Module] = []
    for child in module._modules.values():
        if isinstance(child, (nn.ModuleList, nn.ModuleDict, ContainedModules)):
            found.extend(_leaves_of(child))
        elif child is not None:
            found.append(child)
    return found


def _one_shape(model: Model, tensors: Any) -> Any:
    if not (tensors := symbolic_leaves(tensors)):
        raise AttributeError(
            f"The model '{model.name}' has no defined shapes yet. Call it on data, or "
            "`build(input_shape)` first."
        )
    shapes = [tensor.shape for tensor in tensors]
    return shapes[0] if len(shapes) == 1 else shapes


def model_from_json(
    json_string: str, custom_objects: Mapping[str, Any] | None = None
) -> Model:
    """Make a model, with new weights, from what `Model.to_json` or Keras's returned.

    Args:
        json_string: the architecture.
        custom_objects: names of your own classes and functions.

    Example:
        >>> from torchkeras.layers import Dense
        >>> from torchkeras.models import Sequential
        >>> model = Sequential([Dense(3, input_shape=(4,))])
        >>> model_from_json(model.to_json()).output_shape
        (None, 3)
    """
    return deserialize_object(saving.parse_json(json_string), custom_objects)
