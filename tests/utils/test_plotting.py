"""Pictures of models, as the source for Graphviz and as files."""

import copy
import importlib
import re
import shutil
import sys
import types
from typing import Any

import keras
import numpy as np
import pydot
import pytest
import torch

from torchkeras import Input, KerasTensor, Model, Sequential, layers, utils

needs_graphviz = pytest.mark.skipif(
    shutil.which("dot") is None, reason="Graphviz is not installed"
)


def boxes(graph):
    """Return the texts of the boxes by name, those within frames too."""
    found = {
        node.get_name().strip('"'): re.sub("<.*?>", " ", node.get_label()[1:-1])
        for node in graph.get_nodes()
        if node.get_name() != "node"
    }
    for frame in graph.get_subgraphs():
        found |= boxes(frame)
    return {name: " ".join(text.split()) for name, text in found.items()}


def arrows(graph):
    found = {
        (edge.get_source().strip('"'), edge.get_destination().strip('"'))
        for edge in graph.get_edges()
    }
    return found.union(*map(arrows, graph.get_subgraphs()))


def inputs(names, shape=(4,)) -> Any:
    return [Input(shape, name=name) for name in names]


def stack(name="stack"):
    return Sequential(
        [Input((4,)), layers.Dense(3, activation="relu", name="a"), torch.nn.Tanh()],
        name=name,
    )


def head():
    left, right = Input((3,), name="left"), Input((2,), name="right")
    joined = layers.Concatenate(name="joined")([left, right])
    outputs = [layers.Dense(n, name=f"out_{n}")(joined) for n in (1, 2)]
    return Model([left, right], outputs, name="head")


def nested():
    (x,), (y,) = inputs("x"), inputs("y", (2,))
    first, second = head()([stack()(x), torch.relu(y)])
    return Model([x, y], [second * 2, first], name="whole")


def test_a_stack_is_a_chain_of_layers_and_modules():
    dot = utils.model_to_dot(stack())
    assert boxes(dot) == {"stack/a": "a (Dense)", "stack/tanh": "tanh (Tanh)"}
    assert arrows(dot) == {("stack/a", "stack/tanh")}


def test_everything_that_boxes_can_show():
    model = stack()
    model.layers[0].trainable = False
    options: Any = dict.fromkeys(
        "show_shapes show_dtype show_layer_activations show_trainable".split(), True
    )
    dot = utils.model_to_dot(model, **options)
    assert boxes(dot)["stack/a"] == (
        "a (Dense) Activation: relu Input shape: (None, 4) Output shape: (None, 3) "
        "Output dtype: float32 Non-trainable"
    )
    assert boxes(dot)["stack/tanh"] == (
        "tanh (Tanh) Input shape: (None, 3) Output shape: (None, 3) "
        "Output dtype: float32"
    )
    model.trainable = True
    dot = utils.model_to_dot(model, show_trainable=True, show_layer_names=False)
    assert boxes(dot)["stack/a"] == "Dense Trainable"


def test_a_functional_model_shows_functions_and_branches():
    (x,) = inputs("x")
    y = torch.relu(x) + layers.Dense(4, name="dense")(x)
    dot = utils.model_to_dot(Model(x, y, name="m"), show_shapes=True)
    texts = boxes(dot)
    assert texts["m/x"] == "x (InputLayer) Output shape: (None, 4)"
    (added,) = (name for name, text in texts.items() if "(Add)" in text)
    (relu,) = (name for name, text in texts.items() if "(relu)" in text)
    assert "Input shape: [(None, 4), (None, 4)]" in texts[added]
    assert arrows(dot) == {
        ("m/x", relu),
        ("m/x", "m/dense"),
        (relu, added),
        ("m/dense", added),
    }


def test_a_nested_model_is_a_box_by_default():
    dot = utils.model_to_dot(nested())
    assert boxes(dot)["whole/head"] == "head (Functional)"
    assert ("whole/stack", "whole/head") in arrows(dot)
    assert not dot.get_subgraphs()


