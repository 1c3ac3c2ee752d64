"""What a training step costs beside arithmetic: waits, memory, calls, frames."""

import contextlib
import gc
import inspect
import sys
from collections.abc import Callable, Generator
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode

from tests.objectives.test_metrics import NAMES as METRICS
from tests.objectives.test_metrics import make
from torchkeras import callbacks, layers, losses, optimizers
from torchkeras.models import Sequential
from torchkeras.optimizers import schedules
from torchkeras.optimizers.hyperparameters import Options

#: Operations whose result depends on values, so that the host waits for the device.
WAITING = {
    "_local_scalar_dense",  # item, bool, int, float, index
    "is_nonzero",
    "equal",
    "nonzero",
    "masked_select",
    "_unique",
    "_unique2",
    "unique_dim",
    "unique_consecutive",
    "bincount",
    "allclose",
}
#: Methods that read values past the operations.
READING = ("tolist", "numpy", "cpu", "__array__")


class Waits(TorchDispatchMode):
    """Counts what would make a device wait."""

    def __init__(self) -> None:
        super().__init__()
        self.count = 0

    def __torch_dispatch__(
        self, func: Any, types: Any, args: Any = (), kwargs: Any = None
    ) -> Any:
        name = func.__name__.split(".")[0]
        indices = args[1] if name.startswith("index") and len(args) > 1 else ()
        masks = isinstance(indices, (list, tuple)) and any(
            isinstance(i, Tensor) and i.dtype in (torch.bool, torch.uint8)
            for i in indices
        )
        self.count += name in WAITING or masks
        return func(*args, **(kwargs or {}))


@contextlib.contextmanager
def counted() -> Generator[Waits]:
    waits = Waits()

    def reading(method: Callable[..., Any]) -> Callable[..., Any]:
        def read(*args: Any, **kwargs: Any) -> Any:
            waits.count += 1
            return method(*args, **kwargs)

        return read

    with pytest.MonkeyPatch.context() as patch, waits:
        for name in READING:
            patch.setattr(Tensor, name, reading(getattr(Tensor, name)))
        yield waits


class Note(callbacks.Callback):
    """Keeps a number for each step."""

    def __init__(self, read: Callable[[], int]) -> None:
        self.read = read
        self.values: list[int] = []

    def on_train_batch_end(self, batch: int, logs: Any = None) -> None:
        self.values.append(self.read())


DRAW = np.random.default_rng(0)


def data(rows: int, kind: str = "binary") -> tuple[np.ndarray, np.ndarray]:
    x = DRAW.normal(size=(rows, 3)).astype("float32")
    labels = DRAW.integers(0, 3, rows)
    targets = {
        "binary": (labels > 0).astype("float32")[:, None],
        "classes": np.eye(3, dtype="float32")[labels],
        "labels": labels,
    }
    return x, targets[kind]


def model_of(kind: str = "binary", **arguments: Any) -> Sequential:
    last = (1, "sigmoid") if kind == "binary" else (3, "softmax")
    model = Sequential(
        [layers.Input((3,)), layers.Dense(4, activation="tanh"), layers.Dense(*last)]
    )
    loss = "sparse_categorical_crossentropy" if kind == "labels" else "mse"
    model.compile(**{"optimizer": "sgd", "loss": loss, **arguments})
    return model


def waits_of(
    model: Sequential,
    kind: str = "binary",
    *given: Any,
    steps: int = 70,
    **options: Any,
) -> int:
    """Return how often the steps of an epoch wait, the first two left out."""
    x, y = data(2 * (steps + 2), kind)
    with counted() as waits:
        note = Note(lambda: waits.count)
        called = [*given, note]
        model.fit(x, y, batch_size=2, callbacks=called, verbose=0, **options)
    return note.values[-1] - note.values[1]


# Optimizers and what surrounds their updates

