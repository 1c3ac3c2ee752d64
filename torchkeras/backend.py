"""Global settings and tests of types, under the names that older scripts use."""

from __future__ import annotations

from typing import TYPE_CHECKING

from torchkeras._core.config import (
    backend,
    epsilon,
    floatx,
    image_data_format,
    set_epsilon,
    set_floatx,
    set_image_data_format,
)
from torchkeras._core.dtypes import result_type, standardize_dtype, to_torch_dtype
from torchkeras._core.missing import explain_missing
from torchkeras._core.naming import get_uid
from torchkeras._core.symbolic import is_keras_tensor
from torchkeras._core.typing import DType
from torchkeras.utils.session import clear_session

__all__ = [
    "backend",
    "clear_session",
    "epsilon",
    "floatx",
    "get_uid",
    "image_data_format",
    "is_float_dtype",
    "is_int_dtype",
    "is_keras_tensor",
    "result_type",
    "set_epsilon",
    "set_floatx",
    "set_image_data_format",
    "standardize_dtype",
]


def is_float_dtype(dtype: DType) -> bool:
    """Return whether a dtype, given in any form, is one of real numbers.

    Example:
        >>> is_float_dtype("bfloat16"), is_float_dtype("int32")
        (True, False)
    """
    return to_torch_dtype(dtype).is_floating_point


def is_int_dtype(dtype: DType) -> bool:
    """Return whether a dtype, given in any form, is one of integers.

    Example:
        >>> is_int_dtype("uint8"), is_int_dtype("bool")
        (True, False)
    """
    return standardize_dtype(dtype).startswith(("int", "uint"))


if not TYPE_CHECKING:
    __getattr__ = explain_missing(__name__)
