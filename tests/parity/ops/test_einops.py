"""`rearrange` against Keras's."""

import numpy as np
import pytest
import torch

from tests.parity.ops.harness import CHECKS, Case
from torchkeras import KerasTensor, ops

A = np.arange(2 * 4 * 6 * 3, dtype="float32").reshape(2, 4, 6, 3)

CASES = [
    Case("rearrange", (A, "b h w c -> b c h w")),
    Case("rearrange", (A, "b h w c -> b (h w) c")),
    Case("rearrange", (A, "b h w c -> (b h) w c")),
    Case("rearrange", (A, "b (h1 h2) w c -> b h1 (w h2) c"), {"h1": 2}),
    Case("rearrange", (A, "b (h1 h2) w c -> b h1 h2 w c"), {"h1": 2, "h2": 2}),
]


@pytest.mark.parametrize("check", CHECKS)
@pytest.mark.parametrize("case", CASES, ids=str)
def test_parity(case, check):
    check(case)


def test_an_ellipsis_stands_for_the_other_axes():
    x = torch.tensor(A)
    turned = ops.rearrange(x, "b ... c -> c ... b")
    assert torch.equal(turned, x.permute(3, 1, 2, 0))
    joined = ops.rearrange(x, "b ... c -> b (...) c")
    assert torch.equal(joined, x.reshape(2, 24, 3))


def test_one_graph_is_compiled():
    def turn(x):
        return ops.rearrange(x, "b (h k) ... -> (b h) ... k", k=2)

    x = torch.tensor(A)
    compiled = torch.compile(turn, fullgraph=True, backend="eager")
    torch.testing.assert_close(compiled(x), turn(x))


def test_unknown_sizes_are_split():
    x = KerasTensor((None, None, 4))
    split = ops.rearrange(x, "b (h w) c -> b h (w c)", w=7)
    assert split.shape == (None, None, 28)
    back = ops.rearrange(split, "b h (w c) -> (b h) w c", w=7)
    assert back.shape == (None, 7, 4)
    with pytest.raises(ValueError, match="multiply to 4"):
        ops.rearrange(x, "b h (c d) -> b h c d", c=3)


@pytest.mark.parametrize(
    ("pattern", "sizes", "message"),
    [
        ("b h w c", {}, "one '->'"),
        ("b h w -> b w h", {}, "4 axes on the left"),
        ("b h w c -> b h w", {}, "each axis once"),
        ("b (h1 h2) w c -> b h1 h2 w c", {}, "multiply to 4"),
        ("b (h1 h2) w c -> b h1 h2 w c", {"h1": 3}, "multiply to 4"),
        ("b (h1 h2) w c -> b h1 h2 w c", {"h1": 0}, "multiply to 4"),
        ("b h w c -> b c h w", {"z": 3}, "axes named"),
        ("b h w c -> b [c] h w", {}, "parentheses only"),
    ],
)
def test_a_wrong_pattern_is_refused(pattern, sizes, message):
    with pytest.raises(ValueError, match=message):
        ops.rearrange(torch.tensor(A), pattern, **sizes)