OPTIMIZERS: dict[str, Callable[[], Any]] = {
    name: getattr(optimizers, name)
    for name in optimizers.__all__
    if inspect.isclass(getattr(optimizers, name))
    and name not in ("Optimizer", "TorchOptimizer", "LossScaleOptimizer")
}
OPTIMIZERS |= {
    "momentum": lambda: optimizers.SGD(0.01, momentum=0.9, nesterov=True),
    "amsgrad": lambda: optimizers.Adam(amsgrad=True),
    "centered": lambda: optimizers.RMSprop(momentum=0.5, centered=True),
    "torch": lambda: torch.optim.AdamW,
}
STAGES: dict[str, dict[str, Any]] = {
    "weight_decay": {"weight_decay": 0.1},
    "clipnorm": {"clipnorm": 0.1},
    "clipvalue": {"clipvalue": 0.1},
    "global_clipnorm": {"global_clipnorm": 0.1},
    "use_ema": {"use_ema": True},
    "ema_overwrite_frequency": {"use_ema": True, "ema_overwrite_frequency": 3},
    "loss_scale_factor": {"loss_scale_factor": 8.0},
    "gradient_accumulation_steps": {"gradient_accumulation_steps": 3},
}
SCHEDULES = {
    "CosineDecay": (0.1, 50, 0.0, None, 0.2, 10),
    "CosineDecayRestarts": (0.1, 10),
    "ExponentialDecay": (0.1, 10, 0.9),
    "InverseTimeDecay": (0.1, 10, 0.9),
    "PiecewiseConstantDecay": ([10, 20], [0.1, 0.05, 0.01]),
    "PolynomialDecay": (0.1, 50),
}
OPTIMIZERS |= {
    f"{base}-{stage}": lambda base=base, options=options: getattr(optimizers, base)(
        0.01, **options
    )
    for base in ("SGD", "Adam", "Lion")
    for stage, options in STAGES.items()
}
OPTIMIZERS |= {
    name: lambda name=name, options=options: optimizers.Adam(
        getattr(schedules, name)(*options)
    )
    for name, options in SCHEDULES.items()
}


def test_every_stage_and_schedule_is_in_the_table() -> None:
    assert set(STAGES) == set(Options.__annotations__) - {"name", "ema_momentum"}
    classes = [c for c in vars(schedules).values() if inspect.isclass(c)]
    own = [c for c in classes if issubclass(c, schedules.LearningRateSchedule)]
    names = {c.__name__ for c in own if not c.__name__.startswith("_")}
    assert set(SCHEDULES) == names - {"LearningRateSchedule"}


#: Reads of a step that are made on the CPU alone: torch keeps Nadam's numbers there,
#: and labels are only checked there.
ON_THE_HOST = {"Nadam": 2, "CategoricalGeneralizedCrossEntropy": 2}


@pytest.mark.parametrize("name", OPTIMIZERS)
def test_an_optimizer_does_not_wait(name: str) -> None:
    waits = waits_of(model_of(optimizer=OPTIMIZERS[name]()), steps=10)
    assert waits == 10 * ON_THE_HOST.get(name, 0)


def test_dynamic_loss_scaling_waits_once_a_step() -> None:
    """Whether a step is left out depends on values; docs/differences.md says so."""
    scaled = optimizers.LossScaleOptimizer(optimizers.Adam(), initial_scale=8.0)
    assert waits_of(model_of(optimizer=scaled), steps=10) == 10


def test_the_counter_sees_every_way_to_read() -> None:
    x = torch.tensor([1.0])
    ways: list[Callable[[], Any]] = [
        lambda: x.item(), lambda: x.tolist(), lambda: x.cpu(), lambda: x.numpy(),
        lambda: bool(x), lambda: float(x), lambda: int(x), lambda: np.asarray(x),
        lambda: [1, 2][x.long()], lambda: x[x > 0], lambda: torch.equal(x, x),
        lambda: x.nonzero(), lambda: x.unique(),
    ]  # fmt: skip
    for way in ways:
        with counted() as waits:
            way()
        assert waits.count


# Losses and metrics


def kind_of(name: str) -> str:
    if "Sparse" in name or name == "CategoricalGeneralizedCrossEntropy":
        return "labels"
    several = ("Categorical", "OneHot", "F1", "FBeta", "Correlation", "CosineS", "Dice",
               "KLDiv", "Tversky")  # fmt: skip
    return "classes" if any(part in name for part in several) else "binary"


def is_loss(name: str) -> bool:
    cls = getattr(losses, name)
    return (
        inspect.isclass(cls)
        and issubclass(cls, losses.Loss)
        and name not in ("Loss", "CTC", "CircleLoss", "LossFunctionWrapper")
    )


@pytest.mark.parametrize("name", [n for n in losses.__all__ if is_loss(n)])
def test_a_loss_does_not_wait(name: str) -> None:
    kind = kind_of(name)
    expected = 10 * ON_THE_HOST.get(name, 0)
    model = model_of(kind, loss=getattr(losses, name)())
    assert waits_of(model, kind, steps=10) == expected
    assert waits_of(model, kind, steps=10, sample_weight=np.ones(24)) == expected


