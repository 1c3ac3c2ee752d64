"""The cells that recurrent layers repeat: one step, and its weights."""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterable, Sequence
from typing import Any, ClassVar

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from torchkeras import activations
from torchkeras._core import torch_private, tree
from torchkeras._core.dtypes import DTYPES
from torchkeras._core.errors import (
    invalid_argument,
    number_in,
    positive_integer,
)
from torchkeras._core.registry import serialize_object
from torchkeras._core.typing import (
    ActivationLike,
    ConstraintLike,
    DType,
    InitializerLike,
    RegularizerLike,
)
from torchkeras._core.variable import IDENTITY, TRANSPOSED, Layout, WeightView, single
from torchkeras.layers.layer import Layer, layers
from torchkeras.layers.regularization import RandomLayer, dropout_noise
from torchkeras.layers.shapes import empty_module

_TANH = (activations.tanh, torch.tanh, F.tanh)
_SIGMOID = (activations.sigmoid, torch.sigmoid, F.sigmoid)
_RELU = (activations.relu, torch.relu, F.relu)
#: Added to a gate before its sigmoid, it leaves exactly 0 or 1.
_SATURATED = 1e4


def _swap_gates(tensor: Tensor) -> Tensor:
    # Torch's reset, update, new are Keras's update, reset, new: its own inverse.
    first, second, new = tensor.chunk(3)
    return torch.cat([second, first, new])


def _transpose_swapped(tensor: Tensor) -> Tensor:
    return _swap_gates(tensor).t()


def _swap_transposed(kernel: Tensor) -> Tensor:
    return _swap_gates(kernel.t())


def _stack_swapped(inputs: Tensor, state: Tensor) -> Tensor:
    return torch.stack([_swap_gates(inputs), _swap_gates(state)])


def _unstack_swapped(bias: Tensor) -> tuple[Tensor, Tensor]:
    return _swap_gates(bias[0]), _swap_gates(bias[1])


_SWAPPED = Layout(_swap_gates, functools.partial(single, _swap_gates))
_SWAPPED_TRANSPOSED = Layout(
    _transpose_swapped, functools.partial(single, _swap_transposed)
)
_SWAPPED_PAIR = Layout(_stack_swapped, _unstack_swapped)


#: Torch's names of the weights of one layer, in the order its functions take them.
_WEIGHTS = ("weight_ih_l0", "weight_hh_l0", "bias_ih_l0", "bias_hh_l0")


class _Tables:
    """The tables of the tensors of a torch module, to be had without the module.

    An object of its own, as `torch.export` puts copies in place of a module's lists,
    tuples and dicts, in which the tensors of its tracing would stay.
    """

    all: tuple[dict[str, Any], ...]

    def __init__(self, module: nn.Module) -> None:
        self.all = (module._parameters, module._buffers)


