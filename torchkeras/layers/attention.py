"""Attention: on its own, and between projections onto several heads."""

from __future__ import annotations

import copy
import math
from collections.abc import Callable, Sequence
from typing import Any, ClassVar

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from torchkeras import constraints, initializers, regularizers
from torchkeras._core.dtypes import to_torch_dtype
from torchkeras._core.errors import (
    invalid_argument,
    number_in,
    one_of,
    positive_integer,
)
from torchkeras._core.input_spec import InputSpec
from torchkeras._core.variable import Layout
from torchkeras.layers.layer import Layer, empty_module, layers
from torchkeras.layers.regularization import Dropout

#: What Keras adds to scores that do not count, as a part of the dtype's lowest number.
#: It is finite, so that a query that may attend to nothing gives no NaN.
_LOW = 0.7


def _penalty(mask: Tensor, dtype: torch.dtype) -> Tensor:
    """Return what is added to scores for those to count only that a mask allows."""
    zeros = torch.zeros((), dtype=dtype, device=mask.device)
    return torch.where(mask, zeros, _LOW * torch.finfo(dtype).min)


def _as_mask(mask: Any, like: Tensor) -> Tensor | None:
    """Return a mask as booleans on the device of `like`."""
    return None if mask is None else torch.as_tensor(mask, device=like.device).bool()


def _causal_mask(queries: int, steps: int, device: torch.device) -> Tensor:
    return torch.ones(queries, steps, dtype=torch.bool, device=device).tril()


def _all_of(masks: Sequence[Tensor | None]) -> Tensor | None:
    """Return what all masks allow; None where there are none."""
    found: Tensor | None = None
    for mask in masks:
        if mask is not None:
            found = mask if found is None else found & mask
    return found


