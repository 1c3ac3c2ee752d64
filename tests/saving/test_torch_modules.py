"""Models that hold modules of torch: rebuilt from a closed list, or refused."""

import inspect

import pytest
import torch
from torch import nn

from torchkeras import layers
from torchkeras._core.torch_modules import CLASSES, config_of
from torchkeras.layers import Input
from torchkeras.models import Model, Sequential, clone_model, load_model
from torchkeras.saving import (
    deserialize_keras_object,
    register_keras_serializable,
    serialize_keras_object,
)

#: Values of arguments that have no default.
VALUES = {"kernel_size": 3, "value": 0.5, "threshold": 0.1, "dim": 1, "norm_type": 2}
VALUES |= {"unflattened_size": (2, 2), "normalized_shape": (4,), "num_heads": 2}
VALUES |= {"num_groups": 2, "groups": 2, "padding": 1, "upscale_factor": 2}
#: More ways to make some of the classes.
FURTHER = [
    lambda: nn.Linear(4, 4, bias=False),
    lambda: nn.Conv1d(4, 2, 3, stride=2, dilation=2, padding="valid", bias=False),
    lambda: nn.Conv2d(4, 2, (3, 1), padding=(1, 0), padding_mode="circular", groups=2),
    lambda: nn.ConvTranspose2d(4, 2, 3, output_padding=1, stride=2),
    lambda: nn.BatchNorm1d(4, eps=1e-3, momentum=None, affine=False),
    lambda: nn.BatchNorm1d(4, track_running_stats=False),
    lambda: nn.LayerNorm(4, elementwise_affine=False),
    lambda: nn.LayerNorm([4], bias=False),
    lambda: nn.Embedding(5, 3, padding_idx=0, max_norm=1.0),
    lambda: nn.LSTM(
        4, 3, 2, bias=False, batch_first=True, dropout=0.1, bidirectional=True
    ),
    lambda: nn.LSTM(4, 3, proj_size=2),
    lambda: nn.RNN(4, 3, nonlinearity="relu"),
    lambda: nn.MultiheadAttention(4, 2, bias=False, batch_first=True),
    lambda: nn.MultiheadAttention(
        4, 2, add_bias_kv=True, kdim=3, vdim=5, batch_first=True
    ),
    lambda: nn.Upsample(scale_factor=2.0, mode="bilinear", align_corners=True),
    lambda: nn.Dropout(0.3, inplace=True),
    lambda: nn.Linear(4, 4).double(),
    lambda: nn.Linear(4, 4).requires_grad_(False),
    lambda: nn.Sequential(nn.Linear(4, 3), nn.Sequential(nn.ReLU(), nn.Linear(3, 4))),
    lambda: nn.ModuleDict({"a": nn.Linear(4, 3), "b": nn.ModuleList([nn.ReLU()])}),
]


def make(cls):
    parameters = inspect.signature(cls.__init__).parameters
    if cls in (nn.LSTM, nn.GRU, nn.RNN):
        return cls(4, 3)
    needed = [
        name
        for name, p in list(parameters.items())[1:]
        if p.default is p.empty and p.kind is p.POSITIONAL_OR_KEYWORD
    ]
    return cls(**{name: VALUES.get(name, 4) for name in needed})


def assert_same_module(twin, module):
    assert type(twin) is type(module)
    assert repr(twin) == repr(module)
    own, other = twin.state_dict(), module.state_dict()
    assert {k: (v.shape, v.dtype) for k, v in own.items()} == {
        k: (v.shape, v.dtype) for k, v in other.items()
    }
    trained = [[p.requires_grad for p in m.parameters()] for m in (twin, module)]
    assert trained[0] == trained[1]


@pytest.mark.parametrize("name", CLASSES)
def test_every_class_of_the_list(name):
    module = make(CLASSES[name])
    assert_same_module(deserialize_keras_object(serialize_keras_object(module)), module)


@pytest.mark.parametrize("make", FURTHER)
def test_further_arguments(make):
    module = make()
    assert_same_module(deserialize_keras_object(serialize_keras_object(module)), module)


# Of one's own


class Kept(nn.Module):
    """A module whose attributes are its arguments."""

    def __init__(self, size, scale=2.0):
        super().__init__()
        self.size, self.scale = size, scale
        self.inner = nn.Linear(size, size)

    def forward(self, x):
        return self.scale * self.inner(x)


@register_keras_serializable(package="modules")
class Registered(Kept):
    """The same, which files may name."""


@register_keras_serializable(package="modules")
class Configured(nn.Module):
    """A module that says its arguments itself."""

    def __init__(self, width):
        super().__init__()
        self.inner = nn.Linear(4, width)

    def get_config(self):
        return {"width": self.inner.out_features}

    def forward(self, x):
        return self.inner(x)


