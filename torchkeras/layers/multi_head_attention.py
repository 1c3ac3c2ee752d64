"""Attention between projections onto several heads."""

from __future__ import annotations

import contextlib
import math
from collections.abc import Callable, Sequence
from string import ascii_lowercase
from typing import Any, ClassVar

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.nn.attention import SDPBackend, sdpa_kernel

from torchkeras import regularizers
from torchkeras._core.errors import (
    describe,
    invalid_argument,
    number_in,
    positive_integer,
)
from torchkeras._core.input_spec import InputSpec
from torchkeras._core.registry import serialize_object
from torchkeras._core.typing import (
    ActivationLike,
    ConstraintLike,
    InitializerLike,
    RegularizerLike,
)
from torchkeras._core.variable import Layout
from torchkeras.layers._masks import all_of, as_mask, causal_mask, penalty
from torchkeras.layers.attention import kernel_drops
from torchkeras.layers.einsum import EinsumDense
from torchkeras.layers.layer import Layer, layers
from torchkeras.layers.regularization import Dropout
from torchkeras.layers.shapes import empty_module


def _projection_to_keras(weight: Tensor, inputs: Sequence[int], outputs: Any) -> Tensor:
    shown = weight.unflatten(1, tuple(inputs)).unflatten(0, tuple(outputs))
    rank = len(outputs)
    return shown.permute(*range(rank, shown.ndim), *range(rank))


#: What the projections are told of their weights as the layer is.
_PASSED_ON = (
    "kernel_initializer",
    "bias_initializer",
    "kernel_regularizer",
    "bias_regularizer",
    "kernel_constraint",
    "bias_constraint",
)


class Projection(EinsumDense):
    """A linear map of the last axes of its inputs onto other axes, such as heads.

    It is an `EinsumDense` whose weights are those of an `nn.Linear`, which is faster
    and is what torch's tools look for.

    Args:
        axes: how many axes of the inputs are mapped.
        outputs: the sizes of the axes that take their place.
        activation: a function of the outputs.
        use_bias: whether a bias is added.
        **kwargs: the options of the weights, and those of every layer.

    Shape:
        ``(batch, ..., *inputs)`` to ``(batch, ..., *outputs)``. The weights are in
        ``layer.linear``; ``layer.kernel`` shows them in the shape ``(*inputs,
        *outputs)``.

    Example:
        >>> layer = Projection(1, (4, 2))
        >>> layer(torch.ones(3, 5, 6)).shape, layer.kernel.shape
        (torch.Size([3, 5, 4, 2]), (6, 4, 2))
    """

    linear: nn.Linear

    def __init__(
        self,
        axes: int,
        outputs: Sequence[int],
        activation: ActivationLike = None,
        use_bias: bool = True,
        **kwargs: Any,
    ) -> None:
        first, last = ascii_lowercase[:axes], ascii_lowercase[axes:][: len(outputs)]
        super().__init__(
            f"...{first},{first}{last}->...{last}",
            outputs,
            activation,
            last if use_bias else None,
            **kwargs,
        )
        self.supports_masking = True

    def build(self, input_shape: tuple[int | None, ...]) -> None:
        super().build(input_shape)
        axes = range(-len(self._inputs), 0)
        sizes: Any = {axis: input_shape[axis] for axis in axes}
        self.input_spec = InputSpec(ndim=len(input_shape), axes=sizes)

    def _make_weights(
        self, kernel_shape: tuple[int, ...], bias_shape: tuple[int, ...] | None
    ) -> None:
        inputs = kernel_shape[: len(self._inputs)]
        outputs = kernel_shape[len(self._inputs) :]
        size, has_bias = math.prod(inputs), bias_shape is not None
        self.linear = empty_module(
            self, nn.Linear, size, math.prod(outputs), bias=has_bias
        )
        kernel = Layout(
            lambda t: _projection_to_keras(t, inputs, outputs),
            lambda k: (k.reshape(size, -1).t(),),
        )
        bias = Layout(lambda t: t.unflatten(0, outputs), lambda k: (k.flatten(),))
        initializer = self._with_fans(self.kernel_initializer)
        self.show_weight("kernel", self.linear, "weight", initializer, kernel)
        if has_bias:
            self.show_weight("bias", self.linear, "bias", layout=bias)
        else:
            self.leave_out("bias")

    def call(self, inputs: Tensor) -> Tensor:
        outputs = self.linear(inputs.flatten(-len(self._inputs)))
        return self.activation(outputs.unflatten(-1, self.partial_output_shape))


