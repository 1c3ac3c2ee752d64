"""NumPy's functions, over tensors."""

from typing import TYPE_CHECKING

from torchkeras._core.missing import explain_missing
from torchkeras.ops.numpy import (
    arithmetic,
    creation,
    elementwise,
    indexing,
    logic,
    products,
    reductions,
    shaping,
    statistics,
)
from torchkeras.ops.numpy.arithmetic import *
from torchkeras.ops.numpy.creation import *
from torchkeras.ops.numpy.elementwise import *
from torchkeras.ops.numpy.indexing import *
from torchkeras.ops.numpy.logic import *
from torchkeras.ops.numpy.products import *
from torchkeras.ops.numpy.reductions import *
from torchkeras.ops.numpy.shaping import *
from torchkeras.ops.numpy.statistics import *

__all__: list[str] = []
__all__ += arithmetic.__all__
__all__ += creation.__all__
__all__ += elementwise.__all__
__all__ += indexing.__all__
__all__ += logic.__all__
__all__ += products.__all__
__all__ += reductions.__all__
__all__ += shaping.__all__
__all__ += statistics.__all__

if not TYPE_CHECKING:
    __getattr__ = explain_missing(__name__)
