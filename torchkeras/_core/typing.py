"""What arguments may be, by the names that signatures use.

An alias says what a user may write, None for the default among it. `Any` stays where
that is meant: what functions of the user's own take and return, and structures of which
only the leaves are known.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any, Generic, Protocol, TypeAlias, TypeVar

import numpy as np
import torch
from torch import Tensor


class Policy(Protocol):
    """A dtype policy: a dtype for weights and one for the computation."""

    @property
    def variable_dtype(self) -> str:
        """The dtype of the weights."""
        ...

    @property
    def compute_dtype(self) -> str:
        """The dtype of the computation."""
        ...


T = TypeVar("T", covariant=True)


class Operators(Generic[T]):
    """What the operators of something like a tensor give, for editors.

    The class itself gets them in a loop.
    """

    if TYPE_CHECKING:
        # fmt: off
        def __add__(self, other: Any, /) -> T: ...
        def __radd__(self, other: Any, /) -> T: ...
        def __sub__(self, other: Any, /) -> T: ...
        def __rsub__(self, other: Any, /) -> T: ...
        def __mul__(self, other: Any, /) -> T: ...
        def __rmul__(self, other: Any, /) -> T: ...
        def __truediv__(self, other: Any, /) -> T: ...
        def __rtruediv__(self, other: Any, /) -> T: ...
        def __floordiv__(self, other: Any, /) -> T: ...
        def __rfloordiv__(self, other: Any, /) -> T: ...
        def __mod__(self, other: Any, /) -> T: ...
        def __rmod__(self, other: Any, /) -> T: ...
        def __pow__(self, other: Any, /) -> T: ...
        def __rpow__(self, other: Any, /) -> T: ...
        def __matmul__(self, other: Any, /) -> T: ...
        def __rmatmul__(self, other: Any, /) -> T: ...
        def __lt__(self, other: Any, /) -> T: ...
        def __le__(self, other: Any, /) -> T: ...
        def __gt__(self, other: Any, /) -> T: ...
        def __ge__(self, other: Any, /) -> T: ...
        def __neg__(self) -> T: ...
        def __abs__(self) -> T: ...
        # fmt: on


Config: TypeAlias = Mapping[str, Any]
#: A dtype: its name, the object of torch or NumPy, a type of Python's, or a policy.
DType: TypeAlias = str | torch.dtype | np.dtype[Any] | type | Policy | Config | None
#: A name, an object or function, a class or a config.
ActivationLike: TypeAlias = str | Callable[..., Any] | Config | None
InitializerLike: TypeAlias = str | Callable[..., Any] | Config | None
RegularizerLike: TypeAlias = str | Callable[..., Any] | Config | None
ConstraintLike: TypeAlias = str | Callable[..., Any] | Config | None
#: A mask of booleans, or a structure of masks for several tensors.
Mask: TypeAlias = Tensor | np.ndarray | Sequence[Any] | Config | None
#: Numbers: a tensor, an array, a nested list of numbers, or one number.
Value: TypeAlias = Tensor | np.ndarray | Sequence[Any] | float
#: Losses, metrics and factors: one, or several in a structure like that of the outputs.
LossLike: TypeAlias = str | Callable[..., Any] | Sequence[Any] | Config | None
MetricsLike: TypeAlias = Sequence[Any] | Config | None
FactorsLike: TypeAlias = float | Tensor | Sequence[Any] | Config | None
PathLike: TypeAlias = str | os.PathLike[str]
