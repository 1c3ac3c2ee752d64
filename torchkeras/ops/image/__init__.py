"""Functions of images."""

from torchkeras.ops.image.color import *
from torchkeras.ops.image.geometry import *
from torchkeras.ops.image.resizing import *