class Cell(RandomLayer):
    """One step of a recurrent layer, with the weights of one of torch's modules.

    Where torch has a kernel for it, `_run_sequences` does all steps at once. `_project`
    and `_step` are one step in two parts, for every other choice of arguments.
    """

    casts_integers = True

    #: The attribute that holds torch's module, and its class.
    _noun: ClassVar[str]
    _module_class: ClassVar[type[nn.RNNBase]]
    #: The number of gates, and of states.
    _gates: ClassVar[int] = 1
    _num_states: ClassVar[int] = 1
    _kernel_layout: ClassVar[Layout] = TRANSPOSED
    _bias_layout: Layout = IDENTITY
    #: Whether Keras has both of torch's biases.
    _has_two_biases: bool = False

    units: int
    activation: Callable[[Tensor], Tensor]
    use_bias: bool
    dropout: float
    recurrent_dropout: float
    state_size: int | list[int]
    output_size: int
    kernel: WeightView
    recurrent_kernel: WeightView
    bias: WeightView | None

    _tables: _Tables
    _dropout_masks: list[Tensor] | None
    _recurrent_dropout_masks: list[Tensor] | None

    def __init__(self, arguments: dict[str, Any]) -> None:
        """Take the arguments of the constructor below, as ``locals()`` has them."""
        keywords = dict(arguments["kwargs"])
        keywords.pop("implementation", None)  # Keras 2's: the numbers are the same
        super().__init__(arguments["seed"], **keywords)
        owner = type(self).__name__.removesuffix("Cell")
        self.units = positive_integer(owner, "units", arguments["units"])
        self.activation = activations.get(arguments["activation"])
        self.use_bias = arguments["use_bias"]
        self.keep_weight_options(arguments, "kernel", "recurrent", "bias")
        rates = {
            name: number_in(owner, name, arguments[name], 0, 1)
            for name in ("dropout", "recurrent_dropout")
        }
        self.dropout, self.recurrent_dropout = rates.values()
        self.output_size = self.units
        sizes = [self.units] * self._num_states
        self.state_size = sizes if self._num_states > 1 else self.units
        self._dropout_masks = self._recurrent_dropout_masks = None

    def build(self, input_shape: tuple[int | None, ...]) -> None:
        module = empty_module(
            self,
            self._module_class,
            input_shape[-1],
            self.units,
            bias=self.use_bias,
            batch_first=True,
        )
        if self.use_bias and not self._has_two_biases:
            _freeze_second_bias(module)
        setattr(self, self._noun, module)
        self._tables = _Tables(module)
        layout = self._kernel_layout
        self.show_weight("kernel", module, "weight_ih_l0", layout=layout)
        self.show_weight(
            "recurrent_kernel",
            module,
            "weight_hh_l0",
            layout=layout,
            options="recurrent",
        )
        if self.use_bias:
            both = ("bias_ih_l0", "bias_hh_l0")
            self.show_weight(
                "bias",
                module,
                both if self._has_two_biases else both[0],
                self._initial_bias,
                self._bias_layout,
            )
        else:
            self.leave_out("bias")

    def _initial_bias(self, shape: Sequence[int], dtype: DType = None) -> Tensor:
        return self.bias_initializer(shape, dtype=dtype)

    def _apply(self, fn: Callable[[Tensor], Tensor], recurse: bool = True) -> Any:
        super()._apply(fn, recurse)
        if self.built and self.use_bias and not self._has_two_biases:
            self._tensor("bias_hh_l0").zero_()  # `to_empty` would leave anything in it
        return self

    def _tensor(self, name: str) -> Tensor:
        """Return a tensor of torch's module."""
        # `torch.compile` refuses so much as to look at an `nn.LSTM`, but not at its
        # tables, which stay the same objects whatever is done to the module.
        for table in self._tables.all:
            if name in table:
                return table[name]
        return getattr(self._modules[self._noun], name)  # parametrized

    def call(self, inputs: Tensor, states: Any) -> tuple[Tensor, Any]:
        nested = tree.is_nested(states)
        states = list(states) if nested else [states]
        output, new_states = self._step(self._project(inputs), states)
        return output, new_states if nested else new_states[0]

    def get_initial_state(self, batch_size: int | None = None) -> list[Tensor]:
        """Return states of zeros for a batch."""
        device = self._tensor("weight_hh_l0").device if self.built else None
        dtype = DTYPES[self.compute_dtype]
        return [
            torch.zeros(batch_size or 0, self.units, dtype=dtype, device=device)
            for _ in range(self._num_states)
        ]

    # A step in two parts

    def _project(self, inputs: Tensor) -> Tensor:
        """Return what inputs add to the gates, for one step or for all at once."""
        bias = self._tensor("bias_ih_l0") if self.use_bias else None
        masks = self._input_masks(inputs)
        if masks is not None and inputs.ndim > 2:
            masks = [mask.unsqueeze(1) for mask in masks]
        return _linear_by_gate(inputs, self._tensor("weight_ih_l0"), bias, masks)

    def _recur(self, hidden: Tensor, first: int = 0, stop: int | None = None) -> Tensor:
        """Return what the last output adds to the gates, or to some of them."""
        weight, bias = self._tensor("weight_hh_l0"), None
        if self.use_bias and self._has_two_biases:
            bias = self._tensor("bias_hh_l0")
        masks = self._recurrent_masks(hidden)
        if stop is not None:
            weight = weight[first * self.units : stop * self.units]
            masks = masks and masks[first:stop]
        return _linear_by_gate(hidden, weight, bias, masks)

    def _step(self, projected: Tensor, states: list[Tensor]) -> tuple[Tensor, Any]:
        """Return the output and the new states of one step."""
        raise NotImplementedError

    # Whole sequences

    @property
    def _kernel_function(self) -> Callable[..., Any] | None:
        """Torch's function for whole sequences, None where it has none."""
        return None

    def _find_kernel(self, sequences: Tensor) -> Callable[..., Any] | None:
        """Return the function that runs these sequences, None for a loop over steps."""
        if self.recurrent_dropout and self.training:
            return None
        return self._kernel_function

    def _run_sequences(
        self,
        kernel: Callable[..., Any],
        sequences: Tensor,
        states: list[Tensor],
        padding: Tensor | None = None,
    ) -> tuple[Tensor, list[Tensor]]:
        """Run whole sequences.

        Args:
            kernel: torch's function.
            sequences: the inputs, the time on axis 1.
            states: the initial states.
            padding: marks steps that must leave the carry state as it is.

        Returns:
            The outputs of all steps, and the last states.
        """
        # `nn.LSTM.forward` and its kin would break the graph of `torch.compile`, and
        # check their arguments and weights on each call; the functions they call do
        # neither. Hooks on the inner module do not run.
        masks = self._input_masks(sequences)
        if masks is not None:
            sequences = sequences * masks[0].unsqueeze(1)
        weights = [self._tensor(name) for name in _WEIGHTS[: 4 if self.use_bias else 2]]
        hidden: Any = [state.unsqueeze(0) for state in states]
        if self._num_states == 1:
            hidden = hidden[0]
        elif padding is not None:
            sequences, weights = self._hold_carry(sequences, weights, padding)
        # cuDNN's backward pass needs its training mode, also when the layer is in
        # inference mode; without dropout between layers nothing else depends on it.
        options = (self.use_bias, 1, 0.0, torch.is_grad_enabled(), False, True)
        if sequences.device.type == "cpu" and torch.is_autocast_enabled("cpu"):
            # Few processors have oneDNN's LSTM in half precision.
            sequences = sequences.to(weights[0].dtype)
            hidden = tree.map_structure(lambda h: h.to(weights[0].dtype), hidden)
            with torch.autocast("cpu", enabled=False):
                outputs, *ends = kernel(sequences, hidden, weights, *options)
        else:
            outputs, *ends = kernel(sequences, hidden, weights, *options)
        return outputs, [end[0] for end in ends]

    def _hold_carry(
        self, sequences: Tensor, weights: list[Tensor], padding: Tensor
    ) -> tuple[Tensor, list[Tensor]]:
        raise NotImplementedError

    # Dropout: masks that stay the same until the layer begins with new sequences

    def _input_masks(self, inputs: Tensor) -> list[Tensor] | None:
        if not (self.dropout and self.training):
            return None
        if self._dropout_masks is None:
            # As in Keras, gates share a mask unless there is recurrent dropout.
            count = self._gates if self.recurrent_dropout else 1
            self._dropout_masks = self._draw_masks(inputs, self.dropout, count)
        return self._dropout_masks

    def _recurrent_masks(self, hidden: Tensor) -> list[Tensor] | None:
        if not (self.recurrent_dropout and self.training):
            return None
        if self._recurrent_dropout_masks is None:
            masks = self._draw_masks(hidden, self.recurrent_dropout, self._gates)
            self._recurrent_dropout_masks = masks
        return self._recurrent_dropout_masks

    def _draw_masks(self, like: Tensor, rate: float, count: int) -> list[Tensor]:
        shape = (count, like.shape[0], like.shape[-1])
        if rate == 1.0:
            return list(like.new_zeros(shape).unbind())
        generator = self._generator(like.device)
        return list(dropout_noise(like, shape, rate, generator).unbind())

    def reset_dropout_mask(self) -> None:
        """Draw new masks for the inputs at the next step."""
        self._dropout_masks = None

    def reset_recurrent_dropout_mask(self) -> None:
        """Draw new masks for the states at the next step."""
        self._recurrent_dropout_masks = None


