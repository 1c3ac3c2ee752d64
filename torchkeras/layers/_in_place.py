"""When a ReLU may overwrite what it is given."""

from __future__ import annotations

from torch import nn

from torchkeras._core.torch_private import sees_outputs

#: Torch modules whose output is new memory that their backward pass does not read.
FRESH_OUTPUT: set[type[nn.Module]] = {nn.Linear, nn.Conv1d, nn.Conv2d, nn.Conv3d}


def may_overwrite_output_of(module: nn.Module) -> bool:
    """Say whether a ReLU may overwrite what `module` returned.

    It may where nobody else sees the output, which a hook or a module of another class
    might keep. Memory for a new image batch costs more than the ReLU.
    """
    return type(module) in FRESH_OUTPUT and not sees_outputs(module)
