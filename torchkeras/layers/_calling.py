"""What the general way of a call does around `call`: arrays, dtypes, masks."""

from __future__ import annotations

import contextlib
import warnings
from collections.abc import Iterator
from typing import Any

import numpy as np
import torch
from torch import Tensor

from torchkeras._core import config, dtypes, tree
from torchkeras._core.context import context
from torchkeras._core.convert import as_array
from torchkeras._core.strings import as_strings, is_strings
from torchkeras._core.symbolic import KerasTensor
from torchkeras._core.variable import WeightView
from torchkeras.layers._state import LayerState, layers_in


def convert(
    layer: LayerState, args: tuple[Any, ...], kwargs: dict[str, Any]
) -> tuple[tuple[Any, ...], dict[str, Any]]:
    """Turn arrays into tensors and cast them to the compute dtype."""
    target = dtypes.DTYPES.get(layer.compute_dtype)

    def from_array(leaf: Any) -> Any:
        return _from_array(layer, leaf)

    def convert(leaf: Any) -> Any:
        leaf = from_array(leaf)
        if not isinstance(leaf, Tensor) or leaf.dtype == target:
            return leaf
        floating = leaf.is_floating_point()
        casts = layer.autocast and (floating or layer.casts_integers)
        if not casts or leaf.dtype in layer.index_dtypes:
            return leaf
        # Autocast leaves float64 alone, which meets weights of another dtype.
        narrow = floating and leaf.dtype != torch.float64
        if narrow and _is_cast_by_torch(layer, leaf.device.type):
            return leaf
        cast = leaf.to(target)
        if (mask := getattr(leaf, "_keras_mask", None)) is not None:
            cast._keras_mask = mask  # type: ignore[attr-defined]
        return cast

    if args and isinstance(args[0], (list, tuple, dict, str, bytes)):
        args = (_with_arrays(args[0]), *args[1:])
    return tree.map_structure(convert, args), {
        # A mask says which, it is not computed with.
        k: tree.map_structure(from_array if k.endswith("mask") else convert, v)
        for k, v in kwargs.items()
    }


def _from_array(layer: LayerState, leaf: Any) -> Any:
    """Return an array of numbers as a tensor, one of strings if the layer takes it."""
    if isinstance(leaf, WeightView):
        return leaf.value
    if isinstance(leaf, KerasTensor):
        if leaf.static_dtype == dtypes.STRING:
            _check_takes_strings(layer)
        return leaf
    if isinstance(leaf, Tensor) or not hasattr(leaf, "__array__"):
        return leaf
    if is_strings(leaf):
        _check_takes_strings(layer)
        return as_strings(leaf)
    array = _readable(layer.name, leaf)
    if not array.flags.writeable or min(array.strides, default=0) < 0:
        array = array.copy()  # as columns of pandas are: torch shares no such memory
    leaf = torch.as_tensor(array)
    device = next((t.device for t in _tensors(layer)), None)
    return leaf.to(device or config.default_device())


def precision(
    layer: LayerState, args: tuple[Any, ...]
) -> contextlib.AbstractContextManager[Any]:
    """Return the context to compute in: the caller's, unless a policy is mixed."""
    if layer._dtype_policy.is_mixed or _is_within_mixed():
        return dtypes.autocast(layer._dtype_policy, _device_type(args))
    return contextlib.nullcontext()


def _is_within_mixed() -> bool:
    """Say whether a layer of a mixed policy calls: autocast is its own then."""
    return any(layer._dtype_policy.is_mixed for layer in context.call_stack)


def _is_cast_by_torch(layer: LayerState, device_type: str) -> bool:
    """Say whether autocast chooses the dtypes of what the layer computes."""
    if layer._dtype_policy.is_mixed:
        return True
    active = dtypes.autocast_dtype(device_type) is not None
    return active and not _is_within_mixed()


