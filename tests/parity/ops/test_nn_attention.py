"""Attention against Keras's, and what it does with bad input."""

import numpy as np
import pytest
import torch

from tests.parity.ops.harness import CHECKS, Case
from torchkeras import KerasTensor, ops

rng = np.random.default_rng(0)
QUERY = rng.normal(size=(2, 5, 4, 8)).astype("float32")
KEY, VALUE = rng.normal(size=(2, 2, 7, 4, 8)).astype("float32")
BIAS = rng.normal(size=(2, 4, 5, 7)).astype("float32")
MASK = rng.uniform(size=(2, 1, 5, 7)) > 0.4
MASK[..., 0] = True
NO_KEY = MASK.copy()
NO_KEY[0, 0, 2] = False

ALL = (QUERY, KEY, VALUE)
CASES = [
    Case("nn.dot_product_attention", ALL),
    Case("dot_product_attention", ALL, {"scale": 0.7}),
    Case("dot_product_attention", ALL, {"is_causal": True}),
    Case("dot_product_attention", (*ALL, BIAS)),
    Case("dot_product_attention", ALL, {"bias": BIAS[:1, :1]}),
    Case("dot_product_attention", ALL, {"mask": MASK}),
    Case("dot_product_attention", ALL, {"mask": MASK[0, 0]}),
    Case("dot_product_attention", ALL, {"mask": MASK, "is_causal": True}),
    Case("dot_product_attention", ALL, {"mask": NO_KEY}),
    Case("dot_product_attention", ALL, {"flash_attention": False}),
    Case("dot_product_attention", (QUERY, KEY[:, :, :2], VALUE[:, :, :2])),
    Case("dot_product_attention", (QUERY, KEY[:, :, :1], VALUE[:, :, :1])),
    Case("dot_product_attention", (QUERY, KEY[:1], VALUE[:1]), {"mask": MASK}),
    Case(
        "dot_product_attention",
        (QUERY, KEY, VALUE[..., :6]),
        symbolic="Keras takes the shape of the queries",
    ),
    Case(
        "dot_product_attention",
        (QUERY.astype("float64"), KEY, VALUE),
        {"mask": MASK},
        lists=False,
    ),
]


@pytest.mark.parametrize("check", CHECKS)
@pytest.mark.parametrize("case", CASES, ids=str)
def test_parity(case, check):
    check(case)


def reference(query, key, value, bias=0.0, mask=True, scale=None, cap=None):
    scale = query.shape[-1] ** -0.5 if scale is None else scale
    scores = np.einsum("btnh,bsnh->bnts", query, key) * scale
    scores = scores if cap is None else cap * np.tanh(scores / cap)
    scores = np.where(mask, scores + bias, -1e30)
    weights = np.exp(scores - scores.max(-1, keepdims=True))
    weights /= weights.sum(-1, keepdims=True)
    return np.einsum("bnts,bsnh->btnh", weights, value)


PAST = np.tril(np.ones((5, 7), bool))


@pytest.mark.parametrize(
    ("given", "expected"),
    [
        # Keras on torch takes one of bias and mask only, and no bias of causal scores.
        ({"bias": BIAS, "mask": MASK}, {"bias": BIAS, "mask": MASK}),
        ({"bias": BIAS, "is_causal": True}, {"bias": BIAS, "mask": PAST}),
        (
            {"bias": BIAS, "mask": MASK, "is_causal": True},
            {"bias": BIAS, "mask": MASK & PAST},
        ),
        # Keras on torch has no bound of the scores.
        ({"attn_logits_soft_cap": 0.5}, {"cap": 0.5}),
        (
            {"attn_logits_soft_cap": 2.0, "scale": 0.9, "bias": BIAS, "mask": MASK},
            {"cap": 2.0, "scale": 0.9, "bias": BIAS, "mask": MASK},
        ),
        (
            {"attn_logits_soft_cap": 2.0, "is_causal": True},
            {"cap": 2.0, "mask": PAST},
        ),
    ],
)
def test_by_its_definition(given, expected):
    result = ops.dot_product_attention(*ALL, **given)
    np.testing.assert_allclose(result, reference(*ALL, **expected), atol=1e-5)


