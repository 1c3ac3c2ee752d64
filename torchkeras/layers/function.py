"""`Lambda`: a function as a layer."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping
from typing import Any

import torch

from torchkeras._core import gate, tree
from torchkeras._core.errors import invalid_argument
from torchkeras._core.registry import deserialize_object, serialize_object
from torchkeras._core.typing import Mask
from torchkeras.layers.layer import Layer, layers
from torchkeras.layers.shapes import symbolic_tensors

#: What Keras 1 and 2 wrote beside a function's name.
_LEGACY = {
    f"{argument}{suffix}"
    for argument in ("function", "output_shape", "mask")
    for suffix in ("_type", "_module")
} | {"module"}


@layers.register()
class Lambda(Layer):
    """Applies a function of your own.

    A file holds the name of the function, never its code: to save the layer take a
    built-in function, or one registered by `register_keras_serializable`. A Python
    ``lambda`` can be used, and cannot be saved. For anything with weights, write a
    `Layer`.

    Args:
        function: the function. It is given the inputs and `arguments`, and ``mask`` or
            ``training`` if it has parameters of these names.
        output_shape: the shape of the outputs without the batch axis, or a function
            that returns it from the shape of the inputs, both with the batch axis. By
            default symbolic shapes are inferred by running `function`.
        mask: the mask of the outputs, or a function of the inputs and their mask that
            returns it. By default the mask of the inputs ends here.
        arguments: more keyword arguments of `function`.

    Shape:
        Whatever `function` takes and returns.

    Raises:
        TypeError: when `function` is not callable, or `arguments` no dictionary.

    Example:
        >>> Lambda(torch.square)(torch.tensor([1.0, 3.0]))
        tensor([1., 9.])
        >>> Lambda(lambda x, factor: factor * x, arguments={"factor": 2})(torch.ones(2))
        tensor([2., 2.])
    """

    _makes_mask = False

    function: Callable[..., Any]
    arguments: dict[str, Any]
    mask: Any
    _output_shape: Any
    #: Which of `mask` and `training` the function takes.
    _takes: set[str]

    def __init__(
        self,
        function: Callable[..., Any],
        output_shape: Any = None,
        mask: Any = None,
        arguments: Mapping[str, Any] | None = None,
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        if not callable(function):
            expected = "a function"
            raise TypeError(invalid_argument("Lambda", "function", expected, function))
        if not isinstance(arguments, (Mapping, type(None))):
            expected = "a dictionary of keyword arguments"
            message = invalid_argument("Lambda", "arguments", expected, arguments)
            raise TypeError(message)
        self.function = function
        self.arguments = dict(arguments or {})
        self.mask = mask
        self._output_shape = output_shape
        self.supports_masking = mask is not None
        self.__dict__["_makes_mask"] = mask is not None
        self._takes = {"mask", "training"} & _parameters_of(function)

    def call(self, inputs: Any, mask: Mask = None, training: bool | None = None) -> Any:
        options = dict(self.arguments)
        if "mask" in self._takes:
            options["mask"] = mask
        if "training" in self._takes:
            options["training"] = training
        return self.function(inputs, **options)

    def compute_mask(self, inputs: Any, mask: Mask = None) -> Any:  # pyright: ignore[reportIncompatibleMethodOverride]
        if callable(self.mask) and not isinstance(self.mask, torch.Tensor):
            return self.mask(inputs, mask)
        return self.mask

    def compute_output_spec(self, *args: Any, **kwargs: Any) -> Any:
        if self._output_shape is None:
            return super().compute_output_spec(*args, **kwargs)
        shapes = tree.map_structure(lambda x: x.shape, args[0])
        if callable(self._output_shape):
            shape = self._output_shape(shapes)
        else:
            first = tree.flatten(args[0])[0]
            shape = _with_batch(self._output_shape, first.shape[0])
        return symbolic_tensors(shape, self.compute_dtype)

    def get_config(self) -> dict[str, Any]:
        config = super().get_config()
        for name in ("function", "output_shape", "mask"):
            if isinstance(config[name], str):  # a built-in function, as Keras has it
                config[name] = {
                    "module": "builtins",
                    "class_name": "function",
                    "config": config[name],
                    "registered_name": "function",
                }
            elif config[name] is None:
                del config[name]
        return {**config, "arguments": serialize_object(self.arguments)}

    @classmethod
    @gate.takes_config
    def from_config(cls, config: dict[str, Any]) -> Any:
        """Make a layer from what `get_config` returned, or Keras 2's `get_config`."""
        values = {k: v for k, v in config.items() if k not in _LEGACY}
        for name in ("function", "output_shape", "mask"):
            if isinstance(values.get(name), str):
                reference = {"class_name": "function", "config": values[name]}
                values[name] = deserialize_object(reference)
        return super().from_config(values)


def _parameters_of(function: Callable[..., Any]) -> set[str]:
    try:
        return set(inspect.signature(function).parameters)
    except ValueError:  # a function written in C
        return set()


def _with_batch(shape: Any, batch: int | None) -> Any:
    """Put the batch axis before a shape, or before each in a structure of shapes."""
    if isinstance(shape, int):
        return (batch, shape)
    if isinstance(shape, Mapping):
        return {key: _with_batch(inner, batch) for key, inner in shape.items()}
    if all(size is None or isinstance(size, int) for size in shape):
        return (batch, *shape)
    return [_with_batch(inner, batch) for inner in shape]