def test_expanded_models_are_frames_with_arrows_to_the_layers_inside():
    dot = utils.model_to_dot(nested(), expand_nested=True)
    assert {frame.get_label() for frame in dot.get_subgraphs()} == {'"stack"', '"head"'}
    found = arrows(dot)
    assert {
        ("whole/x", "whole/stack/a"),
        ("whole/stack/a", "whole/stack/tanh"),
        ("whole/stack/tanh", "whole/head/left"),
        ("whole/head/joined", "whole/head/out_1"),
    } <= found
    (relu,) = (name for name in boxes(dot) if name.startswith("whole/relu"))
    (double,) = (name for name in boxes(dot) if name.startswith("whole/mul"))
    assert {(relu, "whole/head/right"), ("whole/head/out_2", double)} <= found
    assert ("whole/head/out_1", double) not in found


def test_arrows_are_those_of_keras():
    x, y = keras.Input((4,), name="x"), keras.Input((2,), name="y")
    dense, inner = keras.layers.Dense, keras.Input((4,))
    first = keras.Sequential([inner, dense(3, name="a"), dense(3, name="tanh")])
    left, right = keras.Input((3,), name="left"), keras.Input((2,), name="right")
    joined = keras.layers.Concatenate(name="joined")([left, right])
    head = keras.Model(
        [left, right], [dense(n, name=f"out_{n}")(joined) for n in (1, 2)]
    )
    outputs = head([first(x), keras.ops.relu(y)])
    theirs = keras.utils.model_to_dot(
        keras.Model([x, y], [outputs[1] * 2, outputs[0]]), expand_nested=True
    )
    assert _between_names(theirs) == _between_names(
        utils.model_to_dot(nested(), expand_nested=True)
    )


def _between_names(dot):
    """Return the arrows between names; those of operations without their number."""
    names = {
        box: re.sub("_[0-9]+$", "", text.split()[0])
        if "(InputLayer)" not in text and "(Dense)" not in text
        else text.split()[0]
        for box, text in boxes(dot).items()
    }
    return {(names[source], names[target]) for source, target in arrows(dot)}


def test_frames_within_frames():
    x = Input((4,), name="x")
    middle = Sequential([stack("inner"), layers.Dense(2, name="b")], name="middle")
    dot = utils.model_to_dot(
        Model(x, layers.Dense(1, name="last")(middle(x)), name="m"), expand_nested=True
    )
    assert arrows(dot) == {
        ("m/x", "m/middle/inner/a"),
        ("m/middle/inner/a", "m/middle/inner/tanh"),
        ("m/middle/inner/tanh", "m/middle/b"),
        ("m/middle/b", "m/last"),
    }


@pytest.mark.parametrize("order", [("left", "right"), ("right", "left")])
def test_a_nested_model_called_with_a_dict(order):
    given = {"left": Input((3,), name="three"), "right": Input((2,), name="two")}
    outputs = head()({name: given[name] for name in order})
    model = Model(list(given.values()), outputs, name="m")
    dot = utils.model_to_dot(model, expand_nested=True)
    assert {("m/three", "m/head/left"), ("m/two", "m/head/right")} <= arrows(dot)


def test_a_shared_layer_is_one_box_with_the_shapes_of_all_calls():
    a, b = Input((5, 4), name="a"), Input((6, 4), name="b")
    shared = layers.Dense(3, name="shared")
    model = Model([a, b], [shared(a), shared(b)], name="m")
    dot = utils.model_to_dot(model, show_shapes=True)
    assert boxes(dot)["m/shared"] == (
        "shared (Dense) Input shape: (None, 5, 4) or (None, 6, 4) "
        "Output shape: (None, 5, 3) or (None, 6, 3)"
    )
    assert arrows(dot) == {("m/a", "m/shared"), ("m/b", "m/shared")}


def test_shapes_are_those_within_the_model():
    shared = layers.Dense(3, name="shared")
    shared(Input((7, 4)))
    x = Input((4,), name="x")
    dot = utils.model_to_dot(Model(x, shared(x), name="m"), show_shapes=True)
    assert "Input shape: (None, 4) Output" in boxes(dot)["m/shared"]


