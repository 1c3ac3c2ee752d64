"""Convolutions and poolings against Keras's, and what they do with bad input."""

from typing import Any

import numpy as np
import pytest
import torch

from tests.parity.ops.harness import CHECKS, Case
from torchkeras import KerasTensor, config, ops

rng = np.random.default_rng(0)


def normal(*shape):
    return rng.normal(size=shape).astype("float32")


SEQUENCE, IMAGE, VOLUME = normal(2, 9, 4), normal(2, 8, 7, 4), normal(2, 5, 6, 5, 4)
K1, K2, K3 = normal(3, 4, 6), normal(3, 2, 4, 6), normal(2, 3, 2, 4, 6)
T1, T2, T3 = normal(3, 6, 4), normal(3, 2, 6, 4), normal(2, 3, 2, 6, 4)
FIRST: dict[str, Any] = {"data_format": "channels_first"}
ADAPTIVE = "Keras gets the shape wrong with channels last, and fails with one number"
GROUPS = "Keras refuses groups where there are no values yet"
INTEGERS = rng.integers(-9, 9, size=(2, 6, 6, 2)).astype("int32")


def first(x):
    return np.ascontiguousarray(np.moveaxis(x, -1, 1))


CONVOLUTIONS = [
    Case("nn.conv", (SEQUENCE, K1)),
    Case("conv", (SEQUENCE, K1, 2, "same")),
    Case("conv", (SEQUENCE, K1), {"dilation_rate": 2, "padding": "SAME"}),
    Case("conv", (first(SEQUENCE), K1), {"strides": 2, **FIRST}),
    Case("conv", (IMAGE, K2)),
    Case("conv", (IMAGE, K2), {"padding": "same"}),
    Case("conv", (IMAGE, K2), {"padding": "same", "strides": 2}),
    Case("conv", (IMAGE, K2), {"padding": "same", "strides": (3, 1)}),
    Case("conv", (IMAGE, K2), {"padding": "same", "dilation_rate": (1, 3)}),
    Case("conv", (IMAGE, K2), {"strides": [2, 3]}),
    Case("conv", (IMAGE, normal(3, 3, 2, 6)), {"padding": "same"}, symbolic=GROUPS),
    Case("conv", (IMAGE, normal(3, 3, 1, 8)), symbolic=GROUPS),
    Case("conv", (first(IMAGE), K2), {"padding": "same", "strides": 2, **FIRST}),
    Case("conv", (IMAGE, normal(4, 4, 4, 6)), {"padding": "same"}),
    Case("conv", (VOLUME, K3)),
    Case("conv", (VOLUME, K3), {"padding": "same", "strides": (2, 1, 2)}),
    Case("nn.depthwise_conv", (SEQUENCE, normal(3, 4, 2))),
    Case("depthwise_conv", (IMAGE, normal(3, 2, 4, 2)), {"padding": "same"}),
    Case("depthwise_conv", (IMAGE, normal(3, 3, 4, 1)), {"strides": 2}),
    Case("depthwise_conv", (first(IMAGE), normal(3, 3, 4, 2)), FIRST),
    Case("depthwise_conv", (IMAGE, normal(3, 3, 4, 2)), {"dilation_rate": 2}),
    Case("depthwise_conv", (SEQUENCE, normal(4, 4, 1), 3, "same")),
    Case(
        "depthwise_conv",
        (first(SEQUENCE), normal(2, 4, 3)),
        {"dilation_rate": 3, "padding": "same", **FIRST},
    ),
    Case("nn.separable_conv", (SEQUENCE, normal(3, 4, 2), normal(1, 8, 5))),
    Case(
        "separable_conv",
        (IMAGE, normal(3, 3, 4, 2), normal(1, 1, 8, 5)),
        {"strides": 2, "padding": "same"},
    ),
    Case(
        "separable_conv",
        (first(IMAGE), normal(3, 3, 4, 1), normal(1, 1, 4, 5)),
        {"dilation_rate": 2, **FIRST},
    ),
]
TRANSPOSES = [
    Case("nn.conv_transpose", (SEQUENCE, T1)),
    Case("conv_transpose", (SEQUENCE, T1, 2, "same")),
    Case("conv_transpose", (first(SEQUENCE), T1), {"strides": 3, **FIRST}),
    Case("conv_transpose", (IMAGE, T2)),
    Case("conv_transpose", (IMAGE, T2), {"padding": "same"}),
    Case("conv_transpose", (IMAGE, T2), {"padding": "same", "strides": 2}),
    Case("conv_transpose", (IMAGE, T2), {"padding": "same", "strides": (4, 5)}),
    Case("conv_transpose", (IMAGE, T2), {"strides": (2, 4)}),
    Case("conv_transpose", (IMAGE, T2), {"strides": 2, "output_padding": 1}),
    Case(
        "conv_transpose",
        (IMAGE, T2),
        {"strides": 2, "padding": "same", "output_padding": 1},
    ),
    Case(
        "conv_transpose",
        (IMAGE, T2),
        {"strides": 3, "padding": "same", "output_padding": (0, 2)},
    ),
    Case(
        "conv_transpose",
        (IMAGE, normal(5, 4, 6, 4)),
        {"strides": 2, "padding": "same", "output_padding": 0},
    ),
    Case("conv_transpose", (IMAGE, T2), {"padding": "same", "dilation_rate": 2}),
    Case("conv_transpose", (IMAGE, T2), {"strides": 2, "dilation_rate": (1, 3)}),
    Case(
        "conv_transpose", (first(IMAGE), T2), {"padding": "same", "strides": 2, **FIRST}
    ),
    Case("conv_transpose", (VOLUME, T3), {"padding": "same", "strides": (2, 1, 3)}),
    Case("conv_transpose", (VOLUME, T3)),
]
POOLS = [
    Case("nn.max_pool", (SEQUENCE, 2)),
    Case("max_pool", (SEQUENCE, 3), {"strides": 2, "padding": "same"}),
    Case("max_pool", (SEQUENCE, 4), {"strides": 1, "padding": "same"}),
    Case("max_pool", (IMAGE, 2)),
    Case("max_pool", (IMAGE, (3, 2)), {"strides": 1, "padding": "same"}),
    Case("max_pool", (IMAGE, 3), {"strides": (2, 3), "padding": "SAME"}),
    Case("max_pool", (IMAGE, 2), {"strides": 3, "padding": "same"}),
    Case("max_pool", (first(IMAGE), 2), {"padding": "same", **FIRST}),
    Case("max_pool", (VOLUME, 2, None, "same")),
    Case("max_pool", (INTEGERS, 2)),
    Case("nn.average_pool", (SEQUENCE, 2)),
    Case("average_pool", (SEQUENCE, 3), {"strides": 1, "padding": "same"}),
    Case("average_pool", (IMAGE, 2)),
    Case("average_pool", (IMAGE, [2, 3]), {"strides": 1}),
    Case("average_pool", (first(IMAGE), 3), {"strides": 2, **FIRST}),
    Case("average_pool", (VOLUME, 2)),
    Case("nn.adaptive_average_pool", (IMAGE, (3, 2)), symbolic=ADAPTIVE),
    Case("adaptive_average_pool", (IMAGE, 3), symbolic=ADAPTIVE),
    Case("adaptive_average_pool", (SEQUENCE, 4), symbolic=ADAPTIVE),
    Case("adaptive_average_pool", (first(VOLUME), (2, 3, 2)), FIRST),
    Case("nn.adaptive_max_pool", (IMAGE, (3, 2)), symbolic=ADAPTIVE),
    Case("adaptive_max_pool", (IMAGE, 3), symbolic=ADAPTIVE),
    Case("adaptive_max_pool", (first(SEQUENCE), 4), FIRST, symbolic=ADAPTIVE),
    Case("adaptive_max_pool", (VOLUME, (2, 3, 2)), symbolic=ADAPTIVE),
]
BLOCKS = [
    Case("nn.unfold", (first(IMAGE), 2)),
    Case(
        "unfold",
        (first(IMAGE), (3, 2)),
        {"stride": 2, "padding": (1, 0), "dilation": 2},
    ),
    Case("nn.fold", (normal(2, 12, 12), (8, 7), (2, 3)), {"stride": 2}),
    Case("fold", (normal(2, 12, 9), 4, 2), {"dilation": 1, "padding": 0, "stride": 1}),
    Case("nn.depth_to_space", (IMAGE, 2)),
    Case("depth_to_space", (normal(1, 3, 2, 18), 3)),
    Case("depth_to_space", (normal(2, 8, 3, 2), 2), FIRST),
    Case("nn.space_to_depth", (INTEGERS, 2)),
    Case("space_to_depth", (normal(2, 6, 9, 2), 3)),
    Case("space_to_depth", (normal(2, 3, 4, 6), 2), FIRST),
]

