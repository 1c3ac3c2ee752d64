"""Layers around a layer: `Bidirectional`, `TimeDistributed` and their base."""

from __future__ import annotations

import functools
import operator
from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor
from torch.nn.modules.batchnorm import _BatchNorm

from torchkeras import ops
from torchkeras._core import tree
from torchkeras._core.errors import invalid_argument, one_of, positive_integer
from torchkeras._core.input_spec import InputSpec
from torchkeras._core.registry import serialize_object
from torchkeras._core.typing import Mask
from torchkeras._core.variable import WeightView
from torchkeras.initializers import TruncatedNormal
from torchkeras.layers.layer import Layer, layers
from torchkeras.layers.recurrent.cells import Outer
from torchkeras.layers.recurrent.rnn import RNN, OverSequences
from torchkeras.layers.shapes import Sizes

_MERGE_MODES = ("sum", "mul", "concat", "ave", None)


@layers.register()
class Wrapper(Outer):
    """The base of layers that hold another layer.

    Args:
        layer: the layer.

    Raises:
        ValueError: when it is not a layer.

    Example:
        >>> from torchkeras.layers.core import Dense
        >>> class Twice(Wrapper):
        ...     def call(self, inputs):
        ...         return self.layer(self.layer(inputs))
        >>> Twice(Dense(4))(torch.ones(2, 4)).shape
        torch.Size([2, 4])
    """

    layer: Layer

    def __init__(self, layer: Layer, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        if not isinstance(layer, Layer):
            owner, expected = type(self).__name__, "a layer"
            raise ValueError(invalid_argument(owner, "layer", expected, layer))
        self.layer = layer

    def build(self, input_shape: Any = None) -> None:
        if not self.layer._built:
            self.layer.build(input_shape)

    def get_config(self) -> dict[str, Any]:
        return {**super().get_config(), "layer": serialize_object(self.layer)}


@layers.register()
class TimeDistributed(Wrapper):
    """Applies a layer to each step of sequences.

    The steps become rows of one large batch. Only a layer that mixes the rows of a
    batch, such as a batch normalization in training, is called step by step.

    A mask of shape ``(batch, time, ...)`` reaches the layer step by step too. The mask
    of the outputs is the one that the layer leaves on its own; where it leaves none, a
    step is masked if all of it was.

    Args:
        layer: the layer.

    Shape:
        ``(batch, time, ...)`` to ``(batch, time, ...)``, what follows being changed as
        `layer` does.

    Raises:
        ValueError: for an input without an axis of steps.

    Example:
        >>> from torchkeras.layers.core import Dense
        >>> TimeDistributed(Dense(4))(torch.ones(2, 5, 3)).shape
        torch.Size([2, 5, 4])
    """

    _makes_mask = False

    #: Whether `layer` mixes the rows of a batch in training, and between batches.
    _has_batch_norm: bool
    _has_states: bool

    def __init__(self, layer: Layer, **kwargs: Any) -> None:
        super().__init__(layer, **kwargs)
        self.supports_masking = True
        self.input_spec = InputSpec(min_ndim=3)

    def build(self, input_shape: Any = None) -> None:
        super().build(_without_steps(input_shape))
        inner = list(self.layer.modules())
        self._has_batch_norm = any(isinstance(m, _BatchNorm) for m in inner)
        self._has_states = any(getattr(m, "stateful", False) for m in inner)

    def call(self, inputs: Any, mask: Mask = None) -> Any:
        size = tree.flatten(inputs)[0].shape[:2]
        known: Sequence[Any] = () if mask is None else self._check_masks(mask, size)
        options = {}
        if known and (
            "mask" in self.layer._call_arguments or self.layer.supports_masking
        ):
            options["mask"] = mask
        if self._has_states or (self._has_batch_norm and self.training):
            parts = self._step_by_step(inputs, options, size[1])
            outputs = tree.map_structure(lambda *ys: torch.stack(ys, 1), *parts)
        else:
            parts = [self._all_at_once(inputs, options)]
            outputs = tree.map_structure(lambda y: y.unflatten(0, size), parts[0])
        if known:
            self._mask_steps(known, outputs, parts, size)
        return outputs

    def _all_at_once(self, inputs: Any, options: dict[str, Any]) -> Any:
        inputs = tree.map_structure(lambda x: x.flatten(0, 1), inputs)
        if options:
            options = _map_tensors(lambda mask: mask.flatten(0, 1), options)
        return self.layer(inputs, **options)

    def _step_by_step(
        self, inputs: Any, options: dict[str, Any], steps: int
    ) -> list[Any]:
        outputs = []
        for step in range(steps):
            now, now_options = _map_tensors(
                operator.itemgetter((slice(None), step)), [inputs, options]
            )
            outputs.append(self.layer(now, **now_options))
        return outputs

    def _check_masks(self, masks: Any, size: torch.Size) -> list[Any]:
        """Return the masks that there are."""
        known = [mask for mask in tree.flatten(masks) if mask is not None]
        for mask in known:
            if mask.shape[:2] != size:
                raise ValueError(
                    f"Layer '{self.name}' (TimeDistributed): `mask` must begin with "
                    f"the axes (batch, time) of the input, {tuple(size)}, got a mask "
                    f"of shape {tuple(mask.shape)}."
                )
        return known

    @staticmethod
    def _mask_steps(
        known: Sequence[Tensor], outputs: Any, parts: list[Any], size: torch.Size
    ) -> None:
        """Put masks on the outputs: those of their parts, which `layer` gave."""
        # Where it leaves no mask, a step counts of which anything was left in.
        steps = [m.bool().flatten(2).any(2) if m.ndim > 2 else m for m in known]
        whole = functools.reduce(torch.logical_or, steps)
        leaves = map(tree.flatten, (outputs, *parts))
        for output, *pieces in zip(*leaves, strict=True):
            masks: list[Any] = [getattr(p, "_keras_mask", None) for p in pieces]
            if masks[0] is None:
                output._keras_mask = whole
            elif len(masks) == 1:
                output._keras_mask = masks[0].unflatten(0, size)
            else:
                output._keras_mask = torch.stack(masks, 1)

    def compute_mask(self, inputs: Any, previous_mask: Mask = None) -> Any:
        if previous_mask is None:
            return None
        outputs = self(inputs, mask=previous_mask)
        return tree.map_structure(lambda y: y._keras_mask, outputs)

    def input_hint(self, shape: tuple[int | None, ...]) -> str:
        """Return advice for an input that does not fit."""
        return "It needs an axis of steps after the batch: (batch, time, ...)."


@layers.register()
class Bidirectional(OverSequences):
    """Runs a recurrent layer in both directions and merges the outputs.

    Source: Schuster and Paliwal 1997, "Bidirectional recurrent neural networks".

    Args:
        layer: a recurrent layer, of which copies are made.
        merge_mode: ``"concat"``, ``"sum"``, ``"mul"``, ``"ave"``, or None for a pair.
        weights: first weights, those of the forward layer first.
        backward_layer: the layer that reads the sequences from their end, if it is to
            have other arguments than `layer`.

    Shape:
        ``(batch, time, inputs)`` to what `layer` gives, twice as wide with
        ``"concat"``; then the states of the forward and of the backward layer, if
        `layer` returns them. ``initial_state=`` takes them in the same order.

    Raises:
        ValueError: for an unknown `merge_mode`, or for two layers that do not go
            together.

    Example:
        >>> from torchkeras.layers.recurrent import LSTM
        >>> Bidirectional(LSTM(4, return_sequences=True))(torch.ones(2, 5, 3)).shape
        torch.Size([2, 5, 8])
    """

    casts_integers = True
    _makes_mask = False

    forward_layer: RNN
    backward_layer: RNN
    merge_mode: str | None
    stateful: bool
    return_sequences: bool
    return_state: bool
    _initial_weights: list[Any] | None

    def __init__(
        self,
        layer: RNN,
        merge_mode: str | None = "concat",
        weights: Any = None,
        backward_layer: RNN | None = None,
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        _check_recurrent("layer", layer)
        self.merge_mode = one_of(
            "Bidirectional", "merge_mode", merge_mode, _MERGE_MODES
        )
        self.forward_layer = _renamed(layer, "forward")
        if backward_layer is None:
            backward_layer = _renamed(layer, "backward", go_backwards=True)
        _check_recurrent("backward_layer", backward_layer)
        self.backward_layer = backward_layer
        _check_pair(self.forward_layer, self.backward_layer)
        for one in (self.forward_layer, self.backward_layer):
            one.zero_output_for_mask = one.return_sequences
        self.stateful = layer.stateful
        self.return_sequences = layer.return_sequences
        self.return_state = layer.return_state
        self.supports_masking = True
        self.input_spec = layer.input_spec
        self._initial_weights = list(weights) if weights else None

    def build(self, input_shape: Any) -> None:
        for layer in (self.forward_layer, self.backward_layer):
            if not layer._built:
                layer.build(input_shape)
        self.input_spec = self.forward_layer.input_spec
        if self._initial_weights is not None:
            values, self._initial_weights = self._initial_weights, None
            self.set_weights(values)

    def call(
        self, sequences: Tensor, initial_state: Any = None, mask: Mask = None
    ) -> Any:
        forward_options: dict[str, Any] = {} if mask is None else {"mask": mask}
        backward_options = dict(forward_options)
        if initial_state is not None:
            half = len(initial_state) // 2
            forward_options["initial_state"] = list(initial_state[:half])
            backward_options["initial_state"] = list(initial_state[half:])
        forward = self.forward_layer(sequences, **forward_options)
        backward = self.backward_layer(sequences, **backward_options)
        states: tuple[Any, ...] = ()
        if self.return_state:
            states = (*forward[1:], *backward[1:])
            forward, backward = forward[0], backward[0]
        if self.return_sequences:
            backward = backward.flip(1)
        outputs = _merge(self.merge_mode, forward, backward)
        if self.merge_mode is None:
            return (*outputs, *states)
        return (outputs, *states) if self.return_state else outputs

    @property
    def states(self) -> tuple[Any, ...] | None:
        """The states at the end of the last batch; None if not `stateful`."""
        forward, backward = self.forward_layer.states, self.backward_layer.states
        return None if forward is None or backward is None else (*forward, *backward)

    @states.setter
    def states(self, values: Any) -> None:
        self.reset_states(values)

    def reset_state(self) -> None:
        """Begin the next batch with states of zeros.

        Raises:
            AttributeError: when the layers are not stateful.
        """
        self._check_stateful()
        self.forward_layer.reset_state()
        self.backward_layer.reset_state()

    def reset_states(self, states: Any = None) -> None:
        """Begin the next batch with given states, zeros by default.

        Args:
            states: a list of values in the structure of ``layer.states``: those of the
                forward layer first.

        Raises:
            AttributeError: when the layers are not stateful.
            ValueError: for states of other shapes.
        """
        if states is None:
            self.reset_state()
            return
        self._check_stateful()
        half = len(states) // 2
        self.backward_layer.check_states(states[half:])
        self.forward_layer.reset_states(states[:half])
        self.backward_layer.reset_states(states[half:])

    def _check_stateful(self) -> None:
        if not self.stateful:
            raise AttributeError(
                f"Layer '{self.name}' (Bidirectional) has no states to reset: make its "
                "layer with `stateful=True`."
            )

    def compute_mask(self, inputs: Any, mask: Mask = None) -> Any:  # pyright: ignore[reportIncompatibleMethodOverride]
        own = self.forward_layer.compute_mask(inputs, mask)
        masks = list(own) if self.return_state else [own]
        doubled = masks[:1] if self.merge_mode else masks[:1] * 2
        masks = [*doubled, *masks[1:], *masks[1:]]
        return masks if len(masks) > 1 else masks[0]

    def compute_output_shape(self, input_shape: Any) -> Any:
        shapes = self.forward_layer.compute_output_shape(input_shape)
        output, *states = shapes if self.return_state else [shapes]
        states = [*states, *states]
        if self.merge_mode is None:
            return (output, output, *states)
        if self.merge_mode == "concat":
            output = (*output[:-1], 2 * output[-1])
        return (output, *states) if self.return_state else output

    def get_config(self) -> dict[str, Any]:
        config = super().get_config()
        del config["weights"]  # the values are saved as weights, not as an argument
        config["layer"] = serialize_object(self.forward_layer)
        config["backward_layer"] = serialize_object(self.backward_layer)
        return config


def _merge(mode: str | None, forward: Tensor, backward: Tensor) -> Any:
    if mode == "concat":
        return torch.cat([forward, backward], -1)
    if mode == "sum":
        return forward + backward
    if mode == "ave":
        return (forward + backward) / 2
    return forward * backward if mode == "mul" else (forward, backward)


def _renamed(layer: RNN, prefix: str, **changes: Any) -> RNN:
    """Return a new layer of the same arguments, called ``forward_lstm`` or the like."""
    config = layer.get_config()
    config["name"] = f"{prefix}_{layer.name.removeprefix(f'{prefix}_')}"
    return type(layer).from_config({**config, **changes})


def _check_pair(forward: RNN, backward: RNN) -> None:
    if forward.go_backwards == backward.go_backwards:
        raise ValueError(
            "Bidirectional: of `layer` and `backward_layer`, one must read sequences "
            f"from their end; got go_backwards={forward.go_backwards} for both."
        )
    for name in ("stateful", "return_sequences", "return_state"):
        one, other = getattr(forward, name), getattr(backward, name)
        if one != other:
            raise ValueError(
                f"Bidirectional: `layer` and `backward_layer` must agree on `{name}`, "
                f"got {one} and {other}."
            )


def _check_recurrent(argument: str, layer: Any) -> None:
    needed = ("go_backwards", "return_sequences", "return_state", "stateful")
    if not (isinstance(layer, Layer) and all(hasattr(layer, n) for n in needed)):
        expected = "a recurrent layer, such as LSTM(8)"
        raise ValueError(invalid_argument("Bidirectional", argument, expected, layer))


def _without_steps(shape: Any) -> Any:
    if isinstance(shape, dict):
        return {key: _without_steps(value) for key, value in shape.items()}
    if all(size is None or isinstance(size, int) for size in shape):
        return (shape[0], *shape[2:])
    return [_without_steps(inner) for inner in shape]


def _map_tensors(function: Callable[..., Any], structure: Any) -> Any:
    """Apply a function to the tensors of a structure, not to what stands for none."""
    return tree.map_structure(lambda x: None if x is None else function(x), structure)


@layers.register()
class SpectralNormalization(Wrapper):
    """Keeps the largest singular value of a layer's kernel at 1, in training.

    At each call in training the kernel is divided by that value, which is found by
    power iteration from where the last call left it.

    Source: Miyato et al. 2018, https://arxiv.org/abs/1802.05957.

    Args:
        layer: the layer, which has a `kernel` or `embeddings`.
        power_iterations: how many iterations are made at a call.

    Shape:
        As `layer` has it. The axes of the kernel but the last are taken as one.

    Raises:
        ValueError: for a layer without such a weight, or no iterations.

    Example:
        >>> from torchkeras.layers.core import Dense
        >>> layer = SpectralNormalization(Dense(3), power_iterations=50)
        >>> _ = layer(torch.ones(2, 4), training=True)
        >>> values = torch.linalg.svdvals(layer.kernel.value.detach())
        >>> round(float(values[0]), 2)
        1.0
    """

    kernel: WeightView
    vector_u: Any

    def __init__(self, layer: Layer, power_iterations: int = 1, **kwargs: Any) -> None:
        super().__init__(layer, **kwargs)
        self.power_iterations = positive_integer(
            "SpectralNormalization", "power_iterations", power_iterations
        )
        self.supports_masking = layer.supports_masking

    def build(self, input_shape: Any = None) -> None:
        super().build(input_shape)
        known = (getattr(self.layer, name, None) for name in ("kernel", "embeddings"))
        weight = next((w for w in known if isinstance(w, WeightView)), None)
        if weight is None:
            raise ValueError(
                f"Layer '{self.name}' (SpectralNormalization): "
                f"{type(self.layer).__name__} has neither a `kernel` nor `embeddings`."
            )
        self._views["kernel"] = WeightView(
            weight.module, weight.names, weight.layout, weight.name
        )
        self._views["kernel"].declared_trainable = weight.declared_trainable
        self.vector_u = self.add_weight(
            (1, weight.shape[-1]),
            TruncatedNormal(stddev=0.02),
            trainable=False,
            name="vector_u",
        )
        self.input_spec = InputSpec(min_ndim=1, axes={-1: input_shape[-1]})

    def _output_sizes(self, sizes: Sizes) -> Sizes | None:
        rule = self.layer._output_sizes
        alike = self.layer.dtype_policy == self.dtype_policy
        return rule(sizes) if rule is not None and alike else None

    def call(self, inputs: Tensor, training: bool = False) -> Tensor:
        if training:
            self._normalize()
        return self.layer(inputs)

    @torch.no_grad()
    def _normalize(self) -> None:
        kernel, start = self.kernel.value, self.vector_u.value
        matrix = kernel.reshape(-1, kernel.shape[-1])
        u = v = start
        for _ in range(self.power_iterations):
            v = ops.normalize(u @ matrix.T, axis=None)
            u = ops.normalize(v @ matrix, axis=None)
        sigma = v @ matrix @ u.T
        is_zero = (kernel == 0).all()
        self.vector_u.assign(torch.where(is_zero, start, u))
        self.kernel.assign(torch.where(is_zero, kernel, kernel / sigma.squeeze()))

    def named_variables(self) -> dict[int, Any]:
        """Return what Keras's files have of this layer itself: the kernel once more."""
        return {0: self.kernel, 1: self.vector_u} if self._built else {}
