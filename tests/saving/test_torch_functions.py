"""Every function of torch that a file may name comes back from a file."""

import operator

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from torch.utils import _pytree

from torchkeras import layers, ops
from torchkeras._core.symbolic import OPERATORS, KerasTensor
from torchkeras._core.torch_functions import ATTRIBUTES, BY_NAME
from torchkeras.layers import Input
from torchkeras.models import Model, load_model

#: What stands for the first tensor, and those that others may be.
SHAPES = {
    "square": ((4, 4), "float32"),
    "matrix": ((4, 6), "float32"),
    "vector": ((6,), "float32"),
    "image": ((3, 8, 8), "float32"),
    "volume": ((2, 8, 8, 8), "float32"),
    "indices": ((4, 6), "int64"),
    "labels": ((), "int64"),
    "flags": ((4, 6), "bool"),
    "pairs": ((4, 2), "float32"),
    "waves": ((4, 6), "complex64"),
}


def given(name, batch=4):
    """Return numbers for an input: no two alike, within (0, 1) where real."""
    shape, dtype = SHAPES[name]
    shape = (batch, *shape)
    if dtype == "int64":
        return torch.randint(0, 2, shape)
    numbers = torch.rand(shape) * 0.9 + 0.05
    if dtype == "bool":
        return numbers > 0.5
    return numbers.to(getattr(torch, dtype))


def function_of(name):
    """Return a function by its name in files; a method is called as users call it."""
    place, _, word = name.rpartition(".")
    if place == "torch.Tensor":
        return lambda tensor, *args, **kwargs: getattr(tensor, word)(*args, **kwargs)
    return BY_NAME[name]


