"""What convolutions and poolings share: windows that slide over the spatial axes."""

from __future__ import annotations

import inspect
import types
from collections.abc import Callable, Sequence
from typing import Any, ClassVar

from torchkeras._core import tree
from torchkeras._core.input_spec import InputSpec
from torchkeras.layers.layer import Layer
from torchkeras.layers.shapes import Sizes

#: ``(batch, *spatial, channels)`` to ``(batch, channels, *spatial)``, by the number of
#: spatial axes. Of a contiguous tensor this view is torch's channels_last format.
CHANNELS_TO_FRONT = {n: (0, n + 1, *range(1, n + 1)) for n in (1, 2, 3)}
#: The way back.
CHANNELS_TO_BACK = {n: (0, *range(2, n + 2), 1) for n in (1, 2, 3)}


def with_defaults(init: Callable[..., None], **defaults: Any) -> Callable[..., None]:
    """Return a constructor that differs from `init` in the defaults of arguments only.

    Example:
        >>> def init(self, size, step=1): ...
        >>> inspect.signature(with_defaults(init, step=(1, 1)))
        <Signature (self, size, step=(1, 1))>
    """
    names = [p.name for p in inspect.signature(init).parameters.values() if p.kind == 1]
    known = dict(zip(reversed(names), reversed(init.__defaults__ or ()), strict=False))
    known |= defaults
    twin = types.FunctionType(
        init.__code__,
        init.__globals__,
        init.__name__,
        tuple(known[name] for name in names if name in known),
        init.__closure__,
    )
    twin.__annotations__ = init.__annotations__
    return twin


class WindowLayer(Layer):
    """The base of layers that slide a window over the spatial axes of their inputs."""

    rank: ClassVar[int]
    casts_integers = True

    data_format: str
    padding: str
    strides: tuple[int, ...]
    _channels_last: bool
    #: The orders of axes that torch wants, and back from it.
    _to_front: tuple[int, ...]
    _to_back: tuple[int, ...]
    #: How many channels the inputs must have, None until that is known.
    _channels: int | None

    def _window(self) -> tuple[str, tuple[int, ...], tuple[int, ...]]:
        """Return the name of the window's argument, its value, and its extent."""
        raise NotImplementedError

    def _spatial(self, shape: Sequence[Any]) -> tuple[Any, ...]:
        last = self.data_format == "channels_last"
        return tuple(shape[1:-1] if last else shape[2:])

    def _counts(self, sizes: Sizes) -> list[int]:
        """Return how many windows there are along each spatial axis."""
        axes = zip(self._spatial(sizes), self._window()[2], self.strides, strict=True)
        if self.padding == "valid":  # those that fit
            return [(n - extent) // stride + 1 for n, extent, stride in axes]
        return [-(-n // stride) for n, _, stride in axes]

    def _sizes_of(self, batch: int, counts: list[int], channels: int) -> Sizes | None:
        """Return the sizes of outputs, None where nothing would be left."""
        if min(counts) < 1:
            return None
        if self._channels_last:
            return (batch, *counts, channels)
        return (batch, channels, *counts)

    def _set_layout(self, channels: int | None = None) -> None:
        """Accept only inputs of the right rank, and of `channels` channels if given."""
        self._channels_last = self.data_format == "channels_last"
        self._to_front = CHANNELS_TO_FRONT[self.rank]
        self._to_back = CHANNELS_TO_BACK[self.rank]
        self._channels = channels
        axis = -1 if self._channels_last else 1
        self.input_spec = InputSpec(ndim=self.rank + 2, axes={axis: channels})

    def _check_inputs(self, args: tuple[Any, ...]) -> None:
        super()._check_inputs(args)
        for value in tree.flatten(args[:1]):
            self._check_window(tuple(getattr(value, "shape", ())))

    def _check_window(self, shape: tuple[int | None, ...]) -> None:
        """Refuse inputs with an axis that is smaller than the window."""
        argument, sizes, extents = self._window()
        if self.padding != "valid" or len(shape) != self.rank + 2:
            return
        pairs = zip(self._spatial(shape), extents, strict=True)
        if any(size is not None and size < extent for size, extent in pairs):
            raise ValueError(
                f"Layer '{self.name}' ({type(self).__name__}): expected spatial axes "
                f"of at least {extents} for {argument}={sizes}, "
                f"strides={self.strides}, padding={self.padding!r}, got an input of "
                f"shape {shape} in {self.data_format} order. Take a smaller "
                f"{argument}, padding='same', or larger inputs."
            )

    def input_hint(self, shape: tuple[int | None, ...]) -> str:
        """Return advice for an input that does not fit."""
        if len(shape) == self.rank + 1:
            return "Add an axis for the channels, or one for the batch."
        if self._channels is None or len(shape) != self.rank + 2:
            return ""
        if shape[1 if self._channels_last else -1] != self._channels:
            return ""
        order = "channels_first" if self._channels_last else "channels_last"
        return (
            f"The input seems to be in {order} order: make the layer with "
            f"data_format='{order}', or permute the input."
        )
