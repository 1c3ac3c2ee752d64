"""Training goes on from a file as Keras goes on from it, whoever wrote it."""

import warnings
from typing import Any

import keras
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
    train,
)

# Keras's own, on a NumPy newer than it knows.
pytestmark = pytest.mark.filterwarnings("ignore:__array__ implementation")

FORMATS = [".keras", ".weights.h5"]
#: Keras on torch overwrites the iterate that ScheduleFreeAdamW still needs.
#: Of Nadam within another optimizer Keras forgets the product of its momenta.
PAIRS = [
    case
    for case in CASES
    if case.values[0] != "ScheduleFreeAdamW"
    and case.values != ("Nadam", "dynamic loss scale")
]


def load(library, path, fresh):
    if path.suffix == ".keras":
        return library.models.load_model(path)
    model = fresh(library)
    model.optimizer.build(model.trainable_variables)
    model.load_weights(path)
    return model


#: These look at the shape of a weight, and see each of torch's tensors as one.
SHAPED = {"Adafactor", "Lamb", "Muon", "ScheduleFreeAdamW"}


@pytest.mark.parametrize("name", [name for name in OWN if name not in SHAPED])
def test_weights_of_several_tensors(name, tmp_path):
    path = tmp_path / "model.keras"
    optimizer = make_optimizer(torchkeras, name, "plain")
    ours = make_recurrent_model(torchkeras, optimizer)
    train(ours, range(7))
    ours.save(path)
    theirs = keras.models.load_model(path)
    for one in (theirs, ours):
        train(one, range(7, 14))
    assert difference(theirs, ours) < 1e-5


@pytest.mark.parametrize(("name", "case"), PAIRS)
@pytest.mark.parametrize("writer", [keras, torchkeras], ids=["theirs", "ours"])
def test_training_goes_on_as_in_keras(writer, name, case, tmp_path):
    def fresh(library):
        return make_model(library, make_optimizer(library, name, case))

    model = fresh(writer)
    train(model, range(7))
    for extension in FORMATS:
        path = tmp_path / f"model{extension}"
        (model.save if extension == ".keras" else model.save_weights)(path)
        theirs, ours = (load(library, path, fresh) for library in (keras, torchkeras))
        assert int(ours.optimizer.iterations) == int(theirs.optimizer.iterations) > 0
        for one in (theirs, ours):
            train(one, range(7, 14))
        assert difference(theirs, ours) < 1e-5


#: Keras names two variables of Adafactor alike, and fails to write them.
WRITTEN = [case for case in PAIRS if case.values[0] != "Adafactor"]


@pytest.mark.parametrize(("name", "case"), WRITTEN)
def test_training_goes_on_from_an_older_file_of_keras(name, case, tmp_path):
    """As if it had not stopped: Keras itself cannot go on from that."""
    model = make_model(keras, make_optimizer(keras, name, case))
    train(model, range(7))
    path = tmp_path / "model.h5"
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        model.save(path)
    ours = torchkeras.models.load_model(path)
    for one in (model, ours):
        train(one, range(7, 14))
    assert int(ours.optimizer.iterations) == int(model.optimizer.iterations)
    assert difference(model, ours) < 1e-5


# What Keras cannot


@pytest.mark.parametrize("writer", [keras, torchkeras], ids=["theirs", "ours"])
def test_nadam_within_another_optimizer_goes_on(writer, tmp_path):
    def fresh():
        return make_model(writer, make_optimizer(writer, "Nadam", "dynamic loss scale"))

    model = fresh()
    train(model, range(7))
    model.save(tmp_path / "model.keras")
    theirs: Any = keras.models.load_model(tmp_path / "model.keras")
    ours = torchkeras.models.load_model(tmp_path / "model.keras")
    for one in (model, theirs, ours):
        train(one, range(7, 14))
    assert difference(model, ours) < 1e-5
    assert difference(model, theirs) > 1e-4


def test_keras_cannot_train_on_from_an_older_file_of_its_own(tmp_path):
    model = make_model(keras)
    loss = keras.losses.MeanSquaredError()
    model.compile(make_optimizer(keras, "Adam", "plain"), loss)
    train(model, range(3))
    path = tmp_path / "model.h5"
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        model.save(path)
        loaded = keras.models.load_model(path)
    with pytest.raises(ValueError, match="Unknown variable"):
        train(loaded, [3])


def test_the_optimizer_of_an_older_file_of_ours_begins_anew_in_keras(tmp_path):
    model = make_model(torchkeras, make_optimizer(torchkeras, "Adam", "plain"))
    train(model, range(3))
    model.save(tmp_path / "model.h5")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        loaded: Any = keras.models.load_model(tmp_path / "model.h5")
    assert int(loaded.optimizer.iterations) == 0
    train(loaded, [3])


def test_keras_knows_nothing_of_torchs_optimizers(tmp_path):
    model = make_model(torchkeras)
    model.compile(torch.optim.Adam, "mse")
    train(model, [0])
    model.save(tmp_path / "model.keras")
    with pytest.raises(ValueError, match="TorchOptimizer"):
        keras.models.load_model(tmp_path / "model.keras")
    loaded = keras.models.load_model(tmp_path / "model.keras", compile=False)
    assert difference(model, loaded) == 0
