"""The table of layers: a row is tested by the contract, and against Keras.

The contract (`tests/layers/test_contract.py`) holds for every row of `CASES`; Keras is
compared (`tests/parity/test_layers.py`) on these and on `VARIATIONS`.
"""

import copy
import dataclasses
import inspect
import itertools
import re
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import torch

from torchkeras import activations, layers
from torchkeras.layers.preprocessing.images.base import ImageLayer

#: Arguments that are layers.
INNER = ("cell", "layer", "backward_layer", "layers", "module")


@dataclasses.dataclass(frozen=True)
class Case:
    """One layer: how it is made, what goes in and what comes out.

    Args:
        layer: the class.
        kwargs: its arguments.
        input: the shape of the inputs, batch included, or a list of shapes.
        output: the shape, or the shapes, of the outputs; a variation leaves it out,
            as Keras says it.
        weights: the names of the weights, in Keras's order.
        trainable: how many of them are trained.
        high: for inputs that are integers, the largest one plus one.
        words: for inputs that are strings, what they are drawn from.
        masks: whether a mask of the inputs is passed on.
        takes_masks: whether a mask may come in at all.
        random: whether outputs are random in training.
        discrete: whether outputs have no gradients, such as the number of a bin.
        spread: whether the inputs are arguments of their own, not one list.
        skip: checks that have no meaning for this row, `exchange` of configs with
            Keras among them.
        differs: why the values are not Keras's, where they are not.
    """

    layer: type
    kwargs: dict[str, Any]
    input: Any
    output: Any = None
    weights: tuple[str, ...] = ()
    trainable: int | None = None
    high: int | None = None
    words: tuple[str, ...] = ()
    masks: bool = False
    takes_masks: bool = False
    random: bool = False
    discrete: bool = False
    spread: bool = False
    skip: tuple[str, ...] = ()
    differs: str = ""

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
        made = self.layer(**{**arguments, **kwargs})
        # Of itself, a layer that varies images does so until a mode is said.
        return made.eval() if isinstance(made, ImageLayer) else made

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
    def reaches_inputs(self) -> bool:
        """Whether inputs get gradients."""
        return self.high is None and not (self.discrete or self.words)

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

    @property
    def dtype(self) -> str:
        """The dtype of the inputs."""
        return "string" if self.words else "float32" if self.high is None else "int32"

    def _tensor(self, shape: tuple[int, ...]) -> Any:
        if self.words:
            return np.random.choice(self.words, shape)
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
FILM = (2, 3, 6, 5, 3)
VOLUME = (2, 6, 6, 6, 2)
#: Numbers of bins and classes are integers whatever the policy.
INTEGERS = ("converted", "policy")
#: What runs on the host is in no graph; strings have neither masks nor other dtypes.
HOST = (*INTEGERS, "compile", "export")
STRINGS = (*HOST, "autocast", "arrays", "masks")
TENSORFLOW: dict[str, Any] = {"differs": "Keras's needs tensorflow"}
#: A layer given as an argument has a policy of its own.
INNER_POLICY = ("policy",)

STFT = ("real_kernel", "imag_kernel")
TEXTS = ("", "A cat.", "a dog, a cat!", "the dog and  the cat")
IMAGE_BATCH = (3, 8, 8, 3)
#: Layers that prepare and vary images: what they draw is compared elsewhere.
VARIED = [
    Case(
        layer,
        kwargs,
        IMAGE_BATCH,
        IMAGE_BATCH,
        masks=True,
        random=True,
        skip=("exchange",) if layer is layers.RandomShear else (),
    )
    for layer, kwargs in (
        (layers.RandomFlip, {"seed": 3}),
        (layers.RandomRotation, {"factor": 0.3}),
        (layers.RandomTranslation, {"height_factor": 0.3, "width_factor": 0.2}),
        (layers.RandomZoom, {"height_factor": 0.3}),
        (layers.RandomShear, {"x_factor": 0.3, "y_factor": 0.2}),
        (layers.RandomPerspective, {"scale": 0.5}),
        (layers.RandomBrightness, {"factor": 0.5, "value_range": (-3, 3)}),
        (layers.RandomContrast, {"factor": 0.5, "value_range": (-3, 3)}),
        (layers.RandomSaturation, {"factor": (0.1, 0.4), "value_range": (-3, 3)}),
        (layers.RandomHue, {"factor": 0.5, "value_range": (-3, 3)}),
        (layers.RandomColorDegeneration, {"factor": 0.5, "value_range": (-3, 3)}),
        (layers.RandomGrayscale, {"factor": 0.9}),
        (layers.RandomInvert, {"value_range": (-3, 3)}),
        (layers.RandomSharpness, {"factor": 0.5, "value_range": (-3, 3)}),
        (layers.Solarization, {"threshold_factor": 0.5, "value_range": (-3, 3)}),
        (layers.RandomErasing, {"value_range": (-3, 3)}),
        (layers.MixUp, {"alpha": 0.8}),
    )
]

