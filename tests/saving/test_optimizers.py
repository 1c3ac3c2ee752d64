"""An optimizer comes back as it was: training goes on to the bit, from every format."""

import copy
import functools
import inspect
import pickle  # noqa: TID251 - of an optimizer and its weights, as torch's users do
import warnings

import pytest
import torch

import torchkeras
from tests.saving.optimizer_cases import (
    CASES,
    OWN,
    difference,
    make_model,
    make_optimizer,
    make_recurrent_model,
    torch_groups,
    train,
)
from torchkeras import models, optimizers

FILES = [".keras", ".h5", ".weights.h5", ".safetensors"]


def reloaded(model, form, fresh, folder):
    """Return the model after a way through a file or a state."""
    path = folder / f"model{form}"
    if form == "copy":
        return copy.deepcopy(model)
    if form in (".keras", ".h5", ".safetensors"):
        model.save(path)
        return models.load_model(path)
    other = fresh()
    if form == ".weights.h5":
        model.save_weights(path)
        other.load_weights(path)
        return other
    other.set_weights(model.get_weights())
    other.optimizer.build(other.trained_weights())
    torch.save(model.optimizer.state_dict(), path)
    state = torch.load(path)  # noqa: TID251 - as users of torch do
    other.optimizer.load_state_dict(state)
    return other


def assert_goes_on(fresh, folder, forms=(*FILES, "copy", "state_dict"), before=None):
    model = fresh()
    train(model, range(7))
    if before is not None:
        before(model)
    loaded = {form: reloaded(model, form, fresh, folder) for form in forms}
    counts = {form: int(one.optimizer.iterations) for form, one in loaded.items()}
    assert counts == dict.fromkeys(forms, int(model.optimizer.iterations))
    train(model, range(7, 14))
    for one in loaded.values():
        train(one, range(7, 14))
    found = {form: difference(model, one) for form, one in loaded.items()}
    assert found == dict.fromkeys(forms, 0.0)


@pytest.mark.parametrize(("name", "case"), CASES)
def test_training_goes_on_to_the_bit(name, case, tmp_path):
    def fresh():
        return make_model(torchkeras, make_optimizer(torchkeras, name, case))

    assert_goes_on(fresh, tmp_path)


@pytest.mark.parametrize("name", OWN)
def test_weights_of_several_tensors(name, tmp_path):
    def fresh():
        optimizer = make_optimizer(torchkeras, name, "plain")
        return make_recurrent_model(torchkeras, optimizer)

    assert_goes_on(fresh, tmp_path)


def test_every_optimizer_is_in_the_table():
    wrappers = {"Optimizer", "TorchOptimizer", "LossScaleOptimizer"}
    named = {
        name
        for name, member in vars(optimizers).items()
        if inspect.isclass(member) and issubclass(member, optimizers.Optimizer)
    }
    assert named - wrappers == set(OWN)


@pytest.mark.parametrize("rate", [0.03, 0.0])
@pytest.mark.parametrize("name", ["SGD", "Adam", "RMSprop"])
def test_a_rate_set_before_saving_is_kept(name, rate, tmp_path):
    def fresh():
        case = "plain" if name == "Adam" else "momentum"
        return make_model(torchkeras, make_optimizer(torchkeras, name, case))

    def before(model):
        model.optimizer.learning_rate = rate / 3

    assert_goes_on(fresh, tmp_path, before=before)


def test_saving_changes_nothing(tmp_path):
    saved, unsaved = (
        make_model(
            torchkeras, make_optimizer(torchkeras, "SGD", "momentum and schedule")
        )
        for _ in range(2)
    )
    for step in range(10):
        train(saved, [step])
        train(unsaved, [step])
        saved.save_weights(tmp_path / "model.weights.h5")
        saved.optimizer.state_dict()
    assert difference(saved, unsaved) == 0


@pytest.mark.parametrize("form", FILES)
@pytest.mark.parametrize("name", ["SGD", "Adam", "Adafactor"])
def test_a_count_survives_two_files_without_a_step_between(name, form, tmp_path):
    def fresh():
        return make_model(torchkeras, make_optimizer(torchkeras, name, "plain"))

    model = fresh()
    train(model, range(7))
    for _ in range(2):
        model = reloaded(model, form, fresh, tmp_path)
        assert int(model.optimizer.iterations) == 7


@pytest.mark.parametrize("form", FILES)
def test_a_model_saved_before_the_first_step(form, tmp_path):
    def fresh():
        return make_model(torchkeras, make_optimizer(torchkeras, "Adam", "all"))

    model = fresh()
    loaded = reloaded(model, form, fresh, tmp_path)
    assert int(loaded.optimizer.iterations) == 0
    for one in (model, loaded):
        train(one, range(5))
    assert difference(model, loaded) == 0


@pytest.mark.parametrize("case", ["all", "dynamic loss scale"])
def test_a_model_that_is_trained_is_pickled(case):
    model = make_model(torchkeras, make_optimizer(torchkeras, "Adam", case))
    train(model, range(3))
    twin = pickle.loads(pickle.dumps(model))
    for one in (model, twin):
        train(one, range(3, 6))
    assert difference(model, twin) == 0


