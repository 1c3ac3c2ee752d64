"""Operations on tensors, arrays, numbers and symbolic tensors, with Keras's names."""

from torchkeras.ops import image, linalg, nn, numpy
from torchkeras.ops.core import *
from torchkeras.ops.einops import *
from torchkeras.ops.image import *
from torchkeras.ops.linalg import *
from torchkeras.ops.math import *
from torchkeras.ops.nn import *
from torchkeras.ops.numpy import *
