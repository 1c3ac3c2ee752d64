"""Numbers in configs: whatever they are, reading the config costs little."""

import copy
import inspect
import json
import resource
import time

import pytest

from tests.layers.cases import CASES
from torchkeras import layers, metrics, models, saving
from torchkeras._core import limits, registry

ROWS = {case.layer.__name__: case for case in CASES[::-1]}
SMALL = {
    "num_classes": 3,
    "target_class_ids": [1],
    "mean": 0.0,
    **dict.fromkeys(("precision", "recall", "sensitivity", "specificity"), 0.5),
}
METRICS = {
    name: cls
    for name, cls in vars(metrics).items()
    if inspect.isclass(cls) and registry.family_of(cls) is not None
}


def numbers_in(config, path=()):
    """Yield where a config has a number, or nothing."""
    if isinstance(config, dict):
        for key, value in config.items():
            yield from numbers_in(value, (*path, key))
    elif isinstance(config, list):
        for index, value in enumerate(config):
            yield from numbers_in(value, (*path, index))
    elif type(config) is int or config is None:
        yield path


def with_number(config, path, number):
    config = copy.deepcopy(config)
    part = config
    for key in path[:-1]:
        part = part[key]
    part[path[-1]] = number
    return config


def model_of(case):
    """Return the config of a model that calls a layer, and the layer's place in it."""
    shapes = case.input if isinstance(case.input, list) else [case.input]
    inputs = [layers.Input(shape[1:]) for shape in shapes]
    layer = case.layer(**case.kwargs)
    together = inputs if isinstance(case.input, list) else inputs[0]
    outputs = layer(*inputs) if case.spread else layer(together)
    config = layers.serialize(models.Model(inputs, outputs))
    listed = config["config"]["layers"]
    place = next(i for i, e in enumerate(listed) if e["class_name"] != "InputLayer")
    return json.loads(json.dumps(config)), ("config", "layers", place, "config")


@pytest.fixture(autouse=True)
def _little_memory():
    """Let what is not bounded fail in place of taking all the memory there is."""
    soft, hard = resource.getrlimit(resource.RLIMIT_AS)
    with open("/proc/self/statm", encoding="ascii") as file:
        used = int(file.read().split()[0]) * resource.getpagesize()
    resource.setrlimit(resource.RLIMIT_AS, (used + 2**30, hard))
    yield
    resource.setrlimit(resource.RLIMIT_AS, (soft, hard))


def costs_little(config, place=(), values=(2**31,)):
    part = config
    for key in place:
        part = part[key]
    for path in numbers_in(part, place):
        for value in values:
            changed = with_number(config, path, value)
            peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
            start = time.process_time()
            message = refusal_of(changed)
            assert "allocate" not in message, (path, value)
            assert time.process_time() - start < 2, (path, value)
            grown = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - peak
            # What any config may take, and four times that to compute first values.
            assert grown < 5 * 32 * 1024, (path, value)


def refusal_of(config):
    try:
        with limits.budget(1_000):
            registry.deserialize_object(config)
    except (saving.UnsafeFileError, saving.CorruptFileError) as error:
        return str(error)
    return ""


VALUES = [
    pytest.param((2**31,), id="2^31"),
    pytest.param((-1, 0, 10**6, 2**45, 2**70), id="more", marks=pytest.mark.slow),
]


@pytest.mark.filterwarnings("ignore::UserWarning")
@pytest.mark.parametrize("values", VALUES)
@pytest.mark.parametrize("name", [n for n in ROWS if n != "InputLayer"])
def test_layers(name, values):
    costs_little(*model_of(ROWS[name]), values)


@pytest.mark.parametrize("values", VALUES)
@pytest.mark.parametrize("name", METRICS)
def test_metrics(name, values):
    parameters = inspect.signature(METRICS[name]).parameters
    given = {key: value for key, value in SMALL.items() if key in parameters}
    if "fn" in parameters:
        pytest.skip("takes a function")
    costs_little(registry.serialize_object(METRICS[name](**given)), ("config",), values)


@pytest.mark.parametrize("operation", ["Split", "ArraySplit", "Unstack"])
def test_operations_with_many_outputs(operation):
    entry = {
        "module": "keras.src.ops.numpy",
        "class_name": operation,
        "config": {"num" if operation == "Unstack" else "indices_or_sections": 2**31},
        "name": "op",
        "inbound_nodes": [
            {
                "args": [
                    {
                        "class_name": "__keras_tensor__",
                        "config": {"keras_history": ["in", 0, 0]},
                    }
                ]
            }
        ],
    }
    source = {"batch_shape": [None, 4], "name": "in"}
    config = {
        "layers": [{"class_name": "InputLayer", "config": source, "name": "in"}, entry],
        "input_layers": [["in", 0, 0]],
        "output_layers": [["op", 0, 0]],
    }
    with pytest.raises(saving.UnsafeFileError, match="a list of 2,147,483,648 tensors"):
        models.Model.from_config(config)
    entry["inbound_nodes"] = [{"args": [[1, 2]]}]
    with pytest.raises(saving.CorruptFileError, match="calls 'op' on no tensor of the"):
        models.Model.from_config(config)