def test_an_optimizer_and_its_weights_are_pickled():
    optimizer = make_optimizer(torchkeras, "SGD", "momentum and all")
    params = [torch.nn.Parameter(torch.ones(3)), torch.nn.Parameter(torch.ones(2, 3))]
    optimizer.build(params)

    def steps(optimizer, params):
        draw = torch.Generator().manual_seed(0)
        for _ in range(7):
            optimizer.step([torch.randn(p.shape, generator=draw) for p in params])
        return torch.cat([p.detach().flatten() for p in params])

    steps(optimizer, params)
    twin, others = pickle.loads(pickle.dumps((optimizer, params)))
    assert torch.equal(steps(optimizer, params), steps(twin, others))


@pytest.mark.parametrize("case", ["weight decay", "dynamic loss scale"])
@pytest.mark.parametrize("name", ["SGD", "AdamW", "Muon"])
def test_weights_spared_from_decay_are_spared_again(name, case, tmp_path):
    """By our own format and by states; those of Keras do not say which they are."""

    def fresh():
        optimizer = make_optimizer(torchkeras, name, case)
        optimizer.exclude_from_weight_decay(var_names=["bias", "embeddings"])
        return make_model(torchkeras, optimizer)

    assert_goes_on(fresh, tmp_path, (".safetensors", ".weights.h5", "copy"))
    model = fresh()
    train(model, [0])
    spared = model.optimizer.spared_from_weight_decay()
    assert len(spared) == 3
    model.save(tmp_path / "model.keras")
    loaded = models.load_model(tmp_path / "model.keras")
    assert loaded.optimizer.spared_from_weight_decay() == []


class Own(optimizers.Optimizer):
    """An optimizer of one's own, with variables beside weights and one more."""

    def __init__(self, learning_rate=0.05, **kwargs):
        super().__init__(learning_rate, **kwargs)

    def build(self, variables):
        if self.built:
            return
        super().build(variables)
        self.sums = self.add_optimizer_variables(self._weights, "sum")
        self.seen = self.add_variable((), name="seen")

    def update_step(self, gradient, variable, learning_rate):
        total = self.sums[self._get_variable_index(variable)]
        self.assign_add(total, gradient.abs())
        self.assign_add(self.seen, 1.0)
        self.assign_sub(variable, learning_rate * gradient / (1 + total) * self.seen)


@pytest.mark.parametrize("options", [{}, {"use_ema": True, "clipnorm": 0.2}])
def test_an_optimizer_of_ones_own(options, tmp_path):
    with torchkeras.saving.custom_object_scope({"Own": Own}):
        assert_goes_on(lambda: make_model(torchkeras, Own(**options)), tmp_path)


# Torch's own

TORCH = {
    name: member
    for name, member in vars(torch.optim).items()
    if inspect.isclass(member) and issubclass(member, torch.optim.Optimizer)
}
#: Those that do not train this model: for embeddings and matrices alone, by a closure.
OTHERS = {"Optimizer", "SparseAdam", "Muon", "LBFGS"}
GIVEN = {
    **{name: lambda m, cls=cls: cls for name, cls in TORCH.items()},
    "momentum": lambda m: functools.partial(
        torch.optim.SGD, lr=0.05, momentum=0.9, nesterov=True
    ),
    "centered": lambda m: functools.partial(
        torch.optim.RMSprop, momentum=0.5, centered=True
    ),
    "amsgrad": lambda m: functools.partial(torch.optim.AdamW, amsgrad=True),
    "maximize": lambda m: functools.partial(torch.optim.Adam, maximize=True),
    "instance": lambda m: torch.optim.Adam(m.parameters(), lr=0.02),
    "reversed": lambda m: torch.optim.Adam([*m.parameters()][::-1], lr=0.02),
    "groups": torch_groups,
}


@pytest.mark.parametrize("case", [case for case in GIVEN if case not in OTHERS])
def test_torchs_own_go_on_to_the_bit(case, tmp_path):
    def fresh():
        model = make_model(torchkeras)
        model.compile(GIVEN[case](model), "mse")
        return model

    assert_goes_on(fresh, tmp_path)


@pytest.mark.parametrize("form", [".keras", ".h5", ".safetensors"])
def test_a_part_of_the_model_is_what_it_was(form, tmp_path):
    model = make_model(torchkeras)
    head = torch.optim.Adam(model.layers[-1].parameters(), lr=0.1)
    model.compile(head, "mse")
    with pytest.warns(UserWarning, match="does not train 3 weight"):
        train(model, range(3))
    loaded = reloaded(model, form, None, tmp_path)
    for one in (model, loaded):
        train(one, range(3, 6))
    assert difference(model, loaded) == 0


