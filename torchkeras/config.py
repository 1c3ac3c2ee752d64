"""Global settings under Keras's names."""

from torchkeras._core.config import (
    backend,
    epsilon,
    floatx,
    image_data_format,
    set_default_device,
    set_epsilon,
    set_floatx,
    set_image_data_format,
)
from torchkeras._core.dtypes import dtype_policy, set_dtype_policy

__all__ = [
    "backend",
    "dtype_policy",
    "epsilon",
    "floatx",
    "image_data_format",
    "set_default_device",
    "set_dtype_policy",
    "set_epsilon",
    "set_floatx",
    "set_image_data_format",
]
