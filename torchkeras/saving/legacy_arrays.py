"""Arrays of Keras 1 and of Theano, in the shapes and the order of Keras 3."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Sequence

import torch
from torch import Tensor, nn

from torchkeras.saving.entries import Entry

#: Keras 1 kept kernel, recurrent kernel and bias of each gate by themselves: its gates
#: in the order in which Keras 2 and 3 join them.
_GATES = {"LSTM": (0, 2, 1, 3), "GRU": (0, 1, 2)}
_CONVOLUTIONS = ("Conv1D", "Conv2D", "Conv2DTranspose")


def adapt(
    layer: nn.Module,
    entries: list[Entry],
    shapes: Sequence[tuple[int, ...]],
    by_theano: bool,
) -> list[Entry]:
    """Return a layer's tensors as the layer expects them.

    Args:
        layer: the layer.
        entries: its tensors in the file.
        shapes: the shapes that it expects.
        by_theano: whether Theano wrote the file, which turns kernels around.
    """
    name = type(layer).__name__
    inner = type(getattr(layer, "forward_layer", layer)).__name__
    if inner in _GATES and len(entries) > len(shapes):
        halves = 2 if name == "Bidirectional" else 1
        size = len(entries) // halves
        parts = [entries[i : i + size] for i in range(0, len(entries), size)]
        return [entry for part in parts for entry in _join_gates(part, _GATES[inner])]
    if name in _CONVOLUTIONS and entries and shapes:
        return [_adapt_kernel(entries[0], shapes[0], by_theano), *entries[1:]]
    return entries


def _join_gates(entries: list[Entry], order: tuple[int, ...]) -> list[Entry]:
    if len(entries) != 3 * len(order):
        return entries
    joined = []
    for kind in range(3):
        gates = [entries[3 * gate + kind] for gate in order]
        width = sum(gate.shape[-1] for gate in gates)
        joined.append(
            dataclasses.replace(
                gates[0],
                shape=(*gates[0].shape[:-1], width),
                fetch=lambda gates=gates: torch.cat([g.read() for g in gates], -1),
                checksum=None,
            )
        )
    return joined


def _adapt_kernel(entry: Entry, shape: tuple[int, ...], by_theano: bool) -> Entry:
    if len(shape) == 3 and len(entry.shape) == 4:
        if entry.shape[1] == 1:  # (length, 1, inputs, filters)
            entry = _map(entry, lambda t: t[:, 0])
        elif entry.shape[3] == 1:  # (filters, inputs, length, 1)
            entry = _map(entry, lambda t: t[..., 0].permute(2, 1, 0))
    elif len(shape) == 4 and entry.shape == (shape[3], shape[2], *shape[:2]) != shape:
        entry = _map(entry, lambda t: t.permute(2, 3, 1, 0))
    if by_theano:
        entry = _map(entry, lambda t: t.flip(list(range(t.ndim - 2))))
    return entry


def _map(entry: Entry, change: Callable[[Tensor], Tensor]) -> Entry:
    shape = tuple(change(torch.empty(entry.shape, device="meta")).shape)
    return dataclasses.replace(
        entry, shape=shape, fetch=lambda: change(entry.read()), checksum=None
    )