class _HeadedAttention(Layer):
    """The base of attention between projections onto several heads."""

    casts_integers = True
    #: The first arguments of a call.
    _arguments: ClassVar[tuple[str, ...]] = (
        "query",
        "value",
        "key",
        "query_mask",
        "value_mask",
        "key_mask",
    )

    dropout: float
    use_bias: bool
    use_gate: bool
    sliding_window: Any
    seed: int | None
    attention_axes: Any

    #: The numbers of heads, and the sizes of a head: of the query, of key and value.
    _heads: tuple[int, int]
    _sizes: tuple[int, int]
    _outputs: tuple[int, ...] | None
    _query_dense: Projection
    _key_dense: Projection
    _value_dense: Projection
    _gate_dense: Projection
    _output_dense: Projection
    _dropout_layer: Dropout
    _heads_first: tuple[int, ...]
    _heads_last: tuple[int, ...]
    _output_regularizer: RegularizerLike
    _only_flash: bool
    _scale: float

    def __init__(
        self, heads: tuple[int, int], sizes: tuple[int, int], arguments: dict[str, Any]
    ) -> None:
        """Take the arguments of the constructor below, as ``locals()`` has them."""
        super().__init__(**arguments["kwargs"])
        owner, given = type(self).__name__, arguments.get
        self.dropout = number_in(owner, "dropout", arguments["dropout"], 0.0, 1.0)
        self.use_bias = arguments["use_bias"]
        self.sliding_window = arguments["sliding_window"]
        if self.sliding_window is not None:
            positive_integer(owner, "sliding_window", self.sliding_window)
        self._only_flash = bool(arguments["flash_attention"])
        if self._only_flash and self.dropout > 0:
            raise ValueError(
                f"{owner}: `flash_attention=True` goes without dropout, got dropout="
                f"{self.dropout}. Leave one of them out."
            )
        self.keep_weight_options(arguments, "kernel", "bias")
        self.use_gate = arguments["use_gate"]
        self.seed = arguments["seed"]
        self.supports_masking = True
        self.input_spec = InputSpec(min_ndim=3)
        axes = given("attention_axes")
        self.attention_axes = _integers(owner, "attention_axes", axes)
        self._outputs = _integers(owner, "output_shape", given("output_shape"), 1)
        self._heads, self._sizes = heads, sizes
        dropout = Dropout(self.dropout, seed=self.seed, dtype=self.dtype_policy)
        self._dropout_layer = dropout
        # Keras gives it to the projections, not to the layer.
        self._output_regularizer = regularizers.get(arguments["activity_regularizer"])
        self._scale = 1.0 / math.sqrt(sizes[0])

    # Building

    def build(  # pyright: ignore[reportIncompatibleMethodOverride]
        self,
        query_shape: tuple[int | None, ...],
        value_shape: tuple[int | None, ...],
        key_shape: tuple[int | None, ...] | None = None,
    ) -> None:
        query, value = tuple(query_shape), tuple(value_shape)
        key = value if key_shape is None else tuple(key_shape)
        if value[1:-1] != key[1:-1] or len(query) != len(value):
            raise ValueError(
                f"Layer '{self.name}' ({type(self).__name__}): expected `value` and "
                "`key` to have the same axes but for the last one, and as many as "
                f"`query`, got query={query}, value={value} and key={key}."
            )
        (heads, key_heads), (size, value_size) = self._heads, self._sizes
        self._query_dense = self._project("query", query, 1, (heads, size))
        self._key_dense = self._project("key", key, 1, (key_heads, size))
        if self.use_gate:
            self._gate_dense = self._project(
                "gate", query, 1, (heads, value_size), torch.sigmoid
            )
        self._value_dense = self._project("value", value, 1, (key_heads, value_size))
        self._output_dense = self._project(
            "attention_output",
            (*query[:-1], heads, value_size),
            2,
            self._outputs or query[-1:],
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
            **{option: getattr(self, option) for option in _PASSED_ON},
            activity_regularizer=self._output_regularizer,
            dtype=self.dtype_policy,
            name=name,
        )
        projection.build(shape)
        return projection

    def _set_axes(self, rank: int) -> None:
        """Find where projected inputs of `rank` + 1 axes have heads and steps."""
        axes = self.attention_axes
        legal = range(1, rank - 1)
        axes = legal if axes is None else [a + rank if a < 0 else a for a in axes]
        if not set(axes) <= set(legal):
            raise ValueError(
                f"Layer '{self.name}' ({type(self).__name__}): `attention_axes` must "
                f"be within {tuple(legal)} for inputs of {rank} axes, got "
                f"{self.attention_axes}."
            )
        self.attention_axes = axes = tuple(axes)
        others = [a for a in range(rank - 1) if a not in axes]
        self._heads_first = (*others, rank - 1, *axes, rank)
        order = self._heads_first
        self._heads_last = tuple(order.index(axis) for axis in range(rank + 1))

    def _finish_build(self, shapes: dict[str, Any]) -> None:
        super()._finish_build(shapes)
        for weight in self.weights:
            weight.path = f"{self.name}/{weight.path.removeprefix(f'{self.name}/')}"

    def get_build_config(self) -> dict[str, Any] | None:
        shapes = super().get_build_config()
        return None if shapes is None else {"shapes_dict": shapes}

    # Calling

    def _take_mask(self, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        """Return the mask of the query; masks that ride on inputs become arguments."""
        given = dict(zip(self._arguments, args, strict=False))
        for name in ("query", "value", "key"):
            mask = getattr(given.get(name, kwargs.get(name)), "_keras_mask", None)
            argument = f"{name}_mask"
            if mask is not None and argument not in given:
                own = kwargs.get(argument)
                kwargs[argument] = mask if own is None else own
        return given.get("query_mask", kwargs.get("query_mask"))

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
        given = {
            "query_mask": query_mask,
            "value_mask": value_mask,
            "key_mask": key_mask,
            "attention_mask": attention_mask,
        }
        mask = self._merge_masks(query, value, given, use_causal_mask)
        gate = self._gate_dense(query) if self.use_gate else None
        outputs, scores = self._compute_attention(
            self._query_dense(query),
            self._key_dense(key),
            self._value_dense(value),
            mask,
            self.training if training is None else training,
            return_attention_scores,
            use_causal_mask and mask is None,
        )
        outputs = self._output_dense(outputs if gate is None else outputs * gate)
        return (outputs, scores) if return_attention_scores else outputs

    def _compute_attention(
        self,
        query: Tensor,
        key: Tensor,
        value: Tensor,
        attention_mask: Tensor | None = None,
        training: bool | None = None,
        return_attention_scores: bool = False,
        use_causal_mask: bool = False,
    ) -> tuple[Tensor, Tensor | None]:
        """Attend: from projections to outputs for each head, and the scores if any."""
        sizes = self._steps(query), self._steps(key)
        rate = self.dropout if training else 0.0
        query, key, value = map(self._move_heads, (query, key, value))
        if return_attention_scores or not kernel_drops(rate, self.seed):
            if use_causal_mask:
                attention_mask = causal_mask(sizes[0][0], sizes[1][0], query.device)
            outputs, scores = self._attend(query, key, value, attention_mask, rate)
            scores = scores.unflatten(-1, sizes[1]).unflatten(
                -1 - len(sizes[1]), sizes[0]
            )
        else:
            scores = None
            outputs = self._attend_fused(
                query, key, value, attention_mask, rate, use_causal_mask
            )
        outputs = outputs.unflatten(-2, sizes[0]).permute(self._heads_last)
        return outputs, scores

    def _move_heads(self, projected: Tensor) -> Tensor:
        """Return ``(..., heads, steps, size)`` of a projection."""
        start = len(self._heads_first) - 1 - len(self.attention_axes)
        return projected.permute(self._heads_first).flatten(start, -2)

    def _attend_fused(
        self,
        query: Tensor,
        key: Tensor,
        value: Tensor,
        mask: Tensor | None,
        rate: float,
        causal: bool,
    ) -> Tensor:
        added = None if mask is None else penalty(mask, query.dtype)
        backends = [SDPBackend.FLASH_ATTENTION] if self._only_flash else None
        with contextlib.nullcontext() if backends is None else sdpa_kernel(backends):
            outputs = F.scaled_dot_product_attention(
                query, key, value, added, rate, is_causal=causal, scale=self._scale
            )
        if mask is None or self.dropout == 0:
            return outputs
        # Where a query may attend to nothing, Keras gives the mean of the values, but
        # in a layer with dropout zeros.
        return outputs.masked_fill(~mask.any(-1, keepdim=True), 0)

    def _attend(
        self,
        query: Tensor,
        key: Tensor,
        value: Tensor,
        mask: Tensor | None,
        rate: float,
    ) -> tuple[Tensor, Tensor]:
        if self._only_flash:
            raise ValueError(
                f"Layer '{self.name}' ({type(self).__name__}): "
                "`return_attention_scores=True` goes without `flash_attention=True`, "
                "which computes no scores. Leave one of them out."
            )
        scores = (query * self._scale) @ key.transpose(-2, -1)
        if mask is None:
            scores = scores.softmax(-1)
        else:
            scores = (scores + penalty(mask, scores.dtype)).softmax(-1)
            scores = scores.masked_fill(~mask, 0)
        kept = self._dropout_layer(scores, training=True) if rate else scores
        return kept @ value, scores

    # Masks, of shape (..., heads, *steps of the query, *steps of the value)

    def _steps(self, tensor: Tensor) -> tuple[int, ...]:
        return tuple(tensor.shape[axis] for axis in self.attention_axes)

    def _merge_masks(
        self, query: Tensor, value: Tensor, given: dict[str, Any], causal: bool
    ) -> Tensor | None:
        """Return what all masks allow; None where there are none, or only a causal."""
        queries, steps = self._steps(query), self._steps(value)
        count = len(queries)
        rank = query.ndim + count
        masks = []
        for name, mask in given.items():
            mask = as_mask(mask, query)
            if mask is None:
                continue
            if name == "query_mask":
                mask = mask[(..., *[None] * count)]
            elif name != "attention_mask":
                mask = mask[(..., *[None] * count, *[slice(None)] * count)]
            self._check_mask(name, mask, rank, queries + steps)
            while mask.ndim < rank:
                mask = mask.unsqueeze(-2 * count - 1)
            masks.append(mask)
        if count > 1 and masks:
            sizes = queries + steps
            masks = [m.expand(*m.shape[: -2 * count], *sizes) for m in masks]
            masks = [m.flatten(-count).flatten(-count - 1, -2) for m in masks]
        if self.sliding_window is not None:
            self._check_order("sliding_window")
            masks.append(self._near(queries, steps, query.device))
        if causal:
            self._check_order("use_causal_mask=True")
            if masks:
                masks.append(causal_mask(queries[0], steps[0], query.device))
        return all_of(masks)

    def _check_mask(
        self, name: str, mask: Tensor, rank: int, sizes: tuple[int, ...]
    ) -> None:
        own = tuple(mask.shape[-len(sizes) :])
        fits = all(a in (1, b) for a, b in zip(own, sizes, strict=False))
        if len(own) < len(sizes) or mask.ndim > rank or not fits:
            half = len(sizes) // 2
            raise ValueError(
                f"Layer '{self.name}' ({type(self).__name__}): `{name}` does not go "
                f"with queries of {sizes[:half]} and values of {sizes[half:]} steps, "
                f"got {describe(mask)} as the mask of pairs of both."
            )

    def _near(
        self, queries: tuple[int, ...], steps: tuple[int, ...], device: torch.device
    ) -> Tensor:
        """Return which steps lie within the sliding window around each query."""
        rows = torch.arange(queries[0], device=device).unsqueeze(-1)
        columns = torch.arange(steps[0], device=device)
        return (rows - columns).abs() < self.sliding_window

    def _check_order(self, argument: str) -> None:
        if len(self.attention_axes) != 1:
            raise ValueError(
                f"Layer '{self.name}' ({type(self).__name__}): `{argument}` needs one "
                f"axis of steps, got attention_axes={self.attention_axes}. Give an "
                "`attention_mask` in its place."
            )

    def get_config(self) -> dict[str, Any]:
        config = super().get_config()
        config.pop("flash_attention", None)  # Keras leaves it to the machine
        penalty = serialize_object(self._output_regularizer)
        return {**config, "activity_regularizer": penalty}


@layers.register()
class MultiHeadAttention(_HeadedAttention):
    """Attention of several heads (https://arxiv.org/abs/1706.03762).

    It is called as ``layer(query, value, key=None)``; the value is the key by default.
    A call also takes ``attention_mask=``, true where a query may attend to a step, of a
    shape that broadcasts to ``(batch, heads, queries, steps)`` or that without heads;
    ``query_mask=``, ``value_mask=`` and ``key_mask=``, which the inputs may carry;
    ``use_causal_mask=True``, and ``return_attention_scores=True``. Unless the scores
    are asked for, torch's fused kernel computes it.

    Args:
        num_heads: the number of heads.
        key_dim: the size of a head of the query and the key.
        value_dim: the size of a head of the value; `key_dim` by default.
        dropout: the part of the attention that is dropped in training.
        use_bias: whether the projections have biases.
        output_shape: the sizes of the last axes of the outputs; that of the query by
            default.
        attention_axes: the axes over which is attended; all but the batch and the
            features by default.
        sliding_window: how near a step must be to the query's: at most
            ``sliding_window - 1`` steps before or after it.
        flash_attention: True for torch's flash kernel, or an error where it cannot run;
            by default torch chooses.
        kernel_initializer: gives the first kernel of each projection, of shape
            ``(features, num_heads, key_dim)`` or the like.
        bias_initializer: gives their first biases.
        kernel_regularizer: the regularizer of their kernels, a penalty.
        bias_regularizer: the regularizer of their biases, a penalty.
        activity_regularizer: the regularizer of their outputs, a penalty.
        kernel_constraint: the constraint on their kernels after each update.
        bias_constraint: the constraint on their biases after each update.
        use_gate: whether the outputs of the heads are multiplied by the sigmoid of a
            further projection of the query (https://arxiv.org/abs/2505.06708).
        seed: an integer that starts a random generator of the layer's own; the fused
            kernel has none, so that training with dropout takes more memory.

    Shape:
        ``(batch, queries, features)`` and ``(batch, steps, ...)`` to ``(batch, queries,
        features)``; then the scores, ``(batch, heads, queries, steps)``, where they are
        asked for. The weights are those of an `nn.Linear` in each of ``query_dense``,
        ``key_dense``, ``value_dense`` and ``output_dense``.

    Raises:
        ValueError: for illegal arguments, and for inputs or masks that do not go
            together.

    Example:
        >>> layer = MultiHeadAttention(num_heads=2, key_dim=4)
        >>> query, value = torch.ones(3, 5, 8), torch.ones(3, 7, 8)
        >>> layer(query, value).shape, layer.query_dense.kernel.shape
        (torch.Size([3, 5, 8]), (8, 2, 4))
        >>> layer(query, value, return_attention_scores=True)[1].shape
        torch.Size([3, 2, 5, 7])
    """

    num_heads: int
    key_dim: int
    value_dim: int

    def __init__(
        self,
        num_heads: int,
        key_dim: int,
        value_dim: int | None = None,
        dropout: float = 0.0,
        use_bias: bool = True,
        output_shape: int | Sequence[int] | None = None,
        attention_axes: int | Sequence[int] | None = None,
        sliding_window: int | None = None,
        flash_attention: bool | None = None,
        kernel_initializer: InitializerLike = "glorot_uniform",
        bias_initializer: InitializerLike = "zeros",
        kernel_regularizer: RegularizerLike = None,
        bias_regularizer: RegularizerLike = None,
        activity_regularizer: RegularizerLike = None,
        kernel_constraint: ConstraintLike = None,
        bias_constraint: ConstraintLike = None,
        use_gate: bool = False,
        seed: int | None = None,
        **kwargs: Any,
    ) -> None:
        owner = type(self).__name__
        num_heads = positive_integer(owner, "num_heads", num_heads)
        key_dim = positive_integer(owner, "key_dim", key_dim)
        if value_dim is not None:
            value_dim = positive_integer(owner, "value_dim", value_dim)
        value_dim = value_dim or key_dim
        super().__init__((num_heads, num_heads), (key_dim, value_dim), locals())
        self.num_heads, self.key_dim, self.value_dim = num_heads, key_dim, value_dim

    @property
    def query_dense(self) -> Projection:
        """The projection of the query."""
        return self._query_dense

    @property
    def key_dense(self) -> Projection:
        """The projection of the key."""
        return self._key_dense

    @property
    def value_dense(self) -> Projection:
        """The projection of the value."""
        return self._value_dense

    @property
    def output_dense(self) -> Projection:
        """The projection of the heads onto the outputs."""
        return self._output_dense

    def get_config(self) -> dict[str, Any]:
        outputs = None if self._outputs is None else list(self._outputs)
        return {**super().get_config(), "output_shape": outputs}


def _integers(
    owner: str, argument: str, value: Any, low: int | None = None
) -> tuple[int, ...] | None:
    """Return an integer or a sequence of them as a tuple; None where there are none."""
    chosen = (value,) if hasattr(value, "__index__") else () if value is None else value
    if not isinstance(chosen, (list, tuple)) or not all(
        hasattr(number, "__index__") and (low is None or number >= low)
        for number in chosen
    ):
        expected = "an integer or a tuple of integers"
        expected += "" if low is None else f", at least {low}"
        raise ValueError(invalid_argument(owner, argument, expected, value))
    return tuple(int(number) for number in chosen) or None


class GroupedQueryAttention(_HeadedAttention):
    """Attention with fewer heads of keys than of queries (https://arxiv.org/abs/2305.13245).

    It is called as `MultiHeadAttention` is. Each head of the key and the value serves a
    group of heads of the query.

    Args:
        head_dim: the size of a head.
        num_query_heads: the number of heads of the query.
        num_key_value_heads: the number of heads of the key and the value.
        dropout: the part of the attention that is dropped in training.
        use_bias: whether the projections have biases.
        sliding_window: how near a step must be to the query's: at most
            ``sliding_window - 1`` steps before or after it.
        flash_attention: True for torch's flash kernel, or an error where it cannot run;
            by default torch chooses.
        kernel_initializer: gives the first kernel of each projection, of shape
            ``(features, heads, head_dim)`` or the like.
        bias_initializer: gives their first biases.
        kernel_regularizer: the regularizer of their kernels, a penalty.
        bias_regularizer: the regularizer of their biases, a penalty.
        activity_regularizer: the regularizer of their outputs, a penalty.
        kernel_constraint: the constraint on their kernels after each update.
        bias_constraint: the constraint on their biases after each update.
        use_gate: whether the outputs of the heads are multiplied by the sigmoid of a
            further projection of the query (https://arxiv.org/abs/2505.06708).
        seed: an integer that starts a random generator of the layer's own; the fused
            kernel has none, so that training with dropout takes more memory.

    Shape:
        As that of `MultiHeadAttention`, with scores for each head of the query.

    Raises:
        ValueError: for illegal arguments, and for inputs or masks that do not go
            together.

    Example:
        >>> layer = GroupQueryAttention(4, num_query_heads=6, num_key_value_heads=2)
        >>> layer(torch.ones(3, 5, 8), torch.ones(3, 7, 8)).shape
        torch.Size([3, 5, 8])
        >>> [weight.shape for weight in layer.weights[::2]]
        [(8, 6, 4), (8, 2, 4), (8, 2, 4), (6, 4, 8)]
    """

    head_dim: int
    num_query_heads: int
    num_key_value_heads: int

    def __init__(
        self,
        head_dim: int,
        num_query_heads: int,
        num_key_value_heads: int,
        dropout: float = 0.0,
        use_bias: bool = True,
        sliding_window: int | None = None,
        flash_attention: bool | None = None,
        kernel_initializer: InitializerLike = "glorot_uniform",
        bias_initializer: InitializerLike = "zeros",
        kernel_regularizer: RegularizerLike = None,
        bias_regularizer: RegularizerLike = None,
        activity_regularizer: RegularizerLike = None,
        kernel_constraint: ConstraintLike = None,
        bias_constraint: ConstraintLike = None,
        use_gate: bool = False,
        seed: int | None = None,
        **kwargs: Any,
    ) -> None:
        owner = type(self).__name__
        size = positive_integer(owner, "head_dim", head_dim)
        heads = positive_integer(owner, "num_query_heads", num_query_heads)
        shared = positive_integer(owner, "num_key_value_heads", num_key_value_heads)
        if heads % shared:
            raise ValueError(
                f"{owner}: `num_query_heads` must be a multiple of "
                f"`num_key_value_heads`, got {heads} and {shared}."
            )
        super().__init__((heads, shared), (size, size), locals())
        self.head_dim = size
        self.num_query_heads = heads
        self.num_key_value_heads = shared
        self.input_spec = InputSpec(ndim=3)

    def _compute_attention(
        self, query: Tensor, key: Tensor, value: Tensor, *args: Any, **kwargs: Any
    ) -> tuple[Tensor, Tensor | None]:
        group = self.num_query_heads // self.num_key_value_heads
        if group > 1:
            key, value = (t.repeat_interleave(group, 2) for t in (key, value))
        return super()._compute_attention(query, key, value, *args, **kwargs)


#: Files name the class by Keras's public name, the places in them by the other one.
GroupQueryAttention = GroupedQueryAttention
layers.register("GroupQueryAttention")(GroupedQueryAttention)
layers.canonical[GroupedQueryAttention] = "GroupQueryAttention"
