"""Mixed precision under Keras's names; `torch.autocast` does the work."""

from torchkeras._core.dtypes import DTypePolicy, dtype_policy, set_dtype_policy
from torchkeras._core.dtypes import DTypePolicy as Policy
from torchkeras._core.dtypes import dtype_policy as global_policy
from torchkeras._core.dtypes import set_dtype_policy as set_global_policy
from torchkeras.optimizers import LossScaleOptimizer

__all__ = [
    "DTypePolicy",
    "LossScaleOptimizer",
    "Policy",
    "dtype_policy",
    "global_policy",
    "set_dtype_policy",
    "set_global_policy",
]
