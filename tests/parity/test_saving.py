"""Files that Keras wrote and we read, and the other way round."""

import json
import logging
from typing import Any

import keras as real_keras
import numpy as np
import pytest

import torchkeras
from torchkeras.saving.model_file import open_model_file

#: Untyped, so that one function may be given either library.
keras: Any = real_keras

pytestmark = [
    # Keras's own weights do not know NumPy 2's `copy` argument.
    pytest.mark.filterwarnings(
        "ignore:__array__ implementation doesn't accept a copy:DeprecationWarning"
    ),
    pytest.mark.filterwarnings("ignore:The model does not have any trainable weights"),
    pytest.mark.filterwarnings("ignore:.*has no trainable weights"),
]

SHAPES = {
    "sequence": (6, 3),
    "words": (7,),
    "vector": (6,),
    "image": (8, 8, 4),
    "image_first": (4, 8, 8),
}

#: For each family of layers: the kind of its input, and the stack.
CASES = {
    "dense": (
        "vector",
        lambda of, _: [
            of.Dense(
                4,
                "relu",
                kernel_regularizer="l2",
                bias_constraint="max_norm",
                kernel_initializer="he_normal",
                activity_regularizer="l1",
            ),
            of.Dense(3, "softmax", use_bias=False),
        ],
    ),
    "activations": (
        "sequence",
        lambda of, _: [
            of.Dense(4),
            of.Activation("tanh"),
            of.ReLU(max_value=0.8, negative_slope=0.1),
            of.LeakyReLU(0.2),
            of.Softmax(axis=1),
            of.Rescaling(2.0, -1.0),
            of.Reshape((4, 6)),
            of.Flatten(),
        ],
    ),
    "conv1d": (
        "sequence",
        lambda of, _: [
            of.Conv1D(4, 3, padding="causal", dilation_rate=2),
            of.Conv1D(4, 2, padding="same", groups=2),
            of.MaxPooling1D(2),
            of.AveragePooling1D(2, 1),
            of.GlobalMaxPooling1D(),
        ],
    ),
    "conv2d": (
        "image",
        lambda of, _: [
            of.Conv2D(6, 3, strides=2, padding="same", activation="relu"),
            of.BatchNormalization(),
            of.MaxPooling2D(2),
            of.Dropout(0.3),
            of.GlobalAveragePooling2D(),
        ],
    ),
    "transposed": (
        "image",
        lambda of, _: [
            of.Conv2DTranspose(5, 3, strides=2, padding="same", activation="relu"),
            of.Conv2DTranspose(3, (2, 3), output_padding=0, use_bias=False),
            of.AdaptiveMaxPooling2D((5, 4)),
            of.AdaptiveAveragePooling2D(2),
        ],
    ),
    "separable": (
        "image",
        lambda of, _: [
            of.DepthwiseConv2D(3, depth_multiplier=2, padding="same"),
            of.SeparableConv2D(5, 3, strides=2, activation="relu"),
            of.DepthwiseConv2D(2, use_bias=False),
            of.GlobalAveragePooling2D(),
        ],
    ),
    "conv2d_first": (
        "image_first",
        lambda of, _: [
            of.Conv2D(6, 3, data_format="channels_first"),
            of.BatchNormalization(axis=1, scale=False),
            of.AveragePooling2D(2, data_format="channels_first"),
            of.GlobalMaxPooling2D(data_format="channels_first"),
        ],
    ),
    "pool1d": ("sequence", lambda of, _: [of.GlobalAveragePooling1D()]),
    "resizing": (
        "image",
        lambda of, _: [
            of.ZeroPadding2D(((1, 2), (0, 3))),
            of.UpSampling2D((2, 1), interpolation="bilinear"),
            of.Cropping2D((3, 1)),
            of.UpSampling2D(2),
            of.Flatten(),
        ],
    ),
    "resizing1d": (
        "sequence",
        lambda of, _: [of.ZeroPadding1D(2), of.UpSampling1D(3), of.Cropping1D((1, 4))],
    ),
    "einsum": (
        "sequence",
        lambda of, _: [
            of.EinsumDense("abc,cde->abde", (6, 2, 4), bias_axes="de"),
            of.EinsumDense("...de,def->...f", 3, "relu", kernel_regularizer="l2"),
            of.EinsumDense("ab...,bc->ac...", 4, bias_axes="c"),
        ],
    ),
    "sample_norm": (
        "image",
        lambda of, _: [
            of.GroupNormalization(2),
            of.RMSNormalization(),
            of.GroupNormalization(-1, center=False),
            of.UnitNormalization(axis=1),
        ],
    ),
    "masking": (
        "sequence",
        lambda of, _: [of.Masking(0.5), of.LSTM(4)],
    ),
    "noise": (
        "vector",
        lambda of, _: [
            of.Dense(4),
            of.GaussianDropout(0.2),
            of.AlphaDropout(0.2),
            of.GaussianNoise(0.1),
            of.ActivityRegularization(0.1, 0.2),
        ],
    ),
    "norm": (
        "sequence",
        lambda of, _: [of.LayerNormalization(center=False), of.LayerNormalization()],
    ),
    "embedding": (
        "words",
        lambda of, _: [of.Embedding(11, 4, mask_zero=True), of.LSTM(5)],
    ),
    "recurrent": (
        "sequence",
        lambda of, _: [
            of.SimpleRNN(4, return_sequences=True),
            of.GRU(3, return_sequences=True),
            of.GRU(3, reset_after=False, return_sequences=True, go_backwards=True),
            of.LSTM(4, return_sequences=True, use_bias=False),
            of.LSTM(3, dropout=0.2, recurrent_dropout=0.1),
        ],
    ),
    "wrappers": (
        "sequence",
        lambda of, _: [
            of.Bidirectional(of.LSTM(4, return_sequences=True)),
            of.TimeDistributed(of.Dense(4)),
            of.TimeDistributed(of.BatchNormalization()),
            of.Bidirectional(of.GRU(2), merge_mode="sum"),
        ],
    ),
    "nested": (
        "vector",
        lambda of, stack: [
            stack([of.Dense(4), of.BatchNormalization(), stack([of.Dense(3)])]),
            of.Dense(2, name="of_a_name"),
            of.Dense(2, trainable=False),
        ],
    ),
}
OPTIMIZERS = {
    "adam": lambda library: library.optimizers.Adam(0.01),
    "sgd": lambda library: library.optimizers.SGD(0.01, momentum=0.9),
    "rmsprop": lambda library: library.optimizers.RMSprop(0.01),
}


