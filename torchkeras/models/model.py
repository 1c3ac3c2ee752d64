"""`Model`: a layer that is trained, summed up and saved as a whole."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from typing import Any

from torch import nn

from torchkeras._core.errors import did_you_mean
from torchkeras._core.registry import deserialize_object, root, serialize_object
from torchkeras._core.symbolic import KerasTensor
from torchkeras._core.tracking import ContainedModules
from torchkeras.layers.core import InputLayer
from torchkeras.layers.layer import Layer, symbolic_tensors
from torchkeras.models.summary import print_summary
from torchkeras.saving import api as saving
from torchkeras.training.trainer import Trainer


@root.register()
class Model(Trainer):
    """The base of all models; subclass it and write `call` (or torch's `forward`).

    Args:
        name: the name.
        trainable: whether the weights are trained.
        dtype: a dtype or a dtype policy.

    Raises:
        NotImplementedError: for a functional model, ``Model(inputs, outputs)``.

    Example:
        >>> import torch
        >>> from torchkeras.layers import Dense
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

    inputs: list[KerasTensor] | None
    outputs: list[KerasTensor] | None

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        if args or {"inputs", "outputs"} & set(kwargs):
            raise NotImplementedError(
                f"{type(self).__name__}: models made of `inputs` and `outputs` are not "
                "supported yet. Use `Sequential`, or subclass `Model` and write `call`."
            )
        super().__init__(**kwargs)
        self.inputs = None
        self.outputs = None

    def build(self, input_shape: Any) -> None:
        """Make the weights for inputs of that shape, by a run on the `meta` device.

        Args:
            input_shape: the shape with the batch axis, or a structure of shapes.
        """
        if not self.built and type(self).build is Model.build:
            self._run_symbolically(input_shape)

    def _run_symbolically(self, input_shape: Any) -> None:
        self.built = True  # so that the run itself does not build again
        try:
            self.compute_output_spec(symbolic_tensors(input_shape, self.compute_dtype))
        finally:
            self.built = False

    # Layers

    @property
    def layers(self) -> list[Any]:
        """The layers of the model, without its inputs."""
        found = dict.fromkeys(_leaves_of(self))  # each once, as in Keras
        return [m for m in found if not isinstance(m, InputLayer)]

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
        """Return the symbolic output of a layer in its last symbolic call, or None."""
        call = getattr(layer, "_symbolic_call", None)
        return None if call is None else call[1]

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

    @classmethod
    def from_config(cls, config: dict[str, Any], custom_objects: Any = None) -> Any:
        """Make a model from what `get_config` returned."""
        values = {k: deserialize_object(v, custom_objects) for k, v in config.items()}
        return cls(**values)


def name_of(layer: nn.Module) -> str:
    """Return the name of a layer, or of the class of a plain torch module."""
    return layer.name if isinstance(layer, Layer) else type(layer).__name__


def _leaves_of(module: nn.Module) -> list[nn.Module]:
    """Return the layers directly inside a module, through containers of torch's."""
    found: list[nn.Module] = []
    for child in module._modules.values():
        if isinstance(child, (nn.ModuleList, nn.ModuleDict, ContainedModules)):
            found.extend(_leaves_of(child))
        elif child is not None:
            found.append(child)
    return found


def _one_shape(model: Model, tensors: list[KerasTensor] | None) -> Any:
    if not tensors:
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
