"""Layers, variables and metrics in lists, tuples and dicts that are attributes."""

import collections
import copy
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn

import torchkeras
from torchkeras import Variable, layers, metrics, models


def _assigned(make: Callable[[Any, Any], Any]) -> Callable[[Any, Any, Any], Any]:
    """Return what assigns a container whole."""

    def assign(owner: Any, first: Any, second: Any) -> None:
        owner.held = make(first, second)

    return assign


def _appended(owner: Any, first: Any, second: Any) -> None:
    owner.held = []
    owner.held.append(first)
    owner.held.append(second)


def _grid(owner: Any, first: Any, second: Any) -> None:
    owner.held = [[] for _ in range(3)]
    owner.held[1].append(first)
    owner.held[2].append(second)


def _placeholders(owner: Any, first: Any, second: Any) -> None:
    owner.held = [None, None]
    owner.held[0], owner.held[1] = first, second


def _numbers_then_state(owner: Any, first: Any, second: Any) -> None:
    owner.held = [1, 2]
    owner.held.extend([first, second])


def _defaultdict(owner: Any, first: Any, second: Any) -> None:
    owner.held = collections.defaultdict(list)
    owner.held["a"].append(first)
    owner.held["b"].append(second)


def _in_a_tuple(owner: Any, first: Any, second: Any) -> None:
    owner.held = (3, [], {})
    owner.held[1].append(first)
    owner.held[2]["x"] = second


def _private(owner: Any, first: Any, second: Any) -> None:
    owner._layers = [first]
    owner._dict = {"x": second}


def _one_in_another(owner: Any, first: Any, second: Any) -> None:
    owner.a, owner.b = first, second
    owner.held = [first, second]


def _holds_itself(owner: Any, first: Any, second: Any) -> None:
    owner.held = {"first": first, "second": second}
    owner.held["self"] = owner.held


#: How two things become parts of a layer, and where the first one's tensors are.
WAYS: dict[str, tuple[Callable[[Any, Any, Any], Any], str]] = {
    "list": (_assigned(lambda a, b: [a, b]), "held.0"),
    "tuple": (_assigned(lambda a, b: (a, b)), "held.0"),
    "dict": (_assigned(lambda a, b: {"x": a, "y": b}), "held.x"),
    "dots in keys": (_assigned(lambda a, b: {"x.y": a, "x_y": b}), "held.x_y"),
    "numbers as keys": (_assigned(lambda a, b: {1: a, "1": b}), "held.1"),
    "deque": (_assigned(lambda a, b: collections.deque([a, b])), "held.0"),
    "nested": (_assigned(lambda a, b: {"x": [(a,)], "y": {"z": b}}), "held.x.0.0"),
    "appended": (_appended, "held.0"),
    "grid": (_grid, "held.1.0"),
    "placeholders": (_placeholders, "held.0"),
    "numbers, then state": (_numbers_then_state, "held.2"),
    "defaultdict": (_defaultdict, "held.a.0"),
    "in a tuple": (_in_a_tuple, "held.1.0"),
    "private": (_private, "_layers.0"),
    "attributes as well": (_one_in_another, "a"),
    "holds itself": (_holds_itself, "held.first"),
}
ways = pytest.mark.parametrize("way", WAYS)