@pytest.mark.parametrize("argument", ["metrics", "weighted_metrics"])
@pytest.mark.parametrize("name", METRICS)
def test_a_metric_does_not_wait(name: str, argument: str) -> None:
    """It is updated at once, or in one go for some steps: neither reads values."""
    kind = kind_of(name)
    chosen: dict[str, Any] = {argument: [make(name)]}
    assert waits_of(model_of(kind, **chosen), kind) == 0


# Callbacks

CALLBACKS: dict[str, Callable[[Any], Any]] = {
    "CSVLogger": lambda path: callbacks.CSVLogger(path / "log.csv"),
    "Callback": lambda path: callbacks.Callback(),
    "CallbackList": lambda path: callbacks.History(),  # which `fit` makes of a list
    "EarlyStopping": lambda path: callbacks.EarlyStopping(
        "loss", restore_best_weights=True
    ),
    "History": lambda path: callbacks.History(),
    "LambdaCallback": lambda path: callbacks.LambdaCallback(
        on_train_batch_end=lambda batch, logs: None
    ),
    "LearningRateScheduler": lambda path: callbacks.LearningRateScheduler(
        lambda e: 0.1
    ),
    "ModelCheckpoint": lambda path: callbacks.ModelCheckpoint(path / "m.keras"),
    "ProgbarLogger": lambda path: callbacks.ProgbarLogger(),
    "ReduceLROnPlateau": lambda path: callbacks.ReduceLROnPlateau("loss"),
    "TerminateOnNaN": lambda path: callbacks.TerminateOnNaN(),
}
#: What looks at values in each step, as it must.
LOOKS = {"TerminateOnNaN": 1}


def test_every_callback_is_in_the_table() -> None:
    assert set(CALLBACKS) == set(callbacks.__all__)


@pytest.mark.parametrize("name", CALLBACKS)
def test_a_callback_does_not_wait_in_a_step(name: str, tmp_path: Any) -> None:
    model = model_of(metrics=["mae"])
    waits = waits_of(model, "binary", CALLBACKS[name](tmp_path))
    assert waits == 70 * LOOKS.get(name, 0)


def test_evaluation_and_prediction_do_not_wait_in_a_step() -> None:
    model = model_of(metrics=["mae", "accuracy"])
    x, y = data(140)
    seen: dict[str, list[int]] = {}
    with counted() as waits:
        for mode, call in (
            ("test", lambda **kw: model.evaluate(x, y, 2, **kw)),
            ("predict", lambda **kw: model.predict(x, 2, **kw)),
        ):
            note = Note(lambda: waits.count)
            event = {f"on_{mode}_batch_end": note.on_train_batch_end}
            shown: Any = callbacks.LambdaCallback(**event)
            call(verbose=0, callbacks=[shown])
            seen[mode] = note.values
    assert all(len(counts) == 70 for counts in seen.values())
    assert all(counts[-1] == counts[1] for counts in seen.values())


# What grows


@pytest.fixture(scope="module")
def forgotten() -> Generator[None]:
    """Set aside what is there already, so that new objects are quickly listed."""
    gc.collect()
    gc.freeze()
    yield
    gc.unfreeze()


def live() -> tuple[int, int]:
    """Return how many objects there are, and how many values tensors hold."""
    gc.collect()
    objects = gc.get_objects()
    tensors = [o for o in objects if issubclass(type(o), Tensor)]
    return len(objects), sum(t.numel() for t in tensors)


def growth(model: Sequential, kind: str, *given: Any) -> tuple[int, int]:
    """Return what 512 of a thousand steps add to an epoch's objects and values."""
    # Multiples of all counts of steps after which what was kept is done in one go.
    first, last = 511, 1023
    x, y = data(2 * (last + 1), kind)
    sizes: list[tuple[int, int]] = []

    def measure(batch: int, logs: Any) -> None:
        if batch in (first, last):
            sizes.append(live())

    note = callbacks.LambdaCallback(on_train_batch_end=measure)
    model.fit(x, y, batch_size=2, callbacks=[*given, note], verbose=0)
    (objects, values), (more_objects, more_values) = sizes
    return more_objects - objects, more_values - values