@pytest.fixture(autouse=True)
def quiet():
    """Keep Keras from advising against .h5 files."""
    logging.disable(logging.WARNING)
    yield
    logging.disable(logging.NOTSET)


def make(library, case):
    kind, stack = CASES[case]
    inputs = library.layers.Input(SHAPES[kind])
    return library.Sequential([inputs, *stack(library.layers, library.Sequential)])


def data_for(case, model):
    kind = CASES[case][0]
    shape = (5, *SHAPES[kind])
    rows = (
        np.random.randint(0, 11, shape) if kind == "words" else np.random.rand(*shape)
    )
    targets = np.random.rand(5, *model.output_shape[1:])
    return rows.astype("float32"), targets.astype("float32")


def trained(library, case, optimizer):
    model = make(library, case)
    x, y = data_for(case, model)
    if optimizer:
        chosen = OPTIMIZERS[optimizer](library)
        model.compile(chosen, "mean_squared_error", metrics=["mae"])
        if model.trainable_weights:
            model.fit(x, y, batch_size=2, verbose=0)
    return model, x, y


def transfer(path, written, reading, case):
    """Carry a model over in a file: the whole of it, or its weights."""
    if path.name.endswith(".weights.h5"):
        written.save_weights(path)
        model = make(reading, case)
        model.load_weights(path)
        return model
    written.save(path)
    return reading.models.load_model(path)


