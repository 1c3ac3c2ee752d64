"""The same models in Keras's words: torchkeras, and Keras 3 on each backend."""

import contextlib
import functools
import importlib
import os
import subprocess
import tempfile
from collections.abc import Callable, Generator
from types import ModuleType
from typing import Any

import numpy as np

from benchmarks.workloads import LENGTH, VOCABULARY, Workload


def mlp_tiny(keras: ModuleType) -> list[Any]:
    """20-16-16-1."""
    return [
        keras.Input((20,)),
        keras.layers.Dense(16, activation="relu"),
        keras.layers.Dense(16, activation="relu"),
        keras.layers.Dense(1, activation="sigmoid"),
    ]


def mlp_mnist(keras: ModuleType) -> list[Any]:
    """784-512-512-10 with dropout."""
    return [
        keras.Input((784,)),
        keras.layers.Dense(512, activation="relu"),
        keras.layers.Dropout(0.2),
        keras.layers.Dense(512, activation="relu"),
        keras.layers.Dropout(0.2),
        keras.layers.Dense(10, activation="softmax"),
    ]


def convnet(keras: ModuleType) -> list[Any]:
    """The MNIST convnet of keras.io."""
    return [
        keras.Input((28, 28, 1)),
        keras.layers.Conv2D(32, kernel_size=(3, 3), activation="relu"),
        keras.layers.MaxPooling2D(pool_size=(2, 2)),
        keras.layers.Conv2D(64, kernel_size=(3, 3), activation="relu"),
        keras.layers.MaxPooling2D(pool_size=(2, 2)),
        keras.layers.Flatten(),
        keras.layers.Dropout(0.5),
        keras.layers.Dense(10, activation="softmax"),
    ]


def lstm(keras: ModuleType, mask_zero: bool = False) -> list[Any]:
    """Embedding, LSTM and one probability."""
    return [
        keras.Input((LENGTH,), dtype="int64"),
        keras.layers.Embedding(VOCABULARY, 64, mask_zero=mask_zero),
        keras.layers.LSTM(64),
        keras.layers.Dense(1, activation="sigmoid"),
    ]


def resnet(keras: ModuleType) -> Any:
    """A small residual network at 32x32, by the functional API."""
    layers = keras.layers

    def block(x: Any, filters: int, strides: int) -> Any:
        shortcut = x
        if strides > 1:
            shortcut = layers.Conv2D(filters, 1, strides=strides)(x)
        x = layers.Conv2D(filters, 3, strides=strides, padding="same")(x)
        x = layers.ReLU()(layers.BatchNormalization()(x))
        x = layers.BatchNormalization()(layers.Conv2D(filters, 3, padding="same")(x))
        return layers.ReLU()(layers.Add()([x, shortcut]))

    inputs = keras.Input((32, 32, 3))
    x = layers.Conv2D(16, 3, padding="same", activation="relu")(inputs)
    for filters, strides in ((16, 1), (32, 2), (64, 2)):
        x = block(x, filters, strides)
    x = layers.GlobalAveragePooling2D()(x)
    return keras.Model(inputs, layers.Dense(10, activation="softmax")(x))


def transformer(keras: ModuleType) -> Any:
    """A transformer block over embedded words, by subclassing."""
    layers = keras.layers

    class Block(layers.Layer):
        def __init__(self) -> None:
            super().__init__()
            self.attention = layers.MultiHeadAttention(num_heads=4, key_dim=16)
            self.wide = layers.Dense(128, activation="relu")
            self.narrow = layers.Dense(64)
            self.first = layers.LayerNormalization()
            self.second = layers.LayerNormalization()

        def build(self, input_shape: Any) -> None:
            self.attention.build(input_shape, input_shape)
            self.wide.build(input_shape)
            self.narrow.build((*input_shape[:-1], 128))
            self.first.build(input_shape)
            self.second.build(input_shape)
            self.built = True

        def call(self, x: Any) -> Any:
            x = self.first(x + self.attention(x, x))
            return self.second(x + self.narrow(self.wide(x)))

    class Classifier(keras.Model):
        def __init__(self) -> None:
            super().__init__()
            self.embedding = layers.Embedding(VOCABULARY, 64)
            self.block = Block()
            self.pool = layers.GlobalAveragePooling1D()
            self.head = layers.Dense(1, activation="sigmoid")

        def call(self, words: Any) -> Any:
            return self.head(self.pool(self.block(self.embedding(words))))

    return Classifier()