#: Calls that are tried, of which one works for most functions.
PATTERNS = [
    pattern
    for first in ("matrix", "square", "image", "vector", "indices", "flags", "waves")
    for pattern in (
        lambda f, x, first=first: f(x[first]),
        lambda f, x, first=first: f(x[first], x[first]),
        lambda f, x, first=first: f(x[first], 1),
        lambda f, x, first=first: f(x[first], 0, 1),
        lambda f, x, first=first: f(x[first], 2),
        lambda f, x, first=first: f([x[first], x[first]]),
        lambda f, x, first=first: f(x[first], x[first], x[first]),
    )
]
INDICES = torch.tensor([0, 2, 1])
#: Calls that are none of these.
CALLS = {
    "adaptive_avg_pool3d": lambda f, x: f(x["volume"], (2, 4, 1)),
    "addbmm": lambda f, x: f(x["square"][0], x["square"], x["square"]),
    "addmm": lambda f, x: f(x["square"][0], x["square"][1], x["square"][2]),
    "addmv": lambda f, x: f(x["square"][0, 0], x["square"][1], x["square"][2, 0]),
    "addr": lambda f, x: f(x["square"][0], x["square"][1, 0], x["square"][2, 0]),
    "affine_grid": lambda f, x: f(x["matrix"][:, :2, :3], (4, 3, 5, 5), False),
    "batch_norm": lambda f, x: f(x["image"], torch.ones(3), torch.ones(3)),
    "broadcast_to": lambda f, x: f(x["vector"], (2, 4, 6)),
    "bucketize": lambda f, x: f(x["vector"], torch.tensor([0.2, 0.5])),
    "cartesian_prod": lambda f, x: f(x["vector"][0], x["vector"][1]),
    "cholesky": lambda f, x: f(x["square"] @ x["square"].mT + torch.eye(4)),
    "constant_pad_nd": lambda f, x: f(x["vector"], (1, 2), float("-inf")),
    "conv3d": lambda f, x: f(x["volume"], torch.rand(3, 2, 2, 2, 2), padding="same"),
    "conv_transpose2d": lambda f, x: f(
        x["image"], torch.rand(3, 3, 2, 2), stride=(2, 1)
    ),
    "conv_transpose3d": lambda f, x: f(x["volume"], torch.rand(2, 3, 2, 2, 2)),
    "cross": lambda f, x: f(x["image"], x["image"], dim=1),
    "diagonal_scatter": lambda f, x: f(x["square"][0], torch.ones(4)),
    "dot": lambda f, x: f(x["vector"][0], x["vector"][1]),
    "einsum": lambda f, x: f("bij,bkj->bik", x["matrix"], x["matrix"]),
    "embedding": lambda f, x: f(x["indices"], torch.rand(3, 5)),
    "expand": lambda f, x: f(x["matrix"][:, :1], -1, 3, 6),
    "flip": lambda f, x: f(x["matrix"], (1, 2)),
    "fold": lambda f, x: f(
        x["pairs"].mT[:, :, :4].repeat(1, 2, 1), (4, 4), (2, 2), 1, 0, 2
    ),
    "gather": lambda f, x: f(x["matrix"], 1, x["indices"]),
    "ger": lambda f, x: f(x["vector"][0], x["vector"][1]),
    "grid_sample": lambda f, x: f(x["image"], x["pairs"][:, None], align_corners=True),
    "index_add": lambda f, x: f(x["matrix"], 1, INDICES, torch.ones(4, 3, 6)),
    "index_copy": lambda f, x: f(x["matrix"], 1, INDICES, torch.ones(4, 3, 6)),
    "index_fill": lambda f, x: f(x["matrix"], 1, INDICES, 0.5),
    "index_select": lambda f, x: f(x["matrix"], 1, INDICES),
    "layer_norm": lambda f, x: f(x["matrix"], (6,), eps=1e-3),
    "lp_pool1d": lambda f, x: f(x["matrix"], 2.0, 2),
    "lp_pool2d": lambda f, x: f(x["image"], 2.0, (2, 1)),
    "lp_pool3d": lambda f, x: f(x["volume"], 2.0, 2),
    "masked_fill": lambda f, x: f(x["matrix"], x["flags"], float("-inf")),
    "meshgrid": lambda f, x: f(x["vector"][0], x["vector"][1], indexing="ij"),
    "mm": lambda f, x: f(x["vector"], torch.rand(6, 2)),
    "multi_dot": lambda f, x: f([x["vector"], torch.rand(6, 2), torch.rand(2, 3)]),
    "mv": lambda f, x: f(x["vector"], torch.rand(6)),
    "narrow": lambda f, x: f(x["matrix"], 2, 1, 3),
    "new_full": lambda f, x: f(x["matrix"], (2, 3), 0.5, dtype=torch.float64),
    "new_ones": lambda f, x: f(x["matrix"], (2, 3), dtype=torch.int32),
    "new_zeros": lambda f, x: f(x["matrix"], 2, 3),
    "nll_loss": lambda f, x: f(x["vector"], x["labels"], reduction="none"),
    "outer": lambda f, x: f(x["vector"][0], x["vector"][1]),
    "pad": lambda f, x: f(x["image"], (1, 0, 2, 1), mode="reflect"),
    "permute": lambda f, x: f(x["matrix"], (0, 2, 1)),
    "torch.Tensor.permute": lambda f, x: f(x["matrix"], 0, 2, 1),
    "polygamma": lambda f, x: f(1, x["vector"]),
    "torch.Tensor.polygamma": lambda f, x: f(x["vector"], 1),
    "prelu": lambda f, x: f(x["image"] - 0.5, torch.tensor([0.1, 0.2, 0.3])),
    "renorm": lambda f, x: f(x["matrix"], 2, 1, 0.5),
    "repeat": lambda f, x: f(x["matrix"], 1, 2, 1),
    "reshape": lambda f, x: f(x["matrix"], (-1, 3, 8)),
    "rms_norm": lambda f, x: f(x["matrix"], (6,)),
    "scatter": lambda f, x: f(x["matrix"], 1, x["indices"], 0.5),
    "scatter_add": lambda f, x: f(x["matrix"], 1, x["indices"], x["matrix"]),
    "scatter_reduce": lambda f, x: f(x["matrix"], 1, x["indices"], x["matrix"], "amax"),
    "select_scatter": lambda f, x: f(x["matrix"], torch.ones(4, 6), 1, 2),
    "size": lambda f, x: x["matrix"] * f(x["matrix"])[1],
    "numel": lambda f, x: x["matrix"] * f(x["matrix"]),
    "nelement": lambda f, x: x["matrix"] * f(x["matrix"]),
    "sum_to_size": lambda f, x: f(x["matrix"], 1, 6),
    "tensordot": lambda f, x: f(x["matrix"], torch.rand(6, 2), dims=([2], [0])),
    "tile": lambda f, x: f(x["matrix"], (2, 1)),
    "to": lambda f, x: f(x["matrix"], torch.bfloat16, copy=True),
    "type": lambda f, x: f(x["matrix"], torch.float64),
    "unflatten": lambda f, x: f(x["matrix"], -1, (2, 3)),
    "torch.Tensor.unfold": lambda f, x: f(x["matrix"], 2, 3, 1),
    "vdot": lambda f, x: f(x["vector"][0], x["vector"][1]),
    "view": lambda f, x: f(x["matrix"], -1, 24),
    "view_as_complex": lambda f, x: f(x["pairs"]),
    "torch.Tensor.where": lambda f, x: f(x["matrix"], x["flags"], 0.5),
}


