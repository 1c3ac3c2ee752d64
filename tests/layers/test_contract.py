"""What every layer must do, checked on a row for each."""

import copy
import dataclasses
import inspect
import json
import re
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn

from torchkeras import activations, layers
from torchkeras._core import tree
from torchkeras._core.tracking import ContainedModules
from torchkeras.layers.layer import symbolic_tensors

#: Arguments that are layers.
INNER = ("cell", "layer")


@dataclasses.dataclass(frozen=True)
class Case:
    """One layer: how it is made, what goes in and what comes out.

    Args:
        layer: the class.
        kwargs: its arguments.
        input: the shape of the inputs, batch included, or a list of shapes.
        output: the shape, or the shapes, of the outputs.
        weights: the names of the weights, in Keras's order.
        trainable: how many of them are trained.
        high: for inputs that are integers, the largest one plus one.
        masks: whether a mask of the inputs is passed on.
        takes_masks: whether a mask may come in at all.
        random: whether outputs are random in training.
        spread: whether the inputs are arguments of their own, not one list.
        skip: checks that have no meaning for this row.
    """

    layer: type
    kwargs: dict[str, Any]
    input: Any
    output: Any
    weights: tuple[str, ...] = ()
    trainable: int | None = None
    high: int | None = None
    masks: bool = False
    takes_masks: bool = False
    random: bool = False
    spread: bool = False
    skip: tuple[str, ...] = ()

    def __str__(self) -> str:
        """Return the id of the row."""
        options = [
            f"{k}={getattr(v, '__name__', v)}"
            for k, v in self.kwargs.items()
            if k not in INNER
        ]
        inner = [str(v) for k, v in self.kwargs.items() if k in INNER]
        names = re.findall(r"[A-Z]\w+(?=\()", "".join(inner))
        return "-".join([self.layer.__name__, *names, *options]).replace(" ", "")

    def make(self, **kwargs: Any) -> Any:
        """Make the layer."""
        arguments = copy.deepcopy(self.kwargs)
        return self.layer(**{**arguments, **kwargs})

    def build(self, **kwargs: Any) -> Any:
        """Make the layer and build it."""
        layer = self.make(**kwargs)
        if not layer.built:
            self.run(layer.build, self.batched(None))
        return layer

    def run(self, function: Callable[..., Any], x: Any, **kwargs: Any) -> Any:
        """Call a layer, or a method of it, on inputs or on their shapes."""
        return function(*x, **kwargs) if self.spread else function(x, **kwargs)

    @property
    def takes_training(self) -> bool:
        """Whether `call` has an argument for the mode."""
        return "training" in inspect.signature(self.layer.call).parameters

    def batched(self, batch: int | None) -> Any:
        """Return the shape, or the shapes, of inputs of another batch size."""
        if isinstance(self.input, list):
            return [(batch, *shape[1:]) for shape in self.input]
        return (batch, *self.input[1:])

    def data(self, batch: int | None = None) -> Any:
        """Return inputs."""
        shapes = self.input if batch is None else self.batched(batch)
        if isinstance(shapes, list):
            return [self._tensor(shape) for shape in shapes]
        return self._tensor(shapes)

    def _tensor(self, shape: tuple[int, ...]) -> torch.Tensor:
        if self.high is not None:
            return torch.randint(1, self.high, shape)
        return torch.randn(shape)


KERNEL = ("kernel", "bias")
SEPARABLE = ("depthwise_kernel", "pointwise_kernel", "bias")
RECURRENT = ("kernel", "recurrent_kernel", "bias")
AFFINE = ("gamma", "beta")
MOVING = (*AFFINE, "moving_mean", "moving_variance")
RENORM = (*MOVING, "moving_stddev", "renorm_mean", "renorm_stddev")
IMAGE = (2, 8, 8, 3)
STEPS = (2, 8, 3)
SHORT = (2, 3, 3)
VOLUME = (2, 6, 6, 6, 2)
#: A layer given as an argument has a policy of its own.
INNER_POLICY = ("policy",)

