"""`Dense`, `Embedding`, `Masking`, `Identity`, `Rescaling`, the inputs of a model."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from torchkeras import activations
from torchkeras._core import config
from torchkeras._core.dtypes import DTYPES, dtype_of_data, to_torch_dtype
from torchkeras._core.errors import invalid_argument, positive_integer
from torchkeras._core.indices import first_outside, inner_position
from torchkeras._core.input_spec import InputSpec
from torchkeras._core.naming import auto_name
from torchkeras._core.symbolic import KerasTensor
from torchkeras._core.typing import (
    ActivationLike,
    ConstraintLike,
    DType,
    InitializerLike,
    Mask,
    RegularizerLike,
)
from torchkeras._core.variable import TRANSPOSED, WeightView
from torchkeras.layers._in_place import may_overwrite_output_of
from torchkeras.layers._masks import as_tensors
from torchkeras.layers.layer import Layer, layers
from torchkeras.layers.shapes import Sizes, empty_module, record, same_sizes


@layers.register()
class Dense(Layer):
    """A fully connected layer: ``activation(inputs @ kernel + bias)``.

    Args:
        units: the size of the last axis of the outputs.
        activation: a name or a function; linear by default.
        use_bias: whether a bias is added.
        kernel_initializer: gives the first kernel, of shape ``(inputs, units)``.
        bias_initializer: gives the first bias.
        kernel_regularizer: the regularizer of the kernel, a penalty.
        bias_regularizer: the regularizer of the bias, a penalty.
        activity_regularizer: the regularizer of the outputs, a penalty.
        kernel_constraint: the constraint on the kernel after each update.
        bias_constraint: the constraint on the bias after each update.

    Shape:
        ``(batch, ..., inputs)`` to ``(batch, ..., units)``. The weights are those of an
        `nn.Linear` in ``layer.linear``; ``layer.kernel`` shows its transpose.

    Raises:
        ValueError: when `units` is not positive.

    Example:
        >>> layer = Dense(3, activation="relu")
        >>> layer(torch.ones(2, 4)).shape, layer.kernel.shape
        (torch.Size([2, 3]), (4, 3))
    """

    casts_integers = True

    linear: nn.Linear
    kernel: WeightView
    bias: WeightView | None

    def __init__(
        self,
        units: int,
        activation: ActivationLike = None,
        use_bias: bool = True,
        kernel_initializer: InitializerLike = "glorot_uniform",
        bias_initializer: InitializerLike = "zeros",
        kernel_regularizer: RegularizerLike = None,
        bias_regularizer: RegularizerLike = None,
        activity_regularizer: RegularizerLike = None,
        kernel_constraint: ConstraintLike = None,
        bias_constraint: ConstraintLike = None,
        **kwargs: Any,
    ) -> None:
        super().__init__(activity_regularizer=activity_regularizer, **kwargs)
        self.units = positive_integer("Dense", "units", units)
        self.activation = activations.get(activation)
        self.use_bias = use_bias
        self.keep_weight_options(locals(), "kernel", "bias")
        self.input_spec = InputSpec(min_ndim=2)
        self.supports_masking = True

    def build(self, input_shape: tuple[int | None, ...]) -> None:
        inputs = input_shape[-1]
        self.linear = empty_module(
            self, nn.Linear, inputs, self.units, bias=self.use_bias
        )
        self.show_weight("kernel", self.linear, "weight", layout=TRANSPOSED)
        if self.use_bias:
            self.show_weight("bias", self.linear, "bias")
        else:
            self.leave_out("bias")
        self.input_spec = InputSpec(min_ndim=2, axes={-1: inputs})

    def _output_sizes(self, sizes: Sizes) -> Sizes | None:
        linear = self.linear
        known = type(linear) is nn.Linear and sizes[-1] == linear.in_features
        if not known or not activations.keeps_shape(self.activation):
            return None
        return (*sizes[:-1], linear.out_features)

    def call(self, inputs: Tensor) -> Tensor:
        # `self.linear` is found last of all, after torch has formatted an error.
        linear, activation = self._module_table["linear"], self.activation
        outputs = linear(inputs)
        if (
            activation is activations.relu
            # A sequence's is a view: its gradient would be copied whole three times.
            and outputs.ndim == 2
            and may_overwrite_output_of(linear)
        ):
            return outputs.relu_()
        return outputs if activation is activations.linear else activation(outputs)


@layers.register()
class Embedding(Layer):
    """A table of vectors, looked up by integer.

    Args:
        input_dim: the number of vectors: the largest index plus one.
        output_dim: the size of a vector.
        embeddings_initializer: gives the first table.
        embeddings_regularizer: the regularizer of the table, a penalty.
        embeddings_constraint: the constraint on the table after each update.
        mask_zero: whether index 0 is padding, which later layers then skip.
        weights: a first table of shape ``(input_dim, output_dim)``.

    Shape:
        ``(batch, ...)`` to ``(batch, ..., output_dim)``. The table is the weight of an
        `nn.Embedding` in ``layer.embedding``.

    Raises:
        ValueError: when a size is not positive, or an index is outside the table.

    Example:
        >>> layer = Embedding(100, 8)
        >>> layer(torch.tensor([[1, 2, 3]])).shape
        torch.Size([1, 3, 8])
    """

    index_dtypes = (torch.int64, torch.int32)

    embedding: nn.Embedding
    embeddings: WeightView

    def __init__(
        self,
        input_dim: int,
        output_dim: int,
        embeddings_initializer: InitializerLike = "uniform",
        embeddings_regularizer: RegularizerLike = None,
        embeddings_constraint: ConstraintLike = None,
        mask_zero: bool = False,
        weights: Any = None,
        **kwargs: Any,
    ) -> None:
        length = kwargs.get("input_length")
        if length is not None and "input_dim" not in kwargs:
            kwargs["input_shape"] = (length,) if isinstance(length, int) else length
        kwargs.pop("input_length", None)
        super().__init__(autocast=False, **kwargs)
        self.input_dim = positive_integer("Embedding", "input_dim", input_dim)
        self.output_dim = positive_integer("Embedding", "output_dim", output_dim)
        self.keep_weight_options(locals(), "embeddings")
        self.mask_zero = mask_zero
        self.supports_masking = mask_zero
        # A table needs no input to be made: its sizes are arguments.
        self.build(None)
        if weights is not None:
            self.set_weights(weights if isinstance(weights, list) else [weights])

    def build(self, input_shape: Any) -> None:
        if self.built:
            return
        self.embedding = empty_module(
            self, nn.Embedding, self.input_dim, self.output_dim
        )
        self.show_weight("embeddings", self.embedding, "weight")

    def _choose_path(self) -> None:
        super()._choose_path()
        self._fast_path = self._fast_path and not self.mask_zero

    def _output_sizes(self, sizes: Sizes) -> Sizes | None:
        table = self.embedding
        if type(table) is not nn.Embedding:
            return None
        return (*sizes, table.embedding_dim)

    def call(self, inputs: Tensor) -> Tensor:
        if inputs.dtype not in self.index_dtypes:
            inputs = inputs.long()
        return self.embedding(inputs)

    def check_indices(
        self, inputs: Tensor, place: Callable[[int], str] | None = None
    ) -> None:
        """Refuse indices outside the table.

        Args:
            inputs: the indices.
            place: says where the row of a number is; the batch by default.

        Raises:
            ValueError: naming the layer, the limit, and the first such index.
        """
        position = first_outside(inputs, self.input_dim)
        if position is None:
            return
        where = f"at position {position}"
        if place is not None and position:
            where = f"in {place(position[0])}{inner_position(inputs, position)}"
        raise ValueError(
            f"Layer '{self.name}' (Embedding): indices must be in [0, "
            f"{self.input_dim}) because input_dim={self.input_dim}, got "
            f"{inputs[position].item():g} {where}. Raise input_dim to the largest "
            "index plus one."
        )

    def _explain(self, error: Exception, args: tuple[Any, ...]) -> None:
        if isinstance(error, IndexError):
            self.check_indices(args[0])
        super()._explain(error, args)

    def compute_mask(self, inputs: Any, mask: Mask = None) -> Tensor | None:  # pyright: ignore[reportIncompatibleMethodOverride]
        return as_tensors(inputs).ne(0) if self.mask_zero else None

    def get_config(self) -> dict[str, Any]:
        config = super().get_config()
        config.pop("weights", None)  # values are saved as weights, not as an argument
        return config


@layers.register()
class ReversibleEmbedding(Embedding):
    """A table of vectors, looked up by integer, which also scores vectors by integer.

    Args:
        input_dim: the number of vectors: the largest index plus one.
        output_dim: the size of a vector.
        tie_weights: whether the same table serves both ways.
        embeddings_initializer: gives the first table, or both.
        embeddings_regularizer: the regularizer of the table, a penalty.
        embeddings_constraint: the constraint on the table after each update.
        mask_zero: whether index 0 is padding, which later layers then skip.
        reverse_dtype: the dtype in which vectors are scored.
        logit_soft_cap: scores stay between this number and its negative, by `tanh`.

    Shape:
        ``(batch, ...)`` to ``(batch, ..., output_dim)``; with ``reverse=True`` in the
        call ``(batch, ..., output_dim)`` to ``(batch, ..., input_dim)``.

    Raises:
        ValueError: when a size is not positive, or an index is outside the table.

    Example:
        >>> layer = ReversibleEmbedding(100, 8)
        >>> vectors = layer(torch.tensor([[1, 2, 3]]))
        >>> vectors.shape, layer(vectors, reverse=True).shape
        (torch.Size([1, 3, 8]), torch.Size([1, 3, 100]))
    """

    def __init__(
        self,
        input_dim: int,
        output_dim: int,
        tie_weights: bool = True,
        embeddings_initializer: InitializerLike = "uniform",
        embeddings_regularizer: RegularizerLike = None,
        embeddings_constraint: ConstraintLike = None,
        mask_zero: bool = False,
        reverse_dtype: DType = None,
        logit_soft_cap: float | None = None,
        **kwargs: Any,
    ) -> None:
        self.tie_weights = tie_weights
        self.reverse_dtype = reverse_dtype
        self.logit_soft_cap = logit_soft_cap
        super().__init__(
            input_dim, output_dim, embeddings_initializer, embeddings_regularizer,
            embeddings_constraint, mask_zero, **kwargs,
        )  # fmt: skip

    def build(self, input_shape: Any) -> None:
        if self.built:
            return
        super().build(input_shape)
        if not self.tie_weights:
            shape = (self.output_dim, self.input_dim)
            self.reverse_embeddings = self.add_weight(
                shape, self.embeddings_initializer, name="reverse_embeddings"
            )

    def call(self, inputs: Tensor, reverse: bool = False) -> Tensor:
        if not reverse:
            outputs = super().call(inputs)
            if self.mask_zero:
                outputs._keras_mask = inputs.ne(0)  # type: ignore[attr-defined]
            return outputs
        tied = self.tie_weights
        kernel = self.embedding.weight.t() if tied else self.reverse_embeddings.value
        dtype = kernel.dtype
        if self.reverse_dtype is not None:
            dtype = to_torch_dtype(self.reverse_dtype)
        scores = torch.matmul(inputs.to(dtype), kernel.to(dtype))
        if self.logit_soft_cap is not None:
            scores = torch.tanh(scores / self.logit_soft_cap) * self.logit_soft_cap
        return scores

    def compute_mask(self, inputs: Any, mask: Mask = None) -> None:  # pyright: ignore[reportIncompatibleMethodOverride]
        return None  # `call` knows which way it goes


@layers.register()
class Masking(Layer):
    """Marks steps of sequences as padding, which later layers then skip.

    Args:
        mask_value: a step all of whose features have this value is padding; an array
            gives a value for each feature.

    Shape:
        ``(batch, steps, features)``, and the same for the outputs, where padding is 0.

    Raises:
        TypeError: when `mask_value` is neither a number nor an array.

    Example:
        >>> layer = Masking(-1.0)
        >>> outputs = layer(torch.tensor([[[1.0], [-1.0]]]))
        >>> outputs.flatten(), outputs._keras_mask
        (tensor([1., 0.]), tensor([[ True, False]]))
    """

    _output_sizes = same_sizes

    def __init__(self, mask_value: Any = 0.0, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        if isinstance(mask_value, (list, tuple)):
            mask_value = np.asarray(mask_value)
        if isinstance(mask_value, str) or not (
            hasattr(mask_value, "__float__") or hasattr(mask_value, "__array__")
        ):
            expected = "a number or an array"
            raise TypeError(
                invalid_argument("Masking", "mask_value", expected, mask_value)
            )
        self.mask_value = mask_value
        self.supports_masking = True

    def compute_mask(self, inputs: Any, mask: Mask = None) -> Tensor:  # pyright: ignore[reportIncompatibleMethodOverride]
        return self._kept(as_tensors(inputs)).any(-1)

    def call(self, inputs: Tensor) -> Tensor:
        return inputs.where(self._kept(inputs).any(-1, keepdim=True), 0)

    def _kept(self, inputs: Tensor) -> Tensor:
        value = self.mask_value
        if hasattr(value, "__array__"):
            value = torch.as_tensor(value, device=inputs.device).to(inputs.dtype)
        return inputs.ne(value)


@layers.register()
class Identity(Layer):
    """Returns its inputs as they are.

    Shape:
        Any, and the same for the outputs.

    Example:
        >>> Identity()(torch.ones(2))
        tensor([1., 1.])
    """

    def __init__(self, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.supports_masking = True

    def call(self, inputs: Any) -> Any:
        return inputs


@layers.register()
class Rescaling(Layer):
    """Multiplies inputs by a scale and adds an offset; integers become floats.

    Args:
        scale: a number, or one per channel.
        offset: a number, or one per channel.

    Shape:
        Any, and the same for the outputs.

    Example:
        >>> Rescaling(1 / 127.5, offset=-1.0)(torch.tensor([0, 255], dtype=torch.uint8))
        tensor([-1.,  1.])
    """

    _output_sizes = same_sizes

    casts_integers = True

    scale: Any
    offset: Any
    _scale: float | Tensor
    _offset: float | Tensor
    _shifts: bool

    def __init__(self, scale: Any, offset: Any = 0.0, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.scale = scale
        self.offset = offset
        self.supports_masking = True
        self._set_constant("_scale", scale)
        self._set_constant("_offset", offset)
        self._shifts = bool(np.any(_as_array(offset)))

    def _set_constant(self, name: str, value: Any) -> None:
        """Keep one number as it is, several as a buffer that moves with the layer."""
        array = _as_array(value)
        if array.ndim == 0:
            setattr(self, name, float(array))
            return
        if name == "_scale" and config.image_data_format() == "channels_first":
            array = array.reshape(array.shape + (1,) * (3 - array.ndim))
        values = torch.as_tensor(array, dtype=DTYPES[self.compute_dtype])
        self.register_buffer(name, values.to(config.default_device()), persistent=False)

    def call(self, inputs: Tensor) -> Tensor:
        outputs = inputs * self._scale
        return outputs + self._offset if self._shifts else outputs


def _as_array(value: Any) -> np.ndarray:
    if isinstance(value, Tensor):
        value = value.detach().cpu()
    return np.asarray(value, dtype="float64")


@layers.register()
class InputLayer(Layer):
    """What stands for the input of a model in its list of layers.

    Args:
        shape: the shape without the batch axis; None for an axis of any size.
        batch_size: the size of the batch axis, if fixed.
        dtype: the dtype that inputs are cast to.
        sparse: not supported.
        ragged: not supported.
        batch_shape: the shape with the batch axis, in place of `shape`.
        input_tensor: a symbolic tensor to take shape and dtype from.
        optional: whether None may be passed.
        name: the name of the input.

    Raises:
        ValueError: when no shape is given, or two.

    Example:
        >>> InputLayer((28, 28, 1)).batch_shape
        (None, 28, 28, 1)
    """

    batch_shape: tuple[int | None, ...]
    _input_dtype: str

    def __init__(
        self,
        shape: Any = None,
        batch_size: int | None = None,
        dtype: DType = None,
        sparse: bool | None = None,
        ragged: bool | None = None,
        batch_shape: Any = None,
        input_tensor: KerasTensor | None = None,
        optional: bool = False,
        name: str | None = None,
        **kwargs: Any,
    ) -> None:
        super().__init__(name=name)
        batch_shape = kwargs.pop("batch_input_shape", batch_shape)
        shape = kwargs.pop("input_shape", shape)
        if input_tensor is not None:
            batch_shape, dtype = input_tensor.shape, dtype or input_tensor.dtype
        if (shape is None) == (batch_shape is None):
            raise ValueError(
                f"InputLayer '{self.name}': give either `shape` or `batch_shape`, got "
                f"shape={shape!r} and batch_shape={batch_shape!r}."
            )
        if batch_shape is None:
            batch_shape = (batch_size, *((shape,) if isinstance(shape, int) else shape))
        self.batch_shape = _checked_shape(self.name, batch_shape)
        self._input_dtype = dtype_of_data(dtype)
        self.sparse, self.ragged, self.optional = sparse, ragged, optional
        if input_tensor is None:
            input_tensor = KerasTensor(
                self.batch_shape, self._input_dtype, bool(sparse), bool(ragged),
                name=self.name,
            )  # fmt: skip
        record(self, (), {}, input_tensor)
        self.built = True

    @property
    def dtype(self) -> str:
        """The dtype that inputs are cast to."""
        return self._input_dtype

    def call(self, inputs: Any = None) -> Any:
        return inputs

    def get_config(self) -> dict[str, Any]:
        return {
            "batch_shape": list(self.batch_shape),
            "dtype": self._input_dtype,
            "sparse": bool(self.sparse),
            "ragged": bool(self.ragged),
            "name": self.name,
            **({"optional": True} if self.optional else {}),
        }


def _checked_shape(name: str, shape: Any) -> tuple[int | None, ...]:
    sizes = tuple(int(s) if isinstance(s, np.integer) else s for s in shape)
    if not all(s is None or (isinstance(s, int) and s >= 0) for s in sizes):
        raise ValueError(
            f"Input '{name}': a shape is a tuple of sizes, None for an unknown one; "
            f"got {shape!r}."
        )
    return sizes


def Input(  # noqa: N802
    shape: Any = None,
    batch_size: int | None = None,
    dtype: DType = None,
    sparse: bool | None = None,
    ragged: bool | None = None,
    batch_shape: Any = None,
    name: str | None = None,
    tensor: KerasTensor | None = None,
    optional: bool = False,
) -> Any:
    """Make a symbolic tensor that stands for an input of a model.

    Args:
        shape: the shape without the batch axis; None for an axis of any size.
        batch_size: the size of the batch axis, if fixed.
        dtype: the dtype that inputs are cast to.
        sparse: not supported.
        ragged: not supported.
        batch_shape: the shape with the batch axis, in place of `shape`.
        name: the name of the input.
        tensor: a symbolic tensor to take shape and dtype from.
        optional: whether None may be passed.

    Example:
        >>> Input((4,)).shape
        (None, 4)
    """
    layer = InputLayer(
        shape, batch_size, dtype, sparse, ragged, batch_shape, tensor, optional,
        name or auto_name("input_layer"),
    )  # fmt: skip
    return layer.output
