"""Operations on tensors, arrays, numbers and symbolic tensors, with Keras's names.

Each name is listed once, in the file that defines it.
"""

from typing import TYPE_CHECKING

from torchkeras._core.missing import explain_missing
from torchkeras.ops import core, einops, image, linalg, math, nn, numpy
from torchkeras.ops.core import *
from torchkeras.ops.einops import *
from torchkeras.ops.linalg import *
from torchkeras.ops.math import *
from torchkeras.ops.nn import *
from torchkeras.ops.numpy import *

__all__ = ["image", "linalg", "nn", "numpy"]
__all__ += core.__all__
__all__ += einops.__all__
__all__ += linalg.__all__
__all__ += math.__all__
__all__ += nn.__all__
__all__ += numpy.__all__

if not TYPE_CHECKING:
    __getattr__ = explain_missing(__name__)