def symbolic():
    return {
        name: Input(shape, batch_size=4, dtype=dtype, name=name)
        for name, (shape, dtype) in SHAPES.items()
    }


def working_call(name, inputs):
    """Return what a function gives for symbols, by a call that numbers allow."""
    word = name.rpartition(".")[2]
    own = CALLS.get(name, CALLS.get(word))
    numbers = {key: given(key) for key in SHAPES}
    problems = []
    for call in PATTERNS if own is None else [own]:
        try:
            made = call(function_of(name), numbers)
            if any(map(torch.is_tensor, _pytree.tree_leaves(made))):
                return call(function_of(name), inputs)
        except Exception as error:
            problems.append(error)
    raise AssertionError(f"no call of {name} works: {problems}")


PLACES = sorted({name.rpartition(".")[0] for name in BY_NAME})


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore")  # of functions that torch advises against
@pytest.mark.parametrize("place", PLACES)
def test_every_function_that_a_file_may_name(place, tmp_path):
    inputs, made = symbolic(), {}
    for name in BY_NAME:
        if name.rpartition(".")[0] == place:
            outputs = _pytree.tree_leaves(working_call(name, inputs))
            tensors = [t for t in outputs if isinstance(t, KerasTensor)]
            assert tensors, name
            made |= {f"{name}:{i}": tensor for i, tensor in enumerate(tensors)}
    model = Model(inputs, made)
    model.save(tmp_path / "model.safetensors")
    loaded = load_model(tmp_path / "model.safetensors")
    numbers = {key: given(key) for key in SHAPES}
    torch.manual_seed(0)
    expected = model(numbers)
    torch.manual_seed(0)
    assert_same(loaded(numbers), expected)


def assert_same(got, expected, rtol=0.0):
    got, expected = map(_pytree.tree_leaves, (got, expected))
    for one, other in zip(got, expected, strict=True):
        torch.testing.assert_close(one, other, rtol=rtol, atol=0, equal_nan=True)


# Operators, attributes, and every kind of argument