class Forgetful(nn.Module):
    """A module that does not keep its argument."""

    def __init__(self, width):
        super().__init__()
        self.inner = nn.Linear(4, width)

    def forward(self, x):
        return self.inner(x)


class Otherwise(Kept):
    """A module that changes its argument."""

    def __init__(self, size=2, scale=2.0):
        super().__init__(size + 2, scale)


@register_keras_serializable(package="modules")
class Holder(layers.Layer):
    """A layer that is given a module."""

    def __init__(self, module, **kwargs):
        super().__init__(**kwargs)
        self.module = module

    def call(self, inputs):
        return self.module(inputs)


def stacked(module):
    return Sequential([Input((4,)), module, layers.Dense(2)])


def in_a_graph(module):
    inputs = Input((4,))
    return Model(inputs, layers.Dense(2)(module(inputs)))


def called_twice(module):
    inputs = Input((4,))
    return Model(inputs, module(layers.Dense(4)(module(inputs))))


def held(module):
    return Sequential([Input((4,)), Holder(module)])


def as_an_activation(module):
    return Sequential([Input((4,)), layers.Dense(4, activation=module)])


def shared(module):
    inputs = Input((4,))
    return Model(inputs, Sequential([Input((4,)), module])(module(inputs)))


MODELS = [stacked, in_a_graph, called_twice, held, as_an_activation, shared]
MODULES = {
    "linear": lambda: nn.Linear(4, 4),
    "stack": lambda: nn.Sequential(nn.Linear(4, 4), nn.BatchNorm1d(4), nn.GELU("tanh")),
    "registered": lambda: Registered(4, scale=3.0),
    "configured": lambda: Configured(4),
    "own": lambda: Kept(4),
    "with a layer": lambda: nn.Sequential(nn.Linear(4, 4), layers.Dense(4)),
}


@pytest.mark.parametrize("module", MODULES)
@pytest.mark.parametrize("model", MODELS, ids=lambda m: m.__name__)
def test_models_that_hold_modules(model, module, tmp_path):
    made = model(MODULES[module]())
    made.save(tmp_path / "model.safetensors")
    own = {"Kept": Kept}
    loaded = load_model(tmp_path / "model.safetensors", custom_objects=own)
    x = torch.rand(3, 4)
    torch.testing.assert_close(loaded(x), made(x), rtol=0, atol=0)
    assert list(loaded.state_dict()) == list(made.state_dict())
    assert loaded.count_params() == made.count_params()
    if module != "own":  # which nobody names here
        twin = clone_model(made)
        twin.load_state_dict(made.state_dict())
        torch.testing.assert_close(twin(x), made(x), rtol=0, atol=0)


@pytest.mark.parametrize("extension", [".keras", ".h5"])
def test_keras_knows_no_modules_of_torch(extension, tmp_path):
    with pytest.raises(ValueError, match=r"torch module Linear.*safetensors"):
        stacked(nn.Linear(4, 4)).save(tmp_path / f"model{extension}")
    assert not list(tmp_path.iterdir())


def reparametrized():
    return nn.utils.parametrizations.weight_norm(nn.Linear(4, 4))


def changed():
    module = nn.Linear(4, 4)
    module.out_features = 3
    return module


REFUSED = {
    "no attribute": (lambda: Forgetful(4), "`width` is no attribute"),
    "other weights": (Otherwise, "other weights"),
    "parametrized": (reparametrized, "ParametrizedLinear"),
    "changed": (changed, "other weights"),
}


@pytest.mark.parametrize("model", [stacked, in_a_graph, held], ids=lambda m: m.__name__)
@pytest.mark.parametrize("case", REFUSED)
def test_modules_made_otherwise_are_refused(case, model, tmp_path):
    make, message = REFUSED[case]
    made = model(make())
    with pytest.raises(ValueError, match=f"{message}.*save_weights"):
        made.save(tmp_path / "model.safetensors")
    assert not list(tmp_path.iterdir())
    made.save_weights(tmp_path / "model.safetensors")


@pytest.mark.parametrize("name", ["DataParallel", "modules.linear.Linear", "Module"])
def test_a_file_cannot_name_other_classes(name):
    config = {"module": "torch.nn", "class_name": name, "config": {"arguments": {}}}
    with pytest.raises(ValueError, match=r"neither built in nor registered"):
        deserialize_keras_object(config)


def test_the_arguments_of_a_module():
    assert config_of(nn.Dropout(0.2))["arguments"] == {"p": 0.2, "inplace": False}
