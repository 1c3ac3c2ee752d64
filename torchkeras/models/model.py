"""`Model`: a layer that is trained, summed up and saved as a whole."""

from __future__ import annotations

import inspect
import json
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any, ClassVar, Self

from torch import Tensor, nn

from torchkeras._core import gate, sharing, tree
from torchkeras._core.errors import did_you_mean
from torchkeras._core.naming import to_snake_case
from torchkeras._core.registry import deserialize_object, root, serialize_object
from torchkeras._core.symbolic import (
    KerasTensor,
    Node,
    recorded_outputs,
    symbolic_leaves,
)
from torchkeras._core.tracking import ContainedModules
from torchkeras.layers.core import Embedding, InputLayer
from torchkeras.layers.layer import Layer
from torchkeras.layers.shapes import as_shape, shapes_of, symbolic_tensors
from torchkeras.losses import Loss
from torchkeras.models import schema
from torchkeras.models.graph import (
    Graph,
    identifier,
)
from torchkeras.models.summary import print_summary
from torchkeras.saving import api as saving
from torchkeras.training.trainer import Trainer


@root.register()
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

    #: The model of a graph, which `Model(inputs, outputs)` makes: a class that stands
    #: above this one and enters itself here.
    functional_class: ClassVar[type[Model]]
    #: What the layers of a subclassed model gave when it was built.
    _inner_outputs: dict[nn.Module, Any]

    def __new__(cls, *args: Any, **kwargs: Any) -> Self:
        """Choose the model of a graph where inputs and outputs are given."""
        made_of_graph = cls is Model and (args or {"inputs", "outputs"} & set(kwargs))
        chosen = cls.functional_class if made_of_graph else cls
        return super().__new__(chosen, *args, **kwargs)  # type: ignore[return-value]

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        if args or {"inputs", "outputs"} & set(kwargs):
            # As in Keras, a subclass that passes a graph on is a functional model.
            functional = Model.functional_class
            _replace_base(type(self), Model, functional)
            functional.__init__(self, *args, **kwargs)
            return
        super().__init__(**kwargs)
        self.inputs = None
        self.outputs = None
        self.__dict__["_inner_outputs"] = {}

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

    @gate.takes_whole_config
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

    def call(self, *args: Any, **kwargs: Any) -> Any:
        """Compute the outputs; a subclass writes it."""
        raise NotImplementedError(
            f"Model '{self.name}' ({type(self).__name__}) does not define `call`. "
            "Write `call(self, inputs)` (or `forward`), or pass `inputs` and "
            "`outputs` to `super().__init__`."
        )

    forward = call

    def _put_mask(self, args: tuple[Any, ...], outputs: Any, mask: Any) -> None:
        # The layers inside have put theirs.
        if type(self).compute_mask is not Layer.compute_mask:
            super()._put_mask(args, outputs, mask)

    @property
    def output_names(self) -> list[str]:
        """The names of the outputs, where they are known."""
        return []

    @property
    def input(self) -> Any:
        """The symbolic inputs of the first call on symbolic tensors."""
        made = symbolic_leaves(self.inputs)
        return made[0] if made else super().input

    @property
    def output(self) -> Any:
        """The symbolic outputs of the first call on symbolic tensors."""
        made = symbolic_leaves(self.outputs)
        return made[0] if made else super().output

    @property
    def graph_of_calls(self) -> Graph | None:
        """The calls of a functional model, None of any other."""
        return None

    @property
    def operations(self) -> list[Any]:
        """What a functional model calls, in Keras's order: layers and functions."""
        return []

    def _keys_for(
        self,
        layers: Sequence[nn.Module],
        taken: Iterable[str],
        counted: Counter[str] | None = None,
    ) -> list[str]:
        """Return keys in `state_dict` that depend on nothing outside this model.

        A name that was given is the key; other layers are called by their class and
        counted here, in their order.

        Args:
            layers: the layers.
            taken: keys that are not free.
            counted: how many layers are counted already, by how their keys begin.
        """
        used, counts = set(taken), Counter[str](counted or ())
        keys: dict[int, str] = {}
        order = sorted(range(len(layers)), key=lambda n: not name_is_given(layers[n]))
        for position in order:
            base = key_base(layers[position])
            key = f"{base}_{counts[base]}" if counts[base] else base
            while key in used or hasattr(type(self), key) or key in self.__dict__:
                counts[base] += 1
                key = f"{base}_{counts[base]}"
            used.add(key)
            keys[position] = key
        return [keys[position] for position in range(len(layers))]

    # Layers

    @property
    def layers(self) -> list[Layer]:
        """The layers directly inside, each once."""
        found = dict.fromkeys(_leaves_of(self))  # each once, as in Keras
        return [
            m  # type: ignore[misc]
            for m in found
            if not isinstance(m, InputLayer) and _is_layer(m)
        ]

    def get_layer(self, name: str | None = None, index: int | None = None) -> Layer:
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
        if nodes := self._nodes_of(layer):
            return nodes[0].structure
        made = symbolic_leaves(getattr(layer, "outputs", None))
        return self._inner_outputs.get(layer, made or None)

    def _nodes_of(self, layer: nn.Module) -> list[Node]:
        """Return the calls of a layer that count for this model."""
        return getattr(layer, "_nodes", [])

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
            **kwargs: ``by_name=True`` matches layers of an ``.h5`` file by name,
                ``check_finite=True`` refuses NaN and infinite values.
        """
        saving.load_weights(self, filepath, skip_mismatch=skip_mismatch, **kwargs)

    @classmethod
    @gate.takes_config
    @sharing.reading()
    def from_config(
        cls, config: dict[str, Any], custom_objects: Mapping[str, Any] | None = None
    ) -> Self:
        """Make a model from what `get_config` returned."""
        if schema.is_graph(config) and is_made_of_graph(cls):
            with gate.explaining(f"the config of a {cls.__name__}"):
                return cls._from_graph(config, custom_objects)
        values = {k: deserialize_object(v, custom_objects) for k, v in config.items()}
        return cls._from_arguments(values)

    @classmethod
    def _from_graph(cls, config: dict[str, Any], custom_objects: Any) -> Self:
        inputs, outputs, terms = schema.deserialize_graph(config, custom_objects)
        model = cls(inputs=inputs, outputs=outputs, name=config.get("name"))
        if terms:
            model._add_terms(terms)  # type: ignore[attr-defined]
        if config.get("trainable") is False:
            model.trainable = False
        return model._with_name_of_config()


def lookups_of(taker: Any, x: Any) -> list[tuple[Embedding, Any]]:
    """Return the tables that a layer looks its inputs up in, as `lookups` does."""
    if isinstance(taker, Embedding):
        return [(taker, x)]
    return taker.lookups(x) if isinstance(taker, Trainer) else []


def _replace_base(cls: type[Any], old: type, new: type) -> None:
    """Let a class, and the classes between, inherit from `new` in place of `old`."""
    if issubclass(cls, new) or not issubclass(cls, old):
        return
    for base in cls.__bases__:
        _replace_base(base, old, new)
    if old in cls.__bases__:
        cls.__bases__ = tuple(new if base is old else base for base in cls.__bases__)
        _read_again(cls)


def _read_again(cls: type[Layer]) -> None:
    cls.read_call()
    for subclass in cls.__subclasses__():
        _read_again(subclass)


def _has_shape(argument: Any) -> bool:
    return any(hasattr(leaf, "shape") for leaf in tree.flatten(argument))


def _symbolic(leaf: Any) -> Any:
    """Return a symbolic tensor like a tensor, all else as it is."""
    if not isinstance(leaf, Tensor):
        return leaf
    return KerasTensor(shapes_of(leaf), str(leaf.dtype).removeprefix("torch."))


def is_made_of_graph(cls: type[Model]) -> bool:
    """Say whether a class is made of inputs and outputs, as `Model` itself is."""
    parameters = list(inspect.signature(cls.__init__).parameters.values())[1:]
    kinds = {p.kind for p in parameters}
    names = [p.name for p in parameters]
    variadic = {inspect.Parameter.VAR_POSITIONAL, inspect.Parameter.VAR_KEYWORD}
    return kinds == variadic or names[:2] == ["inputs", "outputs"]


def name_of(layer: nn.Module) -> str:
    """Return the name of a layer, or of the class of a plain torch module."""
    return layer.name if isinstance(layer, Layer) else type(layer).__name__


def name_is_given(layer: nn.Module) -> bool:
    """Say whether somebody gave a layer its name."""
    return isinstance(layer, Layer) and layer._name_is_given


def key_base(layer: nn.Module) -> str:
    """Return how the key of a layer in `state_dict` begins: all but its number."""
    given = name_is_given(layer)
    return identifier(name_of(layer) if given else to_snake_case(type(layer).__name__))


def _is_layer(module: nn.Module) -> bool:
    """Say whether a module is no metric and no loss, which are modules as well."""
    is_metric = hasattr(module, "update_state") and hasattr(module, "result")
    return not isinstance(module, Loss) and not is_metric


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
    config = saving.parse_json(json_string)
    with gate.passing(None):
        return deserialize_object(config, custom_objects)
