"""What every layer must do, checked on a row for each."""

import copy
import json
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn

from tests.layers.cases import CASES, Case
from torchkeras import layers
from torchkeras._core import tree
from torchkeras._core.tracking import ContainedModules
from torchkeras.layers.recurrent.convolutional import ConvLSTMCell
from torchkeras.layers.shapes import symbolic_tensors

#: Exported names that are no layers to be called; cells are called by others.
NOT_LAYERS = {
    "GRUCell",
    "Input",
    "InputSpec",
    "LSTMCell",
    "Layer",
    "SimpleRNNCell",
    "StackedRNNCells",
    "Wrapper",
    "add",
    "average",
    "concatenate",
    "deserialize",
    "dot",
    "maximum",
    "minimum",
    "multiply",
    "serialize",
    "subtract",
}


def outputs_of(outputs: Any) -> list[torch.Tensor]:
    """Return the tensors of a layer's outputs."""
    return tree.flatten(outputs)


def total(outputs: Any) -> Any:
    """Return a number that depends on all outputs, in a different way on each."""
    return sum(
        (out.float() * torch.arange(out.numel()).reshape(out.shape).cos()).sum()
        for out in outputs_of(outputs)
        if out.requires_grad
    )


def shapes_of(outputs: Any) -> Any:
    """Return the shapes of a layer's outputs, in the form of `Case.output`."""
    if isinstance(outputs, (list, tuple)):
        return [tuple(out.shape) for out in outputs]
    return tuple(outputs.shape)


def same(first: Any, second: Any) -> None:
    """Compare two outputs bit for bit."""
    for one, other in zip(outputs_of(first), outputs_of(second), strict=True):
        assert one.dtype == other.dtype
        assert torch.equal(one, other)


def float_types(layer: Any) -> set[str]:
    """Return the dtypes of the weights, of which counters are integers."""
    tensors = [tensor for weight in layer.weights for tensor in weight.tensors]
    return {str(t.dtype)[6:] for t in tensors if t.is_floating_point()}


# Checks


def check_config(case: Case) -> None:
    """A config is JSON, and makes a layer with the same config."""
    layer = case.make()
    config = json.loads(json.dumps(layer.get_config()))
    twin = case.layer.from_config(config)
    assert json.loads(json.dumps(twin.get_config())) == config
    assert twin.name == layer.name


def check_serialization(case: Case) -> None:
    """The serialized form of a built layer makes a twin that computes the same."""
    layer, x = case.build(), case.data()
    twin = layers.deserialize(json.loads(json.dumps(layers.serialize(layer)))).eval()
    case.run(twin, x)
    twin.set_weights(layer.get_weights())
    same(case.run(layer, x), case.run(twin, x))


def check_outputs(case: Case) -> None:
    """Outputs have the shapes, the layer the weights, that the row says."""
    layer = case.make()
    outputs = case.run(layer, case.data())
    assert shapes_of(outputs) == case.output
    assert tuple(weight.name for weight in layer.weights) == case.weights
    trainable = len(case.weights) if case.trainable is None else case.trainable
    assert len(layer.trainable_weights) == trainable
    assert layer.count_params() == sum(w.size for w in layer.get_weights())
    assert not layer.training


def check_symbolic(case: Case) -> None:
    """Symbolic shapes are the real ones with an unknown batch, and cost no build."""
    layer = case.make()
    symbol = symbolic_tensors(case.batched(None), case.dtype)
    symbolic = tree.flatten(case.run(layer, symbol))
    x = case.data()
    for output, real in zip(symbolic, outputs_of(case.run(layer, x)), strict=True):
        assert output.shape == (None, *real.shape[1:])
        assert output.dtype == str(real.dtype).removeprefix("torch.")
    assert case.run(layer.compute_output_shape, case.batched(None)) is not None


def check_build(case: Case) -> None:
    """Building from a shape makes the weights that a first call makes."""
    called = case.make()
    case.run(called, case.data())
    built = case.build()
    assert [w.shape for w in built.weights] == [w.shape for w in called.weights]
    assert [w.path for w in built.weights] == [
        f"{built.name}/{w.path.split('/', 1)[1]}" for w in called.weights
    ]


def check_empty_batch(case: Case) -> None:
    """A batch of no rows gives outputs of no rows."""
    outputs = outputs_of(case.run(case.build(), case.data(batch=0)))
    expected = [case.output] if isinstance(case.output, tuple) else case.output
    assert [tuple(o.shape) for o in outputs] == [(0, *s[1:]) for s in expected]


def check_gradients(case: Case) -> None:
    """Inputs and all trained weights get finite gradients."""
    layer, x = case.build(), case.data()
    if case.reaches_inputs:
        tree.map_structure(torch.Tensor.requires_grad_, x)
    outputs = case.run(layer, x)
    if layer.trainable_weights or case.reaches_inputs:
        total(outputs).backward()
    grads = [w.grad for w in layer.trainable_weights]
    grads += [leaf.grad for leaf in tree.flatten(x)] if case.reaches_inputs else []
    assert all(g is not None and bool(g.isfinite().all()) for g in grads)