CASES = [
    Case(layers.Dense, {"units": 3}, (2, 4), (2, 3), KERNEL, masks=True),
    Case(layers.Dense, {"units": 3, "activation": "softmax"}, (2, 5, 4), (2, 5, 3),
         KERNEL, masks=True),
    Case(layers.Embedding, {"input_dim": 9, "output_dim": 3}, (2, 5), (2, 5, 3),
         ("embeddings",), high=9, skip=("masks",)),
    Case(layers.Embedding, {"input_dim": 9, "output_dim": 3, "mask_zero": True}, (2, 5),
         (2, 5, 3), ("embeddings",), high=9),
    Case(layers.EinsumDense, {"equation": "...x,xy->...y", "output_shape": 5,
                              "bias_axes": "y", "activation": "tanh"},
         SHORT, (2, 3, 5), KERNEL),
    Case(layers.EinsumDense, {"equation": "abc,cde->abde", "output_shape": (None, 2, 5),
                              "bias_axes": "be"},
         SHORT, (2, 3, 2, 5), KERNEL),
    Case(layers.EinsumDense, {"equation": "ab...,bc->ac...", "output_shape": 5},
         SHORT, (2, 5, 3), ("kernel",)),
    Case(layers.Masking, {"mask_value": 0.5}, STEPS, STEPS, takes_masks=True),
    Case(layers.Identity, {}, STEPS, STEPS, masks=True),
    Case(layers.Lambda, {"function": activations.relu, "arguments": {"threshold": 0.1}},
         STEPS, STEPS),
    Case(layers.InputLayer, {"shape": (4,)}, (2, 4), (2, 4),
         skip=("policy", "masks")),
    Case(layers.Activation, {"activation": "tanh"}, (2, 4), (2, 4), masks=True),
    Case(layers.ReLU, {}, (2, 4), (2, 4), masks=True),
    Case(layers.ReLU, {"max_value": 1.0, "negative_slope": 0.1, "threshold": 0.2},
         (2, 4), (2, 4), masks=True),
    Case(layers.LeakyReLU, {}, (2, 4), (2, 4), masks=True),
    Case(layers.ELU, {"alpha": 0.5}, (2, 4), (2, 4), masks=True),
    Case(layers.PReLU, {}, (2, 4), (2, 4), ("alpha",), masks=True),
    Case(layers.PReLU, {"shared_axes": [1, 2]}, IMAGE, IMAGE, ("alpha",), masks=True),
    Case(layers.Softmax, {}, (2, 4), (2, 4), masks=True),
    Case(layers.Softmax, {"axis": [1, 2]}, (2, 3, 4), (2, 3, 4), masks=True,
         skip=("masks",)),
    Case(layers.Conv1D, {"filters": 4, "kernel_size": 3}, STEPS, (2, 6, 4), KERNEL),
    Case(layers.Conv1D, {"filters": 4, "kernel_size": 3, "padding": "causal"}, STEPS,
         (2, 8, 4), KERNEL),
    Case(layers.Conv1D, {"filters": 4, "kernel_size": 2, "padding": "same"}, STEPS,
         (2, 8, 4), KERNEL),
    Case(layers.Conv2D, {"filters": 4, "kernel_size": 3}, IMAGE, (2, 6, 6, 4), KERNEL),
    Case(layers.Conv2D, {"filters": 4, "kernel_size": 3, "padding": "same",
                         "activation": "relu", "use_bias": False},
         IMAGE, (2, 8, 8, 4), ("kernel",)),
    Case(layers.Conv2D, {"filters": 4, "kernel_size": 3, "padding": "same",
                         "strides": 2}, IMAGE, (2, 4, 4, 4), KERNEL),
    Case(layers.Conv2D, {"filters": 4, "kernel_size": (3, 2), "groups": 2,
                         "data_format": "channels_first"},
         (2, 4, 8, 8), (2, 4, 6, 7), KERNEL),
    Case(layers.Conv3D, {"filters": 4, "kernel_size": 3, "dilation_rate": 2}, VOLUME,
         (2, 2, 2, 2, 4), KERNEL),
    Case(layers.Conv1DTranspose, {"filters": 4, "kernel_size": 3, "strides": 2}, STEPS,
         (2, 17, 4), KERNEL),
    Case(layers.Conv2DTranspose, {"filters": 4, "kernel_size": 3, "strides": 2,
                                  "padding": "same"}, IMAGE, (2, 16, 16, 4), KERNEL),
    Case(layers.Conv3DTranspose, {"filters": 4, "kernel_size": 2}, VOLUME,
         (2, 7, 7, 7, 4), KERNEL),
    Case(layers.DepthwiseConv1D, {"kernel_size": 3, "depth_multiplier": 2}, STEPS,
         (2, 6, 6), KERNEL),
    Case(layers.DepthwiseConv2D, {"kernel_size": 3, "padding": "same", "strides": 2},
         IMAGE, (2, 4, 4, 3), KERNEL),
    Case(layers.SeparableConv1D, {"filters": 4, "kernel_size": 3}, STEPS, (2, 6, 4),
         SEPARABLE),
    Case(layers.SeparableConv2D, {"filters": 4, "kernel_size": 3, "padding": "same",
                                  "depth_multiplier": 2}, IMAGE, (2, 8, 8, 4),
         SEPARABLE),
    Case(layers.AdaptiveAveragePooling1D, {"output_size": 4}, STEPS, (2, 4, 3)),
    Case(layers.AdaptiveAveragePooling2D, {"output_size": 4}, IMAGE, (2, 4, 4, 3)),
    Case(layers.AdaptiveAveragePooling3D, {"output_size": 2}, VOLUME, (2, 2, 2, 2, 2)),
    Case(layers.AdaptiveMaxPooling1D, {"output_size": 4}, STEPS, (2, 4, 3)),
    Case(layers.AdaptiveMaxPooling2D, {"output_size": (2, 4)}, IMAGE, (2, 2, 4, 3)),
    Case(layers.AdaptiveMaxPooling3D, {"output_size": 3}, VOLUME, (2, 3, 3, 3, 2)),
    Case(layers.MaxPooling1D, {}, STEPS, (2, 4, 3)),
    Case(layers.MaxPooling2D, {}, IMAGE, (2, 4, 4, 3)),
    Case(layers.MaxPooling2D, {"pool_size": 3, "strides": 2, "padding": "same"}, IMAGE,
         (2, 4, 4, 3)),
    Case(layers.MaxPooling3D, {}, VOLUME, (2, 3, 3, 3, 2)),
    Case(layers.AveragePooling1D, {"pool_size": 2}, STEPS, (2, 4, 3)),
    Case(layers.AveragePooling2D, {"pool_size": 2}, IMAGE, (2, 4, 4, 3)),
    Case(layers.AveragePooling2D, {"pool_size": 2, "strides": 1, "padding": "same"},
         IMAGE, IMAGE),
    Case(layers.AveragePooling3D, {"pool_size": 2}, VOLUME, (2, 3, 3, 3, 2)),
    Case(layers.GlobalMaxPooling1D, {}, STEPS, (2, 3)),
    Case(layers.GlobalMaxPooling2D, {"keepdims": True}, IMAGE, (2, 1, 1, 3)),
    Case(layers.GlobalMaxPooling3D, {}, VOLUME, (2, 2)),
    Case(layers.GlobalAveragePooling1D, {}, STEPS, (2, 3),
         takes_masks=True),
    Case(layers.GlobalAveragePooling2D, {"data_format": "channels_first"}, (2, 3, 8, 8),
         (2, 3)),
    Case(layers.GlobalAveragePooling3D, {}, VOLUME, (2, 2)),
    Case(layers.BatchNormalization, {}, (4, 3), (4, 3), MOVING, trainable=2,
         masks=True),
    Case(layers.BatchNormalization, {"scale": False}, STEPS, STEPS, MOVING[1:],
         trainable=1, masks=True),
    Case(layers.BatchNormalization, {"axis": 1}, IMAGE, IMAGE, MOVING, trainable=2,
         masks=True),
    Case(layers.BatchNormalization, {"momentum": 0.9}, IMAGE, IMAGE, MOVING,
         trainable=2, masks=True),
    Case(layers.BatchNormalization, {"renorm": True, "renorm_clipping": {"rmax": 2.0}},
         STEPS, STEPS, RENORM, trainable=2, masks=True, skip=("hooks",)),
    Case(layers.LayerNormalization, {}, STEPS, STEPS, AFFINE, masks=True),
    Case(layers.LayerNormalization, {"axis": [1, 3], "center": False}, IMAGE, IMAGE,
         AFFINE[:1], masks=True),
    Case(layers.GroupNormalization, {"groups": 3}, IMAGE, IMAGE, AFFINE, masks=True),
    Case(layers.GroupNormalization, {"groups": 2, "axis": 1, "scale": False}, STEPS,
         STEPS, AFFINE[1:], masks=True),
    Case(layers.RMSNormalization, {}, STEPS, STEPS, ("scale",)),
    Case(layers.RMSNormalization, {"axis": [1, 3]}, IMAGE, IMAGE, ("scale",)),
    Case(layers.UnitNormalization, {}, STEPS, STEPS, masks=True),
    Case(layers.UnitNormalization, {"axis": [1, 2]}, IMAGE, IMAGE, masks=True),
    *[
        Case(layer, {}, [STEPS, *others], STEPS, masks=True)
        for layer, others in (
            (layers.Add, [STEPS, STEPS]),
            (layers.Add, [(2, 1, 3)]),
            (layers.Subtract, [STEPS]),
            (layers.Multiply, [STEPS]),
            (layers.Average, [STEPS, STEPS]),
            (layers.Maximum, [STEPS]),
            (layers.Minimum, [STEPS]),
        )
    ],
    Case(layers.Add, {}, [STEPS, (2, 3)], STEPS, skip=("masks",)),
    Case(layers.Concatenate, {}, [STEPS, STEPS], (2, 8, 6), masks=True),
    Case(layers.Concatenate, {"axis": 1}, [STEPS, SHORT], (2, 11, 3), takes_masks=True),
    Case(layers.Dot, {"axes": 1}, [(2, 4), (2, 4)], (2, 1), takes_masks=True),
    Case(layers.Dot, {"axes": (2, -1), "normalize": True}, [STEPS, SHORT], (2, 8, 3),
         takes_masks=True),
    Case(layers.Attention, {}, [STEPS, SHORT], STEPS, masks=True),
    Case(layers.Attention, {"use_scale": True, "score_mode": "concat"},
         [STEPS, SHORT, SHORT], STEPS, ("scale", "concat_score_weight"), masks=True),
    Case(layers.Attention, {"use_scale": True, "dropout": 0.4}, [STEPS, SHORT, SHORT],
         STEPS, ("scale",), masks=True, random=True),
    Case(layers.AdditiveAttention, {"dropout": 0.4, "seed": 1}, [STEPS, SHORT], STEPS,
         ("scale",), masks=True, random=True),
    Case(layers.MultiHeadAttention, {"num_heads": 2, "key_dim": 4}, [STEPS, SHORT],
         STEPS, 4 * KERNEL, masks=True, spread=True),
    Case(layers.MultiHeadAttention, {"num_heads": 2, "key_dim": 4, "value_dim": 3,
                                     "output_shape": (2, 5), "use_gate": True,
                                     "dropout": 0.4, "sliding_window": 2},
         [STEPS, STEPS, STEPS], (2, 8, 2, 5), 5 * KERNEL, masks=True, random=True,
         spread=True),
    Case(layers.MultiHeadAttention, {"num_heads": 2, "key_dim": 4, "use_bias": False,
                                     "attention_axes": (1, 2), "dropout": 0.4,
                                     "seed": 1},
         [IMAGE, IMAGE], IMAGE, 4 * ("kernel",), takes_masks=True, random=True,
         spread=True, skip=("masks",)),
    Case(layers.GroupQueryAttention, {"head_dim": 4, "num_query_heads": 4,
                                      "num_key_value_heads": 2},
         [STEPS, SHORT, SHORT], STEPS, 4 * KERNEL, masks=True, spread=True),
    Case(layers.Flatten, {}, IMAGE, (2, 192)),
    Case(layers.Flatten, {"data_format": "channels_first"}, IMAGE, (2, 192)),
    Case(layers.Reshape, {"target_shape": (4, 3)}, (2, 12), (2, 4, 3)),
    Case(layers.Reshape, {"target_shape": (4, -1)}, (2, 12), (2, 4, 3)),
    Case(layers.Permute, {"dims": (2, 1)}, STEPS, (2, 3, 8)),
    Case(layers.RepeatVector, {"n": 5}, (2, 3), (2, 5, 3)),
    Case(layers.Cropping1D, {"cropping": (2, 1)}, STEPS, (2, 5, 3)),
    Case(layers.Cropping2D, {"cropping": ((1, 2), (0, 3))}, IMAGE, (2, 5, 5, 3)),
    Case(layers.Cropping2D, {"cropping": 2, "data_format": "channels_first"},
         (2, 3, 8, 8), (2, 3, 4, 4)),
    Case(layers.Cropping3D, {"cropping": (1, 2, 0)}, VOLUME, (2, 4, 2, 6, 2)),
    Case(layers.ZeroPadding1D, {"padding": (2, 1)}, STEPS, (2, 11, 3)),
    Case(layers.ZeroPadding2D, {"padding": ((1, 2), (0, 3))}, IMAGE, (2, 11, 11, 3)),
    Case(layers.ZeroPadding2D, {"data_format": "channels_first"}, (2, 3, 8, 8),
         (2, 3, 10, 10)),
    Case(layers.ZeroPadding3D, {"padding": (1, 2, 0)}, VOLUME, (2, 8, 10, 6, 2)),
    Case(layers.UpSampling1D, {"size": 3}, STEPS, (2, 24, 3)),
    Case(layers.UpSampling2D, {"size": (2, 3)}, IMAGE, (2, 16, 24, 3)),
    Case(layers.UpSampling2D, {"interpolation": "bilinear"}, IMAGE, (2, 16, 16, 3)),
    Case(layers.UpSampling3D, {"data_format": "channels_first"}, VOLUME,
         (2, 6, 12, 12, 4)),
    Case(layers.Dropout, {"rate": 0.4}, (2, 4), (2, 4), masks=True,
         random=True),
    Case(layers.Dropout, {"rate": 0.4, "noise_shape": (None, 1, None), "seed": 3},
         STEPS, STEPS, masks=True, random=True),
    Case(layers.Dropout, {"rate": 0.4}, (70, 70), (70, 70), masks=True,
         random=True),
    Case(layers.SpatialDropout1D, {"rate": 0.4}, STEPS, STEPS, masks=True,
         random=True),
    Case(layers.SpatialDropout2D, {"rate": 0.4}, IMAGE, IMAGE, masks=True,
         random=True),
    Case(layers.SpatialDropout3D, {"rate": 0.4, "data_format": "channels_first"},
         VOLUME, VOLUME, masks=True, random=True),
    Case(layers.GaussianNoise, {"stddev": 0.3, "seed": 1}, (2, 4), (2, 4),
         masks=True, random=True),
    Case(layers.GaussianDropout, {"rate": 0.3, "seed": 1}, (2, 4), (2, 4),
         masks=True, random=True),
    Case(layers.AlphaDropout, {"rate": 0.4}, STEPS, STEPS, masks=True, random=True),
    Case(layers.AlphaDropout, {"rate": 0.4, "noise_shape": (None, 1, None), "seed": 3},
         STEPS, STEPS, masks=True, random=True),
    Case(layers.ActivityRegularization, {"l1": 0.1, "l2": 0.2}, STEPS, STEPS,
         masks=True),
    Case(layers.Rescaling, {"scale": 0.5, "offset": [1.0, 2.0, 3.0]}, IMAGE, IMAGE,
         masks=True),
    Case(layers.SimpleRNN, {"units": 4}, SHORT, (2, 4), RECURRENT, takes_masks=True),
    Case(layers.SimpleRNN, {"units": 4, "activation": "relu", "go_backwards": True,
                            "return_sequences": True, "use_bias": False},
         SHORT, (2, 3, 4), RECURRENT[:2], masks=True),
    Case(layers.LSTM, {"units": 4}, SHORT, (2, 4), RECURRENT, takes_masks=True),
    Case(layers.LSTM, {"units": 4, "return_sequences": True, "return_state": True},
         SHORT, [(2, 3, 4), (2, 4), (2, 4)], RECURRENT, masks=True),
    Case(layers.LSTM, {"units": 4, "dropout": 0.3, "recurrent_dropout": 0.3}, SHORT,
         (2, 4), RECURRENT, takes_masks=True, random=True),
    Case(layers.GRU, {"units": 4}, SHORT, (2, 4), RECURRENT, takes_masks=True),
    Case(layers.GRU, {"units": 4, "reset_after": False, "return_state": True}, SHORT,
         [(2, 4), (2, 4)], RECURRENT, takes_masks=True),
    Case(layers.RNN, {"cell": layers.SimpleRNNCell(4)}, SHORT, (2, 4), RECURRENT,
         takes_masks=True, skip=INNER_POLICY),
    Case(layers.RNN, {"cell": [layers.LSTMCell(4), layers.GRUCell(3)]}, SHORT, (2, 3),
         2 * RECURRENT, takes_masks=True, skip=INNER_POLICY),
    Case(layers.Bidirectional, {"layer": layers.LSTM(4)}, SHORT, (2, 8), 2 * RECURRENT,
         takes_masks=True, skip=INNER_POLICY),
    Case(layers.Bidirectional, {"layer": layers.GRU(4, return_sequences=True),
                                "merge_mode": "sum"},
         SHORT, (2, 3, 4), 2 * RECURRENT, masks=True, skip=INNER_POLICY),
    Case(layers.TimeDistributed, {"layer": layers.Dense(4)}, SHORT, (2, 3, 4), KERNEL,
         masks=True, skip=INNER_POLICY),
    Case(layers.TimeDistributed, {"layer": layers.Conv2D(4, 3)}, (2, 5, 8, 8, 3),
         (2, 5, 6, 6, 4), KERNEL, masks=True, skip=INNER_POLICY),
]  # fmt: skip