def test_a_bound_on_the_scores_of_groups():
    result = ops.dot_product_attention(
        QUERY, KEY[:, :, :2], VALUE[:, :, :2], attn_logits_soft_cap=1.0
    )
    keys, values = (np.repeat(a[:, :, :2], 2, 2) for a in (KEY, VALUE))
    expected = reference(QUERY, keys, values, cap=1.0)
    np.testing.assert_allclose(result, expected, atol=1e-5)


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_half_precision(dtype):
    half = [torch.tensor(a).to(dtype) for a in ALL]
    result = ops.dot_product_attention(*half, mask=MASK)
    assert result.dtype == dtype
    assert ops.dot_product_attention(*half, mask=NO_KEY).isfinite().all()
    expected = ops.dot_product_attention(*ALL, mask=MASK)
    torch.testing.assert_close(result.float(), expected, atol=3e-2, rtol=3e-2)


def test_integers_become_floats():
    query, key, value = (np.rint(a) for a in ALL)
    expected = ops.dot_product_attention(query, key, value)
    result = ops.dot_product_attention(query.astype("int32"), key, value)
    torch.testing.assert_close(result, expected)
    whole = KerasTensor((None, 5, 4, 8), "int32")
    assert ops.dot_product_attention(whole, whole, whole).dtype == "float32"


def test_the_flash_kernel_can_be_asked_for():
    result = ops.dot_product_attention(*ALL, flash_attention=True)
    torch.testing.assert_close(result, ops.dot_product_attention(*ALL))


def test_symbolic_lengths():
    query, key = KerasTensor((None, None, 4, 8)), KerasTensor((None, None, 2, 8))
    result = ops.dot_product_attention(query, key, key, is_causal=True)
    assert result.shape == (None, None, 4, 8)


@pytest.mark.parametrize(
    ("args", "match"),
    [
        ((QUERY[0], KEY, VALUE), r"`query` must be of shape \(batch, steps, heads"),
        ((QUERY, KEY, VALUE[0]), "`value` must be of shape"),
        ((QUERY, KEY[:, :, :3], VALUE[:, :, :3]), "as many heads as `query`"),
        ((QUERY, KEY, VALUE[:, :, :2]), "as many heads as `query`"),
        # Torch's fused kernel would go past the end of the values.
        ((QUERY, KEY, VALUE[:, :5]), "`value` must be of as many steps as `key`, 7"),
        ((QUERY, KEY[..., :6], VALUE), "`key` must be of the size of `query`, 8"),
        ((*ALL, BIAS[:, :3]), r"`bias` must be of a shape that broadcasts"),
        ((*ALL, None, MASK[..., :5]), r"scores, \(2, 4, 5, 7\)"),
        ((*ALL, None, MASK[None]), r"`mask` must be of a shape that broadcasts"),
    ],
)
def test_bad_input(args, match):
    with pytest.raises(ValueError, match=match):
        ops.dot_product_attention(*args)


def test_the_flash_kernel_knows_no_bound():
    with pytest.raises(ValueError, match="`flash_attention` must be None or False"):
        ops.dot_product_attention(*ALL, flash_attention=True, attn_logits_soft_cap=2.0)


def test_compiles_in_one_graph():
    def function(query, key, value, mask):
        first = ops.dot_product_attention(query, key, value, mask=mask, is_causal=True)
        return first + ops.dot_product_attention(query, key, value, is_causal=True)

    arguments = [torch.tensor(a) for a in (*ALL, MASK)]
    compiled = torch.compile(function, fullgraph=True, backend="eager")
    torch.testing.assert_close(compiled(*arguments), function(*arguments))


def test_compiles_with_sizes_that_vary():
    def function(query, key, value):
        return ops.dot_product_attention(query, key, value, is_causal=True)

    compiled = torch.compile(function, fullgraph=True, dynamic=True, backend="eager")
    for size in (5, 4, 3):
        arguments = [torch.tensor(a[:, :size]) for a in ALL]
        torch.testing.assert_close(compiled(*arguments), function(*arguments))
