"""An error or a Ctrl-C at any moment of a change leaves all of the state, or none."""

import copy
import signal
import sys
import threading

import numpy as np
import pytest
import torch

from torchkeras import layers, models, optimizers
from torchkeras._core import turns, undo

FORMATS = [
    "model.safetensors",
    "model.keras",
    "model.h5",
    "w.safetensors",
    "w.weights.h5",
]
OPTIMIZERS = {
    "none": lambda: None,
    "adam": lambda: optimizers.Adam(0.01, name="o"),
    "momentum": lambda: optimizers.SGD(
        0.01, momentum=0.9, use_ema=True, gradient_accumulation_steps=2, name="o"
    ),
    "lion": lambda: optimizers.Lion(0.01, name="o"),
    "scaled": lambda: optimizers.LossScaleOptimizer(
        optimizers.Adam(0.01, name="i"), initial_scale=8.0, name="o"
    ),
}  # fmt: skip


def make(optimizer, steps):
    """Return a model after a number of steps of training; of all kinds of weights."""
    model = models.Sequential([layers.Input((4, 3))], name="m")
    model.add(layers.GRU(3, reset_after=True, name="a"))
    model.add(layers.BatchNormalization(name="b"))
    model.add(layers.Dense(2, name="c"))
    if (made := OPTIMIZERS[optimizer]()) is not None:
        model.compile(made, "mse")
        for step in range(steps):
            x = np.full((2, 4, 3), step + 1.0) * np.arange(2)[:, None, None]
            model.train_on_batch(x, np.ones((2, 2)))
    else:
        model.set_weights([np.full(w.shape, steps) for w in model.weights])
    return model


def state_of(model):
    """Return all bits of the weights and of the optimizer."""
    found = {k: v.clone() for k, v in model.state_dict().items()}
    optimizer = model.optimizer
    if optimizer is not None:
        found["built"] = optimizer.built
        state = optimizer.state_dict() if optimizer.built else {}
        waiting = [("optimizer", state)]
        while waiting:
            path, value = waiting.pop()
            if isinstance(value, dict):
                waiting += [(f"{path}.{k}", v) for k, v in value.items()]
            elif isinstance(value, list):
                waiting += [(f"{path}.{k}", v) for k, v in enumerate(value)]
            else:
                found[path] = value.clone() if torch.is_tensor(value) else value
    return found


def equal(first, second):
    if first.keys() != second.keys():
        return False
    pairs = [(first[key], second[key]) for key in first]
    return all(torch.equal(a, b) if torch.is_tensor(a) else a == b for a, b in pairs)


#: Where interrupts are held back and others locked out, none can arrive.
GUARDS = (turns.__file__, undo.__file__)
WATCHED = ("/torchkeras/", "/torch/optim/", "/torch/nn/modules/")


class Interrupter:
    """Raises `KeyboardInterrupt` where the n-th function begins that a call calls."""

    def __init__(self):
        #: How many functions began, in all and before the first change.
        self.calls = self.before = 0

    def __call__(self, function, at=-1):
        self.calls = self.before = 0

        def trace(frame, event, argument):
            name = frame.f_code.co_filename
            if name in GUARDS:
                self.before = self.before or self.calls
            elif any(part in name for part in WATCHED):
                self.calls += 1
                if self.calls == at:
                    raise KeyboardInterrupt

        outer = sys.gettrace()
        sys.settrace(trace)
        try:
            function()
        except KeyboardInterrupt:
            return True
        finally:
            sys.settrace(outer)
        return False