#: What users write, with an input of shape ``(None, 4, 6)``.
IDIOMS = {
    "flatten": lambda x: x.flatten(1),
    "unknown size": lambda x: x.view(x.size(0), -1),
    "scaled by a size": lambda x: x / x.size(0),
    "sizes": lambda x: x.flatten(1).reshape(x.size()),
    "max with indices": lambda x: list(x.max(1)),
    "top": lambda x: x.topk(2).values,
    "transposed": lambda x: x.mT,
    "chained": lambda x: x.permute(0, 2, 1).contiguous().view(-1, 24).mean(1),
    "cat": lambda x: torch.cat([x, x], dim=-1),
    "infinite": lambda x: x.masked_fill(x > 0.5, float("-inf")),
    "infinite in ops": lambda x: ops.where(x > 0.5, x, float("inf")),
    "not a number": lambda x: torch.where(x > 0.5, x, float("nan")).nan_to_num(2.0),
    "complex number": lambda x: (x * 2j).imag,
    "complex tensor": lambda x: (x * torch.tensor([1j, 2, 3, 4, 5, 6])).real,
    "complex array": lambda x: (x * np.array([1j, 2, 3, 4, 5, 6], "complex64")).real,
    "complex array in ops": lambda x: ops.multiply(x, np.array([1j] * 6)).real,
    "bfloat16 tensor": lambda x: x + torch.ones(6, dtype=torch.bfloat16),
    "empty tensor": lambda x: torch.cat([x[0], torch.ones(0, 6)]),
    "array": lambda x: x * np.arange(6, dtype="float32"),
    "number of NumPy": lambda x: x * np.float32(0.5) + np.int64(1),
    "dtype": lambda x: torch.zeros_like(x, dtype=torch.int32),
    "memory format": lambda x: x.contiguous(memory_format=torch.contiguous_format),
    "device": lambda x: x.to(torch.device("cpu")),
    "slices": lambda x: x[:, 1:3, ::2],
    "slices of NumPy's numbers": lambda x: x[:, : np.int64(2)],
    "new axis and rest": lambda x: x[:, None, ..., 0],
    "list as an index": lambda x: x[[0, 1]],
    "lists among indices": lambda x: x[:, [0, 2], [1, 1]],
    "list of booleans": lambda x: x[:, [True, False, True, False]],
    "range as an index": lambda x: x[:, range(2)],
    "tensor as an index": lambda x: x[:, torch.tensor([0, 2])],
    "array as an index": lambda x: x[:, np.array([0, 2])],
    "activation of torch": lambda x: layers.Dense(3, activation=torch.square)(x),
    "lambda of torch": lambda x: layers.Lambda(torch.special.expit)(x),
    "argument of a layer": lambda x: layers.Dropout(0.5)(x, training=False),
    "nested outputs": lambda x: {"a": x * 2, "b": [x, (x + 1, x - 1)]},
    "attention": lambda x: F.scaled_dot_product_attention(x, x, x, is_causal=True),
    "einsum": lambda x: torch.einsum("bij,bkj->bik", x, x),
    "no arguments": lambda x: x.squeeze(()),
}


def round_trip(make, path):
    inputs = Input((4, 6))
    model = Model(inputs, make(inputs))
    model.save(path)
    loaded = load_model(path)
    x = torch.rand(2, 4, 6)
    assert_same(loaded(x), model(x))


@pytest.mark.filterwarnings("ignore:__array_wrap__")  # of torch with NumPy
@pytest.mark.parametrize("idiom", IDIOMS)
def test_idioms(idiom, tmp_path):
    round_trip(IDIOMS[idiom], tmp_path / "model.safetensors")


@pytest.mark.parametrize("attribute", sorted(ATTRIBUTES))
def test_attributes(attribute, tmp_path):
    def make(x):
        return getattr(x[0] if attribute in ("T", "H") else x, attribute) + 0

    if attribute != "imag":  # of complex numbers only
        round_trip(make, tmp_path / "model.safetensors")


UNARY = {operator.neg, operator.abs, operator.invert}


@pytest.mark.parametrize("dtype", ["float32", "int32", "int64", "uint8", "bool"])
def test_operators(dtype, tmp_path):
    """Each gives the same values of the same dtype, with a number on either side."""
    inputs, made = Input((4, 6), dtype=dtype), {}
    x = torch.randint(0, 9, (2, 4, 6)).to(getattr(torch, dtype))
    constant = torch.ones(6, 6, dtype=getattr(torch, dtype))
    for function in OPERATORS:
        second = constant if function is operator.matmul else 1
        sides = [(inputs,)] if function in UNARY else [(inputs, second)]
        if function not in UNARY | {operator.matmul, operator.getitem}:
            sides += [(3, inputs + 1), (inputs, inputs + 1)]
        for number, args in enumerate(sides):
            numbers = [x if isinstance(arg, KerasTensor) else arg for arg in args]
            try:
                function(*numbers)
            except (RuntimeError, TypeError):
                continue  # torch has no such operator for this dtype
            made[f"{function.__name__}_{number}"] = function(*args)
    assert len(made) > 25
    model = Model(inputs, made)
    model.save(tmp_path / "model.safetensors")
    # `3 / x` may differ in the last bit.
    assert_same(load_model(tmp_path / "model.safetensors")(x), model(x), rtol=2e-7)


