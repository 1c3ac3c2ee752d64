"""Layers that compute on the host, in Python and NumPy: of strings above all."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from torchkeras._core import config, tree
from torchkeras._core.context import context
from torchkeras.layers._state import LayerState
from torchkeras.layers.layer import Layer


class HostLayer(Layer):
    """A layer whose `compute` takes arrays, or tensors, and gives a tensor on the CPU.

    Where only shapes are asked for, only `compute_output_shape` is called; an axis that
    it does not know depends on the data. As in Keras, `compute_dtype` is the outputs'.
    """

    takes_strings = True
    computes_on_host = True

    def compute(self, inputs: Any) -> Any:
        """Return the outputs, on the CPU."""
        raise NotImplementedError

    def call(self, inputs: Any) -> Any:
        if context.probes:
            return self._stand_in(inputs)
        outputs = self.compute(inputs)
        if isinstance(outputs, Tensor):
            return outputs.to(place_for(inputs), non_blocking=True)
        return outputs

    def _stand_in(self, inputs: Any) -> Any:
        """Return what has the shape and the dtype of the outputs."""
        several = isinstance(inputs, (list, tuple))
        shapes = [tuple(x.shape) for x in (inputs if several else [inputs])]
        shape = self.compute_output_shape(shapes if several else shapes[0])
        return context.probes[-1].empty(shape, self.compute_dtype)

    def _choose_path_with(self, inner: list[LayerState]) -> None:
        self._fast_path = False  # who calls must be known: see `place_for`


def place_for(inputs: Any) -> torch.device:
    """Return the device on which what is made of inputs is wanted.

    It is that of the inputs, if there are tensors; for strings that of the innermost
    layer around the call that has tensors, else the default device.
    """
    for leaf in tree.flatten(inputs):
        if isinstance(leaf, Tensor):
            return leaf.device
    for layer in reversed(context.call_stack):
        for tensor in (*layer.parameters(), *layer.buffers()):
            return tensor.device
    return config.default_device()
