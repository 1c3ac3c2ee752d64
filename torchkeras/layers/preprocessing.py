"""Layers that prepare inputs."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from torch import Tensor

from torchkeras._core import config
from torchkeras._core.dtypes import DTYPES
from torchkeras.layers.layer import Layer, layers


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

    casts_integers = True

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
