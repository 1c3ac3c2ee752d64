"""The modules of torch that a file may name, and the arguments they were made with.

A module of torch keeps its constructor's arguments as attributes. They are read from
there, and a module made from them is compared with the first one: what differs, in its
weights' shapes or in any setting, was made otherwise and cannot be named in a file.
"""

from __future__ import annotations

import inspect
from typing import Any

import torch
from torch import Tensor, nn

from torchkeras._core import torch_functions
from torchkeras._core.context import context

#: The module that these classes are written under.
MODULE = "torch.nn"

#: The classes by the names that files have: a closed list.
CLASSES: dict[str, type[nn.Module]] = {
    name: getattr(nn, name)
    for name in """
        AdaptiveAvgPool1d AdaptiveAvgPool2d AdaptiveAvgPool3d AdaptiveMaxPool1d
        AdaptiveMaxPool2d AdaptiveMaxPool3d AlphaDropout AvgPool1d AvgPool2d AvgPool3d
        BatchNorm1d BatchNorm2d BatchNorm3d Bilinear CELU ChannelShuffle ConstantPad1d
        ConstantPad2d ConstantPad3d Conv1d Conv2d Conv3d ConvTranspose1d
        ConvTranspose2d ConvTranspose3d CosineSimilarity Dropout Dropout1d Dropout2d
        Dropout3d ELU Embedding EmbeddingBag FeatureAlphaDropout Flatten Fold GELU GLU
        GRU GRUCell GroupNorm Hardshrink Hardsigmoid Hardswish Hardtanh Identity
        InstanceNorm1d InstanceNorm2d InstanceNorm3d LPPool1d LPPool2d LSTM LSTMCell
        LayerNorm LeakyReLU Linear LocalResponseNorm LogSigmoid LogSoftmax MaxPool1d
        MaxPool2d MaxPool3d Mish ModuleDict ModuleList MultiheadAttention PReLU
        PixelShuffle PixelUnshuffle RMSNorm RNN RNNCell RReLU ReLU ReLU6
        ReflectionPad1d ReflectionPad2d ReflectionPad3d ReplicationPad1d
        ReplicationPad2d ReplicationPad3d SELU Sequential SiLU Sigmoid Softmax
        Softmax2d Softmin Softplus Softshrink Softsign Tanh Tanhshrink Threshold
        Unflatten Unfold Upsample UpsamplingBilinear2d UpsamplingNearest2d ZeroPad1d
        ZeroPad2d ZeroPad3d
    """.split()
    if hasattr(nn, name)  # torch may be older
}
_CONTAINERS = (nn.Sequential, nn.ModuleList, nn.ModuleDict)
#: Arguments of constructors that do not name theirs.
_RECURRENT = (
    "input_size hidden_size num_layers bias batch_first dropout bidirectional"
).split()
_ARGUMENTS = {
    nn.RNN: (*_RECURRENT, "nonlinearity"),
    nn.GRU: _RECURRENT,
    nn.LSTM: (*_RECURRENT, "proj_size"),
}
#: Where a module keeps weights on a device, which a file does not say.
_PLACES = ("device", "dtype")
_PLAIN = (bool, int, float, str, type(None))


def config_of(module: nn.Module) -> dict[str, Any]:
    """Return the arguments from which `make` makes a twin of a module.

    Raises:
        ValueError: when they cannot be read from it.

    Example:
        >>> config_of(nn.Linear(2, 3, bias=False))["arguments"]
        {'in_features': 2, 'out_features': 3, 'bias': False}
    """
    config: dict[str, Any] = {"arguments": _arguments_of(module)}
    if type(module) in _CONTAINERS:
        config["modules"] = dict(module._modules)
        return config
    dtypes = {p.dtype for p in module.parameters() if p.is_floating_point()}
    if len(dtypes) == 1 and dtypes != {torch.float32}:
        config["dtype"] = str(dtypes.pop()).removeprefix("torch.")
    weights = module.named_parameters()
    if frozen := [name for name, weight in weights if not weight.requires_grad]:
        config["frozen"] = frozen
    _check(module, config)
    return config