def check_interrupted(model, change, reset, most=1000):
    """Interrupt a change at `most` calls, and see that all or nothing is done."""
    interrupt, before = Interrupter(), state_of(model)
    assert not interrupt(change)
    after, count, first = state_of(model), interrupt.calls, interrupt.before
    assert not equal(before, after)
    reset()
    assert equal(before, state_of(model))
    undone = 0
    for call in range(first, count + 1, max(1, (count - first) // most)):
        interrupted = interrupt(change, at=call)
        now = state_of(model)
        if equal(now, after):
            reset()
        else:
            assert interrupted
            assert equal(now, before), call
            undone += 1
    assert undone


#: An interrupt while a generator is closed goes to nobody.
pytestmark = pytest.mark.filterwarnings(
    "ignore::pytest.PytestUnraisableExceptionWarning"
)


@pytest.mark.parametrize("most", [12, pytest.param(1000, marks=pytest.mark.slow)])
@pytest.mark.parametrize("optimizer", OPTIMIZERS)
@pytest.mark.parametrize("name", FORMATS)
def test_loading_weights(name, optimizer, most, tmp_path):
    old, new = tmp_path / f"old.{name}", tmp_path / f"new.{name}"
    model = make(optimizer, 5)
    for path, source in ((old, model), (new, make(optimizer, 3))):
        (source.save if name.startswith("model") else source.save_weights)(path)
    model.load_weights(old)
    check_interrupted(
        model, lambda: model.load_weights(new), lambda: model.load_weights(old), most
    )


def test_setting_weights():
    model, values = make("none", 5), make("none", 3).get_weights()
    before = model.get_weights()
    check_interrupted(
        model, lambda: model.set_weights(values), lambda: model.set_weights(before)
    )


@pytest.mark.parametrize("name", [name for name in OPTIMIZERS if name != "none"])
@pytest.mark.parametrize("way", ["set_weights", "load_own_variables", "torch"])
def test_restoring_an_optimizer(name, way):
    model, other = make(name, 5), make(name, 3)

    before = copy.deepcopy(model.optimizer.state_dict())
    values = other.optimizer.state_for_keras()
    after = {
        "torch": copy.deepcopy(other.optimizer.state_dict()),
        "set_weights": values,
        "load_own_variables": {str(n): value for n, value in enumerate(values)},
    }[way]
    restore = getattr(model.optimizer, "load_state_dict" if way == "torch" else way)
    check_interrupted(
        model,
        lambda: restore(after),
        lambda: model.optimizer.load_state_dict(before),
        40,
    )


def test_an_error_in_a_copy_undoes_those_before_it(monkeypatch, tmp_path):
    make("none", 3).save(tmp_path / "model.keras")
    model = make("none", 5)
    values, before = make("none", 3).get_weights(), state_of(model)
    copy_ = torch.Tensor.copy_
    for change in (
        lambda: model.set_weights(values),
        lambda: model.load_weights(tmp_path / "model.keras"),
    ):
        for number in range(9):
            left = [number]

            def copy_or_fail(self, *args, left=left, **kwargs):
                left[0] -= 1
                if left[0] == -1:
                    raise RuntimeError("the device is gone")
                return copy_(self, *args, **kwargs)

            monkeypatch.setattr(torch.Tensor, "copy_", copy_or_fail)
            with pytest.raises(RuntimeError, match="the device is gone"):
                change()
            monkeypatch.undo()
            assert equal(before, state_of(model))


def test_a_hook_that_fails_undoes_all(tmp_path):
    make("adam", 3).save(tmp_path / "model.safetensors")
    model = make("adam", 5)
    before = state_of(model)

    def fail(*args):
        raise RuntimeError("of the hook")

    model.layers[-1].register_load_state_dict_post_hook(fail)
    with pytest.raises(RuntimeError, match="of the hook"):
        model.load_weights(tmp_path / "model.safetensors")
    assert equal(before, state_of(model))


def test_a_value_that_cannot_be_converted_undoes_those_before_it():
    model = make("none", 5)
    before, values = state_of(model), make("none", 3).get_weights()
    values[-1] = np.array(["a", "b"])
    with pytest.raises(TypeError, match="convert"):
        model.set_weights(values)
    assert equal(before, state_of(model))


@pytest.mark.parametrize("presses", [1, 3])
def test_a_signal_waits_for_the_end_of_the_change(presses, monkeypatch):
    model, other = make("none", 5), make("none", 3)
    values, copy_ = other.get_weights(), torch.Tensor.copy_

    def press(self, *args, **kwargs):
        for _ in range(presses):
            signal.raise_signal(signal.SIGINT)
        return copy_(self, *args, **kwargs)

    monkeypatch.setattr(torch.Tensor, "copy_", press)
    handler = signal.getsignal(signal.SIGINT)
    with pytest.raises(KeyboardInterrupt, match=r"^$"):
        model.set_weights(values)
    assert equal(state_of(model), state_of(other))
    assert signal.getsignal(signal.SIGINT) is handler


def test_another_thread_needs_no_signals():
    model, other = make("none", 5), make("none", 3)
    values = other.get_weights()
    thread = threading.Thread(target=model.set_weights, args=(values,))
    thread.start()
    thread.join()
    assert equal(state_of(model), state_of(other))
