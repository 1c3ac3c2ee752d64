"""Attention: which kernel computes it, whose masks count, what it refuses."""

import copy
import itertools
from typing import Any

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from torch import nn

from torchkeras import layers, models

MULTI: dict[str, Any] = {"num_heads": 2, "key_dim": 4}
GROUPED: dict[str, Any] = {
    "head_dim": 4,
    "num_query_heads": 4,
    "num_key_value_heads": 2,
}


@pytest.fixture
def kernels(monkeypatch):
    """Count the calls of torch's fused kernel, by their arguments."""
    calls: list[dict[str, Any]] = []
    fused = F.scaled_dot_product_attention

    def count(query, key, value, attn_mask=None, dropout_p=0.0, **options):
        calls.append({"mask": attn_mask, "rate": dropout_p, **options})
        return fused(query, key, value, attn_mask, dropout_p, **options)

    monkeypatch.setattr(F, "scaled_dot_product_attention", count)
    return calls


def masked(shape, lengths):
    """Return random inputs that carry a mask for that many steps of each row."""
    x: Any = torch.randn(shape)
    x._keras_mask = torch.arange(shape[1]) < torch.tensor(lengths).unsqueeze(1)
    return x


@pytest.mark.parametrize(
    "make",
    [
        lambda **kw: layers.MultiHeadAttention(**MULTI, **kw),
        lambda **kw: layers.GroupQueryAttention(**GROUPED, **kw),
        lambda **kw: layers.Attention(**kw),
    ],
)
def test_the_fused_kernel_is_used_unless_it_cannot_be(make, kernels):
    def run(layer, **options):
        x = torch.randn(2, 5, 8)
        kernels.clear()
        layer([x, x], **options) if isinstance(layer, layers.Attention) else layer(
            x, x, **options
        )
        return kernels

    layer, dropping = make(), make(dropout=0.5)
    assert run(layer)[0]["mask"] is None
    assert run(layer, use_causal_mask=True)[0]["is_causal"]
    assert not run(layer, return_attention_scores=True)
    assert run(dropping, training=True)[0]["rate"] == 0.5
    assert run(dropping)[0]["rate"] == 0
    assert not run(make(dropout=0.5, seed=1), training=True)
    assert run(make(dropout=0.5, seed=1))
    assert not run(make(dropout=1.0), training=True)


def test_weights_are_those_of_linear_modules():
    layer = layers.MultiHeadAttention(2, 4, value_dim=3, use_gate=True)
    layer(torch.randn(2, 5, 8), torch.randn(2, 7, 6))
    linear: Any = layer.query_dense.linear
    assert isinstance(linear, nn.Linear)
    assert {key.rpartition(".")[0] for key in layer.state_dict()} == {
        f"_{name}_dense.linear" for name in ("query", "key", "gate", "value", "output")
    }
    kernel = layer.query_dense.kernel
    assert kernel.shape == (8, 2, 4)
    assert kernel.value.data_ptr() == linear.weight.data_ptr()
    kernel.assign(np.arange(64.0).reshape(8, 2, 4))
    assert linear.weight[5].tolist() == list(np.arange(64.0).reshape(8, 8)[:, 5])
    assert layer.output_dense.kernel.shape == (2, 3, 8)


def test_the_result_is_that_of_torch_s_module():
    layer = layers.MultiHeadAttention(2, 4)
    x, y = torch.randn(3, 5, 8), torch.randn(3, 7, 8)
    outputs, scores = layer(x, y, return_attention_scores=True)
    module = nn.MultiheadAttention(8, 2, batch_first=True)
    names = ("query", "key", "value")
    parts = [getattr(layer, f"{name}_dense").linear for name in names]
    with torch.no_grad():
        module.in_proj_weight.copy_(torch.cat([part.weight for part in parts]))
        module.in_proj_bias.copy_(torch.cat([part.bias for part in parts]))
        module.out_proj.load_state_dict(layer.output_dense.linear.state_dict())
    expected, weights = module(x, y, y, average_attn_weights=False)
    torch.testing.assert_close(outputs, expected)
    torch.testing.assert_close(scores, weights)
    torch.testing.assert_close(layer(x, y), expected)


def test_scores_and_outputs_do_not_depend_on_the_kernel():
    options: list[dict[str, Any]] = [{}, {"dropout": 0.1}]
    for kwargs, name in itertools.product(options, ("multi", "group")):
        layer: Any = (
            layers.MultiHeadAttention(**MULTI, **kwargs)
            if name == "multi"
            else layers.GroupQueryAttention(**GROUPED, sliding_window=3, **kwargs)
        )
        x, y = masked((2, 5, 8), [5, 2]), masked((2, 7, 8), [3, 7])
        for causal in (False, True):
            fused = layer(x, y, use_causal_mask=causal)
            outputs, scores = layer(
                x, y, use_causal_mask=causal, return_attention_scores=True
            )
            valid = x._keras_mask
            torch.testing.assert_close(fused[valid], outputs[valid])
            allowed = scores.sum(-1).transpose(1, 2)[valid]
            torch.testing.assert_close(allowed, torch.ones_like(allowed))
            assert not scores[0, :, :, 3:].any()