def _linear_by_gate(
    inputs: Tensor, weight: Tensor, bias: Tensor | None, masks: list[Tensor] | None
) -> Tensor:
    """Multiply inputs by the weights of the gates, each seen through a mask."""
    if masks is None:
        return F.linear(inputs, weight, bias)
    parts = [
        F.linear(inputs * mask, part)
        for mask, part in zip(masks, weight.chunk(len(masks)), strict=True)
    ]
    outputs = torch.cat(parts, -1)
    return outputs if bias is None else outputs + bias


def _freeze_second_bias(module: Any) -> None:
    """Keep torch's second bias at zero, out of training's reach: Keras has only one."""
    second = module.bias_hh_l0.detach().zero_()
    del module.bias_hh_l0
    module.register_buffer("bias_hh_l0", second)
    torch_private.refresh_flat_weights(module)
    module.register_load_state_dict_post_hook(_fold_second_bias)


def _fold_second_bias(module: Any, _: Any) -> None:
    # Weights trained by plain torch have values in both; only the sum counts.
    with torch.no_grad():
        module.bias_ih_l0.add_(module.bias_hh_l0)
        module.bias_hh_l0.zero_()


class Outer(Layer):
    """The base of layers around others: paths of the weights inside begin with it."""

    def _finish_build(self, shapes: dict[str, Any]) -> None:
        super()._finish_build(shapes)
        for weight in self.weights:
            weight.path = f"{self.name}/{weight.path.removeprefix(f'{self.name}/')}"


