"""The names of torch that it does not promise to keep, behind one door.

Each is used under the name that it has here; a torch that lacks one fails where this
module is imported, and a test says what each is needed for. The kernels over lists of
tensors have a door of their own, ``optimizers/foreach.py``.
"""

from __future__ import annotations

from typing import Any

import torch

_torch: Any = torch

#: Says whether a tensor can take another one's place; asked while modules are moved.
has_compatible_shallow_copy_type = _torch._has_compatible_shallow_copy_type