#: Exported names that are no layers to be called; cells are called by those above.
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
    twin = layers.deserialize(json.loads(json.dumps(layers.serialize(layer))))
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
    dtype = "float32" if case.high is None else "int32"
    symbol = symbolic_tensors(case.batched(None), dtype)
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
    if case.high is None:
        tree.map_structure(torch.Tensor.requires_grad_, x)
    outputs = case.run(layer, x)
    if case.weights or case.high is None:
        total(outputs).backward()
    grads = [w.grad for w in layer.trainable_weights]
    grads += [leaf.grad for leaf in tree.flatten(x)] if case.high is None else []
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
    assert all(w.numpy().dtype == "float64" for w in double.weights)
    mixed = case.build(dtype="mixed_bfloat16")
    assert all(w.numpy().dtype == "float32" for w in mixed.weights)
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
    if case.high is None:
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
        if case.weights or case.high is None:
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
            assert {t.dtype for w in layer.weights for t in w.tensors} <= {dtype}
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
    ContainedModules,
    layers.Dropout,
    layers.GRUCell,
    layers.LSTMCell,
    layers.SimpleRNNCell,
    layers.StackedRNNCells,
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
    if case.high is not None:
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
@pytest.mark.parametrize(("case", "check"), ROWS)
def test_layer_contract(case: Case, check: Callable[[Case], None]) -> None:
    check(case)


def test_every_exported_layer_has_a_row() -> None:
    exported = {getattr(layers, name) for name in set(layers.__all__) - NOT_LAYERS}
    assert {cls.__name__ for cls in exported - {case.layer for case in CASES}} == set()
