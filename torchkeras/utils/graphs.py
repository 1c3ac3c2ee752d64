"""What symbolic tensors come from."""

from __future__ import annotations

from typing import Any

from torchkeras._core.symbolic import KerasTensor
from torchkeras.layers.core import InputLayer


def get_source_inputs(tensor: Any) -> Any:
    """Return the inputs that a symbolic tensor is computed from, each once, in a list.

    Anything that is not symbolic comes back as it is, as in Keras.

    Args:
        tensor: a symbolic tensor.

    Example:
        >>> from torchkeras.layers import Add, Input
        >>> a, b = Input((4,), name="a"), Input((4,), name="b")
        >>> [source.name for source in get_source_inputs(Add()([a, b + a]))]
        ['a', 'b']
    """
    if not isinstance(tensor, KerasTensor):
        return tensor
    sources: dict[KerasTensor, None] = {}
    seen: set[KerasTensor] = set()
    waiting = [tensor]
    while waiting:  # the leftmost first, which gives Keras's order
        current = waiting.pop()
        if current in seen:
            continue
        seen.add(current)
        node = current.history
        if node is None:
            sources[current] = None
        elif isinstance(node.op, InputLayer):
            sources.update(dict.fromkeys(node.outputs))
        else:
            waiting.extend(reversed(node.inputs))
    return list(sources)