BITWISE = {"and_": "And", "or_": "Or", "xor": "Xor", "invert": "Not"}


@pytest.mark.parametrize("name", BITWISE)
@pytest.mark.parametrize("dtype", ["int32", "bool"])
def test_operators_on_bits_have_the_names_of_keras(dtype, name, tmp_path):
    inputs, function = Input((4,), dtype=dtype), getattr(operator, name)
    x = torch.randint(0, 2, (2, 4)).to(getattr(torch, dtype))
    others = () if name == "invert" else (ops.flip(inputs, 1),)
    model = Model(inputs, function(inputs, *others))
    kind = "Logical" if dtype == "bool" else "Bitwise"
    used = [layer["class_name"] for layer in model.get_config()["layers"]]
    assert kind + BITWISE[name] in used
    model.save(tmp_path / "model.keras")
    assert_same(load_model(tmp_path / "model.keras")(x), model(x))


def test_every_operator_has_a_name():
    assert set(OPERATORS) <= set(BY_NAME.values())


# What is refused, before anything is written


WEIGHT = "a weight, Parameter of shape"
REFUSED = {
    "a function that is not listed": (
        lambda x: torch.special.airy_ai(x),
        "'special_airy_ai'.*register_keras_serializable.*save_weights",
    ),
    "a method that changes its tensor": (lambda x: x.clone().add_(1), "'add_'"),
    "an attribute": (lambda x: x.data + 1, "'data'"),
    "a weight": (lambda x: x @ torch.nn.Parameter(torch.ones(6, 2)), WEIGHT),
    "a weight in ops": (
        lambda x: ops.matmul(x, torch.nn.Parameter(torch.ones(6, 2))),
        WEIGHT,
    ),
    "too many numbers": (lambda x: x @ torch.ones(6, 2**18), "limits"),
}


@pytest.mark.parametrize("extension", [".safetensors", ".keras", ".h5"])
@pytest.mark.parametrize("case", REFUSED)
def test_what_no_file_can_hold_is_refused(case, extension, tmp_path):
    make, message = REFUSED[case]
    inputs = Input((4, 6))
    model = Model(inputs, make(inputs))
    with pytest.raises(ValueError, match=message):
        model.save(tmp_path / f"model{extension}")
    assert not list(tmp_path.iterdir())
    model.save_weights(tmp_path / "weights.safetensors")


@pytest.mark.parametrize("extension", [".keras", ".h5"])
@pytest.mark.parametrize(
    "idiom", ["flatten", "infinite in ops", "complex number", "activation of torch"]
)
def test_what_keras_has_no_form_for_is_refused(idiom, extension, tmp_path):
    inputs = Input((4, 6))
    model = Model(inputs, IDIOMS[idiom](inputs))
    with pytest.raises(ValueError, match=r"Keras|JSON"):
        model.save(tmp_path / f"model{extension}")
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(
    "value",
    [
        {"class_name": "__torch__", "config": "torch.load"},
        {"class_name": "__torch__", "config": ["torch.float32"]},
        {"class_name": "__float__", "config": "1e5"},
        {"class_name": "__complex__", "config": "12345"},
        {"class_name": "__tensor__", "config": {"value": [1], "dtype": "nn"}},
    ],
)
def test_damaged_arguments(value):
    inputs = Input((4,))
    config = Model(inputs, inputs.clamp(0.5)).get_config()
    call = next(entry for entry in config["layers"] if entry["module"] == "torch")
    call["inbound_nodes"][0]["args"][1] = value
    with pytest.raises((ValueError, KeyError, TypeError)):
        Model.from_config(config)
