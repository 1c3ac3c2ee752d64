"""`ConvLSTM1D` to `ConvLSTM3D`: LSTMs whose products are convolutions."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, ClassVar

import torch
import torch.nn.functional as F
from torch import Tensor

from torchkeras import activations
from torchkeras._core.dtypes import DTYPES
from torchkeras._core.errors import number_in, positive_integer
from torchkeras._core.input_spec import InputSpec
from torchkeras._core.typing import (
    ActivationLike,
    ConstraintLike,
    DType,
    InitializerLike,
    RegularizerLike,
)
from torchkeras._core.variable import CONVOLUTION, WeightView
from torchkeras._core.windows import pad_same
from torchkeras.layers.convolution import (
    ConvolutionLayer,
    SamePadding,
    keep_channels_last,
    module_for,
)
from torchkeras.layers.layer import layers
from torchkeras.layers.recurrent.layers import CellLayer
from torchkeras.layers.regularization import RandomLayer, dropout_noise
from torchkeras.layers.shapes import empty_module

_CONVOLVE: dict[int, Any] = {1: F.conv1d, 2: F.conv2d, 3: F.conv3d}


@layers.register()
class ConvLSTMCell(ConvolutionLayer, RandomLayer):
    """One step of `ConvLSTM1D` and its kin, whose arguments it takes.

    `_project` and `_step` are one step in two parts, on tensors whose channels come
    first: what inputs add to the gates can be computed for all steps at once.

    Args:
        rank: the number of spatial axes.

    Shape:
        inputs ``(batch, ..., channels)`` and states ``[(batch, ..., filters)] * 2`` to
        an output ``(batch, ..., filters)`` and new states.

    Example:
        >>> cell = ConvLSTMCell(2, filters=4, kernel_size=3, padding="same")
        >>> cell.build((None, 8, 8, 3))
        >>> output, states = cell(torch.ones(2, 8, 8, 3), cell.get_initial_state(2))
        >>> output.shape, len(states)
        (torch.Size([2, 8, 8, 4]), 2)
    """

    state_size: list[int]

    conv: Any
    recurrent_conv: Any
    kernel: WeightView
    recurrent_kernel: WeightView
    #: The size of the outputs along each spatial axis, once built.
    _spatial_sizes: tuple[int, ...]
    _dropout_masks: Tensor | None
    _recurrent_dropout_masks: Tensor | None

    def __init__(
        self,
        rank: int,
        filters: int,
        kernel_size: int | tuple[int, ...],
        strides: int | tuple[int, ...] = 1,
        padding: str = "valid",
        data_format: str | None = None,
        dilation_rate: int | tuple[int, ...] = 1,
        activation: ActivationLike = "tanh",
        recurrent_activation: ActivationLike = "sigmoid",
        use_bias: bool = True,
        kernel_initializer: InitializerLike = "glorot_uniform",
        recurrent_initializer: InitializerLike = "orthogonal",
        bias_initializer: InitializerLike = "zeros",
        unit_forget_bias: bool = True,
        kernel_regularizer: RegularizerLike = None,
        recurrent_regularizer: RegularizerLike = None,
        bias_regularizer: RegularizerLike = None,
        kernel_constraint: ConstraintLike = None,
        recurrent_constraint: ConstraintLike = None,
        bias_constraint: ConstraintLike = None,
        dropout: float = 0.0,
        recurrent_dropout: float = 0.0,
        seed: int | None = None,
        **kwargs: Any,
    ) -> None:
        self.__dict__["rank"] = rank
        super().__init__(
            kernel_size, strides, padding, data_format, dilation_rate, activation,
            use_bias, bias_initializer, bias_regularizer, None, bias_constraint,
            seed=seed, **kwargs,
        )  # fmt: skip
        owner = type(self).__name__.replace("Cell", f"{rank}D")
        self.filters = positive_integer(owner, "filters", filters)
        self.recurrent_activation = activations.get(recurrent_activation)
        self.unit_forget_bias = unit_forget_bias
        self.keep_weight_options(locals(), "kernel", "recurrent")
        self._refuse_strides_with_dilation()
        self.dropout = number_in(owner, "dropout", dropout, 0, 1)
        self.recurrent_dropout = number_in(
            owner, "recurrent_dropout", recurrent_dropout, 0, 1
        )
        self.state_size = [self.filters] * 2
        self._dropout_masks = self._recurrent_dropout_masks = None

    def build(self, input_shape: Any) -> None:
        channels = self._channels_of(input_shape)
        if None in self._spatial(input_shape):
            raise ValueError(
                f"Layer '{self.name}' (ConvLSTM{self.rank}D): the sizes of the spatial "
                f"axes must be known, got a step of shape {tuple(input_shape)}. Give "
                "them in `Input(shape)`."
            )
        self._spatial_sizes = self.sizes_of(input_shape)
        gates = 4 * self.filters
        self.conv = self._make_module(channels, gates, 1, self.use_bias)
        self.recurrent_conv = self._recurrent_module(gates)
        self.show_weight("kernel", self.conv, "weight", layout=CONVOLUTION)
        self.show_weight(
            "recurrent_kernel",
            self.recurrent_conv,
            "weight",
            layout=CONVOLUTION,
            options="recurrent",
        )
        if self.use_bias:
            self.show_weight("bias", self.conv, "bias", self._initial_bias)
        else:
            self.leave_out("bias")

    def _recurrent_module(self, gates: int) -> Any:
        window, ones = self.kernel_size, (1,) * self.rank
        factory, padding = module_for(self.rank, "same", ones, window)
        module = empty_module(
            self, factory, self.filters, gates, window, ones, padding, bias=False
        )
        if self._channels_last:
            keep_channels_last(module.weight)
        return module

    def _initial_bias(self, shape: Sequence[int], dtype: DType = None) -> Tensor:
        if not self.unit_forget_bias:
            return self.bias_initializer(shape, dtype=dtype)
        filters = self.filters
        first = self.bias_initializer((filters,), dtype=dtype)
        rest = self.bias_initializer((2 * filters,), dtype=dtype)
        return torch.cat([first, torch.ones_like(first), rest])

    def get_initial_state(self, batch_size: int | None = None) -> list[Tensor]:
        """Return states of zeros for a batch."""
        shape = self.state_shape(batch_size or 0, self._spatial_sizes)
        dtype, device = DTYPES[self.compute_dtype], self.conv.weight.device
        return [torch.zeros(shape, dtype=dtype, device=device) for _ in range(2)]

    def state_shape(self, batch: Any, sizes: Sequence[Any]) -> tuple[Any, ...]:
        """Return the shape of outputs and states of the spatial sizes given."""
        if self._channels_last:
            return (batch, *sizes, self.filters)
        return (batch, self.filters, *sizes)

    def sizes_of(self, step_shape: Sequence[Any]) -> tuple[Any, ...]:
        """Return the spatial sizes of outputs, None for unknown ones."""
        known = [1 if size is None else size for size in step_shape]
        pairs = zip(self._spatial(step_shape), self._counts(tuple(known)), strict=True)
        return tuple(None if size is None else count for size, count in pairs)

    def call(self, inputs: Tensor, states: Any) -> Any:  # pyright: ignore[reportIncompatibleMethodOverride]
        steps = self._project(self._front(inputs).unsqueeze(1))
        output, new = self._step(steps[:, 0], [self._front(state) for state in states])
        return self._back(output), [self._back(state) for state in new]

    def _front(self, tensor: Tensor) -> Tensor:
        return tensor.permute(self._to_front) if self._channels_last else tensor

    def _back(self, tensor: Tensor) -> Tensor:
        return tensor.permute(self._to_back) if self._channels_last else tensor

    # A step in two parts

    def _project(self, steps: Tensor) -> Tensor:
        """Return what steps ``(batch, time, channels, ...)`` add to the gates."""
        size = steps.shape[:2]
        if self.dropout and self.training:
            if self._dropout_masks is None:
                self._dropout_masks = self._draw(steps[:, 0], self.dropout)
            masked = steps.unsqueeze(2) * self._dropout_masks.unsqueeze(1)
            gates = self._by_gate(self.conv, masked.flatten(2, 3).flatten(0, 1))
        else:
            gates = self.conv(steps.flatten(0, 1))
        return gates.unflatten(0, size)

    def _step(self, projected: Tensor, states: list[Tensor]) -> tuple[Tensor, Any]:
        hidden, carry = states
        if self.recurrent_dropout and self.training:
            if self._recurrent_dropout_masks is None:
                masks = self._draw(hidden, self.recurrent_dropout)
                self._recurrent_dropout_masks = masks
            masked = hidden.unsqueeze(1) * self._recurrent_dropout_masks
            recurrent = self._by_gate(self.recurrent_conv, masked.flatten(1, 2))
        else:
            recurrent = self.recurrent_conv(hidden)
        i, f, c, o = (projected + recurrent).chunk(4, 1)
        gate, activation = self.recurrent_activation, self.activation
        carry = gate(f) * carry + gate(i) * activation(c)
        hidden = gate(o) * activation(carry)
        return hidden, [hidden, carry]

    def _by_gate(self, module: Any, inputs: Tensor) -> Tensor:
        """Convolve inputs that each gate has some of."""
        padding = module.padding
        if isinstance(module, SamePadding):
            window = module.kernel_size, module.stride, module.dilation
            inputs, padding = pad_same(inputs, *window)
        return _CONVOLVE[self.rank](
            inputs, module.weight, module.bias, module.stride, padding,
            module.dilation, 4,
        )  # fmt: skip

    # Dropout: masks that stay the same until the layer begins with new sequences

    def _draw(self, like: Tensor, rate: float) -> Tensor:
        shape = (like.shape[0], 4, *like.shape[1:])
        if rate == 1.0:
            return like.new_zeros(shape)
        return dropout_noise(like, shape, rate, self._generator(like.device))

    def reset_dropout_mask(self) -> None:
        """Draw new masks for the inputs at the next step."""
        self._dropout_masks = None

    def reset_recurrent_dropout_mask(self) -> None:
        """Draw new masks for the states at the next step."""
        self._recurrent_dropout_masks = None


class ConvLSTM(CellLayer):
    """The base of `ConvLSTM1D` and its kin; `rank` is the number of spatial axes."""

    rank: ClassVar[int]
    cell: ConvLSTMCell

    def __init__(
        self,
        filters: int,
        kernel_size: int | tuple[int, ...],
        strides: int | tuple[int, ...] = 1,
        padding: str = "valid",
        data_format: str | None = None,
        dilation_rate: int | tuple[int, ...] = 1,
        activation: ActivationLike = "tanh",
        recurrent_activation: ActivationLike = "sigmoid",
        use_bias: bool = True,
        kernel_initializer: InitializerLike = "glorot_uniform",
        recurrent_initializer: InitializerLike = "orthogonal",
        bias_initializer: InitializerLike = "zeros",
        unit_forget_bias: bool = True,
        kernel_regularizer: RegularizerLike = None,
        recurrent_regularizer: RegularizerLike = None,
        bias_regularizer: RegularizerLike = None,
        activity_regularizer: RegularizerLike = None,
        kernel_constraint: ConstraintLike = None,
        recurrent_constraint: ConstraintLike = None,
        bias_constraint: ConstraintLike = None,
        dropout: float = 0.0,
        recurrent_dropout: float = 0.0,
        seed: int | None = None,
        return_sequences: bool = False,
        return_state: bool = False,
        go_backwards: bool = False,
        stateful: bool = False,
        **kwargs: Any,
    ) -> None:
        super().__init__(ConvLSTMCell, {**locals(), "rank": self.rank})
        self.input_spec = InputSpec(ndim=self.rank + 3)

    def build(self, input_shape: Any) -> None:
        super().build(input_shape)
        own = {axis: size for axis, size in enumerate(input_shape) if axis > 1}
        self.input_spec = InputSpec(ndim=self.rank + 3, axes=own)

    def _advance(
        self,
        cell: Any,
        sequences: Tensor,
        states: list[Any],
        mask: Tensor | None,
        all_steps: bool,
    ) -> tuple[Tensor, list[Any]]:
        size = sequences.shape[:2]
        steps = cell._front(sequences.flatten(0, 1)).unflatten(0, size)
        fronts = [cell._front(state) for state in states]
        projected = cell._project(steps)
        outputs, ends = self._loop(cell._step, projected, fronts, mask, all_steps)
        ends = [cell._back(state) for state in ends]
        if not all_steps:
            return cell._back(outputs), ends
        return cell._back(outputs.flatten(0, 1)).unflatten(0, size), ends

    def compute_output_shape(self, input_shape: Any) -> Any:
        """Return the shapes of the outputs."""
        batch, time, *step = input_shape
        cell = self.cell
        state = cell.state_shape(batch, cell.sizes_of((batch, *step)))
        output = (batch, time, *state[1:]) if self.return_sequences else state
        return (output, state, state) if self.return_state else output

    def get_config(self) -> dict[str, Any]:
        return {**super().get_config(), "unroll": self.unroll}


@layers.register()
class ConvLSTM1D(ConvLSTM):
    """An LSTM over steps of one spatial axis; its arguments are `ConvLSTM2D`'s.

    Shape:
        ``(batch, time, length, channels)`` to ``(batch, length, filters)``, or with the
        axis of time too.

    Example:
        >>> ConvLSTM1D(4, 3)(torch.ones(2, 5, 8, 3)).shape
        torch.Size([2, 6, 4])
    """

    rank = 1


@layers.register()
class ConvLSTM2D(ConvLSTM):
    """An LSTM over steps of two spatial axes, whose products are convolutions.

    Source: Shi et al. 2015, https://arxiv.org/abs/1506.04214.

    Args:
        filters: the number of channels of the outputs and of the states.
        kernel_size: the size of the window, for inputs and for states.
        strides: the distance between windows over the inputs.
        padding: ``"valid"`` or ``"same"``, for the inputs.
        data_format: ``"channels_last"`` or ``"channels_first"``.
        dilation_rate: the distance between the elements of a window.
        activation: a name or a function, for the outputs.
        recurrent_activation: a name or a function, for the gates.
        use_bias: whether a bias is added.
        kernel_initializer: gives the first kernel.
        recurrent_initializer: gives the first recurrent kernel.
        bias_initializer: gives the first bias.
        unit_forget_bias: whether the bias of the forget gate begins as ones.
        kernel_regularizer: the regularizer of the kernel, a penalty.
        recurrent_regularizer: the regularizer of the recurrent kernel, a penalty.
        bias_regularizer: the regularizer of the bias, a penalty.
        activity_regularizer: the regularizer of the outputs, a penalty.
        kernel_constraint: the constraint on the kernel after each update.
        recurrent_constraint: the constraint on the recurrent kernel after each update.
        bias_constraint: the constraint on the bias after each update.
        dropout: the part of the inputs that is dropped in training, the same at all
            steps of a sequence.
        recurrent_dropout: the part of the last output that is dropped so.
        seed: an integer that starts a random generator of the layer's own.
        return_sequences: whether to return the outputs of all steps, not only the last.
        return_state: whether to return the last states after the outputs.
        go_backwards: whether to read the sequences from their end.
        stateful: whether a batch begins with the states at the end of the one before.
        **kwargs: those of `RNN` and `Layer`.

    Shape:
        ``(batch, time, ..., channels)`` to ``(batch, ..., filters)``, or ``(batch,
        time, ..., filters)`` with `return_sequences`; then each state, with
        `return_state`. The weights are those of two torch convolutions, in
        ``layer.cell.conv`` and ``layer.cell.recurrent_conv``.

    Raises:
        ValueError: when spatial sizes are not known, or an argument is out of range.

    Example:
        >>> ConvLSTM2D(4, 3, return_sequences=True)(torch.ones(2, 5, 8, 8, 3)).shape
        torch.Size([2, 5, 6, 6, 4])
    """

    rank = 2


@layers.register()
class ConvLSTM3D(ConvLSTM):
    """An LSTM over steps of three spatial axes; its arguments are `ConvLSTM2D`'s.

    Shape:
        ``(batch, time, depth, height, width, channels)`` to ``(batch, depth, height,
        width, filters)``, or with the axis of time too.

    Example:
        >>> ConvLSTM3D(4, 2)(torch.ones(2, 3, 4, 4, 4, 1)).shape
        torch.Size([2, 3, 3, 3, 4])
    """

    rank = 3
