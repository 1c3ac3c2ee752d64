"""Functions of neural networks."""

from typing import TYPE_CHECKING

from torchkeras._core.missing import explain_missing
from torchkeras.ops.nn import (
    activation,
    attention,
    classification,
    normalization,
    windows,
)
from torchkeras.ops.nn.activation import *
from torchkeras.ops.nn.attention import *
from torchkeras.ops.nn.classification import *
from torchkeras.ops.nn.normalization import *
from torchkeras.ops.nn.windows import *

__all__: list[str] = []
__all__ += activation.__all__
__all__ += attention.__all__
__all__ += classification.__all__
__all__ += normalization.__all__
__all__ += windows.__all__

if not TYPE_CHECKING:
    __getattr__ = explain_missing(__name__)
