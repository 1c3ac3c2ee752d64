"""Merging layers: what they refuse, and what they do beyond Keras."""

from typing import Any

import pytest
import torch

from torchkeras import layers


def ones(*shapes) -> list[Any]:
    """Return a list of tensors."""
    return [torch.ones(shape) for shape in shapes]


REFUSED = [
    (layers.Add, {}, torch.ones(2, 3), r"a list of tensors, got Tensor of shape \(2,"),
    (layers.Add, {}, [], "got 0 of them"),
    (layers.Add, {}, {"a": torch.ones(2)}, "a list of tensors"),
    (layers.Add, {}, [torch.ones(2), "a"], "a list of tensors"),
    (layers.Subtract, {}, ones((2, 3), (2, 3), (2, 3)), "2 tensors, got 3 of them"),
    (layers.Dot, {"axes": 1}, ones((2, 3)), "2 tensors, got 1 of them"),
    (layers.Add, {}, ones((2, 3), (2, 4)), r"that broadcast, .*\(2, 3\), \(2, 4\)"),
    (layers.Average, {}, ones((2, 5, 3), (2, 5)), r"\(2, 5, 3\), \(2, 5\)"),
    (layers.Maximum, {}, ones((2, 3), (4, 3)), "one batch size"),
    (layers.Concatenate, {}, ones((2, 3), (2, 3, 1)), "one shape, except for axis -1"),
    (layers.Concatenate, {"axis": 1}, ones((2, 3, 4), (2, 3, 5)), "except for axis 1"),
    (layers.Concatenate, {"axis": 2}, ones((2, 3), (2, 3)), "that have an axis 2"),
    (layers.Dot, {"axes": 2}, ones((2, 3), (2, 3)), "inputs with axes=2"),
    (layers.Dot, {"axes": -2}, ones((2, 3), (2, 3)), "inputs with axes=-2"),
    (layers.Dot, {"axes": (1, 2)}, ones((2, 3), (2, 3, 4)),
     r"equal sizes on the axes \(1, 2\) to sum over"),
    (layers.Dot, {"axes": 1}, ones((2, 3), (4, 3)), "one batch size"),
]  # fmt: skip


@pytest.mark.parametrize(("layer", "kwargs", "inputs", "message"), REFUSED)
def test_inputs_that_cannot_be_merged(layer, kwargs, inputs, message):
    one = layer(**kwargs, name="m")
    with pytest.raises(ValueError, match=rf"Layer 'm' \({layer.__name__}\).*{message}"):
        one(inputs)


def test_a_built_layer_checks_every_call():
    layer = layers.Add(name="m")
    layer(ones((2, 3), (2, 3)))
    for inputs in (torch.ones(2, 3), ones((2, 3), (2, 4))):
        with pytest.raises(ValueError, match=r"Layer 'm' \(Add\): expected"):
            layer(inputs)


@pytest.mark.parametrize("mask", [[None], torch.ones(2, 4).bool()])
def test_masks_come_one_for_each_input(mask):
    with pytest.raises(ValueError, match=r"'m' \(Multiply\): `mask` must be a list"):
        layers.Multiply(name="m")(ones((2, 4, 3), (2, 4, 3)), mask=mask)


def test_a_known_size_makes_an_unknown_one_known():
    inputs = [layers.Input((None, 4)), layers.Input((10, 4))]
    assert layers.Add()(inputs).shape == (None, 10, 4)
    assert layers.Concatenate()(inputs).shape == (None, 10, 8)


def test_one_row_is_added_to_a_batch():
    inputs = [layers.Input((4,)), layers.Input(batch_shape=(1, 4))]
    layer = layers.Add()
    assert layer(inputs).shape == (None, 4)
    assert layer(ones((3, 4), (1, 4))).shape == (3, 4)


def test_symbolic_and_real_tensors_go_together():
    outputs = layers.Concatenate()([layers.Input(batch_shape=(2, 4)), torch.ones(2, 3)])
    assert outputs.shape == (2, 7)


@pytest.mark.parametrize("dtype", ["int32", "float16", "bool"])
def test_symbolic_dtypes_are_the_real_ones(dtype):
    for name in ("Add", "Average", "Concatenate"):
        layer = getattr(layers, name)()
        symbolic = layer([layers.Input((3,), dtype=dtype)] * 2)
        real = layer([torch.ones(2, 3, dtype=getattr(torch, dtype))] * 2)
        assert f"torch.{symbolic.dtype}" == str(real.dtype)


def test_masks_of_inputs_of_different_rank():
    x, y = ones((2, 4, 3), (2, 3))
    y.mul_(5)
    x._keras_mask = torch.tensor([[True, True, False, False]]).expand(2, 4)
    y._keras_mask = torch.tensor([True, False])
    outputs: Any = layers.Multiply()([x, y])
    expected = torch.tensor([[5.0, 5, 5, 5], [1, 1, 0, 0]])
    assert torch.equal(outputs, expected.unsqueeze(-1).expand(2, 4, 3))
    kept = torch.tensor([[True] * 4, [True, True, False, False]])
    assert torch.equal(outputs._keras_mask, kept)


def test_a_mask_may_be_shorter_than_its_input():
    (images,) = ones((2, 4, 5, 3))
    images._keras_mask = torch.tensor([[True, True, False, False]]).expand(2, 4)
    outputs = layers.Multiply()([images, images])
    assert outputs[:, 2:].eq(0).all()
    assert outputs[:, :2].eq(1).all()


@pytest.mark.parametrize("name", ["Multiply", "Maximum", "Concatenate"])
def test_masked_inputs_compile_to_one_graph(name):
    layer = getattr(layers, name)()
    mask = torch.rand(2, 4) > 0.5

    def merge(first, second):
        first._keras_mask = second._keras_mask = mask
        return layer([first, second])

    inputs = torch.randn(2, 4, 3), torch.randn(2, 4, 3)
    expected = merge(*inputs)
    outputs = torch.compile(merge, fullgraph=True, backend="eager")(*inputs)
    torch.testing.assert_close(outputs, expected)
