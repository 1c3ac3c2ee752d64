"""NumPy's functions, over tensors."""

from torchkeras.ops.numpy.arithmetic import *
from torchkeras.ops.numpy.creation import *
from torchkeras.ops.numpy.elementwise import *
from torchkeras.ops.numpy.indexing import *
from torchkeras.ops.numpy.logic import *
from torchkeras.ops.numpy.products import *
from torchkeras.ops.numpy.reductions import *
from torchkeras.ops.numpy.shaping import *