@layers.register()
class SimpleRNNCell(Cell):
    """One step of `SimpleRNN`, whose arguments it takes.

    Source: Elman 1990, "Finding structure in time".

    Shape:
        inputs ``(batch, inputs)`` and states ``[(batch, units)]`` to an output
        ``(batch, units)`` and new states. The weights are those of an `nn.RNN` in
        ``cell.rnn``.

    Raises:
        ValueError: when `units` is not positive or a rate is outside ``[0, 1]``.

    Example:
        >>> cell = SimpleRNNCell(4)
        >>> output, states = cell(torch.ones(2, 3), cell.get_initial_state(2))
        >>> output.shape, len(states)
        (torch.Size([2, 4]), 1)
    """

    _noun = "rnn"
    _module_class = nn.RNN

    rnn: nn.RNN

    def __init__(
        self,
        units: int,
        activation: ActivationLike = "tanh",
        use_bias: bool = True,
        kernel_initializer: InitializerLike = "glorot_uniform",
        recurrent_initializer: InitializerLike = "orthogonal",
        bias_initializer: InitializerLike = "zeros",
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
        super().__init__(locals())

    @property
    def _kernel_function(self) -> Callable[..., Any] | None:
        if self.activation in _TANH:
            return torch.rnn_tanh
        return torch.rnn_relu if self.activation in _RELU else None

    def _step(self, projected: Tensor, states: list[Tensor]) -> tuple[Tensor, Any]:
        hidden = self.activation(projected + self._recur(states[0]))
        return hidden, [hidden]


@layers.register()
class LSTMCell(Cell):
    """One step of `LSTM`, whose arguments it takes.

    Source: Hochreiter and Schmidhuber 1997, "Long short-term memory".

    Shape:
        inputs ``(batch, inputs)`` and states ``[(batch, units), (batch, units)]``, the
        last output and the carry, to an output ``(batch, units)`` and new states. The
        weights are those of an `nn.LSTM` in ``cell.lstm``.

    Raises:
        ValueError: when `units` is not positive or a rate is outside ``[0, 1]``.

    Example:
        >>> cell = LSTMCell(4)
        >>> output, states = cell(torch.ones(2, 3), cell.get_initial_state(2))
        >>> output.shape, len(states)
        (torch.Size([2, 4]), 2)
    """

    _noun = "lstm"
    _module_class = nn.LSTM
    _gates = 4
    _num_states = 2

    lstm: nn.LSTM
    recurrent_activation: Callable[[Tensor], Tensor]
    unit_forget_bias: bool

    def __init__(
        self,
        units: int,
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
        super().__init__(locals())
        self.recurrent_activation = activations.get(recurrent_activation)
        self.unit_forget_bias = unit_forget_bias

    def _initial_bias(self, shape: Sequence[int], dtype: DType = None) -> Tensor:
        if not self.unit_forget_bias:
            return self.bias_initializer(shape, dtype=dtype)
        # Jozefowicz et al. 2015: a gate that begins open learns long dependencies.
        inputs = self.bias_initializer((self.units,), dtype=dtype)
        rest = self.bias_initializer((2 * self.units,), dtype=dtype)
        return torch.cat([inputs, torch.ones_like(inputs), rest])

    @property
    def _kernel_function(self) -> Callable[..., Any] | None:
        if self.activation in _TANH and self.recurrent_activation in _SIGMOID:
            return torch.lstm
        return None

    def _find_kernel(self, sequences: Tensor) -> Callable[..., Any] | None:
        # AOTAutograd cannot save what oneDNN's LSTM leaves for the backward pass.
        compiling = torch.compiler.is_compiling() and torch.is_grad_enabled()
        if compiling and sequences.device.type == "cpu":
            return None
        return super()._find_kernel(sequences)

    def _hold_carry(
        self, sequences: Tensor, weights: list[Tensor], padding: Tensor
    ) -> tuple[Tensor, list[Tensor]]:
        # One more input, 1 at padding, opens the forget gate and shuts the input gate:
        # the last carry is the one before the padding, with no packing and no sync.
        closed = weights[0].new_zeros(4, self.units)
        closed[0], closed[1] = -_SATURATED, _SATURATED
        extra = padding.unsqueeze(-1).to(sequences.dtype)
        weight = torch.cat([weights[0], closed.view(-1, 1)], 1)
        return torch.cat([sequences, extra], -1), [weight, *weights[1:]]

    def _step(self, projected: Tensor, states: list[Tensor]) -> tuple[Tensor, Any]:
        hidden, carry = states
        taken, kept, new, shown = (projected + self._recur(hidden)).chunk(4, -1)
        gate = self.recurrent_activation
        carry = gate(kept) * carry + gate(taken) * self.activation(new)
        hidden = gate(shown) * self.activation(carry)
        return hidden, [hidden, carry]


@layers.register()
class GRUCell(Cell):
    """One step of `GRU`, whose arguments it takes.

    Source: Cho et al. 2014, https://arxiv.org/abs/1406.1078.

    Shape:
        inputs ``(batch, inputs)`` and states ``[(batch, units)]`` to an output
        ``(batch, units)`` and new states. The weights are those of an `nn.GRU` in
        ``cell.gru``; Keras orders the gates update, reset, new.

    Raises:
        ValueError: when `units` is not positive or a rate is outside ``[0, 1]``.

    Example:
        >>> cell = GRUCell(4)
        >>> output, states = cell(torch.ones(2, 3), cell.get_initial_state(2))
        >>> output.shape, len(states)
        (torch.Size([2, 4]), 1)
    """

    _noun = "gru"
    _module_class = nn.GRU
    _gates = 3
    _kernel_layout = _SWAPPED_TRANSPOSED

    gru: nn.GRU
    recurrent_activation: Callable[[Tensor], Tensor]
    reset_after: bool

    def __init__(
        self,
        units: int,
        activation: ActivationLike = "tanh",
        recurrent_activation: ActivationLike = "sigmoid",
        use_bias: bool = True,
        kernel_initializer: InitializerLike = "glorot_uniform",
        recurrent_initializer: InitializerLike = "orthogonal",
        bias_initializer: InitializerLike = "zeros",
        kernel_regularizer: RegularizerLike = None,
        recurrent_regularizer: RegularizerLike = None,
        bias_regularizer: RegularizerLike = None,
        kernel_constraint: ConstraintLike = None,
        recurrent_constraint: ConstraintLike = None,
        bias_constraint: ConstraintLike = None,
        dropout: float = 0.0,
        recurrent_dropout: float = 0.0,
        reset_after: bool = True,
        seed: int | None = None,
        **kwargs: Any,
    ) -> None:
        super().__init__(locals())
        self.recurrent_activation = activations.get(recurrent_activation)
        self.reset_after = reset_after
        self._has_two_biases = reset_after
        self._bias_layout = _SWAPPED_PAIR if reset_after else _SWAPPED

    @property
    def _kernel_function(self) -> Callable[..., Any] | None:
        standard = self.activation in _TANH and self.recurrent_activation in _SIGMOID
        return torch.gru if standard and self.reset_after else None

    def _step(self, projected: Tensor, states: list[Tensor]) -> tuple[Tensor, Any]:
        hidden = states[0]
        reset, update, new = projected.chunk(3, -1)
        gate = self.recurrent_activation
        if self.reset_after:
            to_reset, to_update, to_new = self._recur(hidden).chunk(3, -1)
            new = self.activation(new + gate(reset + to_reset) * to_new)
        else:
            to_reset, to_update = self._recur(hidden, 0, 2).chunk(2, -1)
            heard = gate(reset + to_reset) * hidden
            new = self.activation(new + self._recur(heard, 2, 3))
        update = gate(update + to_update)
        hidden = update * hidden + (1 - update) * new
        return hidden, [hidden]


@layers.register()
class StackedRNNCells(Outer):
    """Cells on top of each other, each fed with the outputs of the one below.

    Args:
        cells: the cells, from the lowest up.

    Raises:
        ValueError: for a cell without `call` or `state_size`.

    Example:
        >>> cell = StackedRNNCells([GRUCell(8), LSTMCell(4)])
        >>> output, states = cell(torch.ones(2, 3), cell.get_initial_state(2))
        >>> output.shape, cell.state_size
        (torch.Size([2, 4]), [8, [4, 4]])
    """

    casts_integers = True

    cells: Any

    def __init__(self, cells: Sequence[Any], **kwargs: Any) -> None:
        super().__init__(**kwargs)
        for cell in cells:
            check_cell("StackedRNNCells", cell)
        modules = all(isinstance(cell, nn.Module) for cell in cells)
        self.cells = nn.ModuleList(cells) if modules else list(cells)

    def build(self, input_shape: tuple[int | None, ...]) -> None:
        for cell in self.cells:
            if isinstance(cell, Layer) and not cell._built:
                cell.build(input_shape)
            input_shape = (input_shape[0], output_size_of(cell))

    @property
    def state_size(self) -> list[Any]:
        """The sizes of the states of each cell."""
        return [cell.state_size for cell in self.cells]

    @property
    def output_size(self) -> int:
        """The size of the outputs of the last cell."""
        return output_size_of(self.cells[-1])

    def get_initial_state(self, batch_size: int | None = None) -> list[Any]:
        """Return the initial states of each cell for a batch."""
        return [first_states(cell, batch_size) for cell in self.cells]

    def call(self, inputs: Tensor, states: Any) -> tuple[Tensor, list[Any]]:
        new_states = []
        for cell, own in zip(self.cells, states, strict=True):
            nested = tree.is_nested(own)
            inputs, new = cell(inputs, own if nested else [own])
            new_states.append(new if nested else tree.flatten(new)[0])
        return inputs, new_states

    def reset_dropout_mask(self) -> None:
        """Draw new masks for the inputs of the cells at the next step."""
        reset_masks(self.cells)

    reset_recurrent_dropout_mask = reset_dropout_mask

    def get_config(self) -> dict[str, Any]:
        return {**super().get_config(), "cells": serialize_object(list(self.cells))}


def check_cell(owner: str, cell: Any) -> None:
    """Refuse what is no cell."""
    for attribute in ("call", "state_size"):
        if not hasattr(cell, attribute):
            expected = f"a cell, which has a `{attribute}`"
            raise ValueError(invalid_argument(owner, "cell", expected, cell))


def output_size_of(cell: Any) -> int:
    """Return the size of the outputs, that of the first state where nothing is said."""
    size = getattr(cell, "output_size", None)
    if size is None:
        sizes = cell.state_size
        size = sizes[0] if tree.is_nested(sizes) else sizes
    return size


def first_states(cell: Any, batch_size: int | None) -> Any:
    """Return the initial states of a cell: zeros where it does not give them."""
    if hasattr(cell, "get_initial_state"):
        return cell.get_initial_state(batch_size=batch_size)
    return tree.map_structure(
        lambda size: torch.zeros(batch_size or 0, size), cell.state_size
    )


def reset_masks(cells: Iterable[Any]) -> None:
    """Let cells draw new dropout masks."""
    for cell in cells:
        for kind in ("dropout", "recurrent_dropout"):
            reset = getattr(cell, f"reset_{kind}_mask", None)
            if reset is not None:
                reset()
