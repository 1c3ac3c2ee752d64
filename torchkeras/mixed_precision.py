"""Mixed precision under Keras's names; `torch.autocast` does the work."""

from typing import TYPE_CHECKING

from torchkeras._core.dtypes import DTypePolicy, dtype_policy, set_dtype_policy
from torchkeras._core.dtypes import DTypePolicy as Policy
from torchkeras._core.dtypes import dtype_policy as global_policy
from torchkeras._core.dtypes import set_dtype_policy as set_global_policy
from torchkeras._core.missing import explain_missing
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

if not TYPE_CHECKING:
    __getattr__ = explain_missing(__name__)
