"""Functions of images."""

from typing import TYPE_CHECKING

from torchkeras._core.missing import explain_missing
from torchkeras.ops.image import color, geometry, resizing
from torchkeras.ops.image.color import *
from torchkeras.ops.image.geometry import *
from torchkeras.ops.image.resizing import *

__all__: list[str] = []
__all__ += color.__all__
__all__ += geometry.__all__
__all__ += resizing.__all__

if not TYPE_CHECKING:
    __getattr__ = explain_missing(__name__)
