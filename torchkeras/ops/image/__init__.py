"""Functions of images."""

from torchkeras.ops.image import color, geometry, resizing
from torchkeras.ops.image.color import *
from torchkeras.ops.image.geometry import *
from torchkeras.ops.image.resizing import *

__all__: list[str] = []
__all__ += color.__all__
__all__ += geometry.__all__
__all__ += resizing.__all__