def convlstm(keras: ModuleType) -> list[Any]:
    """A convolutional LSTM over films, and one probability."""
    return [
        keras.Input((10, 16, 16, 1)),
        keras.layers.ConvLSTM2D(16, kernel_size=3, padding="same"),
        keras.layers.GlobalAveragePooling2D(),
        keras.layers.Dense(1, activation="sigmoid"),
    ]


MODELS: dict[str, Callable[[ModuleType], Any]] = {
    "mlp_tiny": mlp_tiny,
    "mlp_mnist": mlp_mnist,
    "convnet": convnet,
    "resnet": resnet,
    "transformer": transformer,
    "lstm": lstm,
    "convlstm": convlstm,
    "lstm_masked": lambda keras: lstm(keras, mask_zero=True),
}


def stack(keras: ModuleType, depth: int) -> Any:
    """A stack of dense layers."""
    dense = [keras.layers.Dense(8, activation="relu") for _ in range(depth)]
    return keras.Sequential([keras.Input((8,)), *dense])


def chain(keras: ModuleType, depth: int) -> Any:
    """A chain of dense layers, each beside a shortcut."""
    inputs = x = keras.Input((8,))
    for _ in range(depth):
        x = keras.layers.Add()([x, keras.layers.Dense(8)(x)])
    return keras.Model(inputs, x)


def blocks(keras: ModuleType, depth: int) -> Any:
    """A chain of convolutions with batch normalization, each beside a shortcut."""
    layers = keras.layers
    inputs = x = keras.Input((8, 8, 4))
    for _ in range(depth):
        y = layers.Conv2D(4, 3, padding="same")(x)
        x = layers.Add()([x, layers.ReLU()(layers.BatchNormalization()(y))])
    return keras.Model(inputs, x)


DEEP: dict[str, Callable[[ModuleType, int], Any]] = {
    "stack": stack,
    "chain": chain,
    "blocks": blocks,
}


class DeepModel:
    """A model of many layers, which is built, cloned and loaded."""

    def __init__(self, workload: Workload, library: str) -> None:
        """Make one, and a file of it."""
        self.keras: Any = importlib.import_module(library)
        self.make = functools.partial(DEEP[workload.net], self.keras, workload.samples)
        self.model = self.make()
        self.folder = tempfile.TemporaryDirectory()
        self.path = f"{self.folder.name}/deep.keras"
        self.model.save(self.path)

    def build(self) -> None:
        """Make another one."""
        self.make()

    def clone(self) -> None:
        """Make a twin."""
        self.keras.models.clone_model(self.model)

    def load(self) -> None:
        """Read the file."""
        self.keras.models.load_model(self.path)


def vectorization(keras: ModuleType) -> Any:
    """The layer that makes indices of texts."""
    return keras.layers.TextVectorization(VOCABULARY, output_sequence_length=20)


PREPARING: dict[str, Callable[[ModuleType], Any]] = {
    "text": vectorization,
    "varied": lambda keras: keras.layers.Pipeline(
        [
            keras.layers.RandomFlip(),
            keras.layers.RandomRotation(0.1),
            keras.layers.RandomZoom(0.2),
            keras.layers.RandomContrast(0.2),
        ]
    ),
    "lookup": lambda keras: keras.layers.StringLookup(max_tokens=VOCABULARY),
}