class Twice(Model):
    def __init__(self, **kwargs):
        super().__init__(**kwargs)
        self.dense = layers.Dense(4)

    def call(self, inputs):
        return self.dense(self.dense(inputs))


def test_a_subclassed_model_is_one_box():
    model = Twice(name="twice")
    model(np.ones((2, 4), "float32"))
    dot = utils.model_to_dot(model, expand_nested=True, show_shapes=True)
    assert boxes(dot) == {"twice": "twice (Twice) Input shape: ? Output shape: ?"}
    x = Input((4,), name="x")
    outer = Model(x, Twice(name="twice")(x), name="m")
    dot = utils.model_to_dot(outer, expand_nested=True, show_shapes=True)
    assert "Output shape: (None, 4)" in boxes(dot)["m/twice"]
    assert not dot.get_subgraphs()


def test_modules_of_one_class_and_names_of_any_kind():
    model = Sequential(
        [
            Input((4,)),
            torch.nn.ReLU(),
            torch.nn.ReLU(),
            layers.Dense(2, activation=lambda x: 2 * x, name='<a> & "b":c'),
        ],
        name="my model",
    )
    dot = utils.model_to_dot(model, show_layer_activations=True)
    assert len(boxes(dot)) == 3
    assert len(arrows(dot)) == 2
    source = dot.to_string()
    assert "&lt;a&gt; &amp; &quot;b&quot;:c" in source
    assert "Activation: <b>&lt;lambda&gt;</b>" in source
    assert r'"my model/<a> & \"b\":c"' in source


def test_copies_and_models_built_by_a_call():
    built = Sequential([layers.Dense(3, name="a"), layers.Dense(1, name="b")], name="s")
    built(np.ones((2, 4), "float32"))
    for model in (built, copy.deepcopy(built)):
        dot = utils.model_to_dot(model, show_shapes=True)
        assert boxes(dot)["s/b"].endswith(
            "Input shape: (None, 3) Output shape: (None, 1)"
        )
    expected = arrows(utils.model_to_dot(nested()))
    assert len(arrows(utils.model_to_dot(copy.deepcopy(nested())))) == len(expected)


def test_activations_that_are_layers_or_modules():
    model = Sequential(
        [
            Input((4,)),
            layers.Dense(4, activation=layers.ReLU(name="own"), name="a"),
            layers.Dense(4, activation=torch.nn.Tanh(), name="b"),
        ],
        name="s",
    )
    dot = utils.model_to_dot(model, show_layer_activations=True)
    assert boxes(dot)["s/a"].endswith("Activation: own")
    assert boxes(dot)["s/b"].endswith("Activation: Tanh")


def test_settings_of_the_graph():
    dot = utils.model_to_dot(stack(), rankdir="LR", dpi=96, splines="curved")
    assert (dot.get_rankdir(), dot.get("dpi"), dot.get("splines")) == (
        "LR",
        96,
        "curved",
    )
    assert dot.get_type() == "digraph"


def test_a_part_of_another_graph():
    frame = utils.model_to_dot(stack(), subgraph=True)
    assert isinstance(frame, pydot.Cluster)
    assert frame.get("label") == '"stack"'
    assert set(boxes(frame)) == {"stack/a", "stack/tanh"}


def test_a_range_of_layers():
    model = Sequential([Input((4,)), *(layers.Dense(4, name=n) for n in "abcd")])
    model.name = "s"
    dot = utils.model_to_dot(model, layer_range=("b", "c"))
    assert arrows(dot) == {("s/b", "s/c")}
    assert set(boxes(dot)) == {"s/b", "s/c"}
    part = utils.model_to_dot(nested(), expand_nested=True, layer_range=("x", "stack"))
    assert ("whole/stack/tanh", "whole/head/left") not in arrows(part)
    with pytest.raises(ValueError, match=r"model_to_dot: `layer_range` .* matches no"):
        utils.model_to_dot(model, layer_range=("b", "z"))
    with pytest.raises(ValueError, match=r"`layer_range` must be the names of the"):
        utils.model_to_dot(model, layer_range="b")