#: Room for what Python and torch keep now and then; a leak adds one a step, 512.
ROOM = 100
GROWING: dict[str, tuple[str, Callable[[Any], dict[str, Any]], bool]] = {
    **{
        name: ("binary", lambda path, make=make: {"optimizer": make()}, False)
        for name, make in OPTIMIZERS.items()
        if "-" not in name and name not in SCHEDULES
    },
    **{
        f"all stages around {name}": (
            "binary",
            lambda path, name=name: {
                "optimizer": getattr(optimizers, name)(
                    schedules.CosineDecay(0.1, 999), weight_decay=0.1, clipnorm=1.0,
                    use_ema=True, ema_overwrite_frequency=3, loss_scale_factor=2.0,
                    gradient_accumulation_steps=2,
                )
            },
            False,
        )
        for name in ("SGD", "Lion")
    },
    "dynamic loss scale": (
        "binary",
        lambda path: {"optimizer": optimizers.LossScaleOptimizer("adam", 8.0, 3)},
        False,
    ),
    **{
        f"metrics of {kind}": (
            kind,
            lambda path, kind=kind: {
                "metrics": [make(n) for n in METRICS if kind_of(n) == kind],
                "weighted_metrics": ["mae"] if kind != "labels" else [],
            },
            False,
        )
        for kind in ("binary", "classes", "labels")
    },
    "all callbacks": ("binary", lambda path: {"metrics": ["mae"]}, True),
}  # fmt: skip


@pytest.mark.usefixtures("forgotten")
@pytest.mark.parametrize("name", GROWING)
def test_nothing_grows_over_a_thousand_steps(name: str, tmp_path: Any) -> None:
    kind, arguments, called = GROWING[name]
    given = [make(tmp_path) for make in CALLBACKS.values()] if called else []
    objects, values = growth(model_of(kind, **arguments(tmp_path)), kind, *given)
    assert objects < ROOM
    assert values < ROOM


# Calls and frames

CALLS = {
    "loss alone": ({"optimizer": "adam", "loss": "mse"}, 43),
    "a metric": ({"optimizer": "adam", "loss": "mse", "metrics": ["mae"]}, 43),
}


@pytest.mark.parametrize("name", CALLS)
def test_calls_a_batch_and_frames_to_the_layer(name: str) -> None:
    arguments, limit = CALLS[name]
    model = Sequential(
        [layers.Input((5,)), layers.Dense(8, activation="relu"), layers.Dense(2)]
    )
    model.compile(**arguments)
    x, y = np.zeros((256, 5), "float32"), np.zeros((256, 2), "float32")
    model.fit(x, y, verbose=0)
    calls, depths = 0, set()

    def count(frame: Any, event: str, argument: Any) -> None:
        nonlocal calls
        if event != "call":
            return
        code, depth = frame.f_code, 1
        calls += "torchkeras" in code.co_filename
        if (code.co_name, code.co_filename) == LINEAR:
            while frame.f_code is not Sequential.fit.__code__:
                depth, frame = depth + 1, frame.f_back
            depths.add(depth)

    totals = []
    for batches in (128, 64):
        calls = 0
        before = sys.getprofile()
        sys.setprofile(count)
        try:
            model.fit(x[: 2 * batches], y[: 2 * batches], batch_size=2, verbose=0)
        finally:
            sys.setprofile(before)
        totals.append(calls)
    assert (totals[0] - totals[1]) / 64 <= limit
    assert max(depths) <= 16


#: What is done with one sample, and how many calls of the library's own it may take.
ONE_SAMPLE: dict[str, tuple[Callable[[Any], Any], int]] = {
    "a call": (lambda model: model(torch.zeros(1, 5)), 14),
    "a prediction": (lambda model: model.predict(np.zeros((1, 5)), verbose=0), 105),
}


@pytest.mark.parametrize("what", ONE_SAMPLE)
def test_calls_for_one_sample(what: str) -> None:
    use, limit = ONE_SAMPLE[what]
    hidden = [layers.Dense(8, activation="relu") for _ in range(2)]
    model = Sequential(
        [layers.Input((5,)), *hidden, layers.Dense(1, activation="sigmoid")]
    )
    use(model)
    calls = []

    def count(frame: Any, event: str, argument: Any) -> None:
        if event == "call" and "torchkeras" in frame.f_code.co_filename:
            calls.append(frame.f_code.co_qualname)

    before = sys.getprofile()
    sys.setprofile(count)
    try:
        use(model)
    finally:
        sys.setprofile(before)
    calls = [name for name in calls if "<lambda>" not in name]
    assert len(calls) <= limit, calls


LINEAR = ("forward", torch.nn.Linear.forward.__code__.co_filename)
