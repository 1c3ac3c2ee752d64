"""What a layer accepts: ranks, sizes and dtypes, and the check against them."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping

from torchkeras._core.dtypes import standardize_dtype
from torchkeras._core.typing import DType


@dataclasses.dataclass
class InputSpec:
    """The rank, sizes and dtype of one input of a layer.

    Args:
        dtype: the dtype that is expected, or None for any.
        shape: the whole shape, None for axes of any size.
        ndim: the number of axes.
        max_ndim: the largest number of axes.
        min_ndim: the smallest number of axes.
        axes: sizes of single axes, such as ``{-1: 4}``.
        allow_last_axis_squeeze: accept an input whose last axis of size 1 is missing.
        name: the name of the input in a dict of inputs.
        optional: whether None may be passed.

    Example:
        >>> InputSpec(min_ndim=2, axes={-1: 4}).problem((None, 5))
        'expected size 4 on axis -1'
    """

    dtype: DType = None
    shape: tuple[int | None, ...] | None = None
    ndim: int | None = None
    max_ndim: int | None = None
    min_ndim: int | None = None
    axes: Mapping[int, int | None] | None = None
    allow_last_axis_squeeze: bool = False
    name: str | None = None
    optional: bool = False

    def __post_init__(self) -> None:
        if self.shape is not None:
            self.shape = tuple(self.shape)
            self.ndim = len(self.shape)
        self.axes = {int(k): v for k, v in (self.axes or {}).items()}

    def problem(self, shape: tuple[int | None, ...], dtype: DType = None) -> str | None:
        """Say what an input of that shape lacks, or None when it fits."""
        rank = len(shape)
        if self.allow_last_axis_squeeze and rank + 1 == len(self.shape or ()):
            shape, rank = (*shape, 1), rank + 1
        if self.ndim is not None and rank != self.ndim:
            return f"expected {self.ndim} axes"
        if self.max_ndim is not None and rank > self.max_ndim:
            return f"expected at most {self.max_ndim} axes"
        if self.min_ndim is not None and rank < self.min_ndim:
            return f"expected at least {self.min_ndim} axes"
        typed = dtype is not None and self.dtype is not None
        if typed and standardize_dtype(dtype) != standardize_dtype(self.dtype):
            return f"expected dtype {self.dtype}"
        sizes = dict(enumerate(self.shape or ())) | dict(self.axes or {})
        for axis, size in sizes.items():
            if size is not None and shape[axis] not in (size, None):
                return f"expected size {size} on axis {axis}"
        return None