@torchkeras.saving.register_keras_serializable("containers")
class Holder(layers.Layer):
    """Two layers in a container, made in the constructor or in `build`."""

    def __init__(self, way: str, early: bool = True, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.way, self.early = way, early
        if early:
            self._make()

    def _make(self) -> None:
        first, second = layers.Dense(3), layers.Dense(4)
        self.__dict__["both"] = first, second
        WAYS[self.way][0](self, first, second)

    def build(self, input_shape: Any) -> None:
        if not self.early:
            self._make()

    def call(self, inputs: Any) -> Any:
        first, second = self.both
        return second(first(inputs))


@torchkeras.saving.register_keras_serializable("containers")
class Variables(layers.Layer):
    """Two variables in a container, one of which is not trained."""

    def __init__(self, way: str, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.way = way
        gain = Variable(np.ones(4, "float32"))
        offset = Variable(np.zeros(4, "float32"), trainable=False)
        self.__dict__["both"] = gain, offset
        WAYS[way][0](self, gain, offset)

    def call(self, inputs: Any) -> Any:
        gain, offset = self.both
        return inputs * gain + offset


def _model(layer: Any) -> Any:
    return models.Sequential([layers.Input((4,)), layer])


@pytest.mark.parametrize("early", [True, False], ids=["init", "build"])
@ways
def test_layers_are_tracked_trained_and_saved(way, early, tmp_path):
    x = np.random.default_rng(0).random((8, 4), dtype="float32")
    model = _model(Holder(way, early))
    assert len(model.weights) == 4
    prefix = WAYS[way][1]
    keys = model.layers[0].state_dict().keys()
    assert f"{prefix}.linear.weight" in keys
    assert len(list(model.parameters())) == 4
    model.compile("sgd", "mse")
    before = model.get_weights()
    model.fit(x, x + 1, verbose=0)
    pairs = zip(before, model.get_weights(), strict=True)
    assert not any(np.array_equal(one, other) for one, other in pairs)
    expected = model.predict(x, verbose=0)
    for name in ("m.keras", "m.safetensors"):
        model.save(tmp_path / name)
        loaded = models.load_model(tmp_path / name)
        np.testing.assert_allclose(loaded.predict(x, verbose=0), expected, 1e-5, 1e-6)
    for name in ("m.weights.h5", "w.safetensors"):
        model.save_weights(tmp_path / name)
        twin = _model(Holder(way, early))
        twin.load_weights(tmp_path / name)
        np.testing.assert_allclose(twin.predict(x, verbose=0), expected, 1e-5, 1e-6)


@ways
def test_variables_are_tracked_trained_and_saved(way, tmp_path):
    x = np.random.default_rng(0).random((8, 4), dtype="float32")
    model = _model(Variables(way))
    layer = model.layers[0]
    assert [w.trainable for w in layer.weights] == [True, False]
    assert len(list(layer.parameters())) == len(list(layer.buffers())) == 1
    assert WAYS[way][1] in layer.state_dict()
    model.compile("sgd", "mse")
    model.fit(x, x + 1, verbose=0)
    gain, offset = layer.both
    assert not torch.equal(gain, torch.ones(4))
    assert torch.equal(offset, torch.zeros(4))
    offset.assign(np.arange(4))
    expected = model.predict(x, verbose=0)
    for name in ("m.weights.h5", "w.safetensors"):
        model.save_weights(tmp_path / name)
        twin = _model(Variables(way))
        twin.load_weights(tmp_path / name)
        np.testing.assert_allclose(twin.predict(x, verbose=0), expected, 1e-6)


@ways
def test_copies_are_apart_and_state_dicts_fit(way):
    torch.manual_seed(0)
    x = torch.randn(2, 4)
    layer = Holder(way)
    outputs = layer(x)
    copied = copy.deepcopy(layer)
    copied.set_weights([np.zeros(w.shape) for w in copied.weights])
    assert torch.equal(layer(x), outputs)
    assert not copied.weights[0].numpy().any()
    copied.load_state_dict(layer.state_dict())
    for one, other in zip(layer.get_weights(), copied.get_weights(), strict=True):
        np.testing.assert_array_equal(one, other)


@ways
def test_variables_move_and_stay_variables(way):
    layer = Variables(way)
    layer(torch.ones(2, 4))
    layer.double()
    assert {t.dtype for t in layer.both} == {torch.float64}
    assert [type(w) for w in layer.weights] == [Variable, Variable]
    assert layer.weights[0] is layer.both[0]


@ways
def test_metrics_report_and_are_reset(way):
    class Counts(layers.Layer):
        def __init__(self) -> None:
            super().__init__()
            self.__dict__["both"] = metrics.Mean(name="one"), metrics.Mean(name="two")
            WAYS[way][0](self, *self.both)

        def call(self, inputs: Any) -> Any:
            for number, metric in enumerate(self.both, start=1):
                metric.update_state(inputs.mean() * number)
            return inputs

    model = models.Sequential([layers.Input((4,)), Counts(), layers.Dense(1)])
    model.compile("sgd", "mse")
    history = model.fit(
        np.ones((8, 4)), np.ones((8, 1)), epochs=2, batch_size=4, verbose=0
    ).history
    assert history["one"] == [1.0, 1.0]
    assert history["two"] == [2.0, 2.0]
    assert {m.name for m in model.layers[0].metrics} == {"one", "two"}
    model.reset_metrics()
    assert float(model.layers[0].both[0].total) == 0


@ways
def test_freezing_and_modes_reach_what_is_inside(way):
    class Modes(layers.Layer):
        def __init__(self) -> None:
            super().__init__()
            self.__dict__["both"] = nn.Dropout(0.5), layers.Dense(2)
            WAYS[way][0](self, *self.both)

        def call(self, inputs: Any) -> Any:
            dropout, dense = self.both
            return dense(dropout(inputs))

    layer = Modes()
    layer(torch.ones(2, 4))
    layer.train()
    assert layer.both[0].training
    layer.eval()
    assert not layer.both[0].training
    layer.trainable = False
    assert layer.trainable_weights == []
    assert not any(p.requires_grad for p in layer.both[1].parameters())


def test_order_is_that_of_the_filling():
    class Late(layers.Layer):
        def __init__(self) -> None:
            super().__init__()
            self.blocks = []
            self.first = layers.Dense(1)
            self.blocks.append(layers.Dense(2))
            self.last = layers.Dense(3)

        def call(self, inputs: Any) -> Any:
            return self.last(self.blocks[0](self.first(inputs)))

    for asks in (False, True):
        layer = Late()
        if asks:
            assert layer.weights == []
        layer(torch.ones(2, 4))
        assert [tuple(w.shape)[-1] for w in layer.weights] == [1, 1, 2, 2, 3, 3]


def test_what_leaves_a_container_is_no_part_any_more():
    layer = Holder("list")
    layer(torch.ones(2, 4))
    kept = layer.held.pop()
    assert len(layer.weights) == 2
    layer.held.append(kept)
    assert len(layer.weights) == 4
    layer.held = None
    assert layer.weights == []
    layer.held = [kept]
    del layer.held
    assert layer.weights == []
    assert not hasattr(layer, "held")


def test_a_container_takes_the_place_of_a_layer_and_back():
    layer = Holder("list")
    layer.part = layers.Dense(2)
    layer.part = [layers.Dense(3)]
    assert isinstance(layer.part, list)
    assert "part" not in dict(layer.named_children()) or layer.part
    layer.part = layers.Dense(4)
    assert isinstance(layer.part, layers.Dense)


def test_containers_of_settings_are_no_children():
    class Settings(layers.Layer):
        def __init__(self) -> None:
            self.early: list[Any] = []
            super().__init__()
            self.axes = [1, 2]
            self.options = {"a": [1.0], "b": ("x", None)}
            self.history = collections.deque([torch.ones(1)])
            self.vocabulary = {"a", "b"}

        def call(self, inputs: Any) -> Any:
            return inputs

    layer = Settings()
    layer(torch.ones(2, 4))
    assert list(layer.named_modules()) == [("", layer)]
    layer.early.append(layers.Dense(3))
    assert [name for name, _ in layer.named_children()] == ["early"]


def test_a_property_keeps_its_setter():
    class Guarded(layers.Layer):
        @property
        def blocks(self) -> list[Any]:
            return self._blocks

        @blocks.setter
        def blocks(self, value: list[Any]) -> None:
            self._blocks = list(value)

        def call(self, inputs: Any) -> Any:
            return self.blocks[0](inputs)

    layer = Guarded()
    layer.blocks = [layers.Dense(3)]
    layer(torch.ones(2, 4))
    assert list(layer.state_dict()) == [
        "_blocks.0.linear.weight",
        "_blocks.0.linear.bias",
    ]


def test_a_set_has_no_names_for_layers():
    layer = Holder("list")
    layer.extra = {layers.Dense(2)}
    with pytest.raises(TypeError, match=r"A set of layers .* \['Dense'\]. Put them"):
        _ = layer.weights


@ways
def test_compiled_whole(way):
    torch._dynamo.reset()
    torch.manual_seed(0)
    layer, x = Holder(way), torch.randn(2, 4)
    expected = layer(x)
    compiled = torch.compile(layer, fullgraph=True, backend="eager")
    outputs = compiled(x)
    torch.testing.assert_close(outputs, expected)
    outputs.sum().backward()
    assert all(w.grad is not None for w in layer.trainable_weights)


class Chain(layers.Layer):
    """Layers one after the other, in a container of choice."""

    def __init__(self, container: Any) -> None:
        super().__init__()
        self.blocks = container([layers.Dense(3), layers.Dense(2)])

    def call(self, inputs: Any) -> Any:
        for block in self.blocks:
            inputs = block(inputs)
        return inputs


def exported(layer: Any, inputs: Any) -> Any:
    return torch.export.export(layer, (inputs,)).module()(inputs)


def by_function(layer: Any, inputs: Any) -> Any:
    return torch.func.functional_call(layer, dict(layer.named_parameters()), inputs)


@pytest.mark.parametrize("run", [exported, by_function])
def test_torch_replaces_the_weights_of_layers_in_a_module_list(run: Any) -> None:
    layer, inputs = Chain(nn.ModuleList), torch.randn(2, 4)
    expected = layer(inputs)
    torch.testing.assert_close(run(layer, inputs), expected)
    # A plain list is no module, and torch asks the attribute for one.
    plain = Chain(list)
    plain(inputs)
    with pytest.raises(TypeError, match=r"(?s)`blocks`.*is not an instance of"):
        run(plain, inputs)
    assert plain.state_dict().keys() == layer.state_dict().keys()