def make(cls: type[nn.Module], config: dict[str, Any]) -> nn.Module:
    """Return a new module of a config that `config_of` returned."""
    arguments = config.get("arguments", {})
    if cls in _CONTAINERS:
        module = cls()
        for name, inner in config["modules"].items():
            if not isinstance(inner, (nn.Module, type(None))):
                raise ValueError(f"{cls.__name__}: {name!r} is no module.")
            module.register_module(name, inner)
    else:
        if context.budget is not None and cls in CLASSES.values():
            with torch.device("meta"):
                tensors = cls(**arguments).parameters()
            context.budget.charge(f"the torch module {cls.__name__}", tensors)
        module = cls(**arguments)
    if "dtype" in config:
        module.to(torch_functions.CONSTANTS[f"torch.{config['dtype']}"])
    frozen = set(config.get("frozen", ()))
    for name, weight in module.named_parameters() if frozen else ():
        weight.requires_grad_(name not in frozen)
    return module


def _arguments_of(module: nn.Module) -> dict[str, Any]:
    cls = type(module)
    if cls in _CONTAINERS:
        return {}
    parameters = inspect.signature(cls.__init__).parameters
    names = _ARGUMENTS.get(cls, list(parameters)[1:])
    found: dict[str, Any] = {}
    for name in names:
        parameter = parameters.get(name)
        variadic = parameter is not None and parameter.kind in (
            parameter.VAR_KEYWORD,
            parameter.VAR_POSITIONAL,
        )
        if name in _PLACES or name[0] == "_" or variadic:
            continue
        value = _argument(module, name)
        if value is not _MISSING:
            found[name] = value
        elif parameter is None or parameter.default is parameter.empty:
            raise ValueError(_refusal(module, f"`{name}` is no attribute of it"))
    return found


_MISSING = object()


def _argument(module: nn.Module, name: str) -> Any:
    if isinstance(module, nn.MultiheadAttention):
        if name == "bias":
            return module._parameters.get("in_proj_bias") is not None
        if name == "add_bias_kv":
            return module._parameters.get("bias_k") is not None
    value = getattr(module, name, _MISSING)
    if isinstance(value, (Tensor, type(None))) and name in module._parameters:
        return value is not None  # `bias=True` became a weight
    return value


def _check(module: nn.Module, config: dict[str, Any]) -> None:
    """Refuse arguments that make another module."""
    try:
        with torch.device("meta"):
            twin = make(type(module), config)
    except Exception as error:
        message = _refusal(module, f"its constructor says: {error}")
        raise ValueError(message) from error
    for what, read in _COMPARED.items():
        own, other = read(module), read(twin)
        if own != other:
            message = f"what they make has other {what}: {other} in place of {own}"
            raise ValueError(_refusal(module, message))


def _settings(module: nn.Module) -> list[Any]:
    return [
        {k: v for k, v in vars(m).items() if _is_setting(k, v)}
        for m in module.modules()
    ]


def _is_setting(name: str, value: Any) -> bool:
    return name != "training" and name[0] != "_" and _is_plain(value)


def _is_plain(value: Any) -> bool:
    if isinstance(value, (tuple, list)):
        return all(map(_is_plain, value))
    return isinstance(value, _PLAIN)


_COMPARED = {
    "weights": lambda module: {
        name: (tuple(tensor.shape), tensor.dtype)
        for name, tensor in module.state_dict().items()
    },
    "modules": repr,
    "settings": _settings,
}


def _refusal(module: nn.Module, reason: str) -> str:
    name = type(module).__name__
    return (
        f"A file cannot say how the torch module {name} was made: {reason}. Keep each "
        "argument of its constructor as an attribute of that name, give it a "
        "`get_config` method, or make it part of a layer of your own; register the "
        "class by `register_keras_serializable`. `save_weights` saves the weights of "
        "any model."
    )
