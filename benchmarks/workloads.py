"""The models and the data that every contender gets, described without a library."""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

Arrays = tuple[np.ndarray, np.ndarray]

VOCABULARY = 5_000
LENGTH = 80


@dataclass(frozen=True)
class Workload:
    """One model on one set of arrays.

    Args:
        net: Which of the models of `handwritten.NETS` and `keras_api.MODELS` it is.
        data: Makes the inputs and the targets of so many samples.
        samples: How many samples an epoch has.
        batch_size: How many samples a step takes.
        epochs: How many epochs a timed round lasts.
        classes: How many classes there are; with 1 the targets are 0. and 1.
    """

    net: str
    data: Callable[[int], Arrays]
    samples: int
    batch_size: int
    epochs: int = 1
    classes: int = 1

    @property
    def steps(self) -> int:
        """The number of steps in a round."""
        return self.epochs * -(-self.samples // self.batch_size)


def features(samples: int) -> Arrays:
    """Twenty numbers and a rule that a small net learns, with 5% of wrong labels."""
    rng = np.random.default_rng(0)
    x = rng.standard_normal((samples, 20), dtype="float32")
    y = np.tanh(x[:, :5]).sum(axis=1) + x[:, 5] * x[:, 6] > 0
    y ^= rng.random(samples) < 0.05
    return x, y.astype("float32")[:, None]


def images(samples: int) -> Arrays:
    """Ten noisy 28x28 pictures, in Keras's layout; 5% of the labels are wrong."""
    rng = np.random.default_rng(0)
    pictures = rng.random((10, 28, 28, 1), dtype="float32")
    y = rng.integers(0, 10, samples)
    noise = rng.standard_normal((samples, 28, 28, 1), dtype="float32")
    x = pictures[y] + noise / 4
    wrong = rng.random(samples) < 0.05
    y[wrong] = rng.integers(0, 10, wrong.sum())
    return x, y


def photos(samples: int) -> Arrays:
    """Ten noisy 32x32 pictures in color, in Keras's layout."""
    rng = np.random.default_rng(0)
    pictures = rng.random((10, 32, 32, 3), dtype="float32")
    y = rng.integers(0, 10, samples)
    noise = rng.standard_normal((samples, 32, 32, 3), dtype="float32")
    return pictures[y] + noise / 4, y


def flat_images(samples: int) -> Arrays:
    """The pictures of `images` as rows of 784 numbers."""
    x, y = images(samples)
    return x.reshape(samples, -1), y


def sentences(samples: int) -> Arrays:
    """Sequences of word numbers; one class prefers the words of the lower half."""
    rng = np.random.default_rng(0)
    y = rng.integers(0, 2, (samples, 1))
    half = VOCABULARY // 2
    x = rng.integers(1, half, (samples, LENGTH))
    x += half * (rng.random(x.shape) < 0.3 + 0.4 * y)
    return x, y.astype("float32")


def padded_sentences(samples: int) -> Arrays:
    """The sequences of `sentences`, each cut at random and padded with 0."""
    x, y = sentences(samples)
    lengths = np.random.default_rng(1).integers(LENGTH // 4, LENGTH + 1, (samples, 1))
    return np.where(np.arange(LENGTH) < lengths, x, 0), y


def words(samples: int) -> Arrays:
    """Words of which there are few or many."""
    rng = np.random.default_rng(0)
    numbers = rng.zipf(1.3, samples) % (2 * VOCABULARY)
    return np.array([f"word{number}" for number in numbers]), numbers


def texts(samples: int) -> Arrays:
    """Texts of about twenty words, with capitals and punctuation."""
    chosen, _ = words(20 * samples)
    rows = chosen.reshape(samples, 20).tolist()
    joined = [f"{', '.join(row[:9])}. {' '.join(row[9:]).title()}!" for row in rows]
    return np.array(joined), np.zeros(samples)


def colored(samples: int) -> Arrays:
    """64x64 pictures in colors from 0 to 255."""
    rng = np.random.default_rng(0)
    x = 255 * rng.random((samples, 64, 64, 3), dtype="float32")
    return x, np.zeros(samples)


def films(samples: int) -> Arrays:
    """Ten 16x16 pictures each; in one class they are brighter at the end."""
    rng = np.random.default_rng(0)
    y = rng.integers(0, 2, (samples, 1))
    x = rng.standard_normal((samples, 10, 16, 16, 1), dtype="float32")
    x[:, 5:] += y[:, :, None, None, None] / 2
    return x, y.astype("float32")


MLP_TINY = Workload("mlp_tiny", features, samples=10_000, batch_size=32, epochs=4)
MLP_MNIST = Workload(
    "mlp_mnist", flat_images, samples=6_400, batch_size=128, classes=10
)
CONVNET = Workload("convnet", images, samples=1_280, batch_size=128, classes=10)
RESNET = Workload("resnet", photos, samples=512, batch_size=64, classes=10)
TRANSFORMER = Workload("transformer", sentences, samples=640, batch_size=32)
LSTM = Workload("lstm", sentences, samples=640, batch_size=32)
#: So many layers or blocks, which are built, cloned and loaded, and not trained.
DEEP_STACK = Workload("stack", features, samples=400, batch_size=1)
DEEP_CHAIN = Workload("chain", features, samples=400, batch_size=1)
DEEP_BLOCKS = Workload("blocks", features, samples=150, batch_size=1)
#: Layers of 16 MB in a file, by its format.
FILES = {
    name: Workload(name, features, samples=25, batch_size=1)
    for name in ("safetensors", "keras", "h5", "weights.h5")
}
CONVLSTM = Workload("convlstm", films, samples=64, batch_size=16)
VARIED = Workload("varied", colored, samples=128, batch_size=128)
TEXT = Workload("text", texts, samples=10_000, batch_size=2_500)
LOOKUP = Workload("lookup", words, samples=1_000_000, batch_size=250_000)
LSTM_MASKED = Workload("lstm_masked", padded_sentences, samples=640, batch_size=32)
