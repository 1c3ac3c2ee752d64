"""`SimpleRNN`, `LSTM` and `GRU`: the recurrent layers that make their own cells."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from typing import Any

from torchkeras._core.errors import one_of
from torchkeras._core.input_spec import InputSpec
from torchkeras._core.naming import to_snake_case
from torchkeras._core.typing import (
    ActivationLike,
    ConstraintLike,
    InitializerLike,
    RegularizerLike,
)
from torchkeras.layers.layer import Layer, layers
from torchkeras.layers.recurrent.cells import GRUCell, LSTMCell, SimpleRNNCell
from torchkeras.layers.recurrent.rnn import RNN


class CellLayer(RNN):
    """A layer that makes its own cell and passes its attributes on."""

    use_cudnn: bool | str

    def __init__(self, cell_class: Callable[..., Layer], arguments: dict[str, Any]):
        """Share the arguments of the constructor below out: to the cell, to `RNN`.

        Args:
            cell_class: the class of the cell, which takes those that it knows.
            arguments: the arguments, as ``locals()`` has them.
        """
        own = {k: v for k, v in arguments.items() if k not in ("self", "__class__")}
        own |= own.pop("kwargs")
        known = inspect.signature(cell_class).parameters
        for_cell = {name: own.pop(name) for name in known if name in own}
        cell = cell_class(
            **for_cell,
            dtype=own.get("dtype"),
            trainable=own.get("trainable", True),
            name=to_snake_case(cell_class.__name__),
        )
        use_cudnn = own.pop("use_cudnn", None)
        super().__init__(cell, **own)
        self.input_spec = InputSpec(ndim=3)
        if use_cudnn is not None:
            owner, legal = type(self).__name__, ("auto", True, False)
            self.use_cudnn = one_of(owner, "use_cudnn", use_cudnn, legal)

    def __getattr__(self, name: str) -> Any:
        try:
            return super().__getattr__(name)
        except AttributeError:
            cell = self.__dict__.get("_modules", {}).get("cell")
            if cell is None or name.startswith("_"):
                raise
            return getattr(cell, name)

    def get_config(self) -> dict[str, Any]:
        config, cell = super().get_config(), self.cell.get_config()
        del config["cell"]
        config.pop("use_cudnn", None)  # as in Keras
        own = ("name", "trainable", "dtype")
        config = {k: cell.get(k, v) if k not in own else v for k, v in config.items()}
        return {**config, "zero_output_for_mask": self.zero_output_for_mask}


@layers.register()
class SimpleRNN(CellLayer):
    """A fully connected layer that also reads its last output.

    Source: Elman 1990, "Finding structure in time".

    Args:
        units: the size of the outputs and of the states.
        activation: a name or a function, for the outputs.
        use_bias: whether biases are added.
        kernel_initializer: gives the first kernel, of shape ``(inputs, units)``.
        recurrent_initializer: gives the first ``(units, units)`` recurrent kernel.
        bias_initializer: gives the first bias.
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
        return_sequences: whether to return the outputs of all steps, not only the last.
        return_state: whether to return the last states after the outputs.
        go_backwards: whether to read the sequences from their end.
        stateful: whether a batch begins with the states at the end of the one before.
        unroll: accepted; torch chooses how it runs.
        seed: an integer that starts a random generator of the layer's own.
        **kwargs: those of `RNN` and `Layer`.

    Shape:
        ``(batch, time, inputs)`` to ``(batch, units)``, or ``(batch, time, units)``
        with `return_sequences`; then each state, with `return_state`. Also called with
        ``initial_state=[...]`` and ``mask=`` of shape ``(batch, time)``. The weights
        are those of an `nn.RNN` in ``layer.rnn``.

    Raises:
        ValueError: when `units` is not positive or a rate is outside ``[0, 1]``.

    Example:
        >>> import torch
        >>> SimpleRNN(4)(torch.ones(2, 5, 3)).shape
        torch.Size([2, 4])
    """

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
        activity_regularizer: RegularizerLike = None,
        kernel_constraint: ConstraintLike = None,
        recurrent_constraint: ConstraintLike = None,
        bias_constraint: ConstraintLike = None,
        dropout: float = 0.0,
        recurrent_dropout: float = 0.0,
        return_sequences: bool = False,
        return_state: bool = False,
        go_backwards: bool = False,
        stateful: bool = False,
        unroll: bool = False,
        seed: int | None = None,
        **kwargs: Any,
    ) -> None:
        super().__init__(SimpleRNNCell, locals())


@layers.register()
class LSTM(CellLayer):
    """Long short-term memory (Hochreiter and Schmidhuber 1997).

    Args:
        units: the size of the outputs and of the states.
        activation: a name or a function, for the carry and the outputs.
        recurrent_activation: a name or a function, for the gates.
        use_bias: whether biases are added.
        kernel_initializer: gives the first kernel, of shape ``(inputs, 4 * units)``.
        recurrent_initializer: gives the first ``(units, 4 * units)`` recurrent kernel.
        bias_initializer: gives the first bias.
        unit_forget_bias: whether the bias of the forget gate begins at 1.
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
        unroll: accepted; torch chooses how it runs.
        use_cudnn: accepted; torch chooses, cuDNN on a GPU.
        **kwargs: those of `RNN` and `Layer`.

    Shape:
        ``(batch, time, inputs)`` to ``(batch, units)``, or ``(batch, time, units)``
        with `return_sequences`; then each state, with `return_state`. Also called with
        ``initial_state=[...]`` and ``mask=`` of shape ``(batch, time)``. The weights
        are those of an `nn.LSTM` in ``layer.lstm``.

    Raises:
        ValueError: when `units` is not positive or a rate is outside ``[0, 1]``.

    Example:
        >>> import torch
        >>> layer = LSTM(4, return_sequences=True, return_state=True)
        >>> outputs, hidden, carry = layer(torch.ones(2, 5, 3))
        >>> outputs.shape, hidden.shape, carry.shape
        (torch.Size([2, 5, 4]), torch.Size([2, 4]), torch.Size([2, 4]))
    """

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
        unroll: bool = False,
        use_cudnn: bool | str = "auto",
        **kwargs: Any,
    ) -> None:
        super().__init__(LSTMCell, locals())


@layers.register()
class GRU(CellLayer):
    """The gated recurrent unit (Cho et al. 2014).

    Args:
        units: the size of the outputs and of the states.
        activation: a name or a function, for the new content.
        recurrent_activation: a name or a function, for the gates.
        use_bias: whether biases are added.
        kernel_initializer: gives the first kernel, of shape ``(inputs, 3 * units)``.
        recurrent_initializer: gives the first ``(units, 3 * units)`` recurrent kernel.
        bias_initializer: gives the first bias.
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
        unroll: accepted; torch chooses how it runs.
        reset_after: whether the reset gate acts after the recurrent kernel, as torch's
            and cuDNN's do, or before it.
        use_cudnn: accepted; torch chooses, cuDNN on a GPU.
        **kwargs: those of `RNN` and `Layer`.

    Shape:
        ``(batch, time, inputs)`` to ``(batch, units)``, or ``(batch, time, units)``
        with `return_sequences`; then each state, with `return_state`. Also called with
        ``initial_state=[...]`` and ``mask=`` of shape ``(batch, time)``. The weights
        are those of an `nn.GRU` in ``layer.gru``.

    Raises:
        ValueError: when `units` is not positive or a rate is outside ``[0, 1]``.

    Example:
        >>> import torch
        >>> GRU(4, return_sequences=True)(torch.ones(2, 5, 3)).shape
        torch.Size([2, 5, 4])
    """

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
        unroll: bool = False,
        reset_after: bool = True,
        use_cudnn: bool | str = "auto",
        **kwargs: Any,
    ) -> None:
        super().__init__(GRUCell, locals())
