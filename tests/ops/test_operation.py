"""What every operation says when torch refuses its arguments."""

import re

import pytest
import torch

from torchkeras import Input, layers, ops

X = torch.ones(2, 3)


@pytest.mark.parametrize(
    ("call", "note"),
    [
        (
            lambda: ops.reshape(X, (4, 2)),
            r"`ops.reshape`, given x: .*\(2, 3\).*\(4, 2\)",
        ),
        (lambda: ops.matmul(X, X), r"`ops.matmul`, given x1: Tensor of shape \(2, 3\)"),
        (lambda: ops.concatenate([X, X.T]), r"xs: \[Tensor .*\(2, 3\).*\(3, 2\)"),
        (
            lambda: ops.einsum("ij,jk->ik", X, X),
            r"subscripts: 'ij,jk->ik', operands: \[",
        ),
        (lambda: ops.softmax(X, axis=5), r"axis: 5"),
        (lambda: ops.matmul(Input((3,)), X), r"x1: KerasTensor of shape \(None, 3\)"),
        (lambda: ops.add(x1=X, x2=torch.ones(4)), r"x1: .*x2: .*\(4,\)"),
    ],
)
def test_an_error_of_torch_names_the_operation_and_its_arguments(call, note):
    with pytest.raises((RuntimeError, IndexError)) as caught:
        call()
    notes = caught.value.__notes__
    assert len(notes) == 1
    assert re.search(note, notes[0])


def test_of_layers_in_layers_the_innermost_is_named():
    class Outer(layers.Layer):
        def __init__(self, inner, name):
            super().__init__(name=name)
            self.inner = inner

        def call(self, inputs):
            return self.inner(inputs) if self.inner else torch.cat([inputs, inputs[0]])

    with pytest.raises(RuntimeError) as caught:
        Outer(Outer(Outer(None, "inmost"), "middle"), "outer")(X)
    (note,) = caught.value.__notes__
    assert "layer 'inmost' (Outer) called on" in note


def test_in_a_layer_both_are_named():
    class Wrong(layers.Layer):
        def call(self, inputs):
            return ops.matmul(inputs, inputs)

    with pytest.raises(RuntimeError) as caught:
        Wrong(name="wrong")(X)
    notes = "\n".join(caught.value.__notes__)
    assert "`ops.matmul`" in notes
    assert "'wrong'" in notes