CASES = [*CONVOLUTIONS, *TRANSPOSES, *POOLS, *BLOCKS]


@pytest.mark.parametrize("check", CHECKS)
@pytest.mark.parametrize("case", CASES, ids=str)
def test_parity(case, check):
    check(case)


@pytest.mark.parametrize("strides", [1, 2])
@pytest.mark.parametrize("name", ["conv", "depthwise_conv"])
def test_causal_windows_end_where_their_output_stands(name, strides):
    # Keras on torch takes "causal" and pads nothing.
    kernel = K1 if name == "conv" else normal(3, 4, 2)
    padded = np.pad(SEQUENCE, ((0, 0), (4, 0), (0, 0)))
    operation = getattr(ops, name)
    expected = operation(padded, kernel, strides, dilation_rate=2)
    result = operation(SEQUENCE, kernel, strides, "causal", dilation_rate=2)
    torch.testing.assert_close(result, expected)
    symbolic = operation(KerasTensor((None, 9, 4)), kernel, strides, "causal")
    assert symbolic.shape[1] == -(-9 // strides)


@pytest.mark.parametrize(("window", "stride"), [(2, 1), (2, 2), (4, 1), (3, 2), (2, 3)])
@pytest.mark.parametrize("size", [6, 7, 8])
def test_averages_leave_padding_out(size, window, stride):
    # Keras on torch repeats the edge where padding is not the same on both sides.
    x = normal(2, size, 3)
    length = -(-size // stride)
    total = max((length - 1) * stride + window - size, 0)
    starts = np.arange(length) * stride - total // 2
    expected = np.stack([x[:, max(s, 0) : s + window].mean(1) for s in starts], 1)
    result = ops.average_pool(x, window, stride, "same")
    np.testing.assert_allclose(result, expected, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("rank", [2, 3])
@pytest.mark.parametrize(("window", "stride"), [(2, 1), (3, 2), (4, 3), (2, 3)])
def test_averages_over_several_axes_leave_padding_out(rank, window, stride):
    # A sum of what is there over how many there are, by convolutions.
    x = normal(2, *(7, 6, 5)[:rank], 1)
    ones = np.ones([window] * rank + [1, 1], "float32")
    total, count = (ops.conv(a, ones, stride, "same") for a in (x, np.ones_like(x)))
    result = ops.average_pool(x, window, stride, "same")
    torch.testing.assert_close(result, total / count)
    result = ops.average_pool(first(x), window, stride, "same", **FIRST)
    torch.testing.assert_close(result.movedim(1, -1), total / count)


def test_depthwise_over_volumes():
    # Keras has one and two spatial axes only.
    kernel = normal(2, 3, 2, 4, 2)
    each = [
        ops.conv(VOLUME[..., i : i + 1], kernel[..., i : i + 1, :], 2, "same")
        for i in range(4)
    ]
    result = ops.depthwise_conv(VOLUME, kernel, 2, "same")
    torch.testing.assert_close(result, torch.cat(each, -1))


def test_causal_with_channels_first():
    expected = ops.conv(SEQUENCE, K1, 2, "causal")
    result = ops.conv(first(SEQUENCE), K1, 2, "causal", **FIRST)
    torch.testing.assert_close(result.movedim(1, -1), expected)
    depthwise, pointwise = normal(3, 4, 2), normal(1, 8, 5)
    expected = ops.conv(ops.depthwise_conv(SEQUENCE, depthwise, 1, "causal"), pointwise)
    result = ops.separable_conv(SEQUENCE, depthwise, pointwise, 1, "causal")
    torch.testing.assert_close(result, expected)


def test_dtypes_are_promoted():
    # Torch refuses two dtypes, and so does Keras on it.
    expected = ops.conv(IMAGE.astype("float64"), K2.astype("float64"))
    torch.testing.assert_close(ops.conv(IMAGE.astype("float64"), K2), expected)
    half = torch.tensor(IMAGE).half()
    assert ops.conv_transpose(half, T2).dtype == torch.float32
    assert ops.conv(half, torch.tensor(K2).half()).dtype == torch.float16
    assert ops.conv(KerasTensor((None, 8, 8, 4), "float16"), K2).dtype == "float32"


def test_averages_of_integers_are_floats():
    expected = ops.average_pool(INTEGERS.astype("float32"), 2)
    torch.testing.assert_close(ops.average_pool(INTEGERS, 2), expected)
    assert ops.adaptive_average_pool(INTEGERS, 2).dtype == torch.float32


def test_integers_take_the_dtype_of_the_kernel():
    kernel = normal(3, 3, 2, 4)
    expected = ops.conv(INTEGERS.astype("float32"), kernel)
    torch.testing.assert_close(ops.conv(INTEGERS, kernel), expected)
    kernel = normal(3, 3, 4, 2)
    expected = ops.conv_transpose(INTEGERS.astype("float32"), kernel)
    torch.testing.assert_close(ops.conv_transpose(INTEGERS, kernel), expected)


def test_blocks_come_back():
    x = normal(2, 4, 6, 3)
    for data_format in ("channels_last", "channels_first"):
        image = x if data_format == "channels_last" else first(x)
        depth = ops.space_to_depth(image, 2, data_format)
        torch.testing.assert_close(
            ops.depth_to_space(depth, 2, data_format), torch.tensor(image)
        )


def test_channels_last_is_not_copied(monkeypatch):
    seen = []
    original = torch.nn.functional.conv2d

    def spy(inputs, *args):
        seen.append(inputs)
        return original(inputs, *args)

    monkeypatch.setattr(torch.nn.functional, "conv2d", spy)
    x = torch.tensor(IMAGE)
    ops.conv(x, K2)
    assert seen[0].data_ptr() == x.data_ptr()
    assert seen[0].is_contiguous(memory_format=torch.channels_last)


@pytest.fixture
def channels_first():
    config.set_image_data_format("channels_first")
    yield
    config.set_image_data_format("channels_last")


@pytest.mark.usefixtures("channels_first")
def test_the_global_layout_is_the_default():
    assert ops.conv(first(IMAGE), K2).shape == (2, 6, 6, 6)
    assert ops.max_pool(first(IMAGE), 2).shape == (2, 4, 4, 3)


def test_unknown_sizes_stay_unknown():
    image = KerasTensor((None, None, None, 4))
    assert ops.conv(image, K2, 2, "same").shape == (None, None, None, 6)
    assert ops.conv_transpose(image, T2, 2).shape == (None, None, None, 6)
    assert ops.max_pool(image, 2).shape == (None, None, None, 4)
    assert ops.adaptive_max_pool(image, 5).shape == (None, 5, 5, 4)
    assert ops.depth_to_space(image, 2).shape == (None, None, None, 1)
    assert ops.space_to_depth(image, 5).shape == (None, None, None, 100)
    assert ops.space_to_depth(KerasTensor((2, 6, None, 3)), 3).shape == (2, 2, None, 27)
    planes = KerasTensor((None, 3, None, None))
    assert ops.unfold(planes, 2, stride=2).shape == (None, 12, None)
    assert ops.space_to_depth(planes, 7, "channels_first").shape[1] == 147
    assert ops.fold(KerasTensor((None, 8, None)), 4, 2).shape == (None, 2, 4, 4)
    assert ops.conv(image, KerasTensor((3, 3, 4, 8))).shape == (None, None, None, 8)


BAD = [
    ("conv", (SEQUENCE[0], K1), {}, "conv: `inputs` must be of rank 3, 4 or 5"),
    ("conv", (IMAGE, K1), {}, "`kernel` must be of rank 4"),
    ("conv", (IMAGE, normal(3, 3, 3, 6)), {}, "got 4 input channels for a kernel of 3"),
    ("conv", (IMAGE, normal(3, 3, 2, 5)), {}, "2 channels and 5 filters"),
    ("conv", (IMAGE, K2), {"padding": "full"}, "`padding` must be one of 'valid'"),
    ("conv", (IMAGE, K2), {"padding": "causal"}, "`padding` must be one of 'valid'"),
    ("conv", (IMAGE, K2), {"strides": 0}, "`strides` must be a positive integer"),
    ("conv", (IMAGE, K2), {"strides": (1, 2, 3)}, "a positive integer or a tuple of 2"),
    ("conv", (IMAGE, K2), {"dilation_rate": 4}, r"at least as large as the window"),
    ("conv", (IMAGE, K2), {"data_format": "NHWC"}, "`data_format` must be one of"),
    ("depthwise_conv", (IMAGE, normal(3, 3, 3, 1)), {}, r"\(\*window, 4, multiplier\)"),
    ("separable_conv", (IMAGE, normal(3, 3, 3, 1), K2), {}, r"4, multiplier\)"),
    ("conv_transpose", (IMAGE, K2), {}, r"of shape \(\*window, filters, 4\)"),
    ("conv_transpose", (IMAGE, T2), {"output_padding": -1}, "an integer from 0, or 2"),
    ("max_pool", (IMAGE, 8), {}, "max_pool: the spatial axes of the inputs must be"),
    ("max_pool", (IMAGE[0, 0], 2), {}, "`inputs` must be of rank 3, 4 or 5"),
    ("average_pool", (IMAGE, 2), {"padding": "causal"}, "`padding` must be one of"),
    ("adaptive_max_pool", (IMAGE, (2, 2, 2)), {}, "`output_size` must be a positive"),
    ("unfold", (SEQUENCE, 2), {}, r"`x` must be of shape \(batch, channels, height"),
    ("unfold", (first(IMAGE), 9), {}, "at least as large as the window"),
    ("unfold", (first(IMAGE), (2, 2, 2)), {}, "an integer from 1, or two of them"),
    ("unfold", (first(IMAGE), 2), {"padding": -1}, "`padding` must be an integer fro"),
    ("fold", (IMAGE, 4, 2), {}, "fold: `x` must be of shape"),
    ("fold", (normal(2, 7, 9), 4, 2), {}, r"\(batch, channels \* 4, 9\)"),
    ("fold", (normal(2, 8, 8), 4, 2), {}, r"\(batch, channels \* 4, 9\)"),
    ("fold", (KerasTensor((None, 8, 8)), 4, 2), {}, "fold: `x` must be of shape"),
    ("conv", (IMAGE, K2), {"padding": None}, "`padding` must be one of .* got None"),
    ("depth_to_space", (IMAGE, 3), {}, r"multiple of `block_size\*\*2`, 9, got 4"),
    ("depth_to_space", (IMAGE, 1), {}, "`block_size` must be an integer, at least 2"),
    ("depth_to_space", (SEQUENCE, 2), {}, "depth_to_space: `x` must be of shape"),
    ("space_to_depth", (IMAGE, 2), {}, "multiples of `block_size`, 2, got an input"),
]


@pytest.mark.parametrize(("name", "args", "kwargs", "match"), BAD)
def test_bad_input(name, args, kwargs, match):
    with pytest.raises(ValueError, match=match):
        getattr(ops, name)(*args, **kwargs)


def test_sizes_of_another_type():
    size: Any = 2.5
    with pytest.raises(TypeError, match="`pool_size` must be a positive integer"):
        ops.max_pool(IMAGE, size)


def test_compiles_in_one_graph():
    def function(x, kernel, transposed):
        x = ops.conv(x, kernel, 2, "same")
        x = ops.max_pool(ops.average_pool(x, 2, 1, "same"), (2, 2), padding="same")
        x = ops.conv_transpose(x, transposed, 2, "same")
        columns = ops.unfold(ops.space_to_depth(x, 2), 2)
        return ops.adaptive_average_pool(columns, 1), ops.fold(columns, (2, 20), 2)

    arguments = [torch.tensor(a) for a in (IMAGE, K2, normal(3, 3, 5, 6))]
    compiled = torch.compile(function, fullgraph=True, backend="eager")
    torch.testing.assert_close(compiled(*arguments), function(*arguments))


def test_compiles_with_sizes_that_vary():
    def function(x, kernel):
        return ops.max_pool(ops.conv(x, kernel, 2, "same"), 2, 1, "same")

    compiled = torch.compile(function, fullgraph=True, dynamic=True, backend="eager")
    for size in (8, 7, 6):
        arguments = [torch.tensor(a) for a in (IMAGE[:, :size], K2)]
        torch.testing.assert_close(compiled(*arguments), function(*arguments))
