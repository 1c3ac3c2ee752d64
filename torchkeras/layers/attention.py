"""Attention without projections: `Attention` and `AdditiveAttention`."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch.nn.functional as F
from torch import Tensor

from torchkeras._core.errors import invalid_argument, number_in, one_of
from torchkeras._core.variable import Variable
from torchkeras.layers._masks import all_of, as_mask, as_tensors, causal_mask, penalty
from torchkeras.layers.layer import Layer, layers
from torchkeras.layers.regularization import Dropout


def kernel_drops(rate: float, seed: int | None) -> bool:
    """Say whether torch's kernel can drop at that rate: it takes no generator."""
    return rate == 0 or (rate < 1 and seed is None)


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
        >>> import torch
        >>> query, value = torch.ones(2, 5, 8), torch.ones(2, 7, 8)
        >>> Attention()([query, value]).shape
        torch.Size([2, 5, 8])
    """

    casts_integers = True
    _makes_mask = False

    use_scale: bool
    score_mode: str
    dropout: float
    seed: int | None
    #: Made where the arguments ask for them.
    scale: Variable
    concat_score_weight: Variable
    _dropout_layer: Dropout

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
        else:
            self.leave_out("scale")
        if self.score_mode == "concat":
            self.concat_score_weight = self.add_weight(
                (), "ones", name="concat_score_weight"
            )
        else:
            self.leave_out("concat_score_weight")

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
            (None, None) if mask is None else (as_mask(m, query) for m in mask[:2])
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
        return self.score_mode == "dot" and kernel_drops(rate, self.seed)

    def _attend_fused(
        self,
        query: Tensor,
        key: Tensor,
        value: Tensor,
        value_mask: Tensor | None,
        causal: bool,
        rate: float,
    ) -> Tensor:
        dtype = self._autocast_dtype(query) or query.dtype
        mask = self._allowed(query, key, value_mask, causal and value_mask is not None)
        outputs = F.scaled_dot_product_attention(
            (query * self.scale if self.use_scale else query).unsqueeze(-3),
            key.unsqueeze(-3),
            value.unsqueeze(-3),
            None if mask is None else penalty(mask.unsqueeze(-3), dtype),
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
            scores = scores + penalty(mask, scores.dtype)
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
        return all_of(
            (
                None if value_mask is None else value_mask.unsqueeze(-2),
                causal_mask(queries, steps, query.device) if causal else None,
            )
        )

    def compute_mask(self, inputs: Any, mask: Any = None) -> Any:  # pyright: ignore[reportIncompatibleMethodOverride]
        self._check_list("inputs", inputs)
        if mask is None:
            return None
        self._check_list("mask", mask)
        return as_tensors(mask[0])


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
        >>> import torch
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
        else:
            self.leave_out("scale")

    def _is_fused(self, rate: float) -> bool:
        return False

    def _calculate_scores(self, query: Tensor, key: Tensor) -> Tensor:
        sums = (query.unsqueeze(-2) + key.unsqueeze(-3)).tanh()
        return sums @ self.scale if self.use_scale else sums.sum(-1)

    def get_config(self) -> dict[str, Any]:
        config = {**super().get_config(), "seed": self.seed}
        config.pop("score_mode", None)
        return config