@pytest.mark.parametrize("grouped", [False, True])
def test_masks_given_count_as_those_that_ride(grouped):
    layer: Any = (
        layers.GroupQueryAttention(**GROUPED)
        if grouped
        else layers.MultiHeadAttention(**MULTI)
    )
    x, y = masked((2, 5, 8), [5, 2]), masked((2, 7, 8), [3, 7])
    expected = layer(x, y)
    assert torch.equal(expected._keras_mask, x._keras_mask)
    plain = x.clone(), y.clone()
    given = {"query_mask": x._keras_mask, "value_mask": y._keras_mask}
    outputs = layer(*plain, **given)
    assert torch.equal(outputs, expected)
    assert torch.equal(outputs._keras_mask, x._keras_mask)
    by_name = layer(query=plain[0], value=plain[1], **given)
    assert torch.equal(by_name, expected)
    arrays = {name: mask.numpy().astype("int32") for name, mask in given.items()}
    assert torch.equal(layer(*plain, **arrays), expected)
    assert not torch.equal(layer(*plain), expected)
    assert x._keras_mask is not None  # Keras takes it off the inputs


def test_masked_steps_of_values_do_not_count():
    x, y = masked((2, 5, 8), [5, 5]), masked((2, 7, 8), [3, 4])
    other: Any = y.masked_fill(~y._keras_mask.unsqueeze(-1), 50.0)
    other._keras_mask = y._keras_mask
    for layer in (layers.MultiHeadAttention(**MULTI), layers.Attention()):
        several = isinstance(layer, layers.MultiHeadAttention)
        first, second = (
            layer(x, values) if several else layer([x, values]) for values in (y, other)
        )
        torch.testing.assert_close(first, second)


@pytest.mark.parametrize("rate", [0.0, 0.5])
@pytest.mark.parametrize("dtype", ["float32", "float64", "mixed_bfloat16"])
def test_a_query_that_may_attend_to_nothing_gives_numbers(rate, dtype):
    layer = layers.MultiHeadAttention(**MULTI, dropout=rate, dtype=dtype)
    x: Any = torch.randn(2, 5, 8, requires_grad=True)
    nowhere = torch.zeros(2, 5, 5, dtype=torch.bool)
    for scores in (False, True):
        outputs = layer(
            x, x, attention_mask=nowhere, return_attention_scores=scores, training=True
        )
        outputs = outputs[0] if scores else outputs
        outputs.float().sum().backward()
        assert bool(outputs.isfinite().all())
        assert bool(x.grad.isfinite().all())


def test_a_seed_repeats_what_is_dropped():
    x = torch.randn(2, 5, 8)
    first = layers.MultiHeadAttention(**MULTI, dropout=0.5, seed=3)
    first.build((2, 5, 8), (2, 5, 8))
    second = copy.deepcopy(first)
    torch.manual_seed(0)
    one = first(x, x, training=True)
    torch.manual_seed(1)
    assert torch.equal(one, second(x, x, training=True))
    assert not torch.equal(one, first(x, x, training=True))


def test_a_subclass_may_compute_attention_itself():
    class Uniform(layers.MultiHeadAttention):
        def _compute_attention(self, query, key, value, *args, **kwargs):
            mean = value.mean(1, keepdim=True)
            return mean.expand(-1, query.shape[1], -1, -1), None

    layer = Uniform(**MULTI)
    x, y = torch.randn(2, 5, 8), torch.randn(2, 7, 8)
    outputs = layer(x, y)
    assert outputs.shape == (2, 5, 8)
    torch.testing.assert_close(outputs[:, 0], outputs[:, 1])


def test_training_in_a_model():
    class Encoder(models.Model):
        def __init__(self):
            super().__init__()
            self.embedding = layers.Embedding(20, 8, mask_zero=True)
            self.attention = layers.MultiHeadAttention(**MULTI, dropout=0.1)
            self.pool = layers.GlobalAveragePooling1D()
            self.head = layers.Dense(1)

        def call(self, words):
            x = self.embedding(words)
            return self.head(self.pool(self.attention(x, x)))

    model = Encoder()
    model.compile("adam", "mse")
    words = np.random.randint(0, 20, (32, 6))
    model(words)
    before = model.get_weights()
    history = model.fit(words, (words == 3).sum(1) / 1.0, epochs=20, verbose=0)
    losses = history.history["loss"]
    assert losses[-1] < losses[0]
    pairs = zip(before, model.get_weights(), strict=True)
    assert all(not np.array_equal(old, new) for old, new in pairs)
    assert not model.attention.training


