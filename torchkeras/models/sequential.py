"""`Sequential`: a stack of layers, each fed by the one before."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from typing import Any, Self

import numpy as np
from torch import Tensor, nn

from torchkeras._core import dtypes, gate, sharing, tree
from torchkeras._core.errors import describe, invalid_argument
from torchkeras._core.naming import split_number
from torchkeras._core.registry import deserialize_object, root, serialize_object
from torchkeras._core.strings import is_strings
from torchkeras._core.symbolic import KerasTensor, call_symbolic
from torchkeras.layers._masks import with_masks
from torchkeras.layers._state import LayerState, layers_in, turn_to_mode
from torchkeras.layers.core import Embedding, InputLayer
from torchkeras.layers.layer import Layer, layers
from torchkeras.models.model import (
    Model,
    key_base,
    lookups_of,
    name_is_given,
    name_of,
)
from torchkeras.training.data import Batches

#: Activations of at most this many bytes stay in a processor's cache while predicting.
_CACHE_BYTES = 8 * 2**20


@root.register()
class Sequential(Model):
    """A stack of layers.

    Args:
        layers: layers or torch modules; the first may be an `Input`.
        trainable: whether the weights are trained.
        name: the name.

    Raises:
        ValueError: for what is no layer, or two layers of one name.

    Example:
        >>> from torchkeras.layers import Dense
        >>> model = Sequential([Dense(8, "relu", input_shape=(4,)), Dense(1)])
        >>> model.output_shape, model.count_params()
        ((None, 1), 49)
    """

    _tracks_containers = False  # what is in `_modules` is the stack

    _input_layer: InputLayer | None

    def __init__(
        self, layers: Any = None, trainable: bool = True, name: str | None = None
    ) -> None:
        super().__init__(trainable=trainable, name=name)
        self.supports_masking = True
        # The input has no weights and is no step of the stack.
        self.__dict__["_input_layer"] = None
        self.__dict__["_rank"] = 0
        self._symbolic_outputs: dict[nn.Module, KerasTensor] = {}
        if isinstance(layers, nn.Module) and not isinstance(layers, Iterable):
            expected = "a list of layers, such as [Dense(4), Dense(1)]"
            raise TypeError(invalid_argument("Sequential", "layers", expected, layers))
        names: set[str] = set()
        for layer in layers if layers is not None else ():
            self._add(layer, names)

    # The stack

    def add(self, layer: Any, rebuild: bool = True) -> None:
        """Put a layer on top.

        Args:
            layer: a layer, a torch module or, first of all, an `Input`.
            rebuild: accepted for Keras's signature.
        """
        self._add(layer, {own._name for own in self.layers if isinstance(own, Layer)})

    def _add(self, layer: Any, names: set[str]) -> None:
        """Put a layer on top of layers of those names, among which is its own then."""
        if isinstance(layer, KerasTensor):
            layer = layer.history.op if layer.history is not None else layer
        if isinstance(layer, InputLayer):
            self._set_input(layer)
            return
        if not isinstance(layer, nn.Module):
            hint = " Call it: `Dense(...)`." if isinstance(layer, type) else ""
            raise ValueError(
                f"Sequential '{self.name}': only layers and torch modules can be "
                f"added, got {describe(layer)}.{hint}"
            )
        if any(inner is self for inner in layer.modules()):
            raise ValueError(
                f"Sequential '{self.name}': it cannot be added to itself, nor what "
                "holds it. Make a second model: `clone_model(model)`."
            )
        if isinstance(layer, Layer) and layer._name in names:
            raise ValueError(
                f"Sequential '{self.name}': it has a layer named '{layer.name}' "
                "already. Give each layer a name of its own."
            )
        if not self._modules and self._input_layer is None:
            self._input_from(layer)
        self._put(layer)
        self.built = False
        try:
            self._extend(layer)
            self._finish_with(layer)
        except Exception:
            self.pop()
            raise
        if isinstance(layer, Layer):
            names.add(layer._name)

    def pop(self, rebuild: bool = True) -> Layer | None:
        """Take the topmost layer off and return it.

        Args:
            rebuild: accepted for Keras's signature.

        Raises:
            TypeError: when there is none.
        """
        if not self._modules:
            raise TypeError(f"Sequential '{self.name}': there are no layers to pop.")
        _, layer = self._modules.popitem()
        if name_is_given(layer):
            self._name_anew()  # its name may be that of others now
        self.outputs = None
        if self._input_layer is not None:
            self._rebuild()
        return layer

    def _put(self, layer: nn.Module) -> None:
        [key] = self._keys_for([layer], self._modules, self._counted(key_base(layer)))
        self._modules[key] = layer
        if name_is_given(layer) and key != key_base(layer):
            self._name_anew()  # the name was the automatic key of another

    def _counted(self, base: str) -> Counter[str]:
        """Return how many layers are counted under a base: the last one's key says."""
        for key, layer in reversed(self._modules.items()):
            number = key.removeprefix(base).removeprefix("_") or "0"
            own = key_base(layer) == base and not name_is_given(layer)
            if own and number.isdecimal():  # not by the name of an attribute
                return Counter({base: int(number) + 1})
        return Counter()

    def _name_anew(self) -> None:
        """Give the layers the keys that they had if all were added at once."""
        own = list(self._modules.items())
        counted = [
            each for key, each in own if key_base(each) in (key, split_number(key)[0])
        ]
        named = {key for key, each in own if each not in counted}  # by attributes
        keys = iter(self._keys_for(counted, named))
        self._modules.clear()
        for key, each in own:
            self._modules[key if key in named else next(keys)] = each

    def _set_input(self, layer: InputLayer) -> None:
        if self._input_layer is not None or self._modules:
            names = [name_of(own) for own in self.layers]
            raise ValueError(
                f"Sequential '{self.name}': an Input must come first and only once, "
                f"got '{layer.name}' after {names}."
            )
        self.__dict__["_input_layer"] = layer
        self._rebuild()

    def _input_from(self, layer: nn.Module) -> None:
        """Take the input's shape from a first layer that knows it."""
        shape = getattr(layer, "input_shape_argument", None)
        if shape is not None:
            self._set_input(InputLayer(batch_shape=shape))
        elif isinstance(layer, Model) and layer.inputs and len(layer.inputs) == 1:
            inputs = layer.inputs[0]
            self._set_input(InputLayer(batch_shape=inputs.shape, dtype=inputs.dtype))

    def _rebuild(self) -> None:
        """Run the whole stack symbolically."""
        tensor = self._input_layer.output  # type: ignore[union-attr]
        self.inputs, self.outputs = [tensor], [tensor]
        self.__dict__["_rank"] = tensor.ndim
        self._forget_calls()
        self.built = False
        for layer in self.layers:
            self._extend(layer)
        if self._modules:
            self._finish_build({"input_shape": tensor.shape})
            self._forget_weights()

    def _finish_with(self, layer: nn.Module) -> None:
        """Finish the build of one more layer, at no cost for those below it."""
        if self.outputs is None:
            return
        self.built = True
        self._build_shapes = {"input_shape": self.inputs[0].shape}  # type: ignore[index]
        if not self._trainable:
            self.trainable = False
        turn_to_mode(layer, self.training)
        self._choose_path_with(list(layers_in(layer)))
        self._forget_weights()

    def _forget_calls(self) -> None:
        """Let the layers forget the calls of an earlier build."""
        for layer, output in self._symbolic_outputs.items():
            if isinstance(layer, Layer) and output.history in layer._nodes:
                layer._nodes.remove(output.history)
        self._symbolic_outputs.clear()

    def _extend(self, layer: nn.Module) -> None:
        """Run one more layer on the symbolic output so far."""
        if self.outputs is None:
            return
        tensor = self.outputs[0]
        if isinstance(layer, Layer):
            output = layer(tensor)
        else:
            output = call_symbolic(layer, (tensor,), {})
        if not isinstance(output, KerasTensor):
            raise ValueError(
                f"Sequential '{self.name}': layer '{name_of(layer)}' gives "
                f"{type(output).__name__} of several outputs; each layer of a stack "
                "must give one tensor."
            )
        self.outputs = [output]
        self._symbolic_outputs[layer] = output

    def build(self, input_shape: Any = None) -> None:
        """Make the weights of all layers for inputs of that shape.

        Args:
            input_shape: the shape with the batch axis.
        """
        if self._input_layer is None:
            if input_shape is None:
                raise ValueError(
                    f"Sequential '{self.name}': `build` needs the input's shape, such "
                    "as (None, 28, 28, 1)."
                )
            first = next(iter(self._modules.values()), None)
            self._expect(input_shape, getattr(first, "takes_strings", False))
        if not self.built:
            self._rebuild()

    def _expect(self, input_shape: Any, strings: bool) -> None:
        dtype = dtypes.STRING if strings else None
        layer = InputLayer(batch_shape=tuple(input_shape), dtype=dtype)
        self.__dict__["_input_layer"] = layer

    def _build_from(self, args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
        # Built by data: the next batch may have another number of rows.
        shape = (None, *args[0].shape[1:])
        if self._input_layer is None:
            self._expect(shape, is_strings(args[0]))
        self.build(shape)

    def _choose_path_with(self, inner: list[LayerState]) -> None:
        super()._choose_path_with(inner)
        first = next(iter(self._modules.values()), None)
        if isinstance(first, Layer) and first._built:
            self._fast_path_dtypes = first._fast_path_dtypes

    def call(self, inputs: Any, mask: Any = None) -> Any:  # type: ignore
        if mask is not None:
            inputs = with_masks(inputs, mask)
        if inputs.ndim != self._rank:
            inputs = self._with_rank(inputs)
        for layer in self._module_table.values():  # no container is among them
            inputs = layer(inputs)  # type: ignore[misc]
        return inputs

    def _convert(
        self, args: tuple[Any, ...], kwargs: dict[str, Any]
    ) -> tuple[tuple[Any, ...], dict[str, Any]]:
        """Turn arrays into tensors; a structure around a single one is left out."""
        args, kwargs = super()._convert(args, kwargs)
        leaves = tree.flatten(args[:1])
        kinds = (Tensor, KerasTensor, np.ndarray)  # that of strings
        if len(leaves) != 1 or not isinstance(leaves[0], kinds):
            raise ValueError(
                f"Sequential '{self.name}': a stack takes one array or tensor, got "
                f"{len(leaves)}: {[describe(leaf) for leaf in leaves]}."
            )
        return (leaves[0], *args[1:]), kwargs

    def _with_rank(self, inputs: Any) -> Any:
        """Add or drop a last axis of size 1, as Keras does, to fit the input's axes."""
        expected = self._input_layer.batch_shape  # type: ignore[union-attr]
        if inputs.ndim == self._rank - 1 and expected[-1] == 1:
            return inputs[..., None]
        if inputs.ndim == self._rank + 1 and inputs.shape[-1] == 1:
            return inputs[..., 0]
        one_sample = inputs.ndim == self._rank - 1
        hint = " For one sample write x[None]." if one_sample else ""
        raise ValueError(
            f"Sequential '{self.name}': expected an input of shape {expected}, got "
            f"{tuple(inputs.shape)}.{hint}"
        )

    def compute_output_shape(self, input_shape: Any) -> Any:
        """Return the shape of the outputs, layer by layer."""
        for layer in self.layers:
            if isinstance(layer, Layer):
                input_shape = layer.compute_output_shape(input_shape)
            else:
                tensor = KerasTensor(input_shape, self.compute_dtype)
                input_shape = call_symbolic(layer, (tensor,), {}).shape
        return input_shape

    # Access

    def output_of(self, layer: nn.Module) -> KerasTensor | None:
        """Return the symbolic output of a layer of this stack, None if not built."""
        return self._symbolic_outputs.get(layer)

    @property
    def layers(self) -> list[Layer]:
        """The layers of the stack, without the input."""
        return [layer for layer in self._modules.values() if layer is not None]

    def __len__(self) -> int:
        return len(self._modules)

    def __bool__(self) -> bool:
        return True

    def __iter__(self) -> Iterator[Any]:
        return iter(self.layers)

    def __getitem__(self, index: int | slice) -> Any:
        return self.layers[index]

    def _output_names(self) -> str | None:
        return name_of(self.layers[-1]) if self.layers else None

    def lookups(self, x: Any) -> list[tuple[Embedding, Any]]:
        first = next(iter(self._modules.values()), None)
        if not isinstance(first, (Embedding, Model)):
            return []
        leaves = tree.flatten(x)
        return lookups_of(first, leaves[0]) if len(leaves) == 1 else []

    def _samples_at_once(self, batches: Batches) -> int | None:
        if (
            batches.batch_size is None
            or batches.device.type != "cpu"
            or not all(
                type(m).__module__.startswith(("torchkeras.", "torch."))
                and not getattr(m, "stateful", False)
                for m in self.modules()
            )
        ):
            return None
        outputs = self._symbolic_outputs.values()
        largest = max((_row_bytes(t) for t in outputs), default=0)
        if largest * batches.batch_size <= _CACHE_BYTES:
            return None
        return max(16, _CACHE_BYTES // largest)

    # Config

    @sharing.writes
    def get_config(self) -> dict[str, Any]:
        """Return the configs of the layers, in Keras's schema."""
        stack = [*([self._input_layer] if self._input_layer else []), *self.layers]
        config: dict[str, Any] = {
            "name": self.name,
            "trainable": self.trainable,
            "dtype": serialize_object(self.dtype_policy),
            "layers": [serialize_object(layer) for layer in stack],
        }
        if self._input_layer is not None:
            config["build_input_shape"] = list(self._input_layer.batch_shape)
        return config

    @classmethod
    @gate.takes_whole_config
    @sharing.reading()
    def from_config(
        cls, config: Any, custom_objects: Mapping[str, Any] | None = None
    ) -> Self:
        """Make a stack from what `get_config` returned."""
        if isinstance(config, list):  # Keras 1 stored the list of layers alone
            config = {"layers": config}
        model = cls(name=config.get("name"))
        if config.get("dtype") is not None:
            model.dtype_policy = dtypes.get_policy(config["dtype"])
        for layer in config["layers"]:
            model.add(deserialize_object(layer, custom_objects, family=layers))
        shape = config.get("build_input_shape")
        if shape and not model.built and isinstance(shape, (list, tuple)):
            model.build(tuple(shape))
        if not config.get("trainable", True):
            model.trainable = False
        return model._with_name_of_config()


def _row_bytes(tensor: KerasTensor) -> int:
    kind = dtypes.DTYPES.get(tensor.dtype)
    size = 0 if kind is None else kind.itemsize
    for axis in tensor.shape[1:]:
        size *= axis or 1
    return size
