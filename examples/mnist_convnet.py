"""A small convolutional network on MNIST.

Run: ``python examples/mnist_convnet.py``, with ``--digits`` where there is no network.
"""

import argparse

import numpy as np

from torchkeras import Sequential, layers
from torchkeras.datasets import digits, mnist
from torchkeras.utils import set_random_seed, to_categorical

NUM_CLASSES = 10
INPUT_SHAPE = (28, 28, 1)


def load_images(use_digits: bool):
    """Return images of 28x28x1 from 0 to 1, and labels as one-hot rows."""
    if use_digits:
        splits = [(enlarge(x) / 16, y) for x, y in digits.load_data()]
    else:
        splits = [(x / 255, y) for x, y in mnist.load_data()]
    return [
        (x[..., np.newaxis].astype("float32"), to_categorical(y, NUM_CLASSES))
        for x, y in splits
    ]


def enlarge(images):
    """Make 28x28 images of 8x8 ones: each pixel three times, and a margin of two."""
    images = images.repeat(3, axis=1).repeat(3, axis=2)
    return np.pad(images, ((0, 0), (2, 2), (2, 2)))


def main(epochs: int = 15, batch_size: int = 128, digits: bool = False) -> float:
    """Train and evaluate; return the accuracy on the test images."""
    set_random_seed(0)
    (x_train, y_train), (x_test, y_test) = load_images(digits)

    model = Sequential(
        [
            layers.Input(shape=INPUT_SHAPE),
            layers.Conv2D(32, kernel_size=(3, 3), activation="relu"),
            layers.MaxPooling2D(pool_size=(2, 2)),
            layers.Conv2D(64, kernel_size=(3, 3), activation="relu"),
            layers.MaxPooling2D(pool_size=(2, 2)),
            layers.Flatten(),
            layers.Dropout(0.5),
            layers.Dense(NUM_CLASSES, activation="softmax"),
        ]
    )
    model.summary()

    model.compile(
        loss="categorical_crossentropy", optimizer="adam", metrics=["accuracy"]
    )
    model.fit(
        x_train, y_train, batch_size=batch_size, epochs=epochs, validation_split=0.1
    )
    loss, accuracy = model.evaluate(x_test, y_test)
    print(f"Test loss: {loss:.4f}, test accuracy: {accuracy:.4f}")
    return accuracy


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--digits", action="store_true", help="use the packed digits")
    parser.add_argument("--epochs", type=int, default=15)
    parser.add_argument("--batch-size", type=int, default=128)
    main(**vars(parser.parse_args()))