def test_flash_attention_or_an_error():
    x = torch.randn(2, 5, 8)
    only = layers.MultiHeadAttention(**MULTI, flash_attention=True)
    only.build(x.shape, x.shape)
    free = layers.MultiHeadAttention(**MULTI)
    free.build(x.shape, x.shape)
    free.set_weights(only.get_weights())
    torch.testing.assert_close(only(x, x), free(x, x))
    with pytest.raises(ValueError, match=r"goes without `flash_attention=True`"):
        only(x, x, return_attention_scores=True)
    with pytest.raises(ValueError, match=r"goes without dropout"):
        layers.GroupQueryAttention(**GROUPED, flash_attention=True, dropout=0.1)


ARGUMENTS = [
    (layers.MultiHeadAttention, {"num_heads": 0}, ValueError, "num_heads"),
    (layers.MultiHeadAttention, {"num_heads": 1.5}, TypeError, "num_heads"),
    (layers.MultiHeadAttention, {"key_dim": -1}, ValueError, "key_dim"),
    (layers.MultiHeadAttention, {"value_dim": 0}, ValueError, "value_dim"),
    (layers.MultiHeadAttention, {"dropout": 2}, ValueError, "dropout"),
    (layers.MultiHeadAttention, {"sliding_window": 0}, ValueError, "sliding_window"),
    (layers.MultiHeadAttention, {"output_shape": 0}, ValueError, "output_shape"),
    (layers.MultiHeadAttention, {"output_shape": "x"}, ValueError, "output_shape"),
    (layers.MultiHeadAttention, {"attention_axes": 1.5}, ValueError, "attention_axes"),
    (layers.MultiHeadAttention, {"seed": "x"}, TypeError, "seed"),
    (layers.MultiHeadAttention, {"head_dim": 2}, ValueError, "unknown argument"),
    (layers.GroupQueryAttention, {"num_key_value_heads": 3}, ValueError,
     "multiple of `num_key_value_heads`, got 4 and 3"),
    (layers.GroupQueryAttention, {"head_dim": 0}, ValueError, "head_dim"),
    (layers.Attention, {"score_mode": "dott"}, ValueError, "Did you mean 'dot'"),
    (layers.Attention, {"dropout": -1}, ValueError, "dropout"),
    (layers.AdditiveAttention, {"dropout": "x"}, TypeError, "dropout"),
]  # fmt: skip


@pytest.mark.parametrize(("layer", "kwargs", "error", "message"), ARGUMENTS)
def test_illegal_arguments(layer, kwargs, error, message):
    needed = {layers.MultiHeadAttention: MULTI, layers.GroupQueryAttention: GROUPED}
    with pytest.raises(error, match=message):
        layer(**{**needed.get(layer, {}), **kwargs})


X, Y = torch.ones(2, 5, 8), torch.ones(2, 7, 8)
CALLS = [
    ((X, Y, Y[:, :3]), {}, r"same axes but for the last one.*key=\(2, 3, 8\)"),
    ((X[0], Y), {}, "at least 3 axes"),
    ((X, Y), {"attention_mask": torch.ones(2, 5, 6)},
     r"`attention_mask` does not go with queries of \(5,\) and values of \(7,\)"),
    ((X, Y), {"query_mask": torch.ones(2, 7)}, "`query_mask` does not go"),
    ((X, Y), {"value_mask": torch.ones(2, 5)}, "`value_mask` does not go"),
    ((X, Y), {"attention_mask": torch.ones(7)}, "`attention_mask` does not go"),
]  # fmt: skip


@pytest.mark.parametrize(("args", "kwargs", "message"), CALLS)
def test_inputs_that_do_not_go_together(args, kwargs, message):
    with pytest.raises(ValueError, match=message):
        layers.MultiHeadAttention(**MULTI)(*args, **kwargs)


def test_inputs_of_other_sizes_than_before():
    layer = layers.MultiHeadAttention(**MULTI)
    layer(X, Y)
    with pytest.raises(ValueError, match=r"'query' .*expected size 8 on axis -1"):
        layer(torch.ones(2, 5, 9), Y)
    with pytest.raises(ValueError, match=r"'value' .*expected size 8 on axis -1"):
        layer(X, torch.ones(2, 7, 9), Y)


def test_several_axes_have_no_order():
    image = torch.randn(2, 3, 4, 8)
    for window, causal in ((None, True), (2, False)):
        layer = layers.MultiHeadAttention(2, 4, sliding_window=window)
        options = {"use_causal_mask": causal}
        for scores in (False, True):
            with pytest.raises(ValueError, match="needs one axis of steps"):
                layer(image, image, return_attention_scores=scores, **options)
    with pytest.raises(ValueError, match=r"must be within \(1, 2\).*got \(3,\)"):
        layers.MultiHeadAttention(**MULTI, attention_axes=3)(image, image)


def test_attention_needs_a_list():
    layer = layers.Attention()
    for inputs in (X, [X], [X, Y, Y, Y]):
        with pytest.raises(ValueError, match=r"`inputs` must be a list for \[query"):
            layer(inputs)
    with pytest.raises(ValueError, match="`mask` must be a list"):
        layer([X, Y], mask=torch.ones(2, 5))