@pytest.mark.parametrize("draw", [utils.model_to_dot, utils.plot_model])
def test_bad_input(draw):
    with pytest.raises(TypeError, match=r"`model` must be a model, got Dense"):
        draw(layers.Dense(1, name="d"))
    with pytest.raises(ValueError, match=r"'twice' is not built\. Build it first"):
        draw(Twice(name="twice"))
    with pytest.raises(ValueError, match=r"argument `show_shape`\. Did you mean"):
        draw(stack(), show_shape=True)


def test_bad_settings():
    with pytest.raises(ValueError, match=r"`rankdir` must be one of 'TB', 'BT'"):
        utils.model_to_dot(stack(), rankdir="down")
    with pytest.raises(ValueError, match=r"`dpi` must be a finite number, at least 1"):
        utils.model_to_dot(stack(), dpi=0)


def test_what_to_install(monkeypatch):
    monkeypatch.setattr(shutil, "which", lambda name: None)
    with pytest.raises(ImportError, match=r"`dot` of Graphviz is missing\. Ins"):
        utils.plot_model(stack())

    def missing(name):
        raise ImportError(name)

    monkeypatch.setattr(importlib, "import_module", missing)
    with pytest.raises(ImportError, match=r"pip install pydot"):
        utils.model_to_dot(stack())


@needs_graphviz
@pytest.mark.parametrize(
    ("name", "start"),
    [("m.png", b"\x89PNG"), ("m", b"\x89PNG"), ("m.PDF", b"%PDF"), ("m.svg", b"<?xml")],
)
def test_files(tmp_path, name, start):
    utils.plot_model(nested(), tmp_path / name, expand_nested=True, dpi=50)
    assert (tmp_path / name).read_bytes().startswith(start)


@needs_graphviz
def test_a_picture_has_names_of_any_kind(tmp_path):
    model = Sequential([Input((4,)), layers.Dense(2, name='<ä> & "b":c')], name="ü")
    utils.plot_model(model, tmp_path / "m.svg", show_layer_names=True)
    text = (tmp_path / "m.svg").read_text(encoding="utf-8")
    assert "&lt;ä&gt; &amp; &quot;b&quot;:c" in text


@needs_graphviz
def test_a_notebook_gets_the_picture(tmp_path, monkeypatch):
    shown = types.SimpleNamespace(
        Image=lambda filename: ("Image", filename), SVG=lambda filename: "SVG"
    )
    monkeypatch.setitem(sys.modules, "IPython.display", shown)
    path = str(tmp_path / "m.png")
    assert utils.plot_model(stack(), path, dpi=50) == ("Image", path)
    assert utils.plot_model(stack(), tmp_path / "m.svg") == "SVG"
    assert utils.plot_model(stack(), tmp_path / "m.pdf") is None


@needs_graphviz
def test_an_unknown_format(tmp_path):
    with pytest.raises(ValueError, match=r"a format that Graphviz writes, got '.*xyz'"):
        utils.plot_model(stack(), tmp_path / "m.xyz")
    assert not (tmp_path / "m.xyz").exists()


# Inputs that a tensor comes from


def names(tensors: Any):
    return [tensor.name for tensor in tensors]


def test_source_inputs_each_once_from_the_left():
    a, b, c = inputs("abc")
    total = torch.relu(b) + layers.Add()([a, b])
    assert names(utils.get_source_inputs(total)) == ["b", "a"]
    assert names(utils.get_source_inputs(c)) == ["c"]
    assert utils.get_source_inputs(c)[0] is c


def test_source_inputs_through_a_nested_model():
    outputs: Any = nested().outputs
    assert names(utils.get_source_inputs(outputs[0])) == ["x", "y"]


def test_source_inputs_of_a_deep_graph():
    (x,) = inputs("x")
    y = x
    for _ in range(2000):
        y = layers.Add()([y, y])
    assert names(utils.get_source_inputs(y)) == ["x"]


def test_source_inputs_of_what_has_none():
    loose = KerasTensor((None, 4), name="loose")
    assert names(utils.get_source_inputs(loose)) == ["loose"]
    assert utils.get_source_inputs("anything else") == "anything else"