def assert_same_predictions(ours, theirs, x):
    np.testing.assert_allclose(
        ours.predict(x, verbose=0), theirs.predict(x, verbose=0), atol=1e-5, rtol=1e-5
    )


def assert_same_state(ours, theirs):
    """Check optimizers: Keras's variables, in Keras's order."""
    pairs = zip(ours.variables, theirs.variables, strict=True)
    for own, other in pairs:
        assert own.name.split("/")[-1].split("_")[-1] == other.name.split("_")[-1]
        np.testing.assert_allclose(own.numpy(), other.numpy(), atol=1e-6, rtol=1e-5)


EXTENSIONS = [".keras", ".h5", ".weights.h5"]


@pytest.mark.parametrize("extension", EXTENSIONS)
@pytest.mark.parametrize("optimizer", [None, "adam"])
@pytest.mark.parametrize("case", CASES)
def test_we_read_what_keras_wrote(case, optimizer, extension, tmp_path):
    theirs, x, y = trained(keras, case, optimizer)
    ours = transfer(tmp_path / f"m{extension}", theirs, torchkeras, case)
    assert_same_predictions(ours, theirs, x)
    for own, other in zip(ours.weights, theirs.weights, strict=True):
        assert own.trainable == other.trainable
    if optimizer and extension != ".weights.h5":
        assert_same_state(ours.optimizer, theirs.optimizer)
        loss, _ = ours.evaluate(x, y, verbose=0)
        assert loss == pytest.approx(theirs.evaluate(x, y, verbose=0)[0], abs=1e-5)


@pytest.mark.parametrize("extension", EXTENSIONS)
@pytest.mark.parametrize("optimizer", [None, "adam"])
@pytest.mark.parametrize("case", CASES)
def test_keras_reads_what_we_wrote(case, optimizer, extension, tmp_path):
    ours, x, y = trained(torchkeras, case, optimizer)
    theirs = transfer(tmp_path / f"m{extension}", ours, keras, case)
    assert_same_predictions(ours, theirs, x)
    if optimizer and extension == ".keras":
        assert_same_state(ours.optimizer, theirs.optimizer)
    if optimizer and extension != ".weights.h5":
        theirs.fit(x, y, verbose=0)


@pytest.mark.parametrize("extension", [".keras", ".weights.h5"])
@pytest.mark.parametrize("optimizer", OPTIMIZERS)
def test_training_goes_on(optimizer, extension, tmp_path):
    """The state of the optimizer is carried over in both directions."""
    for written, reading in ((keras, torchkeras), (torchkeras, keras)):
        first, x, y = trained(written, "dense", optimizer)
        path = tmp_path / f"m{extension}"
        if extension == ".keras":
            second = transfer(path, first, reading, "dense")
        else:
            second, _, _ = trained(reading, "dense", optimizer)
            first.save_weights(path)
            second.load_weights(path)
        for model in (first, second):
            model.fit(x, y, batch_size=5, epochs=3, shuffle=False, verbose=0)
        np.testing.assert_allclose(
            first.predict(x, verbose=0), second.predict(x, verbose=0), atol=1e-4
        )


def doubled(x, times=1):
    return x * 2**times


def shape_of_doubled(shape):
    return shape


@pytest.mark.parametrize("extension", [".keras", ".h5"])
def test_functions_as_layers(extension, tmp_path):
    """A registered function is found by its name; a built-in one by Keras's."""
    kwargs = {"arguments": {"times": 3}, "output_shape": shape_of_doubled}
    own = {"doubled": doubled, "shape_of_doubled": shape_of_doubled}
    for written, reading in ((keras, torchkeras), (torchkeras, keras)):
        of = written.layers
        first = written.Sequential(
            [
                of.Input((4,)),
                of.Lambda(written.activations.relu),
                of.Lambda(doubled, **kwargs),
            ]
        )
        first.save(tmp_path / f"m{extension}")
        second = reading.models.load_model(tmp_path / f"m{extension}", own)
        x = np.random.randn(3, 4).astype("float32")
        assert_same_predictions(first, second, x)
        assert second.layers[-1].function is doubled
        assert tuple(second.output_shape) == (None, 4)