CASES = [
    Case(layers.Dense, {"units": 3}, (2, 4), (2, 3), KERNEL, masks=True),
    Case(layers.Dense, {"units": 3, "activation": "softmax"}, (2, 5, 4), (2, 5, 3),
         KERNEL, masks=True),
    Case(layers.Embedding, {"input_dim": 9, "output_dim": 3}, (2, 5), (2, 5, 3),
         ("embeddings",), high=9, skip=("masks",)),
    Case(layers.Embedding, {"input_dim": 9, "output_dim": 3, "mask_zero": True}, (2, 5),
         (2, 5, 3), ("embeddings",), high=9),
    Case(layers.ReversibleEmbedding, {"input_dim": 9, "output_dim": 3,
                                      "mask_zero": True}, (2, 5), (2, 5, 3),
         ("embeddings",), high=9),
    Case(layers.EinsumDense, {"equation": "...x,xy->...y", "output_shape": 5,
                              "bias_axes": "y", "activation": "tanh"},
         SHORT, (2, 3, 5), KERNEL),
    Case(layers.EinsumDense, {"equation": "abc,cde->abde", "output_shape": (None, 2, 5),
                              "bias_axes": "be"},
         SHORT, (2, 3, 2, 5), KERNEL, skip=("exchange",),
         differs="Keras needs the size of each axis of a bias"),
    Case(layers.EinsumDense, {"equation": "ab...,bc->ac...", "output_shape": 5},
         SHORT, (2, 5, 3), ("kernel",)),
    Case(layers.Masking, {"mask_value": 0.5}, STEPS, STEPS, takes_masks=True),
    Case(layers.Identity, {}, STEPS, STEPS, masks=True),
    Case(layers.Lambda, {"function": activations.relu, "arguments": {"threshold": 0.1}},
         STEPS, STEPS),
    Case(layers.InputLayer, {"shape": (4,)}, (2, 4), (2, 4),
         skip=("policy", "masks", "exchange"), differs="Keras's cannot be called"),
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
    Case(layers.RMSNormalization, {"axis": [1, 3]}, IMAGE, IMAGE, ("scale",),
         differs="Keras on torch takes the last axes"),
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
    *VARIED,
    Case(layers.RandomElasticTransform, {"scale": 0.5, "value_range": (-5, 5)}, IMAGE,
         IMAGE, masks=True, random=True, skip=("compile", "export")),
    Case(layers.RandomPosterization, {"factor": 3, "value_range": (-3, 3)}, IMAGE,
         IMAGE, masks=True, random=True, discrete=True),
    Case(layers.RandomColorJitter, {"value_range": (-3, 3), "contrast_factor": 0.4},
         IMAGE, IMAGE, masks=True, random=True, skip=("hooks",)),
    # What they do is decided by numbers that Python chooses by.
    Case(layers.RandomGaussianBlur, {"value_range": (-5, 5)}, IMAGE, IMAGE, masks=True,
         random=True, skip=("compile", "export")),
    Case(layers.CutMix, {"seed": 2}, IMAGE_BATCH, IMAGE_BATCH, masks=True, random=True,
         skip=("compile", "export")),
    Case(layers.RandAugment, {"value_range": (-3, 3), "num_ops": 4}, IMAGE, IMAGE,
         masks=True, random=True, skip=("compile", "export", "hooks")),
    Case(layers.AugMix, {"value_range": (-3, 3)}, IMAGE, IMAGE, masks=True, random=True,
         skip=("compile", "export", "hooks")),
    Case(layers.AutoContrast, {"value_range": (-3, 3)}, IMAGE, IMAGE, masks=True),
    Case(layers.Equalization, {"value_range": (-3, 3)}, IMAGE, IMAGE, masks=True,
         random=True, skip=("exchange",)),
    Case(layers.ContrastLimitedAdaptiveHistogramEqualization, {"value_range": (-3, 3)},
         IMAGE, IMAGE, masks=True, discrete=True, skip=("exchange",),
         differs="Keras on torch rounds the limit down to an integer"),
    Case(layers.RandomCrop, {"height": 5, "width": 6}, IMAGE, (2, 5, 6, 3), random=True,
         skip=("exchange",), differs="Keras leaves images as they are in inference"),
    Case(layers.Resizing, {"height": 5, "width": 6}, IMAGE, (2, 5, 6, 3), masks=True),
    Case(layers.CenterCrop, {"height": 5, "width": 6}, IMAGE, (2, 5, 6, 3), masks=True),
    Case(layers.MaxNumBoundingBoxes, {"max_number": 2}, IMAGE, IMAGE, masks=True,
         skip=("exchange",)),
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
    Case(layers.Normalization, {}, STEPS, STEPS, ("mean", "variance", "count"),
         trainable=0, masks=True),
    Case(layers.Normalization, {"axis": (1, -1), "mean": [1.0, 2.0, 3.0],
                                "variance": [0.5, 1.0, 2.0], "invert": True},
         STEPS, STEPS, masks=True),
    Case(layers.Discretization, {"bin_boundaries": [-0.5, 0.0, 1.0]}, (4, 3), (4, 3),
         discrete=True, skip=INTEGERS),
    Case(layers.Discretization, {"bin_boundaries": [-0.5, 0.0, 1.0],
                                 "output_mode": "count"},
         (4, 3), (4, 4), discrete=True),
    Case(layers.CategoryEncoding, {"num_tokens": 9}, (4, 3), (4, 9), high=9),
    Case(layers.CategoryEncoding, {"num_tokens": 9, "output_mode": "one_hot"}, (4, 3),
         (4, 3, 9), high=9),
    Case(layers.IntegerLookup, {"vocabulary": [2, 4, 6]}, (4, 3), (4, 3), high=9,
         skip=(*INTEGERS, "exchange"), **TENSORFLOW),
    Case(layers.IntegerLookup, {"vocabulary": [2, 4, 6], "output_mode": "tf_idf",
                                "idf_weights": [0.5, 1.0, 1.5], "mask_token": 1,
                                "num_oov_indices": 2},
         (4, 3), (4, 5), high=9, skip=(*INTEGERS, "exchange"), **TENSORFLOW),
    Case(layers.StringLookup, {"vocabulary": ["a", "b"], "num_oov_indices": 3}, (4, 3),
         (4, 3), words=("a", "b", "c", "d"), skip=(*STRINGS, "exchange"), **TENSORFLOW),
    Case(layers.StringLookup, {"vocabulary": ["a", "b"], "output_mode": "multi_hot",
                               "mask_token": "c"}, (4, 3), (4, 3),
         words=("a", "b", "c", "d"), skip=(*STRINGS, "exchange"), **TENSORFLOW),
    Case(layers.TextVectorization, {"vocabulary": ["cat", "dog"],
                                    "output_sequence_length": 4}, (4, 1), (4, 4),
         words=TEXTS, skip=(*STRINGS, "exchange"), **TENSORFLOW),
    Case(layers.TextVectorization, {"vocabulary": ["cat", "a dog"], "ngrams": (1, 2),
                                    "output_mode": "count"}, (4,), (4, 3),
         words=TEXTS, skip=(*STRINGS, "exchange"), **TENSORFLOW),
    Case(layers.Hashing, {"num_bins": 3}, (4, 3), (4, 3), high=9,
         skip=(*HOST, "exchange"), **TENSORFLOW),
    Case(layers.Hashing, {"num_bins": 3, "output_mode": "one_hot", "salt": 7}, (4, 1),
         (4, 3), words=TEXTS, skip=(*STRINGS, "exchange"), **TENSORFLOW),
    Case(layers.HashedCrossing, {"num_bins": 3}, [(4, 1), (4, 1)], (4, 1), words=TEXTS,
         skip=(*STRINGS, "exchange"), **TENSORFLOW),
    Case(layers.MelSpectrogram, {"fft_length": 16, "sequence_stride": 4,
                                 "num_mel_bins": 5, "sampling_rate": 80}, (2, 40),
         (2, 5, 11), skip=("masks",)),
    Case(layers.MelSpectrogram, {"fft_length": 16, "sequence_stride": 5, "window": None,
                                 "sequence_length": 12, "power_to_db": False,
                                 "num_mel_bins": 3, "sampling_rate": 80,
                                 "max_freq": 30.0, "min_freq": 1.0, "mag_exp": 1.0},
         (40,), (3, 9), skip=("symbolic", "empty_batch", "masks", "build")),
    *[
        Case(layers.STFTSpectrogram, {"mode": mode, "frame_length": 8, **kwargs}, shape,
             output, weights)
        for mode, kwargs, shape, output, weights in (
            ("log", {}, (2, 20, 3), (2, 4, 15), STFT),
            ("magnitude", {"frame_step": 3, "fft_length": 16, "padding": "same"},
             (2, 20, 3), (2, 7, 27), STFT),
            ("psd", {"expand_dims": True}, (2, 20, 3), (2, 4, 5, 3), STFT),
            ("real", {"data_format": "channels_first"}, (2, 3, 20), (2, 15, 4),
             STFT[:1]),
            ("imag", {"periodic": True, "scaling": "spectrum"}, (2, 20, 3), (2, 4, 15),
             STFT[1:]),
            ("stft", {"expand_dims": True, "data_format": "channels_first"},
             (2, 3, 20), (2, 3, 4, 10), STFT),
            ("angle", {"window": "hamming", "scaling": None}, (2, 20, 3), (2, 4, 15),
             STFT),
        )
    ],
    Case(layers.Pipeline, {"layers": [layers.Rescaling(2.0), layers.ReLU()]}, SHORT,
         SHORT, masks=True, skip=(*INNER_POLICY, "exchange"),
         differs="Keras's warns of its own build"),
    Case(layers.TorchModuleWrapper, {"module": torch.nn.LayerNorm(3)}, SHORT, SHORT,
         ("weight", "bias"), skip=("policy", "build", "exchange"),
         differs="Keras's names its weights otherwise, and pickles the module"),
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
    Case(layers.ConvLSTM1D, {"filters": 2, "kernel_size": 3}, (2, 4, 6, 3), (2, 4, 2),
         RECURRENT, takes_masks=True),
    Case(layers.ConvLSTM2D, {"filters": 2, "kernel_size": 3, "padding": "same",
                             "return_sequences": True, "return_state": True},
         FILM, [(2, 3, 6, 5, 2), (2, 6, 5, 2), (2, 6, 5, 2)], RECURRENT, masks=True),
    Case(layers.ConvLSTM2D, {"filters": 2, "kernel_size": (2, 3), "strides": (1, 2),
                             "data_format": "channels_first", "activation": "relu",
                             "recurrent_activation": "hard_sigmoid", "use_bias": False,
                             "go_backwards": True},
         (2, 3, 3, 6, 5), (2, 2, 5, 2), RECURRENT[:2], takes_masks=True),
    Case(layers.ConvLSTM2D, {"filters": 2, "kernel_size": 2, "dropout": 0.3,
                             "recurrent_dropout": 0.3, "padding": "same"}, FILM,
         (2, 6, 5, 2), RECURRENT, takes_masks=True, random=True, skip=("hooks",)),
    Case(layers.ConvLSTM3D, {"filters": 2, "kernel_size": 2, "dilation_rate": 2,
                             "unit_forget_bias": False}, (2, 3, 4, 4, 4, 1),
         (2, 2, 2, 2, 2), RECURRENT, takes_masks=True),
    Case(layers.RNN, {"cell": layers.SimpleRNNCell(4)}, SHORT, (2, 4), RECURRENT,
         takes_masks=True, skip=INNER_POLICY),
    Case(layers.RNN, {"cell": [layers.LSTMCell(4), layers.GRUCell(3)]}, SHORT, (2, 3),
         2 * RECURRENT, takes_masks=True, skip=INNER_POLICY),
    Case(layers.Bidirectional, {"layer": layers.LSTM(4)}, SHORT, (2, 8), 2 * RECURRENT,
         takes_masks=True, skip=INNER_POLICY),
    Case(layers.Bidirectional, {"layer": layers.GRU(4, return_sequences=True),
                                "merge_mode": "sum"},
         SHORT, (2, 3, 4), 2 * RECURRENT, masks=True, skip=INNER_POLICY),
    Case(layers.SpectralNormalization, {"layer": layers.Dense(4)}, SHORT, (2, 3, 4),
         ("kernel", "vector_u", "bias"), trainable=2, masks=True, skip=INNER_POLICY),
    Case(layers.SpectralNormalization, {"layer": layers.Conv2D(4, 3),
                                        "power_iterations": 3}, IMAGE, (2, 6, 6, 4),
         ("kernel", "vector_u", "bias"), trainable=2, skip=INNER_POLICY),
    Case(layers.TimeDistributed, {"layer": layers.Dense(4)}, SHORT, (2, 3, 4), KERNEL,
         masks=True, skip=INNER_POLICY),
    Case(layers.TimeDistributed, {"layer": layers.Conv2D(4, 3)}, (2, 5, 8, 8, 3),
         (2, 5, 6, 6, 4), KERNEL, masks=True, skip=INNER_POLICY),
]  # fmt: skip


