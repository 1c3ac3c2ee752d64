"""What the library remembers between models, and how to forget it."""

from __future__ import annotations

import gc
import sys

import torch

from torchkeras._core import naming


def clear_session(free_memory: bool = True) -> None:
    """Forget names given so far and compiled code, as between unrelated models.

    Layers and models are plain objects here: nothing else keeps them alive.

    Args:
        free_memory: also collect garbage.

    Example:
        >>> from torchkeras.layers import Dense
        >>> clear_session()
        >>> Dense(1).name, Dense(1).name
        ('dense', 'dense_1')
        >>> clear_session()
        >>> Dense(1).name
        'dense'
    """
    naming.reset()
    if "torch._dynamo" in sys.modules:
        torch.compiler.reset()
    if free_memory:
        gc.collect()