def test_tuples_among_the_outputs(tmp_path):
    """Keras keeps them in a config, and reads lists from a file: ours as its own."""
    x = np.random.random((2, 3)).astype("float32")
    made = {}
    for keras in (real_keras, torchkeras):
        inputs = keras.layers.Input((3,))
        outputs = {"a": (inputs, [inputs]), "b": (keras.layers.Dense(2)(inputs),)}
        made[keras] = model = keras.Model(inputs, outputs)
        twin = keras.Model.from_config(model.get_config())
        assert isinstance(twin.predict(x, verbose=0)["a"], tuple)
    made[torchkeras].save(tmp_path / "ours.keras")
    read: Any = real_keras.models.load_model(tmp_path / "ours.keras")
    ours, theirs = (m.predict(x, verbose=0) for m in (made[torchkeras], read))
    np.testing.assert_allclose(ours["b"][0], theirs["b"][0], rtol=1e-6)
    made[real_keras].save(tmp_path / "theirs.keras")
    taken = torchkeras.models.load_model(tmp_path / "theirs.keras")
    assert isinstance(taken.predict(x, verbose=0)["a"], list)


def test_configs_are_keras_s_own(tmp_path):
    """What a file says of a model is the same, whoever wrote it."""
    for case in CASES:
        ours, theirs = make(torchkeras, case), make(keras, case)
        ours.save(tmp_path / "m.keras")
        back = keras.models.load_model(tmp_path / "m.keras")
        assert anonymous(back.to_json()) == anonymous(theirs.to_json())


def anonymous(text):
    """Return a config without what counts up or says when a layer was built."""

    def clean(value):
        if isinstance(value, list):
            return [clean(item) for item in value]
        if not isinstance(value, dict):
            return value
        dropped = {"name", "shared_object_id", "build_config", "optional", "seed"}
        return {k: clean(v) for k, v in value.items() if k not in dropped}

    return clean(json.loads(text))


def test_jit_compile_of_keras_is_not_taken_over(tmp_path):
    model = make(keras, "dense")
    model.compile("adam", "mean_squared_error", jit_compile=True)
    for name in ("m.keras", "m.h5"):
        model.save(tmp_path / name)
        loaded = torchkeras.models.load_model(tmp_path / name)
        assert loaded.jit_compile is False
    ours = make(torchkeras, "dense")
    ours.compile("adam", "mse", jit_compile=True)
    ours.save(tmp_path / "m.keras")
    with open_model_file("test", tmp_path / "m.keras") as file:
        _, compiled = file.configs()
        assert compiled is not None
        assert compiled["jit_compile"] is True


@pytest.mark.parametrize("dtype", ["bfloat16", "float16", "float64"])
def test_dtypes(dtype, tmp_path):
    def dense(library):
        inputs = library.layers.Input((4,))
        return library.Sequential([inputs, library.layers.Dense(3, dtype=dtype)])

    for written, reading in ((keras, torchkeras), (torchkeras, keras)):
        first = dense(written)
        first.save(tmp_path / "m.keras")
        second = reading.models.load_model(tmp_path / "m.keras")
        for old, new in zip(first.weights, second.weights, strict=True):
            assert str(new.dtype).endswith(dtype)
            tensors = [w.value.detach().double().numpy() for w in (old, new)]
            np.testing.assert_array_equal(*tensors)


@pytest.mark.parametrize(
    "loss", ["mse", "categorical_crossentropy", "KLD", "MeanSquaredError"]
)
def test_keras_knows_our_losses_and_metrics(loss, tmp_path):
    ours = make(torchkeras, "dense")
    chosen = getattr(torchkeras.losses, loss)() if loss[0] == "M" else loss
    metrics = ["accuracy", torchkeras.metrics.MeanAbsoluteError(name="x")]
    ours.compile("adam", chosen, metrics=metrics)
    for name in ("m.keras", "m.h5"):
        ours.save(tmp_path / name)
        theirs = keras.models.load_model(tmp_path / name)
        x, y = data_for("dense", ours)
        logs = ours.evaluate(x, y, verbose=0, return_dict=True)
        expected = theirs.evaluate(x, y, verbose=0, return_dict=True)
        assert logs == pytest.approx(expected, abs=1e-5)
        again = torchkeras.models.load_model(tmp_path / name)
        assert again.evaluate(x, y, verbose=0, return_dict=True) == logs


