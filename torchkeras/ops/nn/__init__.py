"""Functions of neural networks."""

from torchkeras.ops.nn.activation import *
from torchkeras.ops.nn.attention import *
from torchkeras.ops.nn.classification import *
from torchkeras.ops.nn.normalization import *
from torchkeras.ops.nn.windows import *