def check_training(case: Case) -> None:
    """`training=True` holds for one call and is felt by random layers only."""
    layer, x = case.build(), case.data()
    before = case.run(layer, x)
    outputs = case.run(layer, x, training=True)
    assert shapes_of(outputs) == case.output
    assert not layer.training
    assert all(not module.training for module in layer.modules())
    if case.random:
        assert not torch.equal(outputs, before)
        same(case.run(layer, x), before)


def check_policy(case: Case) -> None:
    """Float64 and mixed layers compute in their types; weights have theirs."""
    x = case.data()
    double = case.build(dtype="float64")
    assert all(out.dtype == torch.float64 for out in outputs_of(case.run(double, x)))
    assert float_types(double) <= {"float64"}
    mixed = case.build(dtype="mixed_bfloat16")
    assert float_types(mixed) <= {"float32"}
    outputs = outputs_of(case.run(mixed, x))
    assert all(bool(out.isfinite().all()) for out in outputs)
    if "kernel" in case.weights:  # products of matrices are taken in half precision
        assert all(out.dtype == torch.bfloat16 for out in outputs)


def check_arrays(case: Case) -> None:
    """NumPy arrays of any numeric type are taken as tensors."""
    layer, x = case.build(), case.data()
    arrays = tree.map_structure(torch.Tensor.numpy, x)
    same(case.run(layer, arrays), case.run(layer, x))
    if case.high is None:
        wide = tree.map_structure(lambda array: array.astype("float64"), arrays)
        same(case.run(layer, wide), case.run(layer, x))


def check_masks(case: Case) -> None:
    """A mask is passed on, or ends with a warning where the layer has no use for it."""
    layer, x = case.build(), case.data()
    for leaf in tree.flatten(x):
        steps = torch.arange(leaf.shape[1]).expand(leaf.shape[:2])
        leaf._keras_mask = steps < leaf.shape[1] - 1
    if not (case.masks or case.takes_masks or layer.supports_masking):
        with pytest.warns(UserWarning, match="does not support masking"):
            outputs = case.run(layer, x)
    else:
        outputs = case.run(layer, x)
    mask: Any = getattr(outputs_of(outputs)[0], "_keras_mask", None)
    if case.masks:
        assert torch.equal(mask, tree.flatten(x)[0]._keras_mask)


def check_copy(case: Case) -> None:
    """A deep copy computes the same from weights of its own."""
    layer, x = case.build(), case.data()
    twin = copy.deepcopy(layer)
    torch.manual_seed(0)
    before = case.run(layer, x, training=True)
    torch.manual_seed(0)
    same(before, case.run(twin, x, training=True))
    for weight in twin.weights:
        weight.assign(np.zeros(weight.shape))
    for weight, other in zip(layer.weights, twin.weights, strict=True):
        assert weight.path == other.path
    fresh = case.build()
    fresh.set_weights(layer.get_weights())
    same(case.run(fresh, x), case.run(layer, x))


def check_state_dict(case: Case) -> None:
    """A state dict shows each tensor once and carries all weights to a twin."""
    layer, twin, x = case.build(), case.build(), case.data()
    state = layer.state_dict()
    pointers = [t.data_ptr() for t in state.values()]
    assert len(set(pointers)) == len(pointers)
    plain = {key: tensor.clone() for key, tensor in state.items()}
    twin.load_state_dict(plain, strict=True)
    same(case.run(layer, x), case.run(twin, x))


def check_compile(case: Case) -> None:
    """One graph, forward and backward; the values are the eager ones."""
    layer, x = case.build(), case.data()
    if case.reaches_inputs:
        tree.map_structure(torch.Tensor.requires_grad_, x)
    has_modes = case.random or "moving_mean" in case.weights
    for training in (False, True) if has_modes else (True,):
        torch._dynamo.reset()
        layer.train(training)
        twin = copy.deepcopy(layer)
        compiled = torch.compile(layer, fullgraph=True, backend="eager")
        outputs = case.run(compiled, x)
        if not (training and case.random):
            for one, other in zip(
                outputs_of(outputs), outputs_of(case.run(twin, x)), strict=True
            ):
                torch.testing.assert_close(one, other)
        if layer.trainable_weights or case.reaches_inputs:
            total(outputs).backward()
    assert all(w.grad is not None for w in layer.trainable_weights)


#: Of which torch has no kernel in half precision for the CPU.
NO_HALF = (layers.AveragePooling3D,)


def converted(x: Any, dtype: torch.dtype) -> Any:
    """Return inputs in another dtype, where they are floats."""
    return tree.map_structure(lambda t: t.to(dtype) if t.is_floating_point() else t, x)


