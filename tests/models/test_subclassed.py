"""Models and layers of one's own: layers in lists and dicts count as well."""

import copy

import numpy as np
import pytest
import torch
from torch import nn

from torchkeras import layers
from torchkeras.models import Model

X = torch.randn(3, 4, generator=torch.Generator().manual_seed(0))


class Blocks(Model):
    def __init__(self) -> None:
        super().__init__()
        self.blocks = []
        for _ in range(2):
            self.blocks.append(layers.Dense(4, activation="relu"))
        self.heads = {"a": layers.Dense(1), "b": [layers.Dense(2), nn.Linear(2, 2)]}
        self.pair = (layers.Dense(3), None)
        self.sizes = [1, 2]

    def call(self, inputs):
        for block in self.blocks:
            inputs = block(inputs)
        first, second = self.heads["b"]
        return self.heads["a"](inputs) + second(first(self.pair[0](inputs))).sum()


def built() -> Blocks:
    model = Blocks()
    model(X)
    return model


def test_containers_stay_what_they_are() -> None:
    model = built()
    assert type(model.blocks) is list
    assert type(model.heads) is dict
    assert type(model.pair) is tuple
    assert "sizes" not in dict(model.named_children())


def test_torch_finds_every_module() -> None:
    model = built()
    names = set(model.state_dict())
    assert {
        "blocks.0.linear.weight",
        "blocks.1.linear.weight",
        "heads.a.linear.weight",
        "heads.b.0.linear.weight",
        "heads.b.1.weight",
        "pair.0.linear.weight",
    } <= names
    assert len(model.weights) == len(list(model.parameters())) == 12
    model.double()
    assert model.blocks[1].linear.weight.dtype == torch.float64
    model.train()
    assert model.blocks[0].training


def test_every_layer_is_trained() -> None:
    model = built()
    model.compile("sgd", "mse")
    before = model.get_weights()
    model.fit(X.numpy(), np.ones((3, 1)), epochs=2, verbose=0)
    kernel = model.heads["a"].kernel.numpy()
    assert any(
        not np.array_equal(old, kernel) for old in before if old.shape == kernel.shape
    )
    model.trainable = False
    assert not any(p.requires_grad for p in model.parameters())


def test_layers_appended_later_and_lists_replaced() -> None:
    model = built()
    model.blocks.append(layers.Dense(4))
    model(X)
    assert "blocks.2.linear.weight" in model.state_dict()
    model.blocks = [layers.Dense(4)]
    model(X)
    assert "blocks.1.linear.weight" not in model.state_dict()
    setattr(model, "blocks", "none")  # noqa: B010  # of another type
    assert not any(key.startswith("blocks") for key in model.state_dict())


def test_deepcopy_and_state_dict_round_trip() -> None:
    model = built()
    twin = copy.deepcopy(model)
    assert twin.blocks[0] is not model.blocks[0]
    assert twin.blocks[0] is dict(twin.named_modules())["blocks.0"]
    twin.blocks[0].kernel.assign(np.zeros((4, 4)))
    assert model.blocks[0].kernel.numpy().any()
    twin.load_state_dict(model.state_dict())
    torch.testing.assert_close(twin(X), model(X))


def test_the_layers_of_a_model_are_those_in_its_containers() -> None:
    assert len(built().layers) == 6


def test_the_graph_is_whole() -> None:
    model = built()
    compiled = torch.compile(model, fullgraph=True, backend="aot_eager")
    torch.testing.assert_close(compiled(X), model(X))


def test_a_layer_without_call_says_so() -> None:
    class Nothing(layers.Layer):
        pass

    with pytest.raises(NotImplementedError, match="does not have a `call` method"):
        Nothing()(X)


class Reader(Model):
    """Names its last layer as `Model` names its symbolic outputs."""

    def __init__(self, **kwargs):
        super().__init__(**kwargs)
        self.embedding = layers.Embedding(10, 4)
        self.inner = Blocks()
        self.norm = nn.LayerNorm(4)
        self.outputs = layers.Dense(2, activation="softmax")

    def call(self, inputs):
        x = self.norm(self.norm(self.embedding(inputs)))
        return self.outputs(x[:, 0])


def test_a_summary_shows_what_each_layer_gives() -> None:
    model = Reader()
    model.build((None, 5))
    lines = []
    model.summary(print_fn=lines.append, line_length=100)
    for shape in ("(None, 5, 4)", "(None, 2)"):
        assert shape in lines[0]
    shapes = [model.output_of(layer) for layer in model.layers]
    assert [None if s is None else s.shape for s in shapes] == [
        (None, 5, 4),
        None,  # never called
        (None, 5, 4),
        (None, 2),
    ]
    twin = copy.deepcopy(model)
    assert twin.output_of(twin.outputs).shape == (None, 2)


def test_a_layer_may_be_called_outputs() -> None:
    model = Reader()
    model.compile("adam", "sparse_categorical_crossentropy")
    model.fit(np.zeros((8, 5), "int32"), np.ones(8, "int32"), verbose=0)
    assert isinstance(model.outputs, layers.Dense)
    with pytest.raises(AttributeError, match="no defined shapes"):
        _ = model.output_shape
