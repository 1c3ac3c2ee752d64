"""`RNN`: a cell, of your own too, repeated over the steps of sequences."""

from __future__ import annotations

import functools
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor

from torchkeras._core import gate, torch_private, tree
from torchkeras._core.input_spec import InputSpec
from torchkeras._core.registry import serialize_object
from torchkeras._core.typing import Mask
from torchkeras._core.variable import Variable
from torchkeras.layers._masks import as_step_mask
from torchkeras.layers.layer import Layer, layers
from torchkeras.layers.recurrent.cells import (
    Cell,
    Outer,
    StackedRNNCells,
    check_cell,
    first_states,
    output_size_of,
    reset_masks,
)


class OverSequences(Outer):
    """The base of layers that are called on sequences, and may be on states too."""

    @gate.takes_whole_config
    def build_from_config(self, config: dict[str, Any]) -> None:
        # Keras stores the shapes of all arguments where an initial state was given.
        shapes = config.get("shapes_dict", config)
        shape = shapes.get("input_shape", shapes.get("sequences_shape"))
        super().build_from_config({"input_shape": shape})


@layers.register()
class RNN(OverSequences):
    """A cell repeated over the steps of sequences.

    A cell has ``call(inputs, states)``, which returns an output and the new states, and
    `state_size`, a number or a list of numbers. It may have `output_size`, and
    ``get_initial_state(batch_size=)`` where the initial states are not zeros.

    Args:
        cell: the cell, or a list of cells to stack.
        return_sequences: whether to return the outputs of all steps, not only the last.
        return_state: whether to return the last states after the outputs.
        go_backwards: whether to read the sequences from their end.
        stateful: whether a batch begins with the states at the end of the one before.
        unroll: accepted; the loop over the steps is always a plain one.
        zero_output_for_mask: whether the outputs of masked steps are zeros, and not
            those of the step before.

    Shape:
        ``(batch, time, inputs)`` to ``(batch, units)``, or ``(batch, time, units)``
        with `return_sequences`; then each state, with `return_state`. Also called with
        ``initial_state=[...]`` and ``mask=`` of shape ``(batch, time)``.

    Raises:
        ValueError: for a cell without `call` or `state_size`.

    Example:
        >>> from torchkeras.layers.recurrent.cells import GRUCell
        >>> layer = RNN(GRUCell(4), return_sequences=True, return_state=True)
        >>> outputs, state = layer(torch.ones(2, 5, 3))
        >>> outputs.shape, state.shape
        (torch.Size([2, 5, 4]), torch.Size([2, 4]))
    """

    casts_integers = True
    _makes_mask = False

    cell: Any
    return_sequences: bool
    return_state: bool
    go_backwards: bool
    stateful: bool
    unroll: bool
    zero_output_for_mask: bool
    state_size: list[Any]
    _state_structure: Any

    def __init__(
        self,
        cell: Any,
        return_sequences: bool = False,
        return_state: bool = False,
        go_backwards: bool = False,
        stateful: bool = False,
        unroll: bool = False,
        zero_output_for_mask: bool = False,
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        if isinstance(cell, (list, tuple)):
            cell = StackedRNNCells(cell, name="stacked_rnn_cells")
        check_cell(type(self).__name__, cell)
        self.cell = cell
        self.return_sequences = return_sequences
        self.return_state = return_state
        self.go_backwards = go_backwards
        self.stateful = stateful
        self.unroll = unroll
        self.zero_output_for_mask = zero_output_for_mask
        self.supports_masking = True
        self.input_spec = InputSpec(min_ndim=3)
        sizes = cell.state_size
        self.state_size = list(sizes) if tree.is_nested(sizes) else [sizes]

    def build(self, input_shape: tuple[int | None, ...]) -> None:
        if isinstance(self.cell, Layer) and not self.cell._built:
            self.cell.build((input_shape[0], *input_shape[2:]))
        if isinstance(self.cell, Cell):
            features = self.cell._tensor("weight_ih_l0").shape[1]
            self.input_spec = InputSpec(ndim=3, axes={-1: features})
        if not self.stateful or self.states is not None:
            return
        if input_shape[0] is None:
            raise ValueError(
                f"Layer '{self.name}' ({type(self).__name__}): `stateful=True` needs a "
                f"fixed batch size, got an input of shape {tuple(input_shape)}. Give "
                "it, as in `Input(batch_shape=(32, 10, 8))`."
            )
        states = self.get_initial_state(input_shape[0])
        self._state_structure = tree.map_structure(lambda _: 0, states)
        for index, state in enumerate(tree.flatten(states)):
            kept = Variable(state, trainable=False, name="rnn_state")
            kept.path = f"{self.name}/rnn_state"
            self.register_buffer(f"state_{index}", kept, persistent=False)

    def call(
        self, sequences: Tensor, initial_state: Any = None, mask: Mask = None
    ) -> Any:
        states = self._first_states(sequences, initial_state)
        if isinstance(mask, (list, tuple)):
            mask = mask[0]  # of the sequences; those of initial states say nothing
        if mask is not None:
            mask = as_step_mask(self, mask, sequences)
        if self.go_backwards:
            sequences = sequences.flip(1)
            mask = None if mask is None else mask.flip(1)
        if self.training:
            reset_masks([self.cell])
        outputs, states = self._advance(
            self.cell, sequences, states, mask, self.return_sequences
        )
        if self.stateful:
            self._keep(states)
        if (dtype := self._autocast_dtype(sequences)) is not None:
            outputs, *states = tree.map_structure(
                lambda tensor: tensor.to(dtype), [outputs, *states]
            )
        return (outputs, *states) if self.return_state else outputs

    # Running a cell: the outputs, of all steps or of the last, and the last states

    def _advance(
        self,
        cell: Any,
        sequences: Tensor,
        states: list[Any],
        mask: Tensor | None,
        all_steps: bool,
    ) -> tuple[Tensor, list[Any]]:
        if _is_stack(cell):
            return self._advance_stack(cell.cells, sequences, states, mask, all_steps)
        if not _is_split(cell):
            return self._loop(cell, sequences, states, mask, all_steps)
        self._check_shapes(cell, sequences, states)
        kernel = cell._find_kernel(sequences)
        if kernel is None:
            inputs = cell._project(sequences)
            return self._loop(cell._step, inputs, states, mask, all_steps)
        if mask is not None:
            run = functools.partial(cell._run_sequences, kernel)
            return self._run_masked(run, sequences, states, mask, all_steps)
        outputs, states = cell._run_sequences(kernel, sequences, states)
        return (outputs if all_steps else states[0]), states

    def _advance_stack(
        self,
        cells: Sequence[Cell],
        sequences: Tensor,
        states: list[Any],
        mask: Tensor | None,
        all_steps: bool,
    ) -> tuple[Tensor, list[Any]]:
        # A cell can read all steps before the one above it begins.
        new_states = []
        for index, (cell, own) in enumerate(zip(cells, states, strict=True)):
            nested = tree.is_nested(own)
            sequences, new = self._advance(
                cell,
                sequences,
                list(own) if nested else [own],
                mask,
                all_steps or index < len(cells) - 1,
            )
            new_states.append(new if nested else new[0])
        return sequences, new_states

    def _loop(
        self,
        step: Callable[..., Any],
        sequences: Tensor,
        states: list[Any],
        mask: Tensor | None,
        all_steps: bool,
    ) -> tuple[Tensor, list[Any]]:
        outputs: list[Tensor] = []
        keep = None if mask is None else mask.unbind(1)
        for index, inputs in enumerate(sequences.unbind(1)):
            output, new_states = step(inputs, states)
            if keep is not None:
                no_output = self.zero_output_for_mask or not outputs
                before = torch.zeros_like(output) if no_output else outputs[-1]
                old = [before, *tree.flatten(states)]
                new = [output, *tree.flatten(new_states)]
                output, *new_states = (
                    _choose(keep[index], *pair) for pair in zip(new, old, strict=True)
                )
            # A cell may return its states in another structure than it takes them.
            leaves = iter(tree.flatten(new_states))
            states = tree.map_structure(lambda _: next(leaves), states)  # noqa: B023
            outputs.append(output)
        return (torch.stack(outputs, 1) if all_steps else outputs[-1]), states

    def _run_masked(
        self,
        run: Callable[..., Any],
        sequences: Tensor,
        states: list[Tensor],
        mask: Tensor,
        all_steps: bool,
    ) -> tuple[Tensor, list[Tensor]]:
        """Run full sequences, and take what the last valid step of each row left.

        That is three times as fast as packing them, and waits for no device. Steps
        that are skipped do not change the states: moving them behind the others gives
        the same numbers for a mask of any form.
        """
        seen = mask.cumsum(1)
        counts = seen[:, -1:]
        if not _is_right_padded(mask):
            order = torch.argsort((~mask).to(torch.uint8), dim=1, stable=True)
            sequences = _take_steps(sequences, order)
        padding = None
        if len(states) > 1 and (self.return_state or self.stateful):
            padding = torch.arange(mask.shape[1], device=mask.device) >= counts
        outputs, ends = run(sequences, states, padding)
        last = _take_steps(outputs, (counts - 1).clamp(min=0))
        any_seen = counts > 0
        states = [
            torch.where(any_seen, end, start)
            for end, start in zip([last.squeeze(1), *ends[1:]], states, strict=True)
        ]
        if not all_steps:
            shown = mask[:, -1:] if self.zero_output_for_mask else any_seen
            return torch.where(shown, last.squeeze(1), 0), states
        outputs = _take_steps(outputs, (seen - 1).clamp(min=0))
        shown = mask if self.zero_output_for_mask else seen > 0
        return torch.where(shown.unsqueeze(-1), outputs, 0), states

    def _check_shapes(
        self, cell: Cell, sequences: Tensor, states: list[Tensor]
    ) -> None:
        # Torch's kernels check no sizes: they would read beyond the tensors.
        features = cell._tensor("weight_ih_l0").shape[1]
        shape = sequences.shape
        if len(shape) != 3 or shape[1] == 0 or shape[2] != features:
            raise ValueError(
                f"Layer '{self.name}' ({type(self).__name__}): expected an input of "
                f"shape (batch, time, {features}) of at least one step, got "
                f"{tuple(shape)}."
            )
        expected = (shape[0], cell.units)
        for state in states:
            if state.shape != expected:
                raise ValueError(
                    f"Layer '{self.name}' ({type(self).__name__}): expected an initial "
                    f"state of shape {expected}, got {tuple(state.shape)}."
                )

    # States

    def _first_states(self, sequences: Tensor, initial_state: Any) -> list[Any]:
        kept = self.states if self.stateful else None
        if kept is not None:
            self._check_batch_size(sequences, kept)
        if initial_state is None:
            if kept is not None:
                # Training saves them, and `_keep` overwrites them.
                states = tree.map_structure(torch.clone, kept)
            else:
                states = self.get_initial_state(sequences.shape[0])
        else:
            self._check_number(initial_state)
            states = _as_list(initial_state)
        return [_fit(state, sequences) for state in states]

    def _check_number(self, states: Any) -> None:
        expected, got = len(tree.flatten(self.state_size)), len(tree.flatten(states))
        if expected != got:
            raise ValueError(
                f"Layer '{self.name}' ({type(self).__name__}): `initial_state` must be "
                f"{expected} tensor(s) of sizes {self.state_size}, got {got}."
            )

    def _check_batch_size(self, sequences: Tensor, states: list[Any]) -> None:
        expected, got = len(tree.flatten(states)[0]), len(sequences)
        if expected != got:
            raise ValueError(
                f"Layer '{self.name}' ({type(self).__name__}) is stateful: expected a "
                f"batch of {expected}, as it was built with, got {got}. Keep the batch "
                "size, and drop or pad the last batch."
            )

    @property
    def states(self) -> list[Any] | None:
        """The states at the end of the last batch; None if not `stateful`, or not yet.

        They are weights that are neither trained nor saved: ``state.assign(value)``.
        """
        if "state_0" not in self._buffers:
            return None
        leaves = (b for name, b in self._buffers.items() if name.startswith("state_"))
        return tree.map_structure(lambda _: next(leaves), self._state_structure)

    @states.setter
    def states(self, values: Any) -> None:
        self.reset_states(values)

    def _keep(self, states: list[Any]) -> None:
        with torch.no_grad():
            for kept, new in zip(
                tree.flatten(self.states), tree.flatten(states), strict=True
            ):
                kept.copy_(new)

    def check_states(self, values: Any) -> None:
        """Refuse what the states cannot be replaced by.

        Raises:
            ValueError: for states of other shapes, and where the layer has none.
        """
        kept = tree.flatten(self.states or [])
        where = f"Layer '{self.name}' ({type(self).__name__})"
        if not kept:
            missing = "to be built first" if self.stateful else "`stateful=True`"
            raise ValueError(f"{where}: no states to replace; it needs {missing}.")
        shapes = [tuple(np.shape(value)) for value in tree.flatten(values)]
        expected = [tuple(state.shape) for state in kept]
        if shapes != expected:
            raise ValueError(
                f"{where}: expected states of shapes {expected}, got {shapes}. Nothing "
                "was changed."
            )

    def reset_state(self) -> None:
        """Begin the next batch with states of zeros."""
        with torch.no_grad():
            for state in tree.flatten(self.states or []):
                state.zero_()

    def reset_states(self, states: Any = None) -> None:
        """Begin the next batch with given states, zeros by default.

        Args:
            states: a list of values in the structure of ``layer.states``.

        Raises:
            ValueError: for states of other shapes, and where the layer has none.
        """
        if states is None:
            self.reset_state()
            return
        self.check_states(states)
        for state, value in zip(
            tree.flatten(self.states), tree.flatten(states), strict=True
        ):
            state.assign(value)

    def get_initial_state(self, batch_size: int) -> list[Any]:
        """Return the states that a batch begins with."""
        return _as_list(first_states(self.cell, batch_size))

    # What Keras's layers say of themselves

    def compute_mask(self, inputs: Any, mask: Mask = None) -> Any:  # pyright: ignore[reportIncompatibleMethodOverride]
        masks = tree.flatten(mask)
        output_mask = masks[0] if self.return_sequences and masks else None
        if self.return_state:
            return [output_mask, *(None for _ in self.state_size)]
        return output_mask

    def compute_output_shape(self, input_shape: Any) -> Any:
        # The shapes are known without a run over all steps.
        batch, time = input_shape[0], input_shape[1]
        steps = (time,) if self.return_sequences else ()
        output = (batch, *steps, output_size_of(self.cell))
        if not self.return_state:
            return output
        states = tree.map_structure(
            lambda state: (batch, *state.shape[1:]), self.get_initial_state(1)
        )
        return (output, *states)

    def get_config(self) -> dict[str, Any]:
        config = super().get_config()
        config["cell"] = serialize_object(self.cell)
        return config


def _is_split(cell: Any) -> bool:
    """Say whether a cell does what `Cell` does, or has a `call` of its own."""
    return isinstance(cell, Cell) and type(cell).call is Cell.call


def _is_stack(cell: Any) -> bool:
    return type(cell) is StackedRNNCells and all(map(_is_split, cell.cells))


def _as_list(states: Any) -> list[Any]:
    return list(states) if isinstance(states, (list, tuple)) else [states]


def _fit(state: Any, sequences: Tensor) -> Any:
    """Bring a state to the device and the dtype of the sequences."""
    if isinstance(state, (list, tuple)):
        return [_fit(inner, sequences) for inner in state]
    return torch.as_tensor(state).to(sequences.device, sequences.dtype)


def _is_right_padded(mask: Tensor) -> bool:
    """Say whether padding only follows the valid steps, where looking is free."""
    if torch_private.is_traced() or mask.device.type != "cpu":
        return False
    return not bool((mask[:, 1:] > mask[:, :-1]).any())


def _take_steps(tensor: Tensor, steps: Tensor) -> Tensor:
    """Return the given steps of each row of a tensor ``(batch, time, features)``."""
    return tensor.gather(1, steps.unsqueeze(-1).expand(-1, -1, tensor.shape[-1]))


def _choose(keep: Tensor, new: Tensor, old: Tensor) -> Tensor:
    return torch.where(keep.view(-1, *[1] * (new.ndim - 1)), new, old)