def autocast_dtype(layer: LayerState, inputs: Tensor) -> torch.dtype | None:
    """Return the dtype that autocast, or the mixed policy, computes in."""
    if layer._dtype_policy.is_mixed:
        return dtypes.DTYPES[layer.compute_dtype]
    return dtypes.autocast_dtype(inputs.device.type)


def _tensors(layer: LayerState) -> Iterator[Tensor]:
    yield from layer.parameters()
    yield from layer.buffers()


def _device_type(args: tuple[Any, ...]) -> str:
    leaves = tree.flatten(args)
    return next((x.device.type for x in leaves if isinstance(x, Tensor)), "cpu")


def ends_mask(layer: LayerState, mask: Any) -> bool:
    """Say whether a mask goes no further than this layer, which is warned of."""
    if mask is None or layer.supports_masking or layer._makes_mask:
        return False
    if not context.probes:  # the call that counts will say so
        warnings.warn(
            f"Layer '{layer.name}' ({type(layer).__name__}) got a mask and does not "
            "support masking: the mask ends here. Set `supports_masking = True` in "
            "your layer if it may pass it on.",
            stacklevel=5,
        )
    return True


def has_masks(outputs: Any) -> bool:
    """Say whether all outputs have masks: `call` has put them."""
    return all(
        getattr(x, "_keras_mask", None) is not None for x in tree.flatten(outputs)
    )


def attach_masks(outputs: Any, masks: Any) -> None:
    """Let the masks that a layer computed ride on its outputs."""
    if isinstance(outputs, Tensor) and isinstance(masks, Tensor):
        outputs._keras_mask = masks  # type: ignore[attr-defined]
        return
    flat = tree.flatten(masks) if tree.is_nested(masks) else [masks]
    for output, own in zip(tree.flatten(outputs), flat, strict=False):
        if own is not None:
            output._keras_mask = own


def riding_masks(args: tuple[Any, ...]) -> Any:
    """Return the masks on the first argument, in a list if it is a structure."""
    masks = [getattr(x, "_keras_mask", None) for x in tree.flatten(args[:1])]
    if all(mask is None for mask in masks):
        return None
    return masks if tree.is_nested(args[0]) else masks[0]


def _check_takes_strings(layer: LayerState) -> None:
    """Refuse strings where neither a layer nor one inside it takes them.

    Raises:
        ValueError: naming the layer.
    """
    if not any(inner.takes_strings for inner in layers_in(layer)):
        raise ValueError(
            f"Layer '{layer.name}' ({type(layer).__name__}): expected numbers, got "
            "strings. Convert them first, for example by `TextVectorization` or "
            "`StringLookup`; a layer of your own that takes arrays of strings says so "
            "by `takes_strings = True` in its class."
        )


def _with_arrays(value: Any) -> Any:
    """Return lists of numbers, and of strings, as arrays, in dicts too."""
    if isinstance(value, dict):
        return {key: _with_arrays(part) for key, part in value.items()}
    if isinstance(value, (list, tuple)) and _is_numeric(value):
        return np.asarray(value)
    strings = as_strings(value)
    if strings is value and isinstance(value, (list, tuple)):
        nested = any(isinstance(part, (list, tuple)) for part in value)
        return [_with_arrays(part) for part in value] if nested else value
    return strings


def _is_numeric(value: Any) -> bool:
    """Say whether a nested list holds numbers only."""
    leaves = tree.flatten(value)
    # `bool(leaves)` breaks the graphs that torch 2.11 compiles.
    return len(leaves) > 0 and all(
        isinstance(leaf, (int, float, bool)) for leaf in leaves
    )


def _readable(name: str, array: Any) -> np.ndarray:
    """Return an array of numbers."""
    array = as_array(array, f"Layer '{name}': the input")
    if array.dtype.kind not in "biuf":
        raise ValueError(
            f"Layer '{name}': expected numbers, got an array of dtype {array.dtype}. "
            "Convert it to numbers first."
        )
    return array
