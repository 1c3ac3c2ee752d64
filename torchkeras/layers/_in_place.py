"""A ReLU that may overwrite what it is given."""

from __future__ import annotations

from typing import Any

from torch import nn

from torchkeras import activations
from torchkeras._core import torch_private

#: Torch modules whose output is new memory that their backward pass does not read.
FRESH_OUTPUT: set[type[nn.Module]] = {nn.Linear, nn.Conv1d, nn.Conv2d, nn.Conv3d}


def may_rectify_in_place(module: nn.Module, activation: Any) -> bool:
    """Say whether a ReLU may overwrite what `module` returned.

    It may where nobody else sees the output, which a hook or a module of another class
    might keep. Memory for a new image batch costs more than the ReLU.
    """
    return (
        activation is activations.relu
        and type(module) in FRESH_OUTPUT
        and not torch_private.sees_outputs(module)
    )
