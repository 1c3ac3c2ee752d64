"""What is said when inputs do not fit a layer, or its `call` raises."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from torchkeras._core import tree
from torchkeras._core.errors import describe
from torchkeras.layers._state import LayerState

_NOTE = "Raised by layer"


def check_inputs(
    layer: LayerState, inputs: Any, hint: Callable[[tuple[int | None, ...]], str]
) -> None:
    """Check inputs against the `input_spec` of a layer.

    Args:
        layer: the layer.
        inputs: one tensor, or a structure of them.
        hint: gives advice for a shape that does not fit.

    Raises:
        ValueError: for the first that does not fit.
    """
    spec = layer.input_spec
    specs = spec if isinstance(spec, list) else [spec]
    for spec, value in zip(specs, tree.flatten(inputs), strict=False):
        if spec is None or value is None or not hasattr(value, "shape"):
            continue
        shape = tuple(value.shape)
        if problem := spec.problem(shape):
            raise ValueError(
                f"Layer '{layer.name}' ({type(layer).__name__}): {problem}, got an "
                f"input of shape {shape}. {hint(shape)}".rstrip()
            )


def is_noted(error: Exception) -> bool:
    """Say whether a layer inside has said already where an error was raised."""
    return any(note.startswith(_NOTE) for note in getattr(error, "__notes__", ()))


def note(error: Exception, layer: LayerState, args: tuple[Any, ...]) -> None:
    """Note on an error which layer raised it, called on what."""
    got = ", ".join(describe(leaf) for leaf in tree.flatten(args))
    error.add_note(f"{_NOTE} '{layer.name}' ({type(layer).__name__}) called on {got}.")