@pytest.mark.parametrize("form", [".keras", ".h5", ".safetensors"])
def test_a_scheduler_of_torch_goes_on(form, tmp_path):
    """It is the user's own; what it notes in the optimizer's groups is kept."""
    model = make_model(torchkeras)
    model.compile(torch_groups(model), "mse")
    scheduler = torch.optim.lr_scheduler.OneCycleLR(model.optimizer.torch, 0.1, 20)

    def steps(model, scheduler, numbers):
        for number in numbers:
            train(model, [number])
            scheduler.step()

    steps(model, scheduler, range(7))
    loaded = reloaded(model, form, None, tmp_path)
    groups, others = (
        [{**group, "params": None} for group in one.optimizer.torch.param_groups]
        for one in (model, loaded)
    )
    assert groups == others
    again = torch.optim.lr_scheduler.OneCycleLR(
        loaded.optimizer.torch, 0.1, 20, last_epoch=6
    )
    steps(model, scheduler, range(7, 14))
    steps(loaded, again, range(7, 14))
    assert difference(model, loaded) == 0


def test_groups_of_another_model_are_refused():
    model = make_model(torchkeras)
    model.compile(torch_groups(model), "mse")
    train(model, [0])
    config = optimizers.serialize(model.optimizer)
    other = optimizers.deserialize(config)
    with pytest.raises(ValueError, match="groups of its config are of more weights th"):
        other.build([torch.nn.Parameter(torch.ones(2))])


def test_a_step_by_a_closure_is_refused():
    with pytest.raises(ValueError, match="a step of LBFGS computes the loss several"):
        make_model(torchkeras).compile(torch.optim.LBFGS, "mse")


def test_a_tensor_that_is_no_weight_of_the_model(tmp_path):
    model = make_model(torchkeras)
    scale = torch.nn.Parameter(torch.ones(()))
    model.compile(torch.optim.Adam([*model.parameters(), scale]), "mse")
    scale.grad = torch.ones(())
    model.optimizer.build(model.trained_weights())
    model.optimizer.torch.step()
    train(model, [0])
    with pytest.warns(
        UserWarning, match="will not say how.*trains tensors that are no"
    ):
        model.save(tmp_path / "model.safetensors")


# What does not fit


def states():
    sgd, adam = torch.optim.SGD, torch.optim.Adam
    wide = functools.partial(adam, amsgrad=True)
    return {
        "another class": (sgd, adam),
        "fewer kept": (adam, wide),
        "more kept": (wide, adam),
    }


@pytest.mark.parametrize("case", states())
def test_a_state_of_another_optimizer_changes_nothing(case, tmp_path):
    written, reading = states()[case]
    first, second = make_model(torchkeras), make_model(torchkeras)
    first.compile(written, "mse")
    second.compile(reading, "mse")
    train(first, range(2))
    first.save(tmp_path / "model.safetensors")
    first.save_weights(tmp_path / "model.weights.h5")
    for path in tmp_path.iterdir():
        with pytest.warns(UserWarning, match="state of the optimizer was not restored"):
            second.load_weights(path)
        assert int(second.optimizer.iterations) == 0
        assert not second.optimizer.built


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda s: s["keras"].update(iterations=-1), "the count of steps is -1"),
        (lambda s: s["keras"].update(learning_rate=-1.0), "finite number, at least 0"),
        (lambda s: s["keras"].pop("learning_rate"), r"it has \['iterations'\], expect"),
        (lambda s: s["state"][0].pop("average"), r"parameter 0 has \['exp_avg'"),
        (
            lambda s: s["state"][0].update(average=torch.zeros(1)),
            r"parameter 0 'average' has shape \(1,\), expected \(6, 3\)",
        ),
        (lambda s: s["state"].update({99: {}}), "it is of more than 5 parameters"),
        (lambda s: s["keras"].update(iterations="7"), "'iterations' is str"),
        (lambda s: s.pop("param_groups"), "expected what `state_dict` returns"),
    ],
)
def test_a_state_that_was_changed_changes_nothing(change, message):
    model = make_model(torchkeras, make_optimizer(torchkeras, "Adam", "average"))
    train(model, range(2))
    before = copy.deepcopy(model.optimizer.state_dict())
    state = copy.deepcopy(before)
    change(state)
    with pytest.raises(ValueError, match=message):
        model.optimizer.load_state_dict(state)
    torch.testing.assert_close(model.optimizer.state_dict(), before, rtol=0, atol=0)


def test_a_state_is_for_an_optimizer_that_is_built():
    for use in ("state_dict", "load_state_dict"):
        arguments = () if use == "state_dict" else ({},)
        with pytest.raises(ValueError, match=f"is not built.*before `{use}`"):
            getattr(optimizers.Adam(), use)(*arguments)


def test_a_trained_state_is_no_state_of_an_untrained_optimizer(tmp_path):
    """A file of SGD holds a count and a rate, as one of Adam before its first step."""
    sgd, adam = (
        make_model(torchkeras, make_optimizer(torchkeras, name, "plain"))
        for name in ("SGD", "Adam")
    )
    train(sgd, range(3))
    sgd.save_weights(tmp_path / "model.weights.h5")
    train(adam, [0])
    adam_state = copy.deepcopy(adam.optimizer.state_dict())
    with pytest.warns(UserWarning, match="has 12 variables, got 2 arrays"):
        adam.load_weights(tmp_path / "model.weights.h5")
    torch.testing.assert_close(adam.optimizer.state_dict(), adam_state)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        sgd.load_weights(tmp_path / "model.weights.h5")