# Further arguments, whose values are compared with Keras's

SPATIAL = {1: (9,), 2: (9, 8), 3: (7, 6, 5)}


def windowed(name: str, kwargs: dict[str, Any], data_format: str | None) -> Case:
    """Return a row of a layer for images, whose name says how many axes they have."""
    sizes = SPATIAL[int(re.findall(r"(\d)D", name)[0])]
    if data_format is None:
        return Case(getattr(layers, name), kwargs, (2, *sizes, 4))
    kwargs = {**kwargs, "data_format": data_format}
    return Case(getattr(layers, name), kwargs, (2, 4, *sizes))


def convolutions(rank: int, data_format: str | None) -> Iterator[Case]:
    """Return rows of each kind of convolution."""
    basic: dict[str, Any] = {"filters": 6, "kernel_size": 3}
    for kwargs in (
        {},
        {"padding": "same"},
        {"padding": "SAME", "kernel_size": 2},
        {"strides": 2},
        {"strides": 2, "padding": "same"},
        {"strides": 3, "padding": "same", "kernel_size": 4},
        {"dilation_rate": 2},
        {"dilation_rate": 2, "padding": "same"},
        {"groups": 2, "use_bias": False, "activation": "relu"},
    ):
        yield windowed(f"Conv{rank}D", {**basic, **kwargs}, data_format)
    for kwargs in ({}, {"strides": 2}, {"dilation_rate": 2}) if rank == 1 else ():
        causal = {**basic, "padding": "causal", **kwargs}
        yield windowed("Conv1D", causal, data_format)
    for kwargs in (
        {},
        {"padding": "same"},
        {"strides": 2},
        {"strides": 2, "padding": "same"},
        {"strides": 3, "padding": "same", "kernel_size": 2},
        {"strides": 2, "padding": "same", "output_padding": 1},
        {"strides": 3, "output_padding": 1, "use_bias": False},
        {"dilation_rate": 2, "activation": "relu"},
    ):
        yield windowed(f"Conv{rank}DTranspose", {**basic, **kwargs}, data_format)
    for kwargs in (
        (
            {},
            {"padding": "same", "depth_multiplier": 2},
            {"strides": 2, "padding": "same"},
            {"dilation_rate": 2, "use_bias": False, "activation": "relu"},
        )
        if rank < 3
        else ()
    ):
        depthwise = {"kernel_size": 3, **kwargs}
        yield windowed(f"DepthwiseConv{rank}D", depthwise, data_format)
        yield windowed(f"SeparableConv{rank}D", {**basic, **kwargs}, data_format)