class PreparingLayer:
    """A layer that prepares data, which may be adapted to it, and is called on it."""

    def __init__(self, workload: Workload, library: str) -> None:
        """Make one, and adapt it if it learns from data."""
        self.keras: Any = importlib.import_module(library)
        self.make = functools.partial(PREPARING[workload.net], self.keras)
        self.data, _ = workload.data(workload.samples)
        self.layer = self.make()
        if hasattr(self.layer, "adapt"):
            self.layer.adapt(self.data)

    def adapt(self) -> None:
        """Adapt another one."""
        self.make().adapt(self.data)

    def transform(self) -> None:
        """Call it."""
        self.layer(self.data)


class KerasModel:
    """A compiled model and the calls that users make on it."""

    def __init__(self, workload: Workload) -> None:
        """Import the library, then make and compile the model."""
        keras = importlib.import_module(self.library())
        keras.utils.set_random_seed(0)
        self.workload = workload
        self.x, self.y = workload.data(workload.samples)
        made = MODELS[workload.net](keras)
        stacked = isinstance(made, list)
        self.model: Any = keras.Sequential(made) if stacked else made
        binary = workload.classes == 1
        self.model.compile(
            loss="binary_crossentropy" if binary else "sparse_categorical_crossentropy",
            optimizer="adam",
            metrics=["accuracy"],
        )

    @staticmethod
    def library() -> str:
        """The name of the package that is timed."""
        return "keras"

    def fit(self, verbose: int = 0) -> float:
        """Train for a round and return the mean loss of its last epoch."""
        workload = self.workload
        history = self.model.fit(
            self.x,
            self.y,
            batch_size=workload.batch_size,
            epochs=workload.epochs,
            verbose=verbose,
        )
        return history.history["loss"][-1]

    def predict(self) -> np.ndarray:
        """Return the probabilities of all samples."""
        return self.model.predict(
            self.x, batch_size=self.workload.batch_size, verbose=0
        )

    def call(self, times: int) -> None:
        """Call the model on one row; the backend must be torch."""
        torch: Any = importlib.import_module("torch")
        model, row = self.model, torch.from_numpy(self.x[:1])
        row = row.to(torch.accelerator.current_accelerator() or "cpu")
        with torch.no_grad():
            for _ in range(times):
                model(row)

    def predict_one(self, times: int) -> None:
        """Predict one row of an array."""
        model, row = self.model, self.x[:1]
        for _ in range(times):
            model.predict(row, verbose=0)


class TorchKerasModel(KerasModel):
    """The same calls on torchkeras, and two that concern it alone."""

    @staticmethod
    def library() -> str:
        """The name of the package that is timed."""
        return "torchkeras"

    def fit_with_bar(self) -> float:
        """Train for a round, the bar drawn on a terminal."""
        with terminal():
            return self.fit(verbose=1)

    def soak(self, steps: int) -> float:
        """Train and predict by the batch; return the growth of memory in MB."""
        size = self.workload.batch_size
        x, y = self.x[:size], self.y[:size]
        before = resident_megabytes()
        for _ in range(steps):
            self.model.train_on_batch(x, y)
            self.model.predict_on_batch(x)
        return resident_megabytes() - before


@contextlib.contextmanager
def terminal() -> Generator[None, None, None]:
    """Point the standard streams at a pseudo-terminal that something reads."""
    reader, writer = os.openpty()
    with (
        subprocess.Popen(["cat"], stdin=reader, stdout=subprocess.DEVNULL) as sink,
        open(writer, "w") as stream,
        contextlib.redirect_stdout(stream),
        contextlib.redirect_stderr(stream),
    ):
        os.close(reader)
        yield
        sink.kill()


def resident_megabytes() -> float:
    """The memory that this process holds."""
    with open("/proc/self/statm") as statm:
        pages = int(statm.read().split()[1])
    return pages * os.sysconf("SC_PAGE_SIZE") / 2**20
