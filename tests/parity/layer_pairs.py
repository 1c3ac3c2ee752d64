"""A layer of Keras's and ours with the same arguments and weights, and what they do."""

import json
from collections.abc import Callable
from typing import Any

import keras
import numpy as np
import torch

import torchkeras
from tests.layers.cases import Case
from torchkeras import layers
from torchkeras._core import tree

TOLERANCE: dict[str, Any] = {"atol": 1e-5, "rtol": 1e-5}
#: Gradients of what makes the scores are sums of terms that cancel.
CANCELLING: dict[str, Any] = {"atol": 5e-5, "rtol": 1e-5}
#: Keys of configs that may differ: quantization is left to torch's tools, and Keras
#: writes the seed, or that there is no activity regularizer, for some layers only.
#: That a name was given is a note of ours, for cells that are made by a layer.
INDIFFERENT = {
    "quantization_config",
    "activity_regularizer",
    "seed",
    "name_is_given",
}
NAMES = {getattr(layers, name): name for name in layers.__all__}


def translated(value: Any) -> Any:
    """Return an argument as Keras takes it: a layer inside is Keras's."""
    if isinstance(value, list):
        return [translated(one) for one in value]
    if isinstance(value, layers.Layer):
        return keras.layers.deserialize(layers.serialize(value))
    return value


def pair(case: Case, **kwargs: Any) -> tuple[Any, Any]:
    """Return Keras's layer and ours of a row, built, with the same random weights."""
    for library in (keras, torchkeras):  # automatic names are counted from the start
        library.utils.clear_session(free_memory=False)
    ours = case.make(**kwargs)
    # Keras is told what the row says, and not what our layer made of it.
    arguments = {k: translated(v) for k, v in {**case.kwargs, **kwargs}.items()}
    arguments["name"] = ours.name
    theirs = getattr(keras.layers, NAMES[case.layer])(**arguments)
    equip(theirs, ours, *(case.input if case.spread else [case.input]))
    assert [w.path for w in ours.weights] == [w.path for w in theirs.weights]
    return theirs, ours


def equip(theirs: Any, ours: Any, *shapes: Any) -> None:
    """Build both and give them the same random weights."""
    for layer in (theirs, ours):
        if not layer.built:
            layer.build(*shapes)
    weights = [values(weight) for weight in theirs.weights]
    theirs.set_weights(weights)
    ours.set_weights(weights)
    assert described(ours) == described(theirs)


def values(weight: Any) -> Any:
    """Return random values, of which variances and deviations are above zero."""
    drawn = np.random.standard_normal(weight.shape).astype("float32") / 2
    if weight.name.endswith(("variance", "stddev")):
        return np.abs(drawn) + 0.1
    return drawn


def described(layer: Any) -> list[tuple[str, tuple[int, ...]]]:
    """Return the names and shapes of the weights, in their order."""
    return [(w.name, tuple(w.shape)) for w in layer.weights]


def gradients(layer: Any) -> list[tuple[str, Any]]:
    """Return the paths of the trained weights with their gradients."""
    theirs = isinstance(layer, keras.Layer)
    return [(w.path, (w.value if theirs else w).grad) for w in layer.trainable_weights]


def clear(layer: Any) -> None:
    """Forget the gradients of the weights."""
    for weight in layer.trainable_weights:
        for tensor in getattr(weight, "tensors", (weight.value,)):
            tensor.grad = None


def direct(layer: Any, inputs: Any, **kwargs: Any) -> Any:
    """Call a layer."""
    return layer(inputs, **kwargs)


def run(layer: Any, inputs: Any, call: Callable[..., Any], **kwargs: Any) -> Any:
    """Return outputs, gradients by inputs and by weights, and masks of outputs."""
    x = tree.map_structure(torch.Tensor.clone, inputs)
    for leaf, given in zip(tree.flatten(x), tree.flatten(inputs), strict=True):
        leaf = leaf.detach_().requires_grad_(leaf.is_floating_point())
        if getattr(given, "_keras_mask", None) is not None:
            leaf._keras_mask = given._keras_mask
    clear(layer)
    outputs = tree.flatten(call(layer, x, **kwargs))
    terms = [
        (out * torch.arange(out.numel()).reshape(out.shape).cos()).sum()
        for out in outputs
        if out.requires_grad
    ]
    if terms:
        torch.stack(terms).sum().backward()
    return (
        [out.detach() for out in outputs],
        [leaf.grad for leaf in tree.flatten(x)],
        gradients(layer),
        [getattr(out, "_keras_mask", None) for out in outputs],
    )


def compare(
    theirs: Any,
    ours: Any,
    x: Any,
    masks: Any = None,
    call: Callable[..., Any] = direct,
    **kwargs: Any,
) -> tuple[list[Any], list[Any]]:
    """Compare outputs and the gradients of inputs and weights.

    Args:
        theirs: Keras's layer.
        ours: our layer.
        x: the inputs.
        masks: masks that ride on the inputs, one for each.
        call: how a layer is called on inputs.
        kwargs: further arguments of the call.

    Returns:
        the masks on our outputs, and on Keras's, to be compared where they are meant.
    """
    for leaf, mask in zip(tree.flatten(x), masks or (), strict=False):
        leaf._keras_mask = mask
    expected, expected_grads, expected_of_weights, expected_masks = run(
        theirs, x, call, **kwargs
    )
    outputs, grads, of_weights, own_masks = run(ours, x, call, **kwargs)
    torch.testing.assert_close(outputs, expected, **TOLERANCE)
    torch.testing.assert_close(grads, expected_grads, **TOLERANCE)
    for (path, grad), (_, other) in zip(of_weights, expected_of_weights, strict=True):
        of_scores = "/key/" in path or "/query/" in path
        close = CANCELLING if of_scores else TOLERANCE
        torch.testing.assert_close(grad, other, **close)
    return own_masks, expected_masks


def plain_config(layer: Any) -> Any:
    """Return the config as a file holds it."""
    return without_indifferent(json.loads(json.dumps(layer.get_config())))


def without_indifferent(config: Any) -> Any:
    """Return a config, and those inside it, without what may differ."""
    if isinstance(config, list):
        return [without_indifferent(one) for one in config]
    if isinstance(config, dict):
        return {
            key: without_indifferent(value)
            for key, value in config.items()
            if key not in INDIFFERENT
        }
    return config