def poolings(rank: int, data_format: str | None) -> Iterator[Case]:
    """Return rows of each kind of pooling."""
    for kwargs in (
        {"pool_size": 2},
        {"pool_size": 3, "strides": 2},
        {"pool_size": 3, "strides": 1, "padding": "same"},
        {"pool_size": 2, "padding": "same"},
        {"pool_size": 2, "strides": 1, "padding": "same"},
        {"pool_size": 3, "strides": 2, "padding": "same"},
        {"pool_size": 2, "strides": 3, "padding": "same"},
    ):
        yield windowed(f"MaxPooling{rank}D", kwargs, data_format)
        if "padding" not in kwargs or (rank == 1 and kwargs["pool_size"] == 3):
            yield windowed(f"AveragePooling{rank}D", kwargs, data_format)
    for kind, value in itertools.product(("Average", "Max"), (False, True)):
        yield windowed(f"Global{kind}Pooling{rank}D", {"keepdims": value}, data_format)
    for kind, size in itertools.product(("Average", "Max"), (2, 3)):
        name = f"Adaptive{kind}Pooling{rank}D"
        yield windowed(name, {"output_size": size}, data_format)


def resizings(rank: int, data_format: str | None) -> Iterator[Case]:
    """Return rows of padding, cropping and upsampling."""
    uneven = ((1, 0), (0, 2), (1, 1))[:rank] if rank > 1 else (1, 2)
    has_format = rank > 1 or data_format is None
    for value in (1, uneven, (1, 0, 2)[:rank] if rank > 1 else (0, 2)):
        yield windowed(f"ZeroPadding{rank}D", {"padding": value}, data_format)
        if has_format:
            yield windowed(f"Cropping{rank}D", {"cropping": value}, data_format)
    for size in (2, (2, 1, 3)[:rank]) if rank > 1 else (2,):
        if has_format:
            yield windowed(f"UpSampling{rank}D", {"size": size}, data_format)
    for interpolation in ("bilinear", "bicubic") if rank == 2 else ():
        kwargs = {"size": (2, 3), "interpolation": interpolation}
        yield windowed("UpSampling2D", kwargs, data_format)