@layers.register()
class Attention(Layer):
    """Dot-product attention, without projections (https://arxiv.org/abs/1508.04025).

    It is called on a list ``[query, value]`` or ``[query, value, key]``. Masks in the
    same order, given as ``mask=`` or riding on the inputs, leave out steps of the
    values, and set the outputs for steps of the query to zero. A call also takes
    ``return_attention_scores=True`` and ``use_causal_mask=True``.

    Args:
        use_scale: whether the scores are multiplied by a weight.
        score_mode: ``"dot"`` for products, ``"concat"`` for a weight times the sum of
            ``tanh(query + key)``.
        dropout: the part of the attention that is dropped in training.
        seed: an integer that starts a random generator of the layer's own.

    Shape:
        ``(batch, queries, features)``, ``(batch, steps, values)`` and ``(batch, steps,
        features)`` to ``(batch, queries, values)``; then the scores, ``(batch, queries,
        steps)``, where they are asked for.

    Raises:
        ValueError: for illegal arguments, and for a call on anything but a list of two
            or three tensors.

    Example:
        >>> query, value = torch.ones(2, 5, 8), torch.ones(2, 7, 8)
        >>> Attention()([query, value]).shape
        torch.Size([2, 5, 8])
    """

    casts_integers = True
    _makes_mask = False

    def __init__(
        self,
        use_scale: bool = False,
        score_mode: str = "dot",
        dropout: float = 0.0,
        seed: int | None = None,
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        owner = type(self).__name__
        self.use_scale = use_scale
        self.score_mode = one_of(owner, "score_mode", score_mode, ("dot", "concat"))
        self.dropout = number_in(owner, "dropout", dropout, 0.0, 1.0)
        self.seed = seed
        self.supports_masking = True
        self._dropout_layer = Dropout(self.dropout, seed=seed)

    def build(self, input_shape: Any) -> None:
        self._check_list("inputs", input_shape)
        if self.use_scale:
            self.scale = self.add_weight((), "ones", name="scale")
        if self.score_mode == "concat":
            self.concat_score_weight = self.add_weight(
                (), "ones", name="concat_score_weight"
            )

    def _check_list(self, argument: str, value: Any) -> None:
        if not isinstance(value, (list, tuple)) or len(value) not in (2, 3):
            expected = "a list for [query, value] or [query, value, key]"
            owner = f"Layer '{self.name}' ({type(self).__name__})"
            raise ValueError(invalid_argument(owner, argument, expected, value))

    def _check_inputs(self, args: tuple[Any, ...]) -> None:
        self._check_list("inputs", args[0] if args else None)
        super()._check_inputs(args)

    def call(
        self,
        inputs: Sequence[Tensor],
        mask: Any = None,
        training: bool | None = None,
        return_attention_scores: bool = False,
        use_causal_mask: bool = False,
    ) -> Any:
        if mask is not None:
            self._check_list("mask", mask)
        query, value = inputs[:2]
        key = inputs[2] if len(inputs) > 2 else value
        query_mask, value_mask = (
            (None, None) if mask is None else (_as_mask(m, query) for m in mask[:2])
        )
        rate = self.dropout if (training or (training is None and self.training)) else 0
        if return_attention_scores or not self._is_fused(rate):
            outputs, scores = self._attend(
                query, key, value, value_mask, use_causal_mask, rate
            )
        else:
            scores = None
            outputs = self._attend_fused(
                query, key, value, value_mask, use_causal_mask, rate
            )
        if query_mask is not None:
            outputs = outputs.masked_fill(~query_mask.unsqueeze(-1), 0)
        return (outputs, scores) if return_attention_scores else outputs

    def _is_fused(self, rate: float) -> bool:
        """Say whether torch's kernel computes what this layer does."""
        return self.score_mode == "dot" and _kernel_drops(rate, self.seed)

    def _attend_fused(
        self,
        query: Tensor,
        key: Tensor,
        value: Tensor,
        value_mask: Tensor | None,
        causal: bool,
        rate: float,
    ) -> Tensor:
        dtype = query.dtype
        if self.dtype_policy.is_mixed:
            dtype = to_torch_dtype(self.compute_dtype)
        mask = self._allowed(query, key, value_mask, causal and value_mask is not None)
        outputs = F.scaled_dot_product_attention(
            (query * self.scale if self.use_scale else query).unsqueeze(-3),
            key.unsqueeze(-3),
            value.unsqueeze(-3),
            None if mask is None else _penalty(mask.unsqueeze(-3), dtype),
            rate,
            is_causal=causal and mask is None,
            scale=1.0,
        )
        return outputs.squeeze(-3)

    def _attend(
        self,
        query: Tensor,
        key: Tensor,
        value: Tensor,
        value_mask: Tensor | None,
        causal: bool,
        rate: float,
    ) -> tuple[Tensor, Tensor]:
        scores = self._calculate_scores(query, key)
        mask = self._allowed(query, key, value_mask, causal)
        if mask is not None:
            scores = scores + _penalty(mask, scores.dtype)
        weights = scores.softmax(-1)
        if rate:
            weights = self._dropout_layer(weights, training=True)
        return weights @ value, weights

    def _calculate_scores(self, query: Tensor, key: Tensor) -> Tensor:
        if self.score_mode == "dot":
            query = query * self.scale if self.use_scale else query
            return query @ key.transpose(-2, -1)
        sums = query.unsqueeze(-2) + key.unsqueeze(-3)
        sums = sums * self.scale if self.use_scale else sums
        return self.concat_score_weight * sums.tanh().sum(-1)

    @staticmethod
    def _allowed(
        query: Tensor, key: Tensor, value_mask: Tensor | None, causal: bool
    ) -> Tensor | None:
        """Return which steps each query may attend to, None for all."""
        queries, steps = query.shape[-2], key.shape[-2]
        return _all_of(
            (
                None if value_mask is None else value_mask.unsqueeze(-2),
                _causal_mask(queries, steps, query.device) if causal else None,
            )
        )

    def compute_mask(self, inputs: Any, previous_mask: Any = None) -> Any:
        if previous_mask is None:
            return None
        self._check_list("mask", previous_mask)
        return previous_mask[0]


def _kernel_drops(rate: float, seed: int | None) -> bool:
    """Say whether torch's kernel can drop at that rate: it takes no generator."""
    return rate == 0 or (rate < 1 and seed is None)


@layers.register()
class AdditiveAttention(Attention):
    """Additive attention, without projections (https://arxiv.org/abs/1409.0473).

    The scores are the sum of ``scale * tanh(query + key)`` over the features. It is
    called as `Attention` is.

    Args:
        use_scale: whether there is a weight `scale`, one number for each feature.
        dropout: the part of the attention that is dropped in training.

    Shape:
        As that of `Attention`.

    Raises:
        ValueError: for illegal arguments, and for a call on anything but a list of two
            or three tensors.

    Example:
        >>> query, value = torch.ones(2, 5, 8), torch.ones(2, 7, 8)
        >>> layer = AdditiveAttention()
        >>> layer([query, value]).shape, layer.scale.shape
        (torch.Size([2, 5, 8]), torch.Size([8]))
    """

    def __init__(
        self, use_scale: bool = True, dropout: float = 0.0, **kwargs: Any
    ) -> None:
        super().__init__(use_scale=use_scale, dropout=dropout, **kwargs)

    def build(self, input_shape: Any) -> None:
        self._check_list("inputs", input_shape)
        if self.use_scale:
            self.scale = self.add_weight(
                (input_shape[0][-1],), "glorot_uniform", name="scale"
            )

    def _is_fused(self, rate: float) -> bool:
        return False

    def _calculate_scores(self, query: Tensor, key: Tensor) -> Tensor:
        sums = (query.unsqueeze(-2) + key.unsqueeze(-3)).tanh()
        return sums @ self.scale if self.use_scale else sums.sum(-1)

    def get_config(self) -> dict[str, Any]:
        config = {**super().get_config(), "seed": self.seed}
        config.pop("score_mode", None)
        return config


def _projection_to_keras(weight: Tensor, inputs: Sequence[int], outputs: Any) -> Tensor:
    shown = weight.unflatten(1, tuple(inputs)).unflatten(0, tuple(outputs))
    rank = len(outputs)
    return shown.permute(*range(rank, shown.ndim), *range(rank))


class Projection(Layer):
    """A linear map of the last axes of its inputs onto other axes, such as heads.

    Args:
        axes: how many axes of the inputs are mapped.
        outputs: the sizes of the axes that take their place.
        activation: a function of the outputs.
        options: arguments of `Dense`, from `use_bias` on.

    Shape:
        ``(batch, ..., *inputs)`` to ``(batch, ..., *outputs)``. The weights are those
        of an `nn.Linear` in ``layer.linear``; ``layer.kernel`` shows them in the shape
        ``(*inputs, *outputs)``.

    Example:
        >>> layer = Projection(1, (4, 2))
        >>> layer(torch.ones(3, 5, 6)).shape, layer.kernel.shape
        (torch.Size([3, 5, 4, 2]), (6, 4, 2))
    """

    casts_integers = True

    linear: nn.Linear

    def __init__(
        self,
        axes: int,
        outputs: Sequence[int],
        activation: Callable[[Tensor], Tensor] | None = None,
        use_bias: bool = True,
        kernel_initializer: Any = "glorot_uniform",
        bias_initializer: Any = "zeros",
        kernel_regularizer: Any = None,
        bias_regularizer: Any = None,
        kernel_constraint: Any = None,
        bias_constraint: Any = None,
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        self.axes = axes
        self.outputs = tuple(outputs)
        self.activation = activation
        self.use_bias = use_bias
        self.kernel_initializer = initializers.get(kernel_initializer)
        self.bias_initializer = initializers.get(bias_initializer)
        self.kernel_regularizer = kernel_regularizer
        self.bias_regularizer = bias_regularizer
        self.kernel_constraint = kernel_constraint
        self.bias_constraint = bias_constraint
        self.supports_masking = True

    def build(self, input_shape: tuple[int | None, ...]) -> None:
        inputs, outputs = input_shape[-self.axes :], self.outputs
        if None in inputs:
            raise ValueError(
                f"Layer '{self.name}': the sizes of the features must be known, got an "
                f"input of shape {input_shape}."
            )
        self.linear = empty_module(
            self, nn.Linear, math.prod(inputs), math.prod(outputs), bias=self.use_bias
        )
        self.show_weight(
            "kernel",
            self.linear,
            "weight",
            self._aware_initializer(),
            Layout(
                lambda t: _projection_to_keras(t, inputs, outputs),
                lambda k: (k.reshape(math.prod(inputs), -1).t(),),
            ),
            self.kernel_regularizer,
            self.kernel_constraint,
        )
        if self.use_bias:
            self.show_weight(
                "bias",
                self.linear,
                "bias",
                self.bias_initializer,
                Layout(lambda t: t.unflatten(0, outputs), lambda k: (k.flatten(),)),
                self.bias_regularizer,
                self.bias_constraint,
            )
        sizes = {axis - self.axes: size for axis, size in enumerate(inputs)}
        self.input_spec = InputSpec(ndim=len(input_shape), axes=sizes)

    def _aware_initializer(self) -> Any:
        """Return the initializer, told which axes of the kernel are inputs."""
        initializer = self.kernel_initializer
        known = getattr(initializer, "input_axes", None) is not None
        if known or not isinstance(initializer, initializers.VarianceScaling):
            return initializer
        aware = copy.copy(initializer)
        rank = self.axes + len(self.outputs)
        aware.input_axes = tuple(range(self.axes))
        aware.output_axes = tuple(range(self.axes, rank))
        return aware

    def call(self, inputs: Tensor) -> Tensor:
        outputs = self.linear(inputs.flatten(-self.axes))
        outputs = outputs.unflatten(-1, self.outputs)
        return outputs if self.activation is None else self.activation(outputs)


class _HeadedAttention(Layer):
    """The base of attention between projections onto several heads."""

    casts_integers = True
    #: Arguments of the call that may have a mask.
    _masked: ClassVar[tuple[str, ...]] = ("query", "value", "key")

    attention_axes: Any

    def __init__(
        self,
        size: int,
        dropout: float,
        use_bias: bool,
        sliding_window: int | None,
        flash_attention: bool | None,
        kernel_initializer: Any,
        bias_initializer: Any,
        kernel_regularizer: Any,
        bias_regularizer: Any,
        activity_regularizer: Any,
        kernel_constraint: Any,
        bias_constraint: Any,
        use_gate: bool,
        seed: int | None,
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        owner = type(self).__name__
        self.dropout = number_in(owner, "dropout", dropout, 0.0, 1.0)
        self.use_bias = use_bias
        self.sliding_window = sliding_window
        if sliding_window is not None:
            positive_integer(owner, "sliding_window", sliding_window)
        if flash_attention and self.dropout > 0:
            raise ValueError(
                f"{owner}: `flash_attention=True` goes without dropout, got dropout="
                f"{dropout}. Leave one of them out."
            )
        self.kernel_initializer = initializers.get(kernel_initializer)
        self.bias_initializer = initializers.get(bias_initializer)
        self.kernel_regularizer = regularizers.get(kernel_regularizer)
        self.bias_regularizer = regularizers.get(bias_regularizer)
        self.kernel_constraint = constraints.get(kernel_constraint)
        self.bias_constraint = constraints.get(bias_constraint)
        self.use_gate = use_gate
        self.seed = seed
        self.supports_masking = True
        self.input_spec = InputSpec(min_ndim=3)
        # Keras gives it to the projections, not to the layer.
        self._output_regularizer = regularizers.get(activity_regularizer)
        self._only_flash = bool(flash_attention)
        self._scale = 1.0 / math.sqrt(size)

    # Building

    def _build_projections(
        self,
        shapes: Sequence[tuple[int | None, ...]],
        heads: tuple[int, int],
        sizes: tuple[int, int],
        outputs: tuple[int | None, ...],
    ) -> None:
        """Make what is inside.

        Args:
            shapes: those of the query, the value and the key.
            heads: how many the query has, and how many the key and the value have.
            sizes: of a head of the query and the key, and of one of the value.
            outputs: the sizes of the last axes of the outputs.
        """
        query, value, key = shapes
        if value[1:-1] != key[1:-1] or len(query) != len(value):
            raise ValueError(
                f"Layer '{self.name}' ({type(self).__name__}): expected `value` and "
                "`key` to have the same axes but for the last one, and as many as "
                f"`query`, got query={query}, value={value} and key={key}."
            )
        size, value_size = sizes
        self._query_dense = self._project("query", query, 1, (heads[0], size))
        self._key_dense = self._project("key", key, 1, (heads[1], size))
        if self.use_gate:
            gates = (heads[0], value_size)
            self._gate_dense = self._project("gate", query, 1, gates, torch.sigmoid)
        self._value_dense = self._project("value", value, 1, (heads[1], value_size))
        attended = (*query[:-1], heads[0], value_size)
        self._output_dense = self._project("attention_output", attended, 2, outputs)
        self._dropout_layer = Dropout(
            self.dropout, seed=self.seed, dtype=self.dtype_policy
        )
        self._set_axes(len(query))

    def _project(
        self,
        name: str,
        shape: tuple[int | None, ...],
        axes: int,
        outputs: Any,
        activation: Callable[[Tensor], Tensor] | None = None,
    ) -> Projection:
        projection = Projection(
            axes,
            outputs,
            activation,
            self.use_bias,
            self.kernel_initializer,
            self.bias_initializer,
            self.kernel_regularizer,
            self.bias_regularizer,
            self.kernel_constraint,
            self.bias_constraint,
            activity_regularizer=self._output_regularizer,
            dtype=self.dtype_policy,
            name=name,
        )
        projection.build(shape)
        return projection

    def _set_axes(self, rank: int) -> None:
        """Find where projected inputs of `rank` + 1 axes have heads and steps."""
        axes = self.attention_axes
        axes = range(1, rank - 1) if axes is None else axes
        self.attention_axes = axes = tuple(a % rank for a in axes)
        others = [a for a in range(rank - 1) if a not in axes]
        self._heads_first = (*others, rank - 1, *axes, rank)
        order = self._heads_first
        self._heads_last = tuple(order.index(axis) for axis in range(rank + 1))

    def _finish_build(self, shapes: dict[str, Any]) -> None:
        super()._finish_build(shapes)
        for weight in self.weights:
            weight.path = f"{self.name}/{weight.path.removeprefix(f'{self.name}/')}"

    # Calling

    def _take_mask(self, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        """Return the mask of the query; masks that ride on inputs become arguments."""
        positional = dict(zip(self._masked, args, strict=False))
        for name, value in (positional | kwargs).items():
            own = getattr(value, "_keras_mask", None)
            if own is not None and kwargs.get(f"{name}_mask") is None:
                kwargs[f"{name}_mask"] = own
        return kwargs.get("query_mask")

    def call(
        self,
        query: Tensor,
        value: Tensor,
        key: Tensor | None = None,
        query_mask: Tensor | None = None,
        value_mask: Tensor | None = None,
        key_mask: Tensor | None = None,
        attention_mask: Tensor | None = None,
        return_attention_scores: bool = False,
        training: bool | None = None,
        use_causal_mask: bool = False,
    ) -> Any:
        key = value if key is None else key
        training = self.training if training is None else training
        masks = (query_mask, value_mask, key_mask, attention_mask)
        mask = self._merge_masks(query, value, masks)
        if use_causal_mask and (
            mask is not None or self._needs_scores(training, return_attention_scores)
        ):
            mask = _all_of((mask, self._causal(query, value)))
            use_causal_mask = False
        gate = self._gate_dense(query) if self.use_gate else None
        outputs, scores = self._compute_attention(
            self._query_dense(query),
            self._key_dense(key),
            self._value_dense(value),
            mask,
            training,
            return_attention_scores,
            use_causal_mask,
        )
        outputs = self._output_dense(outputs if gate is None else outputs * gate)
        return (outputs, scores) if return_attention_scores else outputs