def nets(library):
    """Return a class of models with layers in attributes, lists and dicts."""
    of = library.layers

    class Block(of.Layer):
        def __init__(self):
            super().__init__()
            self.z = of.Dense(4)
            self.a = of.Dense(4)

        def build(self, input_shape):
            self.gain = self.add_weight((4,), "ones", name="gain")
            if library is keras:
                self.z.build(input_shape)
                self.a.build(input_shape)

        def call(self, inputs):
            return self.a(self.z(inputs)) * self.gain

    class Net(library.Model):
        def __init__(self):
            super().__init__()
            self.zed = of.Dense(4)
            self.block = Block()
            first = of.Dense(4)
            self.blocks = [first, first, of.Dense(4), [Block()]]
            self.named = {"x": of.Dense(4), "y": Block()}

        def call(self, inputs):
            inputs = self.block(self.zed(inputs))
            for block in (*self.blocks[:3], *self.blocks[3], *self.named.values()):
                inputs = block(inputs)
            return inputs

    return Net


def test_weights_of_subclassed_models(tmp_path):
    x = np.random.rand(3, 4).astype("float32")
    for written, reading in ((keras, torchkeras), (torchkeras, keras)):
        first, second = nets(written)(), nets(reading)()
        expected = first.predict(x, verbose=0)
        second.predict(x, verbose=0)
        first.save_weights(tmp_path / "w.weights.h5")
        second.load_weights(tmp_path / "w.weights.h5")
        np.testing.assert_allclose(second.predict(x, verbose=0), expected, atol=1e-5)


def shared_by_two_stacks(library):
    dense, inputs = library.layers.Dense(5), library.Input((5,))
    first = library.Sequential([library.Input((5,)), dense])
    second = library.Sequential([library.Input((5,)), dense, library.layers.ReLU()])
    return library.Model(inputs, second(first(inputs)))


def test_keras_ties_a_layer_of_two_stacks(tmp_path):
    """In its own files the two are apart, and it finds no weights for the second."""
    ours = shared_by_two_stacks(torchkeras)
    ours.save(tmp_path / "m.keras")
    theirs = keras.models.load_model(tmp_path / "m.keras")
    assert theirs.count_params() == ours.count_params() == 30
    data = np.random.rand(4, 5).astype("float32")
    got, expected = (m.predict(data, verbose=0) for m in (theirs, ours))
    np.testing.assert_allclose(got, expected, rtol=1e-5)


@pytest.mark.parametrize("frozen", [[], [0], [1, 2], [0, 1, 2]], ids=str)
@pytest.mark.parametrize("written", ["keras", "torchkeras"])
def test_what_was_frozen_does_not_matter_in_older_files(written, frozen, tmp_path):
    def build(library):
        layers = library.layers
        inside = [
            layers.Dense(4),
            layers.Bidirectional(layers.LSTM(2, return_sequences=True)),
            layers.BatchNormalization(),
            layers.Dense(4),
        ]
        base = library.Sequential([layers.Input((3, 4)), *inside])
        inputs = layers.Input((3, 4))
        return library.Model(inputs, layers.Dense(2)(base(inputs))), base

    model, base = build(keras if written == "keras" else torchkeras)
    draw = np.random.default_rng(3).random
    model.set_weights([draw(w.shape) for w in model.get_weights()])
    for position in frozen:
        base.layers[position].trainable = False
    model.save(tmp_path / "m.h5")
    other, base = build(torchkeras)
    base.layers[3].trainable = False
    other.load_weights(tmp_path / "m.h5")
    for ours, theirs in zip(other.get_weights(), model.get_weights(), strict=True):
        np.testing.assert_array_equal(ours, theirs)