def check_converted(case: Case) -> None:
    """After `.double()` and its kin a layer computes in the dtype of its weights."""
    for dtype in (torch.float64, torch.bfloat16, torch.float16):
        if dtype.itemsize == 2 and case.layer in NO_HALF:
            continue
        for layer in (case.build(), case.make()):  # built before it, or after it
            expected = copy.deepcopy(layer).eval()
            x = case.data()
            reference = outputs_of(case.run(expected, x))
            layer.to(dtype)
            for training in (False, True):
                for inputs in (x, converted(x, dtype)):
                    outputs = outputs_of(case.run(layer, inputs, training=training))
                    assert {out.dtype for out in outputs} == {dtype}
            assert float_types(layer) <= {str(dtype)[6:]}
            assert layer.compute_dtype == str(dtype)[6:]
            if dtype == torch.float64 and layer.built and not case.random:
                layer.set_weights(expected.get_weights())
                outputs = outputs_of(case.run(layer.eval(), x))
                for one, other in zip(outputs, reference, strict=True):
                    torch.testing.assert_close(one.float(), other)


def check_autocast(case: Case) -> None:
    """Under `torch.autocast` a layer computes what its `forward` alone does."""
    layer = case.build()
    for training in (False, True):
        layer.train(training)
        twin = copy.deepcopy(layer)
        x = case.data()
        given = {"training": training} if case.takes_training else {}
        for inputs in (x, converted(x, torch.bfloat16)):
            with torch.autocast("cpu", torch.bfloat16):
                torch.manual_seed(0)
                expected = case.run(twin.forward, inputs, **given)
                torch.manual_seed(0)
                same(case.run(layer, inputs, training=training), expected)


#: Modules whose weights are used without a call: in kernels for whole sequences, and
#: for attention with dropout.
UNCALLED = (
    ConvLSTMCell,
    ContainedModules,
    layers.Dropout,
    layers.GRUCell,
    layers.LSTMCell,
    layers.SimpleRNNCell,
    layers.StackedRNNCells,
    layers.StringLookup,
    nn.ModuleList,
    nn.RNNBase,
)


HOOKS = ("forward_pre", "forward", "full_backward_pre", "full_backward")


def noting(kind: str, seen: list[str]) -> Callable[..., None]:
    """Return a hook that notes that it ran."""
    return lambda *_: seen.append(kind)


def check_hooks(case: Case) -> None:
    """Hooks of each kind run on the modules inside, and change no values."""
    layer = case.build().train()
    x, kinds = case.data(), HOOKS
    if not case.reaches_inputs:
        kinds = HOOKS[:2]  # torch warns of the others where no input has gradients
    else:
        tree.map_structure(torch.Tensor.requires_grad_, x)
    for _, module in list(layer.named_modules())[1:]:
        if isinstance(module, UNCALLED):
            continue
        torch.manual_seed(0)
        expected = case.run(copy.deepcopy(layer), x)
        seen: list[str] = []
        handles = [
            getattr(module, f"register_{kind}_hook")(noting(kind, seen))
            for kind in kinds
        ]
        torch.manual_seed(0)
        outputs = case.run(copy.deepcopy(layer), x)
        same(outputs, expected)
        total(outputs).backward()
        assert set(seen) == set(kinds)
        for handle in handles:
            handle.remove()


def check_export(case: Case) -> None:
    """`torch.export` gives the same values, and leaves the layer as it was."""
    layer, x = case.build(), case.data()
    before, state = case.run(layer, x), copy.deepcopy(layer.state_dict())
    tensors = {
        key: id(tensor) for key, tensor in layer.state_dict(keep_vars=True).items()
    }
    arguments = tuple(x) if case.spread else (x,)
    program = torch.export.export(layer, arguments, strict=False)
    after = case.run(layer, x)
    assert all(type(out) is torch.Tensor for out in outputs_of(after))
    same(after, before)
    for one, other in zip(
        outputs_of(case.run(program.module(), x)), outputs_of(before), strict=True
    ):
        torch.testing.assert_close(one, other)
    for key, tensor in layer.state_dict(keep_vars=True).items():
        assert id(tensor) == tensors[key]
        assert torch.equal(tensor, state[key])


CHECKS: list[Callable[[Case], None]] = [
    check_hooks,
    check_converted,
    check_autocast,
    check_config,
    check_serialization,
    check_outputs,
    check_symbolic,
    check_build,
    check_empty_batch,
    check_gradients,
    check_training,
    check_policy,
    check_arrays,
    check_masks,
    check_copy,
    check_state_dict,
    check_compile,
    check_export,
]


ROWS = [
    pytest.param(case, check, id=f"{case}-{check.__name__[6:]}")
    for case in CASES
    for check in CHECKS
    if check.__name__[6:] not in case.skip
]


# Torch says so of `F.rms_norm` under autocast, of its own module too.
@pytest.mark.filterwarnings("ignore:Mismatch dtype between input and weight")
@pytest.mark.filterwarnings("ignore:.*was never adapted")
# Of a convolution of first states, which have no gradients.
@pytest.mark.filterwarnings("ignore:Full backward hook is firing")
@pytest.mark.parametrize(("case", "check"), ROWS)
def test_layer_contract(case: Case, check: Callable[[Case], None]) -> None:
    check(case)


def test_every_exported_layer_has_a_row() -> None:
    exported = {getattr(layers, name) for name in set(layers.__all__) - NOT_LAYERS}
    assert {cls.__name__ for cls in exported - {case.layer for case in CASES}} == set()