AFFINES = ({}, {"center": False}, {"scale": False}, {"epsilon": 1e-5})
ELEMENTWISE = (layers.Add, layers.Multiply, layers.Average, layers.Maximum,
               layers.Minimum)  # fmt: skip
BROADCAST: list[Any] = [
    [(2, 4, 3)],
    [(2, 4, 3), (2, 4, 3), (2, 4, 3)],
    [(2, 4, 3), (2, 1, 3)],
    [(2, 1, 3), (2, 4, 1)],
    [(2, 4, 3), (2, 3)],
    [(2, 3), (2, 5, 4, 3), (2, 4, 3)],
    [(3,), (3,)],
    [(3,), (3, 2)],
]
ATTENDED = [(2, 5, 8), (2, 7, 8), (2, 7, 8)]
MULTI = {"num_heads": 3, "key_dim": 4}
GROUPED = {"head_dim": 4, "num_query_heads": 6, "num_key_value_heads": 2}
SERIES = (4, 6, 3)
ALL_STATES: dict[str, Any] = {"return_sequences": True, "return_state": True}

#: Rows without outputs: Keras says them. The contract, which costs more, leaves them.
VARIATIONS = [
    *[
        case
        for family in (convolutions, poolings, resizings)
        for rank, data_format in itertools.product((1, 2, 3), (None, "channels_first"))
        for case in family(rank, data_format)
    ],
    *[
        Case(layers.BatchNormalization, kwargs, shape)
        for kwargs, shape in (
            *[({**kwargs, "momentum": 0.8}, (6, 4)) for kwargs in AFFINES],
            ({}, (6, 5, 4)),
            ({}, (2, 5, 5, 4)),
            ({}, (2, 3, 3, 3, 4)),
            ({"axis": 1}, (2, 5, 4)),
            ({"axis": 1}, (2, 4, 5, 5)),
            ({"axis": 2}, (2, 5, 4, 3)),
            ({"trainable": False}, (6, 4)),
            ({}, (1, 4)),
        )
    ],
    *[
        Case(layers.BatchNormalization, {"renorm": True, **kwargs}, shape)
        for kwargs, shape in (
            ({"momentum": 0.8, "renorm_momentum": 0.6}, (6, 4)),
            ({"renorm_clipping": {"rmin": 0.9, "rmax": 1.1, "dmax": 0.2}}, (6, 5, 4)),
            ({"renorm_clipping": {"rmax": 1.5}, "scale": False}, (2, 5, 5, 4)),
            ({"axis": 1, "renorm_clipping": {"dmax": 0.0}}, (2, 4, 5, 5)),
            ({"center": False, "scale": False}, (6, 4)),
            ({"trainable": False}, (6, 4)),
        )
    ],
    *[
        Case(layers.LayerNormalization, kwargs, shape)
        for kwargs, shape in (
            *[(kwargs, (6, 5, 4)) for kwargs in AFFINES],
            ({"axis": [1, 2]}, (2, 5, 4)),
            ({"axis": [-2, -1]}, (2, 5, 4)),
            ({"axis": [1, 3]}, (2, 5, 4, 3)),
        )
    ],
    *[
        Case(layers.GroupNormalization, kwargs, shape)
        for kwargs, shape in (
            *[({"groups": 2, **kwargs}, (6, 5, 4)) for kwargs in AFFINES],
            ({"groups": -1}, (2, 5, 5, 4)),
            ({"groups": 4}, (3, 24)),
            ({"groups": 4}, (3, 4)),
            ({"groups": 2, "axis": 1}, (2, 4, 5, 5)),
            ({"groups": 2, "axis": 2}, (2, 5, 4, 3)),
            ({"groups": 2, "axis": -2}, (2, 5, 4, 3)),
        )
    ],
    Case(layers.RMSNormalization, {}, (6, 4)),
    Case(layers.RMSNormalization, {"epsilon": 0.1}, (2, 5, 4)),
    Case(layers.RMSNormalization, {"axis": [-2, -1]}, (2, 5, 4)),
    Case(layers.UnitNormalization, {}, (6, 4)),
    Case(layers.UnitNormalization, {"axis": 1}, (2, 5, 4)),
    Case(layers.UnitNormalization, {"axis": [1, 2]}, (2, 5, 4)),
    Case(layers.Dense, {"units": 3, "activation": "tanh", "use_bias": False},
         (2, 5, 4)),
    *[
        Case(layers.EinsumDense,
             {"equation": equation, "output_shape": sizes, **kwargs}, shape)
        for equation, sizes, kwargs, shape in (
            ("ab,bc->ac", 3, {}, (2, 4)),
            ("btc,cd->btd", (None, 3), {"bias_axes": "d"}, (2, 5, 4)),
            ("...x,xy->...y", 3, {}, (2, 2, 3, 4)),
            ("abc,cde->abde", (5, 2, 3), {"bias_axes": "be"}, (2, 5, 4)),
            ("btc,tcd->btd", (5, 3), {"bias_axes": "td"}, (2, 5, 4)),
            ("ab...,bc->ac...", 3, {"bias_axes": "c"}, (2, 5, 4)),
            ("abc,ce->aeb", (3, 5), {"bias_axes": "e"}, (2, 5, 4)),
        )
    ],
    Case(layers.Masking, {}, (2, 5, 4)),
    Case(layers.Activation, {"activation": "elu"}, (2, 4)),
    Case(layers.LeakyReLU, {"negative_slope": 0.1}, (4, 5)),
    Case(layers.PReLU, {"shared_axes": [1]}, (2, 4, 5)),
    Case(layers.Softmax, {"axis": 1}, (2, 4, 5)),
    Case(layers.Flatten, {}, (3,)),
    Case(layers.Reshape, {"target_shape": (6, 2)}, (2, 3, 4)),
    Case(layers.Reshape, {"target_shape": [-1, 2]}, (2, 3, 4)),
    Case(layers.Permute, {"dims": (3, 1, 2)}, (2, 3, 4, 5)),
    Case(layers.SpatialDropout3D, {"rate": 0.3}, (2, 4, 4, 4, 3), random=True),
    Case(layers.Rescaling, {"scale": 0.5, "offset": -1.0}, (2, 4)),
    Case(layers.Rescaling, {"scale": [0.5, 2.0], "offset": [1.0, 2.0]}, (2, 4, 2)),
    *[Case(layer, {}, shapes) for layer in ELEMENTWISE for shapes in BROADCAST],
    *[Case(layers.Subtract, {}, shapes) for shapes in BROADCAST if len(shapes) == 2],
    Case(layers.Concatenate, {}, [(2, 4, 3), (2, 4, 5)]),
    Case(layers.Concatenate, {}, [(2, 4, 3)]),
    Case(layers.Concatenate, {"axis": 1}, [(2, 4, 3), (2, 1, 3), (2, 2, 3)]),
    Case(layers.Concatenate, {"axis": 0}, [(2, 3), (4, 3)]),
    Case(layers.Concatenate, {"axis": -2}, [(2, 4, 3), (2, 5, 3)]),
    *[
        Case(layers.Dot, {"axes": axes, "normalize": normalize}, shapes)
        for normalize in (False, True)
        for axes, shapes in (
            (1, [(2, 3), (2, 3)]),
            (-1, [(2, 3), (2, 3)]),
            (-1, [(2, 4, 3), (2, 5, 3)]),
            (1, [(2, 3, 4), (2, 3, 5)]),
            ((2, 1), [(2, 4, 3), (2, 3, 5)]),
            ((-1, -2), [(2, 4, 3), (2, 3, 5)]),
            ((1, 2), [(2, 3), (2, 4, 3)]),
            ((2, 1), [(2, 4, 3), (2, 3)]),
            ((2, 3), [(2, 4, 3, 5), (2, 2, 4, 3)]),
            ((3, 1), [(2, 4, 2, 3), (2, 3, 2)]),
        )
    ],
    *[
        Case(layer, kwargs, ATTENDED, random="dropout" in kwargs)
        for layer, kwargs in (
            (layers.Attention, {}),
            (layers.Attention, {"use_scale": True}),
            (layers.Attention, {"dropout": 0.2}),
            (layers.Attention, {"score_mode": "concat"}),
            (layers.Attention, {"score_mode": "concat", "use_scale": True}),
            (layers.AdditiveAttention, {}),
            (layers.AdditiveAttention, {"use_scale": False}),
        )
    ],
    *[
        Case(layer, kwargs, ATTENDED, spread=True, random="dropout" in kwargs)
        for layer, kwargs in (
            (layers.MultiHeadAttention, MULTI),
            (layers.MultiHeadAttention, {**MULTI, "value_dim": 5, "output_shape": 7}),
            (layers.MultiHeadAttention, {**MULTI, "output_shape": (2, 3),
                                         "use_bias": False}),
            (layers.MultiHeadAttention, {**MULTI, "dropout": 0.2, "use_gate": True}),
            (layers.MultiHeadAttention, {**MULTI, "sliding_window": 2,
                                         "attention_axes": 1}),
            (layers.MultiHeadAttention, {**MULTI, "attention_axes": [-2]}),
            (layers.GroupQueryAttention, GROUPED),
            (layers.GroupQueryAttention, {**GROUPED, "num_key_value_heads": 6,
                                          "use_bias": False}),
            (layers.GroupQueryAttention, {**GROUPED, "num_key_value_heads": 1,
                                          "use_gate": True}),
            (layers.GroupQueryAttention, {**GROUPED, "dropout": 0.3,
                                          "sliding_window": 3}),
        )
    ],
    *[
        Case(layer, {"units": 5, **kwargs}, SERIES)
        for layer, kwargs in (
            (layers.SimpleRNN, {"activation": "relu"}),
            (layers.SimpleRNN, {"activation": "sigmoid"}),
            (layers.SimpleRNN, {"use_bias": False}),
            (layers.LSTM, {"activation": "softsign"}),
            (layers.LSTM, {"recurrent_activation": "hard_sigmoid"}),
            (layers.LSTM, {"use_bias": False}),
            (layers.LSTM, {"unit_forget_bias": False, "unroll": True}),
            (layers.GRU, {"activation": "softsign"}),
            (layers.GRU, {"use_bias": False}),
            (layers.GRU, {"reset_after": False}),
            (layers.GRU, {"reset_after": False, "use_bias": False,
                          "use_cudnn": False}),
        )
    ],
    *[
        Case(layer, {"units": 3, **kwargs}, SERIES)
        for layer in (layers.SimpleRNN, layers.LSTM, layers.GRU)
        for kwargs in (
            {"return_sequences": True, "go_backwards": True},
            {"use_bias": False, "activation": "relu"},
        )
    ],
    *[
        Case(layers.RNN, {"cell": cell, **kwargs}, SERIES)
        for cell, kwargs in (
            (layers.SimpleRNNCell(3), {"return_sequences": True}),
            (layers.LSTMCell(3), {"go_backwards": True}),
            ([layers.LSTMCell(3), layers.GRUCell(2)], ALL_STATES),
            ([layers.SimpleRNNCell(5), layers.GRUCell(4), layers.LSTMCell(3)], {}),
        )
    ],
    *[
        Case(layers.Bidirectional, {"layer": layer, **kwargs}, SERIES)
        for layer, kwargs in (
            (layers.LSTM(3), {}),
            (layers.LSTM(3), {"merge_mode": "sum"}),
            (layers.GRU(3, return_sequences=True), {"merge_mode": "ave"}),
            (layers.GRU(3, **ALL_STATES), {"merge_mode": None}),
            (layers.SimpleRNN(3),
             {"backward_layer": layers.GRU(3, go_backwards=True)}),
            (layers.LSTM(5, return_sequences=True),
             {"backward_layer": layers.GRU(6, return_sequences=True,
                                           go_backwards=True, activation="relu")}),
        )
    ],
    *[
        Case(layers.TimeDistributed, {"layer": layer}, shape)
        for layer, shape in (
            (layers.Dense(4, activation="tanh"), (2, 5, 3)),
            (layers.Conv2D(4, 3, padding="same"), (2, 3, 6, 6, 2)),
            (layers.LSTM(4), (2, 3, 5, 2)),
            (layers.BatchNormalization(momentum=0.7), (3, 4, 2)),
            (layers.Flatten(), (2, 3, 4, 5)),
        )
    ],
]  # fmt: skip
